/* What the schema does on a real Postgres: partitions of days, doorbell, relay rows. */
#include "../support/check.h"
#include "../support/pg.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

static struct pg_server server;
static PGconn *owner; /* superuser */

#define EVENT(key)                                                                                 \
    "INSERT INTO outbox.event (aggregate_type, aggregate_id, event_type, payload) "                \
    "VALUES ('order', '" key "', 'order.placed', '{}')"

static int start_server(void **state)
{
    (void)state;
    pg_create(&server, NULL);
    pg_apply_schema(&server);
    owner = pg_open(&server, NULL);
    pg_exec(owner, "SET statement_timeout = '30s'"); /* a failed test leaves its locks */
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    PQfinish(owner);
    pg_drop(&server);
    return 0;
}

/* ---- days ---- */

static const char *outcome_of(PGconn *conn, int days_ahead)
{
    return pg_scalar(conn, "SELECT outcome FROM outbox.ensure_days(%d) ORDER BY day DESC LIMIT 1",
                     days_ahead);
}

static void test_days_do_not_touch_writers(void **state)
{
    PGconn *first = pg_open(&server, "svc");
    PGconn *second = pg_open(&server, "svc");
    PGconn *relay = pg_open(&server, "relay");

    (void)state;
    pg_exec(second, "SET lock_timeout = '1ms'");
    pg_exec(first, "BEGIN");
    pg_exec(first, EVENT("first")); /* open throughout */
    pg_exec(relay, "BEGIN");
    assert_string_equal(outcome_of(relay, 10), "created");
    pg_exec(second, EVENT("second")); /* while the new day's locks are held */
    pg_exec(relay, "COMMIT");
    pg_exec(first, EVENT("first"));
    pg_exec(first, "COMMIT");
    assert_string_equal(outcome_of(relay, 10), "exists");

    /* today's rows are in today's partition, a row of the farthest day in its own */
    assert_string_equal(
        pg_scalar(owner,
                  "SELECT DISTINCT tableoid::regclass::text = 'outbox.event_' || to_char(now() "
                  "AT TIME ZONE 'UTC', 'YYYYMMDD') FROM outbox.event "
                  "WHERE aggregate_id IN ('first', 'second')"),
        "t");
    assert_string_equal(
        pg_scalar(
            owner,
            "INSERT INTO outbox.event (aggregate_type, aggregate_id, event_type, created_at) "
            "VALUES ('a', 'b', 'c', date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' "
            "+ interval '10 days') RETURNING tableoid::regclass::text = 'outbox.event_' || "
            "to_char(now() AT TIME ZONE 'UTC' + interval '10 days', 'YYYYMMDD')"),
        "t");
    /* a new day has what the others have */
    assert_int_equal(
        pg_int(owner,
               "SELECT count(DISTINCT (SELECT count(*) FROM pg_index WHERE indrelid = inhrelid) "
               "* 100 + (SELECT count(*) FROM pg_constraint WHERE conrelid = inhrelid "
               "AND contype = 'c')) FROM pg_inherits WHERE inhparent = 'outbox.event'::regclass"),
        1);
    PQfinish(first);
    PQfinish(second);
    PQfinish(relay);
}

#define LATE_EVENT                                                                                 \
    "INSERT INTO outbox.event (aggregate_type, aggregate_id, event_type, created_at) "             \
    "VALUES ('a', 'late', 'c', now() + interval '%d days')"

