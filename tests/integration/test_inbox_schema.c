/* The inbox's SQL files on a real Postgres: applied by psql, run again, taken back; roles; dump and
 * restore. */
#include "inbox_sql_case.h"

#include "outbox/sql_texts.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- the files ---- */

static void run_file(const struct sql_migration *m, bool up)
{
    char path[PATH_SIZE];
    char log[PATH_SIZE];

    path_join(log, tmp_root(), "psql.log");
    (void)snprintf(path, sizeof path, "%s/sql/inbox/%s%04d_%s.%s.sql", source_root(),
                   up ? "" : "down/", m->version, m->name, up ? "up" : "down");
    if (pg_psql(&server, "postgres", path, NULL, log) != 0)
        fail_msg("%s failed:\n%s", path, file_read(log));
}

static void run_files(bool up)
{
    for (size_t i = 0; i < sql_inbox_migration_count; i++)
        run_file(&sql_inbox_migrations[up ? i : sql_inbox_migration_count - 1 - i], up);
}

/* Everything that makes up the schema, as one hash. */
static const char *schema_digest(void)
{
    return pg_scalar(
        owner, "SELECT md5(string_agg(x, ' ' ORDER BY x)) FROM ("
               "SELECT concat(pg_get_functiondef(oid), proacl, proowner::regrole) AS x "
               "FROM pg_proc WHERE pronamespace = 'inbox'::regnamespace "
               "UNION ALL SELECT concat(relname, relkind, relacl, relowner::regrole, reloptions) "
               "FROM pg_class WHERE relnamespace = 'inbox'::regnamespace "
               "UNION ALL SELECT concat(c.relname, attname, format_type(atttypid, atttypmod), "
               "attnotnull, attcollation, pg_get_expr(adbin, adrelid)) "
               "FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid "
               "LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum "
               "WHERE relnamespace = 'inbox'::regnamespace AND attnum > 0 AND NOT attisdropped "
               "UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'inbox' "
               "UNION ALL SELECT pg_get_viewdef('inbox.state'::regclass) "
               "UNION ALL SELECT concat(conrelid::regclass, pg_get_constraintdef(oid)) FROM "
               "pg_constraint WHERE connamespace = 'inbox'::regnamespace) AS d");
}

static void test_embedded_texts_are_the_files(void **state)
{
    char path[PATH_SIZE];
    glob_t files = {0};

    (void)state;
    for (size_t i = 0; i < sql_inbox_migration_count; i++) {
        const struct sql_migration *m = &sql_inbox_migrations[i];
        const char *const texts[] = {m->down, m->up};

        assert_int_equal(m->version, 1001 + (int)i);
        for (int up = 0; up < 2; up++) {
            char *text;

            (void)snprintf(path, sizeof path, "%s/sql/inbox/%s%04d_%s.%s.sql", source_root(),
                           up ? "" : "down/", m->version, m->name, up ? "up" : "down");
            text = file_read(path);
            CHECK(strcmp(texts[up], text) == 0, "%s is not what was compiled in", path);
            assert_lacks(text, "${");
            assert_lacks(text, "\n\\");
            assert_lacks(text, "$$");
            free(text);
        }
    }
    path_join(path, source_root(), "sql/inbox/*.sql");
    assert_int_equal(glob(path, 0, NULL, &files), 0);
    assert_int_equal(files.gl_pathc, sql_inbox_migration_count);
    globfree(&files);
}

static void test_twice_without_harm(void **state)
{
    char before[64];
    PGconn *a = pg_open(&server, "consumer");

    (void)state;
    (void)snprintf(before, sizeof before, "%s", schema_digest());
    /* an open claim: the second run needs no lock that it could be in the way of */
    pg_exec(a, "BEGIN");
    assert_true(claim(a, "twice", 1));
    pg_exec(owner, "SET lock_timeout = '5s'");
    run_files(true);
    pg_exec(owner, "RESET lock_timeout");
    pg_exec(a, "COMMIT");
    assert_false(claim(a, "twice", 1));
    assert_string_equal(schema_digest(), before);
    assert_int_equal(pg_int(owner, "SELECT count(*) FROM inbox.migration"),
                     sql_inbox_migration_count);
    PQfinish(a);
}

static void test_down_and_up_again(void **state)
{
    char before[64];

    (void)state;
    (void)snprintf(before, sizeof before, "%s", schema_digest());
    run_files(false);
    assert_null(pg_scalar(owner, "SELECT to_regnamespace('inbox')"));
    run_files(false); /* twice without harm, too */
    run_files(true);
    assert_string_equal(schema_digest(), before);
}

/* Claims of sets are purged, whichever way the schema went since. */
static void test_sets_down_and_up(void **state)
{
    const char *const make = "SELECT inbox.claim_new('%s', ARRAY(SELECT test_id(g) FROM "
                             "generate_series(1, 20) g)); UPDATE inbox.claimed SET claimed_at = "
                             "now() - interval '31 days'";
    const struct sql_migration *sets = &sql_inbox_migrations[3];
    char before[64];

    (void)state;
    run_files(false);
    for (const struct sql_migration *m = sql_inbox_migrations; m < sets; m++)
        run_file(m, true);
    (void)snprintf(before, sizeof before, "%s", schema_digest());
    pg_exec(owner, make, "old");
    run_file(sets, true);
    assert_string_not_equal(schema_digest(), before);
    assert_int_equal(pg_int(owner, "SELECT inbox.purge(NULL, 100)"), 20);
    pg_exec(owner, make, "down");
    run_file(sets, false);
    assert_string_equal(schema_digest(), before);
    assert_int_equal(pg_int(owner, "SELECT inbox.version()"), 1003);
    assert_int_equal(pg_int(owner, "SELECT inbox.purge(NULL, 100)"), 20);
    pg_exec(owner, make, "up");
    run_file(sets, false); /* nothing to do */
    run_file(sets, true);
    assert_int_equal(pg_int(owner, "SELECT inbox.purge(NULL, 100)"), 20);
    assert_int_equal(pg_int(owner, "SELECT inbox.purge(NULL, 100)"), 0);
}

