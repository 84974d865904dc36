/* libinbox in groups whose members come and go, race for the same events, see all of them again,
 * and have handlers that fail in every way; and how long a failing key holds others up. */
#include "inbox_group_case.h"

#include <pthread.h>
#include <stdatomic.h>

#define MEMBERS 3

static struct member member[MEMBERS];

static int leave_none(void **state)
{
    (void)state;
    for (int i = 0; i < MEMBERS; i++)
        member_kill9(&member[i]);
    return 0;
}

static void all_stop(int count)
{
    for (int i = 0; i < count; i++)
        CHECK(member_stop(&member[i]) == 0, "exit code %d, log %s", proc_exit_code(&member[i].proc),
              member[i].log);
}

static int64_t sum_of(const char *metric, int count)
{
    int64_t sum = 0;

    for (int i = 0; i < count; i++)
        sum += member_counter(&member[i], metric);
    return sum;
}

/* ---- rebalances ------------------------------------------------------------------------------ */

/* Nobody dies: what was committed was told to Kafka before the partitions went on, so that nothing
 * is even delivered twice. */
static void members_come_and_go(void **state)
{
    /* on a busy machine nobody may be taken for dead */
    static const char *const patient[] = {"session.timeout.ms=20000", NULL};
    /* who comes, or goes when it is there; somebody always is */
    static const int turns[] = {1, 2, 0, 1, 0, 2, 1, 0, 2, 1};
    int64_t duplicates = 0;

    (void)state;
    begin_feed("comego", 6);
    feed.again = 0;
    join(&member[0], patient);
    FEED_UNTIL(effect_count() > 0);
    for (size_t i = 0; i < ARRAY_LEN(turns); i++) {
        struct member *m = &member[turns[i]];
        const int64_t before = effect_count();

        if (m->proc.pid != 0 && proc_alive(&m->proc)) {
            assert_int_equal(member_stop(m), 0);
            duplicates += member_counter(m, "inbox_events_duplicate_total");
        } else {
            join(m, patient);
            FEED_UNTIL(member_log_count(m, "phase offsets committed") > 0);
        }
        FEED_UNTIL(effect_count() > before + 30);
    }
    for (int i = 0; i < MEMBERS; i++)
        if (member[i].proc.pid == 0 || !proc_alive(&member[i].proc))
            join(&member[i], patient);
    for (int i = 0; i < MEMBERS; i++)
        FEED_UNTIL(member_log_count(&member[i], "partitions assigned") > 0);
    (void)judge_feed(false);
    all_stop(MEMBERS);
    duplicates += sum_of("inbox_events_duplicate_total", MEMBERS);
    print_message("%lld delivered twice\n", (long long)duplicates);
    assert_int_equal(duplicates, 0);
}

/* Records that were fetched and not yet polled lie in librdkafka's queue when it is told to close.
 */
static void stops_with_much_left(void **state)
{
    (void)state;
    begin_feed("left", 3);
    feed_some(2000);
    assert_int_equal(rd_kafka_flush(producer, WAIT_MS), RD_KAFKA_RESP_ERR_NO_ERROR);
    for (int i = 0; i < 3; i++) {
        const int64_t before = effect_count();

        join(&member[0], (const char *const[]){"batch=3", "slow_ms=3", NULL});
        WAIT_UNTIL(effect_count() > before + 5, WAIT_MS);
        all_stop(1);
        assert_true(effect_count() < feed.count);
    }
    join(&member[0], NULL);
    (void)judge_feed(false);
    all_stop(1);
}

/* ---- the same events, again and at the same time --------------------------------------------- */

/* A consumer in plain SQL, of the same name: one event after the other. */
struct rival {
    pthread_t thread;
    atomic_bool stop;
    int count;  /* of events that it goes through, again and again */
    int claims; /* that it got */
    bool failed;
};

static bool rival_takes(struct rival *r, PGconn *conn, int number)
{
    char id[40];
    char text[512];
    PGresult *result;
    bool first;
    bool ok;

    feed_id(number, id);
    PQclear(PQexec(conn, "BEGIN"));
    (void)snprintf(text, sizeof text, "SELECT inbox.claim('%s', '%s')", feed.topic, id);
    result = PQexec(conn, text);
    ok = PQresultStatus(result) == PGRES_TUPLES_OK;
    first = ok && *PQgetvalue(result, 0, 0) == 't';
    PQclear(result);
    if (first) {
        (void)snprintf(text, sizeof text,
                       "WITH e AS (INSERT INTO effect (event_id, key, seq, member) VALUES ('%s', "
                       "'key-%d', %d, 'rival')) INSERT INTO total VALUES ('key-%d', %d, 1, 0) ON "
                       "CONFLICT (key) DO UPDATE SET count = total.count + 1",
                       id, feed.fed[number].key, feed.fed[number].seq, feed.fed[number].key,
                       feed.fed[number].seq);
        PQclear(PQexec(conn, text));
    }
    /* a deadlock with a batch of the others rolls it back: then another one does it */
    if (PQtransactionStatus(conn) == PQTRANS_INTRANS)
        r->claims += first;
    PQclear(PQexec(conn, "COMMIT"));
    return PQstatus(conn) == CONNECTION_OK;
}