static void test_days_beside_a_used_default_partition(void **state)
{
    PGconn *writer = pg_open(&server, NULL);
    PGconn *other = pg_open(&server, NULL);
    uint64_t begun;

    (void)state;
    /* somebody writes to the net: neither waits for the other */
    pg_exec(writer, "BEGIN");
    pg_exec(writer, LATE_EVENT, 20);
    begun = test_now_ms();
    assert_contains(outcome_of(owner, 11), "busy");
    assert_true(test_now_ms() - begun < 2000);
    pg_exec(other, "SET lock_timeout = '1ms'");
    pg_exec(other, LATE_EVENT, 20);
    pg_exec(writer, "ROLLBACK");

    assert_string_equal(outcome_of(owner, 11), "created");
    pg_exec(writer, LATE_EVENT, 12);
    assert_contains(outcome_of(owner, 12), "holds rows");
    assert_string_equal(outcome_of(owner, 13), "created"); /* the day after is not held up */
    pg_exec(owner, "DELETE FROM outbox.event_default");
    assert_string_equal(outcome_of(owner, 12), "created");

    assert_string_equal(pg_expect_error(owner, NULL, "SELECT outbox.ensure_days(-1)"), "22023");
    assert_string_equal(pg_expect_error(owner, NULL, "SELECT outbox.ensure_days(NULL)"), "22023");
    PQfinish(writer);
    PQfinish(other);
}

/* The bounds are UTC days whatever the session's time zone and date style are. */
static atomic_bool writing;

/* Inserts until told to stop; returns the first error, or NULL. */
static void *insert_all_the_time(void *arg)
{
    PGconn *conn = arg;
    static char failed[2][256];
    static atomic_int writers;
    char *text = failed[atomic_fetch_add(&writers, 1) % 2];

    text[0] = '\0';
    while (atomic_load(&writing) && text[0] == '\0') {
        PGresult *result = PQexec(conn, EVENT("now"));

        if (PQresultStatus(result) != PGRES_COMMAND_OK)
            (void)snprintf(text, sizeof failed[0], "%s", PQerrorMessage(conn));
        PQclear(result);
    }
    return text;
}

/* Today can be without a partition: after a week without a relay, say. An insert that is on its way
 * into the default partition while today is attached would fail. */
static void test_today_is_made_while_writers_insert(void **state)
{
    char today[16];
    PGconn *conns[2] = {pg_open(&server, "svc"), pg_open(&server, "svc")};
    pthread_t threads[2];
    int made = 0;

    (void)state;
    (void)snprintf(today, sizeof today, "%s",
                   pg_scalar(owner, "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')"));
    atomic_store(&writing, true);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, insert_all_the_time, conns[i]), 0);
    for (int i = 0; i < 150; i++) {
        /* the rows in the default partition, and its lock, go with this transaction: then the race
         * begins */
        pg_exec(owner,
                "BEGIN; LOCK TABLE outbox.event IN ACCESS EXCLUSIVE MODE; "
                "DROP TABLE IF EXISTS outbox.event_%s; TRUNCATE outbox.event_default; COMMIT",
                today);
        made += strcmp(outcome_of(owner, 0), "created") == 0;
    }
    atomic_store(&writing, false);
    for (int i = 0; i < 2; i++) {
        void *failed;

        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_string_equal((char *)failed, "");
        PQfinish(conns[i]);
    }
    print_message("today was made %d times of 150\n", made);
    pg_exec(owner, "TRUNCATE outbox.event_default");
    (void)outcome_of(owner, 0);
}

static void test_days_are_utc(void **state)
{
    PGconn *relay = pg_open(&server, "relay");

    (void)state;
    pg_exec(relay, "SET timezone = 'Pacific/Auckland'; SET datestyle = 'SQL, DMY'");
    assert_string_equal(outcome_of(relay, 14), "created");
    pg_exec(owner, "SET timezone = 'UTC'");
    assert_int_equal(
        pg_int(owner,
               "SELECT count(*) FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid "
               "WHERE inhparent = 'outbox.event'::regclass AND pg_get_expr(relpartbound, c.oid) "
               "NOT IN ('DEFAULT', format('FOR VALUES FROM (''%%s 00:00:00+00'') TO (''%%s "
               "00:00:00+00'')', right(relname, 8)::date, right(relname, 8)::date + 1)) "
               "AND relname <> 'event_default'"),
        0);
    PQfinish(relay);
}

/* ---- doorbell ---- */

#define BELL "(1868722040, 0)"

