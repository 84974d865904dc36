/* Old days, on a real Postgres: they go when every relay has published all of them, not before, and
 * in nobody's way; what keeps them is told once. */
#include "../support/check.h"
#include "../support/keeper.h"
#include "../support/log_catch.h"
#include "../support/stopwatch.h"
#include "outbox/retention.h"
#include "retention_case.h"

/* What one step says of the day so many days ago, as the relay's role. */
static const char *step(PGconn *relay, int days_ago)
{
    return pg_scalar(relay,
                     "SELECT outcome FROM outbox.retire_next('1 hour', 'event_' || "
                     "to_char(now() AT TIME ZONE 'UTC' - %d * interval '1 day', 'YYYYMMDD'))",
                     days_ago + 1);
}

/* ---- the keeper of retention by itself, with short pauses ---- */

static void start(void *ctx)
{
    retention_start(ctx);
}

static void forget(void *ctx)
{
    retention_forget(ctx);
}

static void begin_keeper(struct keeper *k, int64_t keep_ms)
{
    struct retention *retention;

    keeper_init(k, &pg);
    retention = retention_new(&(struct retention_params){.base = k->base,
                                                         .now_ms = test_now_ms,
                                                         .session = k->session,
                                                         .keep_ms = keep_ms,
                                                         .lease_ttl_ms = 4000,
                                                         .timeout_ms = 5000,
                                                         .first_ms = 5,
                                                         .soon_ms = 5,
                                                         .every_ms = 30,
                                                         .retry_ms = 20});
    keeper_open(k, &(struct keeper_job){retention, start, forget});
}

static void end_keeper(struct keeper *k)
{
    retention_free(k->job.ctx);
    keeper_release(k);
}

/* Turns until so many further looks have begun. */
static void keeper_looks(struct keeper *k, unsigned more)
{
    keeper_wait_for_statements(k, &pg, "to_regprocedure('outbox.retire_next", more);
}

static void keeper_wait_for_partitions(struct keeper *k, int64_t count)
{
    uint64_t end = test_now_ms() + 20000;

    while (old_partitions() > count) {
        keeper_turn(k, 5);
        CHECK(test_now_ms() < end, "%lld partitions after 20 s", (long long)old_partitions());
    }
}

/* ---- they go ---- */

static void test_old_days_go(void **state)
{
    struct keeper k;
    const char *log;

    (void)state;
    begin(6);
    for (int day = 0; day <= 6; day++)
        pg_exec(owner, OLD_EVENT, day);
    settle("orders");
    log_catch();
    begin_keeper(&k, 3 * DAY_MS);
    keeper_wait_for_partitions(&k, 3); /* the fourth day before today has been over for three */
    keeper_looks(&k, 3);
    log = log_caught();
    end_keeper(&k);
    assert_int_equal(old_partitions(), 3);
    assert_int_equal(rows(), 4);
    assert_int_equal(occurrences(log, "day retired"), 3);
    assert_int_equal(occurrences(log, "partition dropped"), 3);
    assert_int_equal(occurrences(log, "level=warn"), 0);
    assert_int_equal(pg_int(owner, "SELECT count(*) FROM pg_class WHERE relname ~ "
                                   "'^event_[0-9]{8}$' AND NOT relispartition"),
                     0);
}

/* Beside the watch over the default partition, nothing is done. */
static void test_keep_for_ever(void **state)
{
    struct keeper k;
    const char *log;

    (void)state;
    begin(4);
    pg_exec(owner, OLD_EVENT, 3);
    pg_exec(owner, OLD_EVENT, 30);
    settle("orders");
    log_catch();
    begin_keeper(&k, 0);
    keeper_wait_for_log(&k, "rows of days that had no partition");
    keeper_looks(&k, 3);
    assert_int_equal(rows(), 2);
    assert_int_equal(old_partitions(), 4);
    pg_exec(owner, "DELETE FROM outbox.event_default");
    keeper_wait_for_log(&k, "keeps up again");
    keeper_looks(&k, 2);
    log = log_caught();
    end_keeper(&k);
    assert_int_equal(occurrences(log, "level=warn"), 1);
    assert_contains(log, "problem=default_partition partition=event_default partitions=1");
    assert_contains(log, "remedy=");
    assert_int_equal(old_partitions(), 4);
    assert_int_equal(rows(), 1);
}