static void test_foreign_table_is_left_alone(void **state)
{
    char path[PATH_SIZE];
    char log[PATH_SIZE];

    (void)state;
    run_files(false);
    pg_exec(owner, "CREATE SCHEMA inbox AUTHORIZATION inbox_owner");
    pg_exec(owner, "CREATE TABLE inbox.consumer (id uuid)");
    path_join(path, source_root(), "sql/inbox/1001_inbox.up.sql");
    path_join(log, tmp_root(), "foreign.log");
    assert_int_not_equal(pg_psql(&server, "postgres", path, NULL, log), 0);
    assert_true(file_holds(log, "that outboxd did not make"));
    pg_exec(owner, "DROP SCHEMA inbox CASCADE");
    run_files(true);
}

/* ---- roles, dump ---- */

static void test_consumer_may_only_call(void **state)
{
    static const char *const denied[] = {
        "SELECT * FROM inbox.claimed",
        "INSERT INTO inbox.claimed VALUES ('c', gen_random_uuid(), now())",
        "DELETE FROM inbox.claimed",
        "TRUNCATE inbox.claimed",
        "SELECT * FROM inbox.state",
        "SELECT * FROM inbox.failure",
        "SELECT * FROM inbox.consumer",
        "SELECT * FROM inbox.migration",
        "SELECT inbox.set_window('c', '1 day')",
        "SELECT inbox.horizon('c')",
        "SELECT inbox.check_consumer('c')",
        "SELECT inbox.purge_consumer('c', NULL, 1)",
        "SELECT * FROM inbox.claimed_set",
        "DELETE FROM inbox.claimed_set",
        "CREATE TABLE inbox.mine (x int)",
    };
    PGconn *a = pg_open(&server, "consumer");
    PGconn *stranger;
    char message[PG_MESSAGE];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(denied); i++)
        CHECK(strcmp(pg_expect_error(a, message, "%s", denied[i]), "42501") == 0, "%s: %s",
              denied[i], message);
    assert_true(claim(a, "roles", 1));
    assert_string_equal(claim_set(a, "roles", "{1,2}"), "{f,t}");
    assert_int_equal(pg_int(a, "SELECT inbox.version()"), 1000 + sql_inbox_migration_count);
    assert_int_equal(pg_int(a, "SELECT inbox.purge()"), 0);
    pg_exec(a, "CALL inbox.purge_all()");

    pg_exec(owner, "CREATE ROLE stranger LOGIN");
    stranger = pg_open(&server, "stranger");
    assert_string_equal(
        pg_expect_error(stranger, message, "SELECT inbox.claim('c', gen_random_uuid())"), "42501");
    PQfinish(stranger);
    /* the functions do not fall for somebody's own operators and tables */
    pg_exec(owner,
            "CREATE SCHEMA trap AUTHORIZATION consumer; GRANT USAGE ON SCHEMA trap TO PUBLIC");
    pg_exec(a, "CREATE FUNCTION trap.lt(timestamptz, timestamptz) RETURNS boolean LANGUAGE sql AS "
               "'SELECT true'; CREATE OPERATOR trap.< (LEFTARG = timestamptz, RIGHTARG = "
               "timestamptz, FUNCTION = trap.lt); CREATE OPERATOR trap.<= (LEFTARG = timestamptz, "
               "RIGHTARG = timestamptz, FUNCTION = trap.lt); SET search_path = trap, pg_catalog");
    pg_exec(a, "SELECT inbox.claim('roles', gen_random_uuid(), now())");
    PQfinish(a);
}

static void test_dump_and_restore(void **state)
{
    char file[PATH_SIZE];
    char port[16];
    const char *const dump[] = {"pg_dump", "-h",    server.dir, "-p", port,       "-U", "postgres",
                                "-n",      "inbox", "-f",       file, "postgres", NULL};
    const char *const load[] = {"psql",     "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h",
                                server.dir, "-p", port, "-U", "postgres",        "-d",
                                "restored", "-f", file, NULL};
    PGconn *there;
    struct pg_url url;

    (void)state;
    (void)snprintf(port, sizeof port, "%d", server.port);
    path_join(file, tmp_root(), "inbox.dump");
    assert_true(claim(owner, "dumped", 1));
    pg_exec(owner, "SELECT inbox.set_window('dumped', '2 days')");
    assert_int_equal(proc_run(dump, NULL, 60000), 0);
    pg_exec(owner, "CREATE DATABASE restored");
    assert_int_equal(proc_run(load, NULL, 60000), 0);
    url = pg_url(&server, "consumer", "restored");
    there = PQconnectdb(url.text);
    assert_int_equal(PQstatus(there), CONNECTION_OK);
    assert_false(claim(there, "dumped", 1));
    assert_true(claim(there, "dumped", 2));
    assert_string_equal(pg_expect_error(there, NULL,
                                        "SELECT inbox.claim('dumped', '%s', now() - interval '3 "
                                        "days')",
                                        id_of(3).text),
                        "IB003");
    PQfinish(there);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_embedded_texts_are_the_files),
        cmocka_unit_test(test_twice_without_harm),
        cmocka_unit_test(test_down_and_up_again),
        cmocka_unit_test(test_sets_down_and_up),
        cmocka_unit_test(test_foreign_table_is_left_alone),
        cmocka_unit_test(test_consumer_may_only_call),
        cmocka_unit_test(test_dump_and_restore),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
