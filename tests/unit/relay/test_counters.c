/* What the core counts for those who look: by route, by cause, by side, and when it tries again. */
#include "script.h"

static const struct relay_counters *counted(void)
{
    return relay_counters(script.relay);
}

static void published_by_route(void **state)
{
    struct route *r = route_table_add(&script.routes);

    (void)state;
    r->match_aggregate_type = xstrdup("b");
    r->topic = xstrdup("a-events");
    open_topic();
    batch("12:12:", true);
    assert_int_equal(row_of(2, "b", NULL), ROW_TAKEN);
    assert_int_equal(row_of(3, "b", NULL), ROW_TAKEN);
    assert_int_equal(row_of(4, "a", NULL), ROW_TAKEN);
    fetched(3, false);
    assert_int_equal(counted()->published_by_route[1], 0); /* sent is not published */
    ack(1);
    ack(3);
    assert_int_equal(counted()->published_by_route[0], 2);
    assert_int_equal(counted()->published_by_route[1], 1);
    ack(2);
    assert_int_equal(counted()->published_by_route[1], 2);
    assert_int_equal(counted()->events_published, 4);
}

static void recoveries_by_cause(void **state)
{
    (void)state;
    open_topic();
    batch("12:12:", true);
    assert_int_equal(row(2), ROW_TAKEN);
    assert_int_equal(row(3), ROW_TAKEN);
    fetched(2, false);
    assert_int_equal(relay_next_try_ms(script.relay, script.now), -1);
    refuse(1, REFUSAL_TOPIC_MISSING);
    refuse(2, REFUSAL_BROKER_ERROR); /* of the same recovery */
    pass_ms(1);
    assert_int_equal(counted()->recoveries, 1);
    assert_int_equal(counted()->recoveries_by_cause[REFUSAL_TOPIC_MISSING], 1);
    assert_int_equal(counted()->recoveries_by_cause[REFUSAL_BROKER_ERROR], 0);
    assert_int_equal(counted()->errors[PROBLEM_TOPIC_MISSING], 1);
    assert_int_equal(counted()->errors[PROBLEM_BROKER_ERROR], 1);
    assert_int_equal(counted()->producers, 1);
    assert_int_equal(counted()->reconnects, 0);
    /* the first try comes at once, the second after a pause */
    pass_ms(1);
    relay_on_probed(script.relay, MAIN_STREAM, false, 0);
    assert_int_equal(row(2), ROW_TAKEN);
    fetched(1, false);
    refuse(1, REFUSAL_TOPIC_MISSING);
    pass_ms(1);
    assert_int_equal(counted()->recoveries_by_cause[REFUSAL_TOPIC_MISSING], 2);
    assert_in_range(relay_next_try_ms(script.relay, script.now), 1, 100);
    assert_int_equal(relay_next_try_ms(script.relay, script.now + 1000), 0);
}

static void a_lost_database_by_its_problem(void **state)
{
    struct err why;

    (void)state;
    open_topic();
    (void)err_problem(&why, ERR_UNAVAILABLE, PROBLEM_DATABASE_STANDBY, "in recovery");
    relay_on_lost(script.relay, &why);
    assert_int_equal(counted()->reconnects, 1);
    assert_int_equal(counted()->errors[PROBLEM_DATABASE_STANDBY], 1);
    assert_int_equal(counted()->producers, 0); /* nothing was in flight */
    /* the first try comes at once, the second after a pause */
    assert_int_equal(relay_state(script.relay), RELAY_OPENING);
    assert_int_equal(relay_next_try_ms(script.relay, script.now), -1);
    relay_on_lost(script.relay, &why);
    assert_int_equal(relay_state(script.relay), RELAY_BACKOFF);
    assert_in_range(relay_next_try_ms(script.relay, script.now), 1, 50);
    assert_int_equal(counted()->reconnects, 2);
    pass_ms(50);
    assert_int_equal(relay_state(script.relay), RELAY_OPENING);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, script_setup, script_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(published_by_route),
        TEST(recoveries_by_cause),
        TEST(a_lost_database_by_its_problem),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
