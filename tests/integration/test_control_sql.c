/* Migration 0004 on a real Postgres: pause and resume, the count of what was published, and the
 * ways to set a position anew. The commands on top of it are in test_control.c. */
#include "commands.h"

#include "outbox/admin.h"

#include <stdlib.h>
#include <string.h>

static int start_server(void **state)
{
    (void)state;
    pg_create(&server, NULL);
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    PQfinish(db);
    pg_drop(&server);
    return 0;
}

static void fresh(const char *name)
{
    struct migrate_params p;

    new_database(name, "postgres");
    p = params_for("orders");
    apply(&p);
}

/* Each in a transaction of its own, like a service's. */
static void write_events(int count)
{
    for (int i = 0; i < count; i++)
        pg_exec(db, "SELECT outbox.publish('order', 'k', 'order.placed', '{}')");
}

static const char *position(void)
{
    return pg_scalar(db, "SELECT concat_ws('|', base, coalesce(target::text, '-'), last_id)"
                         " FROM outbox.lane WHERE relay = 'orders' AND id = 0");
}

/* What a relay would send: what is visible in target and not in base, behind last_id; then what is
 * not visible in target. */
static const char *due(void)
{
    return pg_scalar(db, "SELECT coalesce(string_agg(e.id::text, ' ' ORDER BY e.id), '') FROM "
                         "outbox.event e, outbox.lane l"
                         " WHERE l.relay = 'orders' AND NOT pg_visible_in_snapshot(e.xid, l.base)"
                         " AND NOT (coalesce(pg_visible_in_snapshot(e.xid, l.target), false) AND "
                         "e.id <= l.last_id)");
}

/* ---- the migration */

static void test_going_there_and_back(void **state)
{
    struct migrate_params p;
    struct err err;
    char file[PATH_SIZE];
    char log[PATH_SIZE];
    PGconn *reader;

    (void)state;
    fresh("back");
    write_events(2);
    p = params_for("orders");
    assert_ok(migrate_down(&p, 3, &err), &err);
    assert_int_equal(pg_int(db, "SELECT count(*) FROM pg_attribute WHERE attname IN ('paused_at',"
                                " 'paused_by', 'pause_reason', 'published') AND NOT attisdropped"),
                     0);
    assert_int_equal(pg_int(db, "SELECT max(version) FROM outbox.migration"), 3);
    apply(&p);
    assert_int_equal(pg_int(db, "SELECT published FROM outbox.lane"), 0);
    assert_int_equal(pg_int(db, "SELECT (paused_at IS NULL)::integer FROM outbox.relay"), 1);

    /* run again, it waits for nobody: not even for whoever reads the relays' tables */
    reader = PQconnectdb(url.text);
    pg_exec(reader, "BEGIN; SELECT * FROM outbox.relay, outbox.lane");
    path_join(file, source_root(), "sql/outbox/0004_control.up.sql");
    path_join(log, tmp_root(), "again.log");
    const char *argv[] = {"psql",
                          "-X",
                          "-q",
                          "-v",
                          "ON_ERROR_STOP=1",
                          "-d",
                          url.text,
                          "-c",
                          "SET lock_timeout = '1ms'",
                          "-f",
                          file,
                          NULL};
    assert_int_equal(proc_run(argv, log, 30000), 0);
    PQfinish(reader);
}

/* Nobody who writes events has to do with the tables that it alters. */
static void test_writers_do_not_feel_it(void **state)
{
    struct migrate_params p;
    struct err err;
    PGconn *writer;

    (void)state;
    fresh("writers");
    p = params_for("orders");
    assert_ok(migrate_down(&p, 3, &err), &err);
    writer = PQconnectdb(url.text);
    pg_exec(writer, "BEGIN; SELECT outbox.publish('a', 'b', 'c', '{}')");
    p.wait_ms = 300;
    p.days_ahead = 0;
    apply(&p);
    pg_exec(writer, "SELECT outbox.publish('a', 'b', 'c', '{}'); COMMIT");
    PQfinish(writer);
}

