/* What a running relay knows of its backlog: asked in the background on a session of its own, right
 * when there is nothing and when it is stuck, older when it cannot be asked, and harmless. */
#include "../support/check.h"
#include "../support/pg.h"
#include "../support/source_user.h"

#include "outbox/backlog.h"

#include <event2/event.h>
#include <stdio.h>
#include <unistd.h>

#define EVERY_MS 50U

static struct pg_server pg;
static PGconn *db; /* superuser */
static struct event_base *base;
static struct backlog_watch *watch;
static struct backlog seen;

static int start_server(void **state)
{
    (void)state;
    pg_create(&pg, NULL);
    pg_apply_schema(&pg);
    db = pg_open(&pg, NULL);
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    PQfinish(db);
    pg_drop(&pg);
    return 0;
}

static void begin(uint32_t timeout_ms)
{
    struct pg_url url = pg_url(&pg, "relay", "postgres");

    base = event_base_new();
    assert_non_null(base);
    watch = backlog_new(&(struct backlog_params){.base = base,
                                                 .url = url.text,
                                                 .relay = "orders",
                                                 .now_ms = test_now_ms,
                                                 .retention_keep_ms = 86400000,
                                                 .connect_timeout_ms = 5000,
                                                 .timeout_ms = timeout_ms,
                                                 .first_ms = 0,
                                                 .every_ms = EVERY_MS});
    backlog_start(watch);
}

