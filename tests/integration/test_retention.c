/* Old days, on a real Postgres: they go when every relay has published all of them, not before, and
 * in nobody's way; what keeps them is told once. */
#include "../support/check.h"
#include "../support/log_catch.h"
#include "outbox/retention.h"
#include "outbox/session.h"
#include "outbox/timer.h"
#include "retention_case.h"

#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

/* What one step says of the day so many days ago, as the relay's role. */
static const char *step(PGconn *relay, int days_ago)
{
    return pg_scalar(relay,
                     "SELECT outcome FROM outbox.retire_next('1 hour', 'event_' || "
                     "to_char(now() AT TIME ZONE 'UTC' - %d * interval '1 day', 'YYYYMMDD'))",
                     days_ago + 1);
}

/* ---- the keeper of retention by itself, with short pauses ---- */

struct keeper {
    struct event_base *base;
    struct timer *beat;
    struct session *session;
    struct retention *retention;
    struct err why;
    bool broken;
};

static void connected(void *ctx)
{
    struct keeper *k = ctx;

    retention_start(k->retention);
}

static void broken(void *ctx, const struct err *why)
{
    struct keeper *k = ctx;

    retention_forget(k->retention);
    k->why = *why;
    k->broken = true;
}

static void beat(void *ctx)
{
    struct keeper *k = ctx;

    timer_in_ms(k->beat, 5);
}

static void keeper_init(struct keeper *k, int64_t keep_ms)
{
    static const struct session_handlers handlers = {.connected = connected, .broken = broken};
    struct pg_url url = pg_url(&pg, "relay", "postgres");

    memset(k, 0, sizeof(*k));
    k->base = event_base_new();
    assert_non_null(k->base);
    k->beat = timer_new(k->base, beat, k);
    beat(k);
    k->session = session_new(&(struct session_params){.base = k->base,
                                                      .url = url.text,
                                                      .application_name = "keeper",
                                                      .connect_timeout_ms = 5000},
                             &handlers, k);
    k->retention = retention_new(&(struct retention_params){.base = k->base,
                                                            .session = k->session,
                                                            .keep_ms = keep_ms,
                                                            .lease_ttl_ms = 4000,
                                                            .timeout_ms = 5000,
                                                            .first_ms = 5,
                                                            .soon_ms = 5,
                                                            .every_ms = 30,
                                                            .retry_ms = 20});
    session_open(k->session);
}

static void keeper_turn(struct keeper *k, unsigned ms)
{
    uint64_t end = test_now_ms() + ms;

    while (test_now_ms() < end)
        (void)event_base_loop(k->base, EVLOOP_ONCE);
    CHECK(!k->broken, "broken: %s", k->why.text);
}

static void keeper_release(struct keeper *k)
{
    assert_false(k->broken);
    assert_true(session_is_open(k->session));
    retention_free(k->retention);
    session_free(k->session);
    timer_free(k->beat);
    event_base_free(k->base);
}

static void keeper_wait_for_log(struct keeper *k, const char *part)
{
    uint64_t end = test_now_ms() + 20000;

    while (!log_has_caught(part)) {
        keeper_turn(k, 5);
        CHECK(test_now_ms() < end, "not told within 20 s: %s", part);
    }
}

/* Statements that the server has got from relays, whatever came of them; the role logs them all. */
static unsigned asked(const char *statement)
{
    char *text = file_read(pg.log);
    unsigned n = occurrences(text, statement);

    free(text);
    return n;
}