/* ---- pause and resume */

static void test_pause_and_resume(void **state)
{
    PGconn *relay;
    PGconn *writer;

    (void)state;
    fresh("pause");
    pg_exec(db, "DO $$ BEGIN CREATE ROLE somebody LOGIN IN ROLE outbox_relay; CREATE ROLE service "
                "LOGIN IN ROLE "
                "outbox_writer; EXCEPTION WHEN duplicate_object THEN END $$");
    relay = PQconnectdb(pg_url(&server, "somebody", "pause").text);
    writer = PQconnectdb(pg_url(&server, "service", "pause").text);
    assert_string_equal(pg_scalar(relay, "SELECT outbox.pause('orders', 'kafka is upgraded')"),
                        "t");
    assert_string_equal(
        pg_scalar(relay,
                  "SELECT concat_ws('|', paused_by, pause_reason, paused_at > now() - interval "
                  "'1 minute', epoch) FROM outbox.relay"),
        "somebody|kafka is upgraded|t|0");
    assert_string_equal(pg_scalar(relay, "SELECT outbox.pause('orders', 'again', 'me')"), "f");
    assert_string_equal(pg_scalar(db, "SELECT pause_reason FROM outbox.relay"),
                        "kafka is upgraded");
    assert_string_equal(pg_scalar(relay, "SELECT outbox.resume('orders')"), "t");
    assert_string_equal(pg_scalar(relay, "SELECT outbox.resume('orders')"), "f");
    assert_string_equal(
        pg_scalar(db, "SELECT concat(paused_at, paused_by, pause_reason) FROM outbox.relay"), "");
    assert_string_equal(pg_scalar(relay, "SELECT outbox.pause('orders', '', 'me@here')"), "t");
    assert_string_equal(
        pg_scalar(db, "SELECT paused_by || coalesce(pause_reason, '-') FROM outbox.relay"),
        "me@here-");
    assert_string_equal(pg_expect_error(relay, NULL, "SELECT outbox.pause('order')"), "P0002");
    assert_string_equal(pg_expect_error(relay, NULL, "SELECT outbox.resume('order')"), "P0002");
    assert_string_equal(pg_expect_error(writer, NULL, "SELECT outbox.pause('orders')"), "42501");
    assert_string_equal(pg_expect_error(writer, NULL, "SELECT outbox.resume('orders')"), "42501");
    PQfinish(writer);
    PQfinish(relay);
}

/* It must outlive a crash of the server, whatever the session thinks of commits. */
static void test_a_pause_is_on_disk(void **state)
{
    (void)state;
    fresh("disk");
    pg_exec(db, "SET synchronous_commit = off");
    pg_exec(db, "BEGIN; SELECT outbox.pause('orders')");
    assert_string_equal(pg_scalar(db, "SHOW synchronous_commit"), "on");
    pg_exec(db, "COMMIT; BEGIN; SELECT outbox.resume('orders')");
    assert_string_equal(pg_scalar(db, "SHOW synchronous_commit"), "on");
    pg_exec(db, "COMMIT");
}

/* ---- rebase */

static void test_rebase_to_an_id(void **state)
{
    PGconn *late;

    (void)state;
    fresh("id");
    late = PQconnectdb(url.text);
    pg_exec(
        late,
        "BEGIN; SELECT outbox.publish('order', 'k', 'late', '{}')"); /* id 1, commits at the end */
    write_events(5);                                                 /* 2 to 6 */
    pg_exec(db, "SELECT outbox.rebase('orders', 'now')");
    assert_string_equal(due(), "");
    assert_int_equal(pg_int(db, "SELECT new_epoch FROM outbox.rebase('orders', 4)"), 2);
    assert_string_equal(due(), "4 5 6");
    pg_exec(late, "COMMIT");
    write_events(1);
    assert_string_equal(due(), "1 4 5 6 7"); /* what commits later comes, whatever its id */
    pg_exec(db, "SELECT outbox.rebase('orders', 7)");
    assert_string_equal(due(), "7");
    pg_exec(db, "SELECT outbox.rebase('orders', 0)");
    assert_string_equal(due(), "1 2 3 4 5 6 7");
    assert_string_equal(pg_expect_error(db, NULL, "SELECT outbox.rebase('orders', 8)"), "22023");
    assert_string_equal(pg_expect_error(db, NULL, "SELECT outbox.rebase('orders', NULL::bigint)"),
                        "22023");
    assert_string_equal(pg_expect_error(db, NULL, "SELECT outbox.rebase('other', 3)"), "P0002");
    assert_string_equal(due(), "1 2 3 4 5 6 7");
    PQfinish(late);
}