/* ---- nothing goes too early ---- */

/* A transaction that wrote into an old day commits long afterwards. */
static void test_late_commit(void **state)
{
    PGconn *relay = pg_open(&pg, "relay");
    PGconn *late = pg_open(&pg, NULL);

    (void)state;
    begin(3);
    pg_exec(owner, OLD_EVENT, 2);
    pg_exec(late, "BEGIN");
    pg_exec(late, OLD_EVENT, 2);
    settle("orders"); /* all that can be seen */
    assert_string_equal(step(relay, 2), "kept: a transaction uses it");
    assert_int_equal(rows(), 1);
    pg_exec(late, "COMMIT");
    assert_string_equal(step(relay, 2), "kept: relay orders has not published all of it");
    assert_int_equal(rows(), 2);
    settle("orders");
    assert_string_equal(step(relay, 2), "emptied");
    assert_int_equal(rows(), 0);

    /* and after the day was emptied: a row that comes then keeps the partition */
    pg_exec(late, "BEGIN");
    pg_exec(late, OLD_EVENT, 2);
    assert_string_equal(step(relay, 2), "kept: a transaction uses it");
    pg_exec(late, "COMMIT");
    assert_string_equal(step(relay, 2), "kept: relay orders has not published all of it");
    assert_int_equal(rows(), 1);
    pg_exec(owner, "DELETE FROM outbox.event");
    assert_string_equal(step(relay, 2), "emptied"); /* dead rows only */
    assert_string_equal(step(relay, 2), "detached");
    assert_string_equal(step(relay, 2), "dropped");
    PQfinish(late);
    PQfinish(relay);
}

/* Every lane of every relay counts, and in the middle of a batch the position's target, too. */
static void test_the_slowest_holds(void **state)
{
    PGconn *relay = pg_open(&pg, "relay");
    const char *const held = "kept: relay orders has not published all of it";

    (void)state;
    begin(2);
    pg_exec(owner, OLD_EVENT, 1);
    settle("orders");
    pg_exec(owner, "SELECT outbox.make_relay('slow', 'beginning')");
    assert_string_equal(step(relay, 1), "kept: relay slow has not published all of it");
    settle("slow");
    pg_exec(owner,
            "INSERT INTO outbox.lane (relay, id, filter, topic, key, routes, base, cause) VALUES "
            "('slow', 1, 'topic', 'order-events', NULL, 0, '1:1:', 'topic_missing'),"
            "('slow', 2, 'key', 'order-events', 'secret', 0, '1:1:', NULL)");
    assert_string_equal(step(relay, 1),
                        "kept: lane 1 of relay slow (topic order-events, topic_missing) waits");
    pg_exec(owner, "DELETE FROM outbox.lane WHERE id = 1");
    assert_string_equal(step(relay, 1),
                        "kept: lane 2 of relay slow (a key of order-events, catching up) waits");
    settle("slow");
    pg_exec(owner, "UPDATE outbox.relay SET system_identifier = 1 WHERE name = 'slow'");
    assert_string_equal(step(relay, 1), "kept: the position of relay slow is not of this server");
    pg_exec(owner, "DELETE FROM outbox.relay WHERE name = 'slow'");
    pg_exec(owner, "UPDATE outbox.lane SET base = '1:999999999:'");
    assert_string_equal(step(relay, 1), "kept: the position of relay orders is not of this server");

    /* the batch holds the row, and is settled up to before it; then up to it; then a newer row */
    pg_exec(owner, "UPDATE outbox.lane SET base = '1:1:', target = pg_current_snapshot(), last_id "
                   "= (SELECT max(id) - 1 FROM outbox.event)");
    assert_string_equal(step(relay, 1), held);
    pg_exec(owner, OLD_EVENT, 1);
    pg_exec(owner, "UPDATE outbox.lane SET last_id = last_id + 5");
    assert_string_equal(step(relay, 1), held);
    pg_exec(owner, "UPDATE outbox.lane SET target = pg_current_snapshot()");
    assert_string_equal(step(relay, 1), "emptied");

    pg_exec(owner, OLD_EVENT, 1);
    pg_exec(owner, "CREATE TEMP TABLE kept AS SELECT * FROM outbox.relay; CREATE TEMP TABLE "
                   "kept_lane AS SELECT * FROM outbox.lane; DELETE FROM outbox.relay");
    assert_string_equal(step(relay, 1), "kept: there is no relay");
    pg_exec(owner, "INSERT INTO outbox.relay SELECT * FROM kept; INSERT INTO outbox.lane SELECT * "
                   "FROM kept_lane; DROP TABLE kept, kept_lane");
    assert_int_equal(rows(), 1);
    PQfinish(relay);
}

