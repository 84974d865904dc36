/* `outboxd migrate` on a real Postgres: again, several at once, down, printed, refused. */
#include "migrate_case.h"

#include "outbox/sql_texts.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- migrate ---- */

/* Runs first: no outbox roles exist yet. */
static void test_plain_roles(void **state)
{
    struct migrate_params p;
    struct err err;

    (void)state;
    new_database("plain", "nobody");
    p = params_for("orders");
    url = pg_url(&server, "nobody", "plain");
    assert_fails(migrate_apply(&p, &err), &err, ERR_CONFIG, "CREATE ROLE outbox_owner NOLOGIN");

    new_database("made", "maker"); /* may create roles, owns its database: no superuser needed */
    url = pg_url(&server, "maker", "made");
    apply(&p);
    assert_int_equal(pg_int(db, "SELECT count(*) FROM outbox.relay"), 1);
    assert_int_equal(pg_int(db, "SELECT count(*) FROM pg_class WHERE relnamespace = "
                                "'outbox'::regnamespace AND relowner <> 'outbox_owner'::regrole"),
                     0);
    apply(&p);

    /* somebody who is not the owner, on a schema that is there, and on one that is not */
    url = pg_url(&server, "nobody", "made");
    assert_fails(migrate_apply(&p, &err), &err, ERR_CONFIG, "member of outbox_owner");
    url = pg_url(&server, "nobody", "plain");
    assert_fails(migrate_apply(&p, &err), &err, ERR_CONFIG, "GRANT outbox_owner TO nobody");
}

static void test_apply_and_again(void **state)
{
    struct migrate_entry entries[8];
    struct migrate_params p;
    struct err err;
    char log[PATH_SIZE];
    size_t count;

    (void)state;
    new_database("again", "postgres");
    p = params_for("orders");
    assert_ok(migrate_list(&p.server, entries, ARRAY_LEN(entries), &count, &err), &err);
    assert_int_equal(count, sql_migration_count);
    assert_string_equal(entries[0].applied_at, "");

    path_join(log, tmp_root(), "again.log");
    p.out = fopen(log, "w");
    assert_non_null(p.out);
    apply(&p);
    assert_true(file_holds(log, "0001 base: applied\n0002 doorbell: applied\n"
                                "0003 retention: applied\n0004 control: applied\n"
                                "0005 lanes: applied\n"));
    assert_true(file_holds(log, "relay orders: made, starts at beginning"));
    apply(&p);
    assert_true(file_holds(log, "0001 base: applied already"));
    (void)fclose(p.out);
    p.out = NULL;

    assert_ok(migrate_list(&p.server, entries, ARRAY_LEN(entries), &count, &err), &err);
    assert_int_equal(count, sql_migration_count);
    assert_int_equal(entries[1].version, 2);
    assert_string_equal(entries[1].name, "doorbell");
    assert_int_equal(strlen(entries[1].applied_at), strlen("2026-01-02T03:04:05Z"));
    assert_int_equal(pg_int(db, "SELECT count(*) FROM outbox.lane WHERE base::text = '1:1:'"), 1);

    /* a database that is ahead of us is left alone, and listed */
    pg_exec(db, "INSERT INTO outbox.migration (version, name) VALUES (99, 'future')");
    assert_fails(migrate_apply(&p, &err), &err, ERR_CONFIG, "has version 99");
    assert_fails(migrate_down(&p, 0, &err), &err, ERR_CONFIG, "has version 99");
    assert_ok(migrate_list(&p.server, entries, ARRAY_LEN(entries), &count, &err), &err);
    assert_int_equal(entries[count - 1].version, 99);
    assert_ok(migrate_list(&p.server, entries, 2, &count, &err), &err);
    assert_int_equal(count, 2);
}

static void test_without_doorbell_then_with(void **state)
{
    struct migrate_params p;
    struct err err;

    (void)state;
    new_database("bells", "postgres");
    p = params_for(NULL);
    p.doorbell = false;
    apply(&p);
    assert_int_equal(pg_int(db, "SELECT count(*) FROM pg_trigger WHERE tgname = 'event_ring'"), 0);
    assert_int_equal(pg_int(db, "SELECT count(*) FROM outbox.migration WHERE version = 2"), 0);
    assert_int_equal(pg_int(db, "SELECT count(*) FROM outbox.relay"), 0);
    p.bells = 2;
    assert_fails(migrate_apply(&p, &err), &err, ERR_USAGE, "doorbell");
    p.doorbell = true;
    apply(&p);
    assert_int_equal(pg_int(db, "SELECT tgnargs FROM pg_trigger WHERE tgname = 'event_ring'"), 2);
    p.bells = 0; /* leaves them */
    apply(&p);
    assert_int_equal(pg_int(db, "SELECT tgnargs FROM pg_trigger WHERE tgname = 'event_ring'"), 2);
}

static void test_two_at_once(void **state)
{
    struct migrate_params p;

    (void)state;
    new_database("atonce", "postgres");
    p = params_for("orders");
    apply_at_once(&p);
    assert_int_equal(pg_int(db, "SELECT count(*) FROM outbox.migration"), sql_migration_count);
    assert_int_equal(pg_int(db, "SELECT count(*) FROM outbox.relay"), 1);
}

