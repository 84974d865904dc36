/* A million events behind a topic that is missing (BENCH=full: ten million): one row, flat memory,
 * everything else as fast as before; once the topic is there, the lane catches up nearly as fast as
 * a backlog drains, and is merged. Retention keeps their day for the lane, and no longer. */
#include "lanes_case.h"

#include <stdio.h>

#define MISSING      "audit-events"
#define SLICE_EVENTS 200000
#define SLICES       3
#define SLOW_MS      300000

static int64_t lane_events(void)
{
    const char *bench = getenv("BENCH");

    return bench != NULL && strcmp(bench, "full") == 0 ? 10000000 : 1000000;
}

static void publish_many(const char *type, const char *prefix, int64_t events)
{
    pg_exec(owner,
            "INSERT INTO outbox.event (aggregate_type, aggregate_id, event_type, payload) "
            "SELECT '%s', '%s-' || n %% 10000, 'order.placed', "
            "('{\"seq\": ' || n || ', \"pad\": \"' || repeat('x', 170) || '\"}')::json "
            "FROM generate_series(1, %lld) n",
            type, prefix, (long long)events);
}

/* Events a second of a backlog, at the best of a few: what else the machine does counts least. */
static double drain_rate(const char *what)
{
    static int slice;
    double best = 0;

    for (int i = 0; i < SLICES; i++) {
        double before = metric(&relay, "outboxd_events_published_total{route=\"all\"}");
        char prefix[16];
        uint64_t begun;

        (void)snprintf(prefix, sizeof prefix, "slice%d", slice++);
        publish_many("order", prefix, SLICE_EVENTS);
        begun = test_now_us();
        WAIT_UNTIL(metric(&relay, "outboxd_events_published_total{route=\"all\"}") >=
                       before + SLICE_EVENTS,
                   SLOW_MS);
        best = fmax(best, SLICE_EVENTS * 1e6 / (double)(test_now_us() - begun));
    }
    print_message("%s: %.0f events a second\n", what, best);
    return best;
}

/* From its first event to its last. */
static double lane_rate(void)
{
    const double all = (double)lane_events();
    double first;
    uint64_t begun;
    double rate;

    WAIT_UNTIL(metric(&relay, "outboxd_lane_events_published_total") > 0, PATIENCE_MS);
    first = metric(&relay, "outboxd_lane_events_published_total");
    begun = test_now_us();
    WAIT_UNTIL(metric(&relay, "outboxd_lane_events_published_total") >= all, SLOW_MS);
    rate = (all - first) * 1e6 / (double)(test_now_us() - begun);
    print_message("the lane: %.0f events a second\n", rate);
    return rate;
}

static const char *held_by(void)
{
    return pg_scalar(owner, "SELECT outbox.held_by(split_part(tableoid::regclass::text, '.', 2)) "
                            "FROM outbox.event WHERE aggregate_type = 'audit' LIMIT 1");
}

static void test_a_million_behind_a_missing_topic(void **state)
{
    double before;
    double beside;
    double lane;
    long idle;

    (void)state;
    kafka_create_topic(&kafka, TOPIC, 3, NULL);
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), NULL, PARK);
    outboxd_start(&relay);
    outboxd_wait_log(&relay, "lease taken", PATIENCE_MS);
    before = drain_rate("before");
    idle = proc_peak_kib(relay.proc.pid);

    publish_many("audit", "a", lane_events());
    await_lanes(LANES_BY("topic"), 1);
    outboxd_wait_drained(&relay, SLOW_MS);
    assert_int_equal(number(LANES), 1);
    beside = drain_rate("beside the lane");
    CHECK(beside >= 0.9 * before, "%.0f events a second beside the lane, %.0f before", beside,
          before);
    outboxd_wait_drained(&relay, PATIENCE_MS);
    assert_contains(held_by(), "lane 1 of relay orders (topic " MISSING ", topic_missing) waits");
    assert_int_equal(kafka_record_count(kafka_brokers(&kafka), TOPIC), 2 * SLICES * SLICE_EVENTS);

    kafka_create_topic(&kafka, MISSING, 3, NULL);
    lane = lane_rate();
    await_lanes(LANES, 0);
    CHECK(lane >= 0.8 * before, "%.0f events a second in the lane, %.0f before", lane, before);
    outboxd_wait_drained(&relay, PATIENCE_MS);
    WAIT_UNTIL(held_by() == NULL, PATIENCE_MS);
    print_message("resident: %ld KiB at its peak before, %ld KiB after all\n", idle,
                  proc_peak_kib(relay.proc.pid));
#if !defined(__SANITIZE_ADDRESS__)
    assert_in_range(proc_peak_kib(relay.proc.pid), 1, 64 * 1024);
#endif
    assert_all_published(NULL);
    drop_topic(MISSING);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_million_behind_a_missing_topic, setup, teardown),
    };

    cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests_name("lanes and a backlog", tests, setup_kafka, teardown_kafka);
}