/* Turns until so many further looks have begun. */
static void keeper_looks(struct keeper *k, unsigned more)
{
    uint64_t end = test_now_ms() + 20000;
    unsigned until = asked("to_regprocedure('outbox.retire_next") + more;

    while (asked("to_regprocedure('outbox.retire_next") < until) {
        keeper_turn(k, 10);
        CHECK(test_now_ms() < end, "no further look within 20 s");
    }
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
    keeper_init(&k, 3 * DAY_MS);
    keeper_wait_for_partitions(&k, 3); /* the fourth day before today has been over for three */
    keeper_looks(&k, 3);
    log = log_caught();
    keeper_release(&k);
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
    keeper_init(&k, 0);
    keeper_wait_for_log(&k, "rows of days that had no partition");
    keeper_looks(&k, 3);
    assert_int_equal(rows(), 2);
    assert_int_equal(old_partitions(), 4);
    pg_exec(owner, "DELETE FROM outbox.event_default");
    keeper_wait_for_log(&k, "keeps up again");
    keeper_looks(&k, 2);
    log = log_caught();
    keeper_release(&k);
    assert_int_equal(occurrences(log, "level=warn"), 1);
    assert_contains(log, "partition=event_default partitions=1");
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
    pg_exec(owner, "INSERT INTO outbox.lane (relay, id, filter, base) VALUES ('slow', 1, 'x', "
                   "'1:1:')");
    assert_string_equal(step(relay, 1), "kept: relay slow has not published all of it");
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

struct writer {
    pthread_t thread;
    atomic_bool stop;
    unsigned events;
    char error[256];
    unsigned slowest_us;
};

/* Each insert may wait 50 ms for a lock, else it fails: that does not mistake a busy machine for a
 * lock. */
static void *write_events(void *arg)
{
    struct writer *w = arg;
    PGconn *conn = pg_try_open(&pg, "svc", 5);

    PQclear(PQexec(conn, "SET lock_timeout = '50ms'"));
    while (!atomic_load(&w->stop) && w->error[0] == '\0') {
        uint64_t begun = test_now_us();
        PGresult *res = PQexec(conn, EVENT);
        unsigned took = (unsigned)(test_now_us() - begun);

        if (PQresultStatus(res) != PGRES_COMMAND_OK)
            (void)snprintf(w->error, sizeof(w->error), "%s", PQresultErrorMessage(res));
        PQclear(res);
        w->events++;
        if (took > w->slowest_us)
            w->slowest_us = took;
    }
    PQfinish(conn);
    return NULL;
}

/* The longest that a service has waited for a lock, of waits above 5 ms, which the server logs:
 * "... acquired RowExclusiveLock on relation 16402 of database 5 after 9.127 ms". */
static double slowest_lock_ms(void)
{
    char *text = file_read(pg.log);
    double slowest = 0;

    for (const char *p = text; (p = strstr(p, " acquired RowExclusiveLock ")) != NULL; p++) {
        const char *after = strstr(p, " after ");
        double ms = after != NULL ? strtod(after + strlen(" after "), NULL) : 0;

        slowest = ms > slowest ? ms : slowest;
    }
    free(text);
    return slowest;
}

static void test_writers_do_not_wait(void **state)
{
    struct writer w[2] = {{.events = 0}, {.events = 0}};
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
    pg_exec(open_writer, EVENT);
    for (size_t i = 0; i < ARRAY_LEN(w); i++)
        assert_int_equal(pthread_create(&w[i].thread, NULL, write_events, &w[i]), 0);

    /* the days are emptied beside the open transaction; dropping would make writers wait */
    keeper_init(&one, 3600000);
    keeper_init(&two, 3600000);
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
    for (size_t i = 0; i < ARRAY_LEN(w); i++) {
        atomic_store(&w[i].stop, true);
        assert_int_equal(pthread_join(w[i].thread, NULL), 0);
        assert_string_equal(w[i].error, "");
        assert_true(w[i].events > 20);
        print_message("# %u inserts beside retention, the slowest took %u us\n", w[i].events,
                      w[i].slowest_us);
    }
    print_message("# the longest wait for a lock took %.1f ms\n", slowest_lock_ms());
    CHECK(slowest_lock_ms() < 50, "a writer waited %.1f ms for a lock", slowest_lock_ms());
    keeper_release(&two);
    keeper_release(&one);
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
    keeper_init(&k, 3600000);
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
    keeper_release(&k);
    assert_int_equal(occurrences(log, "level=warn"), 3);
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
    keeper_init(&k, 3600000);
    keeper_wait_for_log(&k, "outboxd migrate");
    keeper_looks(&k, 4);
    assert_int_equal(rows(), 1);
    path_join(path, source_root(), "sql/outbox/0003_retention.up.sql");
    for (int i = 0; i < 2; i++)
        assert_int_equal(pg_psql(&pg, NULL, path, NULL, log_file), 0);
    keeper_wait_for_partitions(&k, 0);
    keeper_wait_for_log(&k, "keeps up again");
    log = log_caught();
    keeper_release(&k);
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