static void test_rebase_to_a_time(void **state)
{
    (void)state;
    fresh("time");
    write_events(6);
    pg_exec(db, "UPDATE outbox.event SET created_at = '2026-01-31 12:00Z'::timestamptz + id * "
                "interval '1 hour'");
    pg_exec(db,
            "UPDATE outbox.event SET created_at = '2026-01-31 12:30Z' WHERE id = 6"); /* a clock was
                                                                                         set back */
    pg_exec(db, "SELECT outbox.rebase('orders', '2026-01-31T15:00:00Z'::timestamptz)");
    assert_string_equal(due(), "3 4 5 6");
    pg_exec(db, "SELECT outbox.rebase('orders', '2026-01-31T17:30:00+01:00'::timestamptz)");
    assert_string_equal(due(), "5 6");
    pg_exec(db, "SELECT outbox.rebase('orders', '-infinity'::timestamptz)");
    assert_string_equal(due(), "1 2 3 4 5 6");
    assert_string_equal(
        pg_expect_error(db, NULL, "SELECT outbox.rebase('orders', '2026-02-01'::timestamptz)"),
        "22023");
    pg_exec(db, "DELETE FROM outbox.event");
    assert_string_equal(
        pg_expect_error(db, NULL, "SELECT outbox.rebase('orders', '2026-01-01'::timestamptz)"),
        "22023");
    assert_string_equal(pg_expect_error(db, NULL, "SELECT outbox.rebase('orders', 1)"), "22023");
}

/* Days that are over by then are not looked at. */
static void test_a_time_is_found_by_its_day(void **state)
{
    char *plan;
    PGresult *rows;
    struct str text = {0};

    (void)state;
    fresh("plan");
    for (int day = -6; day < 0; day++)
        pg_exec(db, "SELECT outbox.make_day((now() AT TIME ZONE 'UTC')::date + %d)", day);
    pg_exec(db, "INSERT INTO outbox.event (aggregate_type, aggregate_id, event_type, created_at) "
                "SELECT 'a', 'b', 'c',"
                " now() - n * interval '1 second' FROM generate_series(518000, 1, -40) n");
    pg_exec(db, "SET enable_seqscan = off; SET enable_bitmapscan = off");
    rows = pg_query(db, "EXPLAIN (COSTS off) SELECT min(e.id) FROM outbox.event e"
                        " WHERE e.created_at >= now() - interval '2 days'");
    for (int i = 0; i < PQntuples(rows); i++)
        str_printf(&text, "%s\n", PQgetvalue(rows, i, 0));
    PQclear(rows);
    plan = text.data;
    assert_lacks(plan, "Seq Scan");
    assert_contains(plan, "Index Scan");
    assert_int_equal(
        pg_int(db, "SELECT (outbox.first_id_since(now() - interval '2 days') = (SELECT min(id) FROM"
                   " outbox.event WHERE created_at >= now() - interval '2 days'))::integer"),
        1);
    str_release(&text);
}