/* Notifications that have arrived; the round trip brings those of commits that are through. */
static int rings(PGconn *bell)
{
    int count = 0;
    PGnotify *n;

    pg_exec(bell, "SELECT 1");
    (void)PQconsumeInput(bell);
    while ((n = PQnotifies(bell)) != NULL) {
        assert_string_equal(n->relname, "outbox");
        PQfreemem(n);
        count++;
    }
    return count;
}

static void test_bell_rings_only_when_armed(void **state)
{
    PGconn *writer = pg_open(&server, "svc");
    PGconn *bell = pg_open(&server, "relay");

    (void)state;
    pg_exec(bell, "LISTEN outbox");
    pg_exec(writer, EVENT("1"));
    assert_int_equal(rings(bell), 0);

    assert_string_equal(pg_scalar(bell, "SELECT pg_try_advisory_lock" BELL), "t");
    pg_exec(writer, "BEGIN");
    pg_exec(writer, EVENT("2"));
    pg_exec(writer, "SELECT outbox.publish('order', '2', 'order.paid', '{}')");
    assert_int_equal(rings(bell), 0); /* not before the commit */
    pg_exec(writer, "COMMIT");
    assert_int_equal(rings(bell), 1); /* once for a transaction */
    pg_exec(writer, "BEGIN");
    pg_exec(writer, EVENT("3"));
    pg_exec(writer, "ROLLBACK");
    assert_int_equal(rings(bell), 0);
    pg_exec(bell, "SELECT pg_advisory_unlock" BELL);

    /* an insert that did not ring keeps the relay from arming until its commit */
    pg_exec(writer, "BEGIN");
    pg_exec(writer, EVENT("4"));
    assert_string_equal(pg_scalar(bell, "SELECT pg_try_advisory_lock" BELL), "f");
    pg_exec(writer, "COMMIT");
    assert_string_equal(pg_scalar(bell, "SELECT pg_try_advisory_lock" BELL), "t");
    PQfinish(writer);
    PQfinish(bell);
}

static void test_savepoint_drops_event_lock_and_ring(void **state)
{
    PGconn *writer = pg_open(&server, "svc");
    PGconn *bell = pg_open(&server, "relay");

    (void)state;
    pg_exec(bell, "LISTEN outbox");
    pg_exec(writer, "BEGIN");
    pg_exec(writer, "SAVEPOINT s");
    pg_exec(writer, EVENT("1"));
    pg_exec(writer, "ROLLBACK TO s");
    assert_string_equal(pg_scalar(bell, "SELECT pg_try_advisory_lock" BELL), "t");
    pg_exec(writer, "COMMIT");

    pg_exec(writer, "BEGIN");
    pg_exec(writer, "SAVEPOINT s");
    pg_exec(writer, EVENT("2"));
    pg_exec(writer, "ROLLBACK TO s");
    pg_exec(writer, "COMMIT");
    assert_int_equal(rings(bell), 0);
    /* the same transaction rings after all when it writes again */
    pg_exec(writer, "BEGIN");
    pg_exec(writer, "SAVEPOINT s");
    pg_exec(writer, EVENT("3"));
    pg_exec(writer, "ROLLBACK TO s");
    pg_exec(writer, EVENT("4"));
    pg_exec(writer, "COMMIT");
    assert_int_equal(rings(bell), 1);
    PQfinish(writer);
    PQfinish(bell);
}

static void test_several_bells(void **state)
{
    PGconn *writer = pg_open(&server, "svc");
    PGconn *bell = pg_open(&server, "relay");

    (void)state;
    assert_string_equal(pg_scalar(owner, "SELECT outbox.set_bells(3)"), "t");
    assert_string_equal(pg_scalar(owner, "SELECT outbox.set_bells(3)"), "f");
    pg_exec(bell, "LISTEN outbox");
    pg_exec(bell, "SELECT pg_try_advisory_lock(1868722040, 2)");
    pg_exec(writer, EVENT("1"));
    assert_int_equal(rings(bell), 1);
    pg_exec(bell, "SELECT pg_advisory_unlock(1868722040, 2), pg_try_advisory_lock(1868722040, 3)");
    pg_exec(writer, EVENT("2"));
    assert_int_equal(rings(bell), 0);
    assert_string_equal(pg_expect_error(owner, NULL, "SELECT outbox.set_bells(5)"), "22023");
    assert_string_equal(pg_scalar(owner, "SELECT outbox.set_bells(1)"), "t");
    PQfinish(writer);
    PQfinish(bell);
}