static void test_refusals(void **state)
{
    char message[PG_MESSAGE];
    PGconn *relay = pg_open(&pg, "relay");
    PGconn *svc = pg_open(&pg, "svc");

    (void)state;
    begin(2);
    pg_exec(owner, OLD_EVENT, 1);
    settle("orders");
    assert_string_equal(pg_expect_error(relay, message, "SELECT outbox.retire_next('0')"), "22023");
    assert_string_equal(pg_expect_error(relay, message, "SELECT outbox.retire_days('-1 day')"),
                        "22023");
    assert_string_equal(pg_expect_error(svc, message, "SELECT outbox.retire_days('1 day')"),
                        "42501");
    pg_exec(relay, "BEGIN ISOLATION LEVEL REPEATABLE READ");
    (void)pg_expect_error(relay, message, "SELECT outbox.retire_days('1 hour')");
    assert_contains(message, "READ COMMITTED");
    pg_exec(relay, "ROLLBACK");
    assert_int_equal(rows(), 1);

    /* one that is not ours to take does not stop the others */
    pg_exec(owner, "CREATE TABLE mine (id bigint); ALTER TABLE outbox.event_%s OWNER TO postgres",
            pg_scalar(owner, "SELECT to_char(now() AT TIME ZONE 'UTC' - interval '2 days', "
                             "'YYYYMMDD')"));
    pg_exec(owner, OLD_EVENT, 2);
    settle("orders");
    assert_contains(step(relay, 2), "kept: ");
    assert_string_equal(step(relay, 1), "emptied");
    pg_exec(owner, "DROP TABLE mine");
    assert_int_equal(rows(), 1);
    PQfinish(svc);
    PQfinish(relay);
}

/* ---- nobody waits ---- */

static void test_writers_do_not_wait(void **state)
{
    struct stopwatch w[2];
    double slowest_ms;
    struct keeper one;
    struct keeper two;
    PGconn *open_writer = pg_open(&pg, "svc");
    uint64_t end = test_now_ms() + 20000;

    (void)state;
    begin(8);
    for (int day = 1; day <= 8; day++)
        pg_exec(owner, OLD_EVENT, day);
    settle("orders");
    pg_exec(open_writer, "BEGIN");
    pg_exec(open_writer, STOPWATCH_EVENT);
    for (size_t i = 0; i < ARRAY_LEN(w); i++)
        stopwatch_start(&w[i], &pg);

    /* the days are emptied beside the open transaction; dropping would make writers wait */
    begin_keeper(&one, 3600000);
    begin_keeper(&two, 3600000);
    while (pg_int(owner, "SELECT count(*) FROM outbox.event WHERE aggregate_id = 'old'") > 0) {
        keeper_turn(&one, 2);
        keeper_turn(&two, 2);
        CHECK(test_now_ms() < end, "not emptied within 20 s");
    }
    keeper_looks(&one, 4);
    assert_int_equal(old_partitions(), 8);
    pg_exec(open_writer, "COMMIT");
    while (old_partitions() > 0) {
        keeper_turn(&one, 2);
        keeper_turn(&two, 2);
        CHECK(test_now_ms() < end, "%lld partitions after 20 s", (long long)old_partitions());
    }
    for (size_t i = 0; i < ARRAY_LEN(w); i++)
        stopwatch_stop(&w[i], "retention");
    slowest_ms = stopwatch_slowest_lock_ms(&pg);
    print_message("# the longest wait for a lock took %.1f ms\n", slowest_ms);
    CHECK(slowest_ms < 50, "a writer waited %.1f ms for a lock", slowest_ms);
    end_keeper(&two);
    end_keeper(&one);
    PQfinish(open_writer);
}