static void test_rebase_keep(void **state)
{
    const char *was;

    (void)state;
    fresh("keep");
    write_events(3);
    pg_exec(db, "SELECT outbox.rebase('orders', 2)");
    was = position();
    /* as pg_upgrade leaves it: the same transaction ids under another identifier */
    pg_exec(db, "UPDATE outbox.relay SET system_identifier = 42, epoch = 7");
    assert_string_equal(pg_scalar(db, "SELECT concat_ws('|', old_system_identifier, new_epoch) FROM"
                                      " outbox.rebase_keep('orders')"),
                        "42|8");
    assert_string_equal(position(), was);
    assert_int_equal(pg_int(db, "SELECT count(*) FROM outbox.relay r, pg_control_system() c WHERE"
                                " r.system_identifier = c.system_identifier"),
                     1);
    assert_int_equal(pg_int(db, "SELECT new_epoch FROM outbox.rebase_keep('orders')"),
                     8); /* nothing to do */
    pg_exec(db, "UPDATE outbox.lane SET base = '999999999:999999999:'");
    assert_string_equal(pg_expect_error(db, NULL, "SELECT outbox.rebase_keep('orders')"), "22023");
    assert_string_equal(pg_expect_error(db, NULL, "SELECT outbox.rebase_keep('other')"), "P0002");
}

/* Restored events carry the transaction ids of another life: such a position must not be kept. */
static void test_keep_refuses_a_restored_dump(void **state)
{
    char message[PG_MESSAGE];

    (void)state;
    fresh("restored");
    write_events(4);
    pg_exec(
        db,
        "BEGIN; SAVEPOINT a; SELECT outbox.publish('a', 'b', 'c', '{}'); RELEASE a; SAVEPOINT b;"
        " SELECT outbox.publish('a', 'b', 'c', '{}'); COMMIT"); /* savepoints are no dump */
    pg_exec(db, "SELECT outbox.rebase('orders', 'now')");
    pg_exec(db, "UPDATE outbox.relay SET system_identifier = 42");
    pg_exec(db, "BEGIN; SELECT outbox.rebase_keep('orders'); ROLLBACK");
    pg_exec(db, "BEGIN; CREATE TEMP TABLE dump ON COMMIT DROP AS SELECT * FROM outbox.event; "
                "DELETE FROM outbox.event;"
                " INSERT INTO outbox.event OVERRIDING SYSTEM VALUE SELECT * FROM dump; COMMIT");
    assert_string_equal(pg_expect_error(db, message, "SELECT outbox.rebase_keep('orders')"),
                        "22023");
    assert_contains(message, "from a dump");
    assert_int_equal(pg_int(db, "SELECT system_identifier FROM outbox.relay"), 42);
}

/* ---- what a move would do */

static struct admin_rebase_look look_at(const char *to)
{
    struct admin_rebase_look look;
    struct err err;

    assert_ok(
        admin_rebase_look(&(struct command_server){.url = url.text}, "orders", to, &look, &err),
        &err);
    admin_rebase_look_release(&look);
    return look;
}

static void expect_look(const char *to, int64_t first, int64_t repeated, int64_t skipped)
{
    struct admin_rebase_look look = look_at(to);

    CHECK(look.first_id == first && look.repeated == repeated && look.skipped == skipped,
          "%s: first %lld, repeated %lld, skipped %lld", to, (long long)look.first_id,
          (long long)look.repeated, (long long)look.skipped);
}

static void expect_refused(const char *to, const char *part)
{
    struct admin_rebase_look look;
    struct err err;

    assert_int_equal(
        admin_rebase_look(&(struct command_server){.url = url.text}, "orders", to, &look, &err),
        -1);
    assert_int_equal(err.kind, ERR_USAGE);
    assert_contains(err.text, part);
    admin_rebase_look_release(&look);
}

