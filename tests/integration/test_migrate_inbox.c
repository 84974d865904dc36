/* `outboxd migrate --inbox` on a real Postgres: again, several at once, down, printed, refused; and
 * the schema outbox beside it. */
#include "migrate_case.h"

#include "../support/outboxd.h"

#include "outbox/sql_texts.h"

#include <stdio.h>
#include <stdlib.h>

static struct migrate_params inbox_params(void)
{
    return (struct migrate_params){.server = {.url = url.text}, .inbox = true, .wait_ms = 5000};
}

/* Runs first: no roles of the inbox exist yet. */
static void test_plain_roles(void **state)
{
    struct migrate_params p = inbox_params();
    struct err err;

    (void)state;
    new_database("plain", "nobody");
    url = pg_url(&server, "nobody", "plain");
    assert_fails(migrate_apply(&p, &err), &err, ERR_CONFIG, "CREATE ROLE inbox_owner NOLOGIN");

    new_database("made", "maker"); /* may create roles, owns its database: no superuser needed */
    url = pg_url(&server, "maker", "made");
    apply(&p);
    assert_int_equal(pg_int(db, "SELECT count(*) FROM pg_class WHERE relnamespace = "
                                "'inbox'::regnamespace AND relowner <> 'inbox_owner'::regrole"),
                     0);
    apply(&p);

    url = pg_url(&server, "nobody", "made");
    assert_fails(migrate_apply(&p, &err), &err, ERR_CONFIG, "member of inbox_owner");
    url = pg_url(&server, "nobody", "plain");
    assert_fails(migrate_apply(&p, &err), &err, ERR_CONFIG, "GRANT inbox_owner TO nobody");
}

static void test_beside_the_outbox(void **state)
{
    struct migrate_params inbox = inbox_params();
    struct migrate_params outbox;
    struct migrate_entry entries[16];
    struct err err;
    char log[PATH_SIZE];
    size_t count;

    (void)state;
    new_database("beside", "postgres");
    outbox = params_for("orders");
    path_join(log, tmp_root(), "beside.log");
    inbox.out = fopen(log, "w");
    assert_non_null(inbox.out);
    apply(&inbox);
    assert_null(pg_scalar(db, "SELECT to_regnamespace('outbox')"));
    assert_true(file_holds(log, "1001 inbox: applied\n"));
    assert_false(file_holds(log, "relay"));
    apply(&outbox);
    apply(&inbox);
    assert_true(file_holds(log, "1001 inbox: applied already\n"));
    (void)fclose(inbox.out);
    inbox.out = NULL;

    assert_ok(migrate_list(&outbox.server, entries, ARRAY_LEN(entries), &count, &err), &err);
    assert_int_equal(count, sql_migration_count); /* the outbox's own, none of 1001 */
    assert_int_equal(pg_int(db, "SELECT inbox.version()"),
                     sql_inbox_migrations[sql_inbox_migration_count - 1].version);

    inbox.drop_events = true;
    assert_ok(migrate_down(&inbox, 0, &err), &err);
    assert_null(pg_scalar(db, "SELECT to_regnamespace('inbox')"));
    assert_int_equal(pg_int(db, "SELECT count(*) FROM outbox.relay"), 1);
}

static void test_down(void **state)
{
    struct migrate_params p = inbox_params();
    struct err err;

    (void)state;
    new_database("down", "postgres");
    apply(&p);
    pg_exec(db, "SELECT inbox.claim('billing', gen_random_uuid())");
    assert_fails(migrate_down(&p, 0, &err), &err, ERR_USAGE, "--yes");
    assert_fails(migrate_down(&p, 1000, &err), &err, ERR_USAGE, "no version 1000");
    assert_fails(migrate_down(&p, 1, &err), &err, ERR_USAGE, "no version 1");
    assert_ok(migrate_down(&p, 1001, &err), &err);
    assert_int_equal(pg_int(db, "SELECT count(*) FROM inbox.claimed"), 1);

    p.drop_events = true;
    pg_exec(db, "CREATE VIEW mine AS SELECT * FROM inbox.claimed");
    assert_fails(migrate_down(&p, 0, &err), &err, ERR_CONFIG, "view mine");
    assert_int_equal(pg_int(db, "SELECT count(*) FROM mine"), 1);
}

static void test_down_and_up_again(void **state)
{
    struct migrate_params p = inbox_params();
    struct err err;

    (void)state;
    new_database("again", "postgres");
    apply(&p);
    pg_exec(db, "SELECT inbox.claim('billing', gen_random_uuid())");
    p.drop_events = true;
    assert_ok(migrate_down(&p, 0, &err), &err);
    assert_null(pg_scalar(db, "SELECT to_regnamespace('inbox')"));
    assert_ok(migrate_down(&p, 0, &err), &err);
    assert_int_equal(pg_int(db, "SELECT count(*) FROM pg_roles WHERE rolname IN "
                                "('inbox_owner', 'inbox_consumer')"),
                     2);
    p.drop_events = false;
    apply(&p);
    assert_ok(migrate_down(&p, 0, &err), &err); /* no claims: nothing to ask */
    apply(&p);

    pg_exec(db, "INSERT INTO inbox.migration (version, name) VALUES (1099, 'future')");
    assert_fails(migrate_apply(&p, &err), &err, ERR_CONFIG, "has version 1099");
    assert_int_equal(err.problem, PROBLEM_SCHEMA_NEWER);
    assert_fails(migrate_down(&p, 0, &err), &err, ERR_CONFIG, "has version 1099");
}

static void test_several_at_once(void **state)
{
    struct migrate_params p = inbox_params();

    (void)state;
    new_database("atonce", "postgres");
    apply_at_once(&p);
    assert_int_equal(pg_int(db, "SELECT count(*) FROM inbox.migration"), sql_inbox_migration_count);
}

/* The program itself: it wants no configuration, and what it prints is what psql can run. */
static void test_program(void **state)
{
    char file[PATH_SIZE];
    char log[PATH_SIZE];
    const char *program = outboxd_binary();
    const char *const print[] = {program, "migrate", "--inbox", "--print", NULL};
    const char *const psql[] = {"psql",   "-X", "-q", "-v", "ON_ERROR_STOP=1", "-1", "-d",
                                url.text, "-f", file, NULL};
    const char *const down[] = {program,  "migrate", "--inbox", "--url",
                                url.text, "--down",  "0",       NULL};

    (void)state;
    new_database("printed", "postgres");
    path_join(file, tmp_root(), "printed.sql");
    path_join(log, tmp_root(), "printed.log");
    assert_int_equal(proc_run(print, file, 30000), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(proc_run(psql, log, 30000), 0);
    assert_int_equal(pg_int(db, "SELECT inbox.version()"),
                     sql_inbox_migrations[sql_inbox_migration_count - 1].version);
    pg_exec(db, "SELECT inbox.claim('billing', gen_random_uuid())");
    assert_int_equal(proc_run(down, log, 30000), 64); /* it would forget a claim */
    pg_exec(db, "DELETE FROM inbox.claimed");
    assert_int_equal(proc_run(down, log, 30000), 0);
    assert_true(file_holds(log, "1001 inbox: taken back"));
    assert_null(pg_scalar(db, "SELECT to_regnamespace('inbox')"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_roles),
        cmocka_unit_test(test_beside_the_outbox),
        cmocka_unit_test(test_down),
        cmocka_unit_test(test_down_and_up_again),
        cmocka_unit_test(test_several_at_once),
        cmocka_unit_test(test_program),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