/* ---- what is told ---- */

static void test_told_once(void **state)
{
    struct keeper k;
    PGconn *reader = pg_open(&pg, NULL);
    const char *log;

    (void)state;
    begin(3);
    pg_exec(owner, OLD_EVENT, 2);
    pg_exec(owner, "UPDATE outbox.lane SET base = '1:1:'");
    log_catch();
    begin_keeper(&k, 3600000);
    keeper_wait_for_log(&k, "relay orders has not published all of it"); /* the relay is down */
    keeper_looks(&k, 4);
    pg_exec(reader, "BEGIN; SELECT count(*) FROM outbox.event");
    settle("orders");
    keeper_wait_for_log(&k, "a transaction uses it");
    keeper_looks(&k, 4);
    pg_exec(owner, "REVOKE EXECUTE ON FUNCTION outbox.retire_next(interval, text) FROM "
                   "outbox_relay");
    keeper_wait_for_log(&k, "SQLSTATE 42501");
    keeper_looks(&k, 4);
    assert_int_equal(rows(), 1);
    pg_exec(owner, "GRANT EXECUTE ON FUNCTION outbox.retire_next(interval, text) TO outbox_relay");
    pg_exec(reader, "COMMIT");
    keeper_wait_for_log(&k, "keeps up again");
    keeper_wait_for_partitions(&k, 0);
    log = log_caught();
    end_keeper(&k);
    assert_int_equal(occurrences(log, "level=warn"), 3);
    assert_int_equal(occurrences(log, "problem=retention_stuck"), 3);
    assert_int_equal(occurrences(log, "remedy="), 3);
    assert_int_equal(occurrences(log, "day retired"), 1);
    PQfinish(reader);
}

/* An older schema has no retention: said once, and nothing else changes. */
static void test_older_schema(void **state)
{
    char path[PATH_SIZE];
    char log_file[PATH_SIZE];
    struct keeper k;
    const char *log;

    (void)state;
    begin(3);
    pg_exec(owner, OLD_EVENT, 2);
    settle("orders");
    path_join(log_file, tmp_root(), "psql.log");
    path_join(path, source_root(), "sql/outbox/down/0003_retention.down.sql");
    assert_int_equal(pg_psql(&pg, NULL, path, NULL, log_file), 0);
    log_catch();
    begin_keeper(&k, 3600000);
    keeper_wait_for_log(&k, "outboxd migrate");
    keeper_looks(&k, 4);
    assert_int_equal(rows(), 1);
    path_join(path, source_root(), "sql/outbox/0003_retention.up.sql");
    for (int i = 0; i < 2; i++)
        assert_int_equal(pg_psql(&pg, NULL, path, NULL, log_file), 0);
    keeper_wait_for_partitions(&k, 0);
    keeper_wait_for_log(&k, "keeps up again");
    log = log_caught();
    end_keeper(&k);
    assert_int_equal(occurrences(log, "there is no retention"), 1);
    assert_int_equal(occurrences(log, "level=warn"), 0);
}

/* ---- */

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_old_days_go, log_give_back),
        cmocka_unit_test_teardown(test_keep_for_ever, log_give_back),
        cmocka_unit_test(test_late_commit),
        cmocka_unit_test(test_the_slowest_holds),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_writers_do_not_wait),
        cmocka_unit_test_teardown(test_told_once, log_give_back),
        cmocka_unit_test_teardown(test_older_schema, log_give_back),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