static void end(void)
{
    backlog_free(watch);
    event_base_free(base);
    WAIT_UNTIL(pg_int(db, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'relay'") == 0,
               5000);
}

static void turn(void)
{
    (void)event_base_loop(base, EVLOOP_NONBLOCK);
    (void)usleep(1000);
    backlog_get(watch, &seen);
}

#define TURN_UNTIL(condition)                                                                      \
    do {                                                                                           \
        uint64_t until_ = test_now_ms() + 20000;                                                   \
        do {                                                                                       \
            turn();                                                                                \
            CHECK(test_now_ms() < until_, "not within 20 s: %s", #condition);                      \
        } while (!(condition));                                                                    \
    } while (0)

#define PUBLISH "SELECT outbox.publish('a', 'b', 'c', '{}')"

static void test_idle_and_stuck(void **state)
{
    double age;

    (void)state;
    begin(5000);
    backlog_get(watch, &seen);
    assert_false(seen.known);
    TURN_UNTIL(seen.known);
    assert_int_equal(seen.unsent_events, 0);
    assert_true(seen.oldest_unsent_s < 0);
    assert_false(seen.estimated);
    assert_int_equal(seen.lanes, 0);
    assert_int_equal(seen.overdue_days, 0);
    assert_int_equal(seen.default_rows, 0);
    assert_false(seen.sees_transactions);

    for (int i = 0; i < 3; i++)
        pg_exec(db, PUBLISH);
    TURN_UNTIL(seen.unsent_events == 3);
    age = seen.oldest_unsent_s;
    assert_true(age >= 0);
    TURN_UNTIL(seen.oldest_unsent_s > age); /* nobody sends: it grows older */
    pg_exec(db, "UPDATE outbox.lane SET base = pg_current_snapshot()");
    TURN_UNTIL(seen.unsent_events == 0);
    assert_true(seen.oldest_unsent_s < 0);

    pg_exec(db, "INSERT INTO outbox.lane (relay, id, filter, topic, routes, base) SELECT relay, 1, "
                "'topic', 't', 0, base FROM "
                "outbox.lane");
    TURN_UNTIL(seen.lanes == 1);
    assert_true(seen.oldest_lane_s >= 0);
    pg_exec(db, "DELETE FROM outbox.lane WHERE id = 1");
    end();
}

static void test_a_backlog_is_estimated(void **state)
{
    (void)state;
    pg_exec(db, "INSERT INTO outbox.event (aggregate_type, aggregate_id, event_type, payload) "
                "SELECT 'a', g::text, 'c', '{}' FROM generate_series(1, 30000) g");
    begin(5000);
    TURN_UNTIL(seen.known);
    assert_true(seen.estimated);
    assert_int_equal(seen.unsent_events, 30000);
    end();
    pg_exec(db, "UPDATE outbox.lane SET base = pg_current_snapshot()");
}

static void test_a_transaction_that_stays_open(void **state)
{
    PGconn *writer = pg_open(&pg, "svc");

    (void)state;
    pg_exec(writer, "BEGIN; SELECT pg_current_xact_id()");
    begin(5000);
    TURN_UNTIL(seen.known);
    assert_true(seen.oldest_transaction_s < 0); /* other roles' are hidden */
    assert_false(seen.sees_transactions);
    end();
    pg_exec(db, "GRANT pg_read_all_stats TO relay");
    begin(5000);
    TURN_UNTIL(seen.known && seen.oldest_transaction_s > 0.2);
    assert_true(seen.sees_transactions);
    pg_exec(writer, "ROLLBACK");
    TURN_UNTIL(seen.oldest_transaction_s < 0);
    end();
    pg_exec(db, "REVOKE pg_read_all_stats FROM relay");
    PQfinish(writer);
}

static void test_days_and_the_net(void **state)
{
    (void)state;
    pg_exec(db, "SET ROLE outbox_owner; CREATE TABLE outbox.event_20010101 PARTITION OF "
                "outbox.event FOR VALUES FROM ('2001-01-01+00') TO ('2001-01-02+00'); RESET ROLE");
    pg_exec(db, "INSERT INTO outbox.event (aggregate_type, aggregate_id, event_type, created_at) "
                "VALUES ('a', '1', 'c', '2001-01-01 12:00+00'), "
                "('a', '1', 'c', '1999-01-01 12:00+00')");
    begin(5000);
    TURN_UNTIL(seen.known);
    assert_int_equal(seen.overdue_days, 1);
    assert_int_equal(seen.default_rows, 1);
    assert_int_equal(seen.unsent_events, 2);
    assert_true(seen.oldest_unsent_s > 86400);
    end();
    pg_exec(db, "DELETE FROM outbox.event WHERE created_at < '2002-01-01'");
    pg_exec(db, "DROP TABLE outbox.event_20010101");
}

/* A question that cannot be answered: the rest is known, and it is asked again. */
static void test_what_cannot_be_asked(void **state)
{
    uint64_t begun;

    (void)state;
    pg_exec(db, "REVOKE EXECUTE ON FUNCTION outbox.overdue_days(interval) FROM outbox_relay");
    begin(5000);
    TURN_UNTIL(seen.known);
    assert_int_equal(seen.overdue_days, -1);
    assert_int_equal(seen.default_rows, -1);
    assert_int_equal(seen.lanes, 0);
    end();
    pg_exec(db, "GRANT EXECUTE ON FUNCTION outbox.overdue_days(interval) TO outbox_relay");

    pg_exec(db, "BEGIN; LOCK TABLE outbox.lane");
    begun = test_now_ms();
    begin(40);
    for (int i = 0; i < 500; i++)
        turn();
    assert_false(seen.known);
    pg_exec(db, "ROLLBACK");
    TURN_UNTIL(seen.known);
    /* a fiftieth of the time at most: a question of 40 ms is followed by a pause of 2 s */
    assert_true(test_now_ms() - begun >= 2000);
    end();
}

/* A session that is lost costs nothing but the age of the answer. */
static void test_a_lost_session(void **state)
{
    (void)state;
    begin(5000);
    TURN_UNTIL(seen.known);
    pg_exec(db, "ALTER ROLE relay NOLOGIN; SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE usename = 'relay'");
    TURN_UNTIL(seen.age_s > 0.5);
    assert_true(seen.known);
    pg_exec(db, "ALTER ROLE relay LOGIN");
    TURN_UNTIL(seen.age_s < 0.3);
    backlog_forget(watch);
    TURN_UNTIL(seen.age_s > 0.3);
    backlog_start(watch);
    TURN_UNTIL(seen.age_s < 0.3);
    end();
}

static void test_it_writes_nothing(void **state)
{
    int64_t before;

    (void)state;
    begin(5000);
    TURN_UNTIL(seen.known);
    pg_exec(db, "CHECKPOINT");
    before = pg_int(db, "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint");
    for (int looks = 0; looks < 5; looks++) {
        TURN_UNTIL(seen.age_s > 0.03);
        TURN_UNTIL(seen.age_s < 0.03);
    }
    assert_int_equal(pg_int(db, "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"),
                     before);
    end();
}

/* As the relay has it: beside its sessions, which do not notice when it is ended. */
static void test_beside_the_relay(void **state)
{
    struct source_user u;
    struct outbox_params params = source_user_params(pg_url(&pg, "relay", "postgres").text);
    uint64_t until = test_now_ms() + 20000;

    (void)state;
    source_user_init(&u, &params);
    outbox_source_backlog(u.source, &seen);
    assert_false(seen.known);
    source_user_open(&u);
    do {
        source_user_turn(&u, 20);
        outbox_source_backlog(u.source, &seen);
        CHECK(test_now_ms() < until, "no answer within 20 s");
    } while (!seen.known);
    pg_exec(db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = "
                "'outboxd orders backlog'");
    source_user_turn(&u, 300);
    assert_int_equal(u.lost, 0);
    assert_int_equal(pg_int(db, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'relay'"),
                     3);
    source_user_release(&u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idle_and_stuck),
        cmocka_unit_test(test_a_backlog_is_estimated),
        cmocka_unit_test(test_a_transaction_that_stays_open),
        cmocka_unit_test(test_days_and_the_net),
        cmocka_unit_test(test_what_cannot_be_asked),
        cmocka_unit_test(test_a_lost_session),
        cmocka_unit_test(test_it_writes_nothing),
        cmocka_unit_test(test_beside_the_relay),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