static void test_what_a_move_would_do(void **state)
{
    (void)state;
    fresh("look");
    expect_look("beginning", 0, 0, 0);
    expect_look("now", 0, 0, 0);
    write_events(10);
    expect_look("now", 0, 0, 10);
    expect_look("beginning", 1, 0, 0);
    expect_look("7", 7, 0, 6);
    pg_exec(db,
            "UPDATE outbox.lane SET target = pg_current_snapshot(), last_id = 4"); /* 1 to 4 are
                                                                                      published */
    assert_int_equal(look_at("now").unsent_id, 5);
    expect_look("beginning", 1, 4, 0);
    expect_look("now", 0, 0, 6);
    expect_look("3", 3, 2, 0);
    expect_look("5", 5, 0, 0);
    expect_look("8", 8, 0, 3);
    expect_look("2026-01-31T12:00:00Z", 1, 4, 0);
    pg_exec(db, "UPDATE outbox.lane SET base = pg_current_snapshot(), target = NULL, last_id = 0");
    assert_int_equal(look_at("now").unsent_id, 0);
    expect_look("beginning", 1, 10, 0);
    expect_look("now", 0, 0, 0);
    write_events(2);
    expect_look("10", 10, 1, 0);
    expect_look("12", 12, 0, 1);
    pg_exec(db, "DELETE FROM outbox.event WHERE id < 6"); /* the oldest days are gone */
    expect_look("2", 6, 5, 0);
    expect_refused("13", "12");
    expect_refused("2200-01-01", "12");
    expect_refused("9x", "9x");
}

/* A backlog is not counted to its end, however it came about. */
static void test_looks_at_a_backlog_are_bounded(void **state)
{
    struct admin_rebase_look look;
    PGconn *open;

    (void)state;
    fresh("backlog");
    write_events(100);
    pg_exec(db, "UPDATE outbox.lane SET base = pg_current_snapshot()");
    open = PQconnectdb(url.text);
    pg_exec(open, "BEGIN; SELECT outbox.publish('order', 'k', 'late', '{}')"); /* id 101 */
    pg_exec(db, "INSERT INTO outbox.event (aggregate_type, aggregate_id, event_type) SELECT 'a', "
                "'b', 'c' FROM"
                " generate_series(1, 40000)");
    look = look_at("now");
    assert_int_equal(look.unsent_id, 102);
    assert_true(look.skipped_estimated);
    assert_int_equal(look.skipped, 40000);
    look = look_at("50");
    assert_int_equal(look.repeated, 51);
    assert_false(look.repeated_estimated);
    pg_exec(
        db,
        "UPDATE outbox.lane SET target = pg_current_snapshot(), last_id = 30101"); /* in the middle
                                                                                      of it */
    assert_int_equal(look_at("now").unsent_id, 30102);
    pg_exec(open, "COMMIT");
    assert_int_equal(look_at("now").unsent_id, 101);
    PQfinish(open);
}

/* ---- places */

static void test_places(void **state)
{
    struct admin_place_text p;

    (void)state;
    assert_true(admin_parse_place("beginning", &p) && p.place == PLACE_BEGINNING);
    assert_true(admin_parse_place("now", &p) && p.place == PLACE_NOW);
    assert_true(admin_parse_place("0", &p) && p.place == PLACE_ID && p.id == 0);
    assert_true(admin_parse_place("9223372036854775807", &p) && p.id == INT64_MAX);
    assert_false(admin_parse_place("9223372036854775808", &p));
    assert_false(admin_parse_place("-1", &p));
    assert_false(admin_parse_place("", &p));
    assert_false(admin_parse_place("Now", &p));
    assert_true(admin_parse_place("2026-01-31T12:00:00Z", &p) && p.place == PLACE_TIME);
    assert_true(p.time_us == INT64_C(1769860800000000));
    assert_false(admin_parse_place("2026-02-30T12:00:00Z", &p));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_going_there_and_back),
        cmocka_unit_test(test_writers_do_not_feel_it),
        cmocka_unit_test(test_pause_and_resume),
        cmocka_unit_test(test_a_pause_is_on_disk),
        cmocka_unit_test(test_rebase_to_an_id),
        cmocka_unit_test(test_rebase_to_a_time),
        cmocka_unit_test(test_a_time_is_found_by_its_day),
        cmocka_unit_test(test_rebase_keep),
        cmocka_unit_test(test_keep_refuses_a_restored_dump),
        cmocka_unit_test(test_what_a_move_would_do),
        cmocka_unit_test(test_looks_at_a_backlog_are_bounded),
        cmocka_unit_test(test_places),
    };

    cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests_name("control, the SQL", tests, start_server, stop_server);
}