static void *rival_run(void *arg)
{
    struct rival *r = arg;
    PGconn *conn = pg_try_open(&pg, "consumer", 10);

    r->failed = conn == NULL;
    while (!r->failed && !atomic_load(&r->stop))
        for (int i = 0; i < r->count && !r->failed && !atomic_load(&r->stop); i++)
            r->failed = !rival_takes(r, conn, i);
    PQfinish(conn);
    return NULL;
}

/* Each event lies in every partition, in another order: three members and a program in SQL race for
 * every one of them, and for the totals of their keys. */
static void racing_for_each_event(void **state)
{
    static struct rival rival;

    (void)state;
    begin_feed("race", 3);
    feed.everywhere = true;
    feed_some(1200);
    rival.count = feed.count;
    assert_int_equal(rd_kafka_flush(producer, WAIT_MS), RD_KAFKA_RESP_ERR_NO_ERROR);
    for (int i = 0; i < MEMBERS; i++)
        join(&member[i], NULL);
    WAIT_UNTIL(effect_count() > 0, WAIT_MS);
    assert_int_equal(pthread_create(&rival.thread, NULL, rival_run, &rival), 0);
    (void)judge_feed(true);
    atomic_store(&rival.stop, true);
    assert_int_equal(pthread_join(rival.thread, NULL), 0);
    all_stop(MEMBERS);
    assert_false(rival.failed);
    print_message("%lld handled, %d by SQL, %lld found claimed, %lld conflicts\n",
                  (long long)sum_of("inbox_events_handled_total", MEMBERS), rival.claims,
                  (long long)sum_of("inbox_events_duplicate_total", MEMBERS),
                  (long long)sum_of("inbox_conflicts_total", MEMBERS));
    assert_int_equal(sum_of("inbox_events_handled_total", MEMBERS) + rival.claims, feed.count);
    assert_true(sum_of("inbox_events_duplicate_total", MEMBERS) >= feed.count);
}

/* The group's offsets go back to the beginning; every kind of handler and record is there. */
static void everything_is_delivered_again(void **state)
{
    static const char *const all[] = {"fail",   "reject",  "abort",    "late",     "commit",
                                      "close",  "reset",   "stray",    "rollback", "bad",
                                      "fail2",  "abort2",  "commit2",  "close2",   "late2",
                                      "reset2", "company", "conflict", "stray2",   NULL};
    const char *topics[2] = {NULL, NULL};

    (void)state;
    begin_feed("again", 4);
    feed.whats = all;
    feed.trouble = 25;
    topics[0] = feed.topic;
    feed_some(400);
    for (int i = 0; i < 2; i++) {
        if (i > 0)
            effects_rewind(kafka_brokers(&kafka), feed.topic, topics);
        join(&member[0], NULL);
        join(&member[1], NULL);
        feed_some(50);
        (void)judge_feed(false);
        all_stop(2);
    }
    assert_true(sum_of("inbox_events_duplicate_total", 2) >= 250);
}

/* ---- how long a failing event is waited for -------------------------------------------------- */

static int64_t ms_between(const char *from, const char *to)
{
    return pg_int(db, "SELECT (extract(epoch FROM (%s) - (%s)) * 1000)::bigint", to, from);
}

/* One event fails for ever, with attempts enough for an hour. Those behind it wait for its budget
 * and not longer; those of the other partition do not wait. */
