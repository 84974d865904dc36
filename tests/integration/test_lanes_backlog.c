/* 300,000 events behind a topic that is missing (BENCH=full: ten million, or
 * EVENTS): one row, flat memory,
 * everything else as fast as before; once the topic is there, the lane catches up nearly as fast as
 * a backlog drains, and is merged. Retention keeps their day for the lane, and no longer. */
#include "lanes_case.h"

#include <stdio.h>

#define MISSING      "audit-events"
#define SLICE_EVENTS 50000
#define SLOW_MS      300000

static struct control control;

static bool is_bench(void)
{
    const char *bench = getenv("BENCH");

    return bench != NULL && strcmp(bench, "full") == 0;
}

static int64_t lane_events(void)
{
    const char *events = getenv("EVENTS");

    if (events != NULL)
        return strtoll(events, NULL, 10);
    return is_bench() ? 10000000 : 300000;
}

/* The limits are for a machine that does nothing else; among other tests this finds what is
 * slower by a multiple. */
static double at_least(double limit)
{
    return is_bench() ? limit : limit / 2;
}

static const char *held_by(void)
{
    return pg_scalar(owner, "SELECT outbox.held_by(split_part(tableoid::regclass::text, '.', 2)) "
                            "FROM outbox.event WHERE aggregate_type = 'audit' LIMIT 1");
}

static bool is_held_by(const char *who)
{
    const char *held = held_by();

    return held != NULL && strcmp(held, who) == 0;
}

static void test_a_backlog_behind_a_missing_topic(void **state)
{
    double beside;
    double lane = 0;
    long before;

    (void)state;
    kafka_create_topic(&kafka, TOPIC, 3, NULL);
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), NULL, PARK);
    outboxd_start(&relay);
    control_begin(&control);
    outboxd_configure(&control.relay, &control.pg, kafka_brokers(&kafka), NULL, CONTROL_ROUTES);
    outboxd_start(&control.relay);
    outboxd_wait_log(&control.relay, "lease taken", PATIENCE_MS);
    outboxd_wait_log(&relay, "lease taken", PATIENCE_MS);
    (void)race_of_backlogs(&relay, &control, SLICE_EVENTS);
    before = proc_peak_kib(relay.proc.pid);

    publish_many(owner, "audit", "a", lane_events());
    await_lanes(LANES_BY("topic"), 1);
    WAIT_UNTIL(metric(&relay, "outboxd_events_passed_total") >= (double)lane_events(), SLOW_MS);
    assert_int_equal(number(LANES), 1);
    beside = race_of_backlogs(&relay, &control, SLICE_EVENTS);
    CHECK(beside >= at_least(0.9), "%.2f times as fast as without a lane", beside);
    WAIT_UNTIL(is_held_by("lane 1 of relay orders (topic " MISSING ", topic_missing) waits"),
               PATIENCE_MS);

    pg_exec(control.owner, "BEGIN");
    publish_many(control.owner, "order", "beside", lane_events());
    kafka_create_topic(&kafka, MISSING, 3, NULL);
    WAIT_UNTIL(metric(&relay, PUBLISHED_LANE) > 0, PATIENCE_MS);
    pg_exec(control.owner, "COMMIT");
    for (int i = 0; i < 8 && lane < 0.8; i++) /* both go on: the best stretch, as above */
        lane = fmax(lane, race(&relay, PUBLISHED_LANE, &control, lane_events() / 20));
    CHECK(lane >= at_least(0.8), "%.2f times as fast as a backlog drains", lane);
    WAIT_UNTIL(number(LANES) == 0, SLOW_MS);
    outboxd_wait_drained(&relay, PATIENCE_MS);
    assert_true(metric(&relay, PUBLISHED_LANE) >= (double)lane_events());
    WAIT_UNTIL(held_by() == NULL, PATIENCE_MS);
    print_message("resident: %ld KiB at its peak before, %ld KiB after all\n", before,
                  proc_peak_kib(relay.proc.pid));
#if !defined(__SANITIZE_ADDRESS__)
    assert_in_range(proc_peak_kib(relay.proc.pid), 1, 64 * 1024);
#endif
    control_end(&control);
    assert_all_published(NULL);
    drop_topic(MISSING);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_backlog_behind_a_missing_topic, setup, teardown),
    };

    cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests_name("lanes and a backlog", tests, setup_kafka, teardown_kafka);
}