static void test_waits_are_bounded(void **state)
{
    struct migrate_params p;
    struct err err;
    PGconn *writer;

    (void)state;
    new_database("waits", "postgres");
    p = params_for("orders");
    p.wait_ms = 300;
    pg_exec(db, "SELECT pg_advisory_lock(1868722040, -1)");
    assert_fails(migrate_apply(&p, &err), &err, ERR_TEMPFAIL, "another migrate");
    pg_exec(db, "SELECT pg_advisory_unlock(1868722040, -1)");
    p.doorbell = false;
    apply(&p);

    /* the trigger needs the table for a moment; an open writer is in the way, and others must not
     * queue up for long */
    p.doorbell = true;
    writer = PQconnectdb(url.text);
    pg_exec(writer, "BEGIN; SELECT outbox.publish('a', 'b', 'c', '{}')");
    assert_fails(migrate_apply(&p, &err), &err, ERR_TEMPFAIL, "open transactions");
    assert_int_equal(pg_int(db, "SELECT count(*) FROM outbox.migration WHERE version = 2"), 0);
    pg_exec(writer, "COMMIT");
    apply(&p);
    assert_int_equal(pg_int(db, "SELECT count(*) FROM outbox.migration WHERE version = 2"), 1);
    PQfinish(writer);
}

static void test_where_a_new_relay_starts(void **state)
{
    struct migrate_params p;
    struct err err;

    (void)state;
    new_database("starts", "postgres");
    p = params_for(NULL);
    apply(&p);
    p.relay = "first"; /* the table is older, but nobody has used it */
    apply(&p);
    p.relay = "second";
    assert_fails(migrate_apply(&p, &err), &err, ERR_USAGE, "--start beginning");
    assert_int_equal(pg_int(db, "SELECT count(*) FROM outbox.relay"), 1);
    p.start = "now";
    apply(&p);
    p.start = "later";
    assert_fails(migrate_apply(&p, &err), &err, ERR_USAGE, "later");
    p.start = NULL;
    apply(&p); /* it exists: nothing to ask */
    assert_int_equal(pg_int(db, "SELECT count(*) FROM outbox.lane WHERE relay = 'second' AND "
                                "base::text <> '1:1:'"),
                     1);

    pg_exec(db, "DELETE FROM outbox.relay");
    pg_exec(db, "SELECT outbox.publish('a', 'b', 'c', '{}')");
    p.relay = "third"; /* rows, but no relay */
    assert_fails(migrate_apply(&p, &err), &err, ERR_USAGE, "in use already");
    p.relay = "";
    assert_fails(migrate_apply(&p, &err), &err, ERR_USAGE, "empty");
}

static void test_down(void **state)
{
    struct migrate_params p;
    struct err err;

    (void)state;
    new_database("down", "postgres");
    p = params_for("orders");
    apply(&p);
    pg_exec(db, "SELECT outbox.publish('a', 'b', 'c', '{}')");
    assert_ok(migrate_down(&p, 1, &err), &err);
    assert_int_equal(pg_int(db, "SELECT count(*) FROM pg_trigger WHERE tgname = 'event_ring'"), 0);
    assert_int_equal(pg_int(db, "SELECT count(*) FROM outbox.migration"), 1);
    assert_fails(migrate_down(&p, 0, &err), &err, ERR_USAGE, "--yes");
    assert_fails(migrate_down(&p, 7, &err), &err, ERR_USAGE, "no version 7");
    assert_int_equal(pg_int(db, "SELECT count(*) FROM outbox.event"), 1);

    p.drop_events = true;
    pg_exec(db, "CREATE VIEW mine AS SELECT * FROM outbox.event");
    assert_fails(migrate_down(&p, 0, &err), &err, ERR_CONFIG, "view mine");
    assert_int_equal(pg_int(db, "SELECT count(*) FROM mine"), 1);
    pg_exec(db, "DROP VIEW mine");
    assert_ok(migrate_down(&p, 0, &err), &err);
    assert_null(pg_scalar(db, "SELECT to_regnamespace('outbox')"));
    assert_ok(migrate_down(&p, 0, &err), &err);
    apply(&p);
}

static void test_print_is_what_psql_can_run(void **state)
{
    struct migrate_params p;
    struct err err;
    char file[PATH_SIZE];
    char log[PATH_SIZE];
    FILE *out;
    const char *argv[] = {"psql", "-X",     "-q", "-v", "ON_ERROR_STOP=1",
                          "-d",   url.text, "-f", file, NULL};

    (void)state;
    new_database("printed", "postgres");
    p = params_for("o'clock");
    p.bells = 3;
    path_join(file, tmp_root(), "printed.sql");
    path_join(log, tmp_root(), "printed.log");
    out = fopen(file, "w");
    assert_non_null(out);
    assert_ok(migrate_print(&p, out, &err), &err);
    (void)fclose(out);
    for (int i = 0; i < 2; i++)
        assert_int_equal(proc_run(argv, log, 30000), 0);
    assert_int_equal(pg_int(db, "SELECT count(*) FROM outbox.relay WHERE name = 'o''clock'"), 1);
    assert_int_equal(pg_int(db, "SELECT tgnargs FROM pg_trigger WHERE tgname = 'event_ring'"), 3);

    out = fopen("/dev/full", "w");
    assert_non_null(out);
    assert_fails(migrate_print(&p, out, &err), &err, ERR_UNAVAILABLE, "written");
    (void)fclose(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_roles),
        cmocka_unit_test(test_apply_and_again),
        cmocka_unit_test(test_without_doorbell_then_with),
        cmocka_unit_test(test_two_at_once),
        cmocka_unit_test(test_waits_are_bounded),
        cmocka_unit_test(test_where_a_new_relay_starts),
        cmocka_unit_test(test_down),
        cmocka_unit_test(test_print_is_what_psql_can_run),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