static void failing_key_within_its_budget(void **state)
{
    enum { BUDGET_MS = 2000 };
    static const char *const args[] = {"budget_ms=2000", "attempts=100000", "backoff_ms=100", NULL};
    int64_t held_ms;
    int64_t others_ms;

    (void)state;
    begin_feed("budget", 2);
    feed.again = 0;
    pg_exec(db, "ALTER TABLE effect ADD at timestamptz DEFAULT clock_timestamp()");
    join(&member[0], args);
    for (int i = 0; i < 20; i++)
        (void)feed_event(i % 2, "");
    WAIT_UNTIL(effect_count() == 20, WAIT_MS);
    (void)feed_event(2, "fail");
    for (int i = 0; i < 20; i++)
        (void)feed_event(i % 2, "");
    (void)judge_feed(false);
    held_ms = ms_between("SELECT max(since) FROM inbox.state WHERE consumer = 'budget' AND "
                         "state = 'failed'",
                         "SELECT min(at) FROM effect WHERE key = 'key-0' AND seq > 10");
    others_ms = ms_between("SELECT max(since) FROM inbox.state WHERE consumer = 'budget' AND "
                           "state = 'failed'",
                           "SELECT max(at) FROM effect WHERE key = 'key-1' AND seq > 10");
    print_message("budget %d ms: the events behind it waited for %lld ms, the other partition's "
                  "last one was done after %lld ms\n",
                  BUDGET_MS, (long long)held_ms, (long long)others_ms);
    assert_true(held_ms > BUDGET_MS / 2); /* it did hold them up: order */
    /* and no longer than that, but for the dead letter's way on a busy machine */
    assert_true(held_ms < 2 * BUDGET_MS);
    assert_true(others_ms < held_ms);
    all_stop(1);
    assert_true(member_counter(&member[0], "inbox_attempts_failed_total") > 3);
}

/* ---- the judge is no rubber stamp ------------------------------------------------------------ */

static struct effects_report look_again(void)
{
    static const char *const topics[] = {"budget", NULL};
    static const char *const letters[] = {"budget.dlt", NULL};
    struct effects_report r;

    effects_judge(&r, &(struct effects_params){.conn = db,
                                               .brokers = kafka_brokers(&kafka),
                                               .consumer = "budget",
                                               .topics = topics,
                                               .dead_letters = letters});
    return r;
}

static const struct plant {
    const char *sql;
    size_t kind; /* which count must be 1 */
} plants[] = {
    {"DELETE FROM effect WHERE key = 'key-0' AND seq = 3",
     offsetof(struct effects_report, missing)},
    {"INSERT INTO effect (event_id, key, seq) SELECT event_id, key, seq FROM effect WHERE "
     "key = 'key-1' AND seq = 20",
     offsetof(struct effects_report, twice)},
    {"INSERT INTO effect (event_id, key, seq) SELECT event_id, key, seq FROM sent WHERE "
     "what = 'fail'",
     offsetof(struct effects_report, ghosts)},
    {"UPDATE effect SET n = -n WHERE key = 'key-0' AND seq = 7",
     offsetof(struct effects_report, inverted)},
    {"UPDATE total SET count = count + 1 WHERE key = 'key-0'",
     offsetof(struct effects_report, wrong)},
    {"UPDATE effect SET seq = 21 WHERE key = 'key-0' AND seq = 20",
     offsetof(struct effects_report, wrong)},
    {"DELETE FROM inbox.claimed WHERE consumer = 'budget' AND event_id = (SELECT event_id FROM "
     "sent WHERE key = 'key-1' AND seq = 2)",
     offsetof(struct effects_report, unclaimed)},
    {"UPDATE sent SET what = 'reject' WHERE key = 'key-1' AND seq = 5",
     offsetof(struct effects_report, lost_letters)},
    {"UPDATE sent SET what = '' WHERE what = 'fail'",
     offsetof(struct effects_report, false_letters)},
    {"DELETE FROM inbox.failure WHERE consumer = 'budget'",
     offsetof(struct effects_report, unrecorded)},
};

static void plant_and_look(const struct plant *p)
{
    struct effects_report r;
    int64_t found;

    pg_exec(db, "BEGIN");
    pg_exec(db, "%s", p->sql);
    r = look_again();
    pg_exec(db, "ROLLBACK");
    memcpy(&found, (const char *)&r + p->kind, sizeof found);
    CHECK(found == 1, "%s: %d found", p->sql, (int)found);
    assert_false(effects_are_right(&r));
}

/* After a run that was right: each kind of wrong. */
static void the_judge_sees_what_is_wrong(void **state)
{
    struct effects_report r = look_again();

    (void)state;
    CHECK(effects_are_right(&r), "nothing to plant in: the run before has failed");
    for (size_t i = 0; i < ARRAY_LEN(plants); i++)
        plant_and_look(&plants[i]);
    feed_send(0, 0);
    assert_int_equal(rd_kafka_flush(producer, WAIT_MS), RD_KAFKA_RESP_ERR_NO_ERROR);
    assert_int_equal(look_again().lag, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(members_come_and_go, leave_none),
        cmocka_unit_test_teardown(stops_with_much_left, leave_none),
        cmocka_unit_test_teardown(racing_for_each_event, leave_none),
        cmocka_unit_test_teardown(everything_is_delivered_again, leave_none),
        cmocka_unit_test_teardown(failing_key_within_its_budget, leave_none),
        cmocka_unit_test_teardown(the_judge_sees_what_is_wrong, leave_none),
    };

    cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests_name("inbox, groups", tests, start_servers, end_servers);
}