/* ---- relays ---- */

static void test_make_relay_and_rebase(void **state)
{
    (void)state;
    assert_string_equal(pg_scalar(owner, "SELECT outbox.make_relay('second', 'now', 1)"), "t");
    assert_string_equal(pg_scalar(owner, "SELECT outbox.make_relay('second', 'beginning')"), "f");
    assert_int_equal(
        pg_int(owner, "SELECT count(*) FROM outbox.relay r JOIN outbox.lane l ON relay = name "
                      "WHERE name = 'second' AND bell = 1 AND id = 0 AND base::text <> '1:1:' "
                      "AND target IS NULL AND last_id = 0 AND system_identifier = "
                      "(SELECT system_identifier FROM pg_control_system())"),
        1);
    pg_exec(owner, "UPDATE outbox.relay SET system_identifier = 5, epoch = 8, trouble_cause = 'x', "
                   "trouble_halted = true WHERE name = 'second'");
    pg_exec(owner, "UPDATE outbox.lane SET target = '9:9:', last_id = 3 WHERE relay = 'second'");
    pg_exec(owner, "INSERT INTO outbox.lane (relay, id, filter, topic, routes, base) VALUES "
                   "('second', 4, 'topic', 't', 0, '1:1:')");
    assert_string_equal(
        pg_scalar(owner, "SELECT (old_target, old_last_id, old_system_identifier, new_base, "
                         "new_epoch)::text FROM outbox.rebase('second', 'beginning')"),
        "(9:9:,3,5,1:1:,9)");
    assert_int_equal(
        pg_int(owner, "SELECT count(*) FROM outbox.relay r JOIN outbox.lane l ON relay = name "
                      "WHERE name = 'second' AND id = 0 AND base::text = '1:1:' AND target IS NULL "
                      "AND last_id = 0 AND trouble_cause IS NULL AND NOT trouble_halted "
                      "AND system_identifier <> 5"),
        1);
    assert_int_equal(pg_int(owner, "SELECT count(*) FROM outbox.lane WHERE relay = 'second'"), 1);
    assert_string_equal(pg_expect_error(owner, NULL, "SELECT outbox.rebase('third', 'now')"),
                        "P0002");
    assert_string_equal(pg_expect_error(owner, NULL, "SELECT outbox.rebase('second', 'here')"),
                        "22023");
    assert_string_equal(pg_expect_error(owner, NULL, "SELECT outbox.make_relay('x', NULL)"),
                        "22023");
    pg_exec(owner, "DELETE FROM outbox.relay WHERE name = 'second'");
}

/* The checkpoint's row must stay small under many updates, or each of them becomes slower. */
static void test_position_updates_are_hot(void **state)
{
    PGconn *relay = pg_open(&server, "relay");

    (void)state;
    for (int i = 0; i < 2000; i++)
        pg_exec(relay,
                "UPDATE outbox.lane SET base = pg_current_snapshot(), last_id = %d, "
                "stored_at = clock_timestamp() WHERE relay = 'orders'",
                i);
    assert_true(pg_int(owner, "SELECT pg_relation_size('outbox.lane') / 8192") <= 4);
    PQfinish(relay);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_days_do_not_touch_writers),
        cmocka_unit_test(test_days_beside_a_used_default_partition),
        cmocka_unit_test(test_today_is_made_while_writers_insert),
        cmocka_unit_test(test_days_are_utc),
        cmocka_unit_test(test_bell_rings_only_when_armed),
        cmocka_unit_test(test_savepoint_drops_event_lock_and_ring),
        cmocka_unit_test(test_several_bells),
        cmocka_unit_test(test_make_relay_and_rebase),
        cmocka_unit_test(test_position_updates_are_hot),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
