/* Rates and latencies of late: of the right time, with a timer that is late, early or has just
 * begun. */
#include "../../support/check.h"

#include "app/rates.h"

static struct rates rates;
static struct relay_counters counters;
static uint64_t now;

static int setup(void **state)
{
    (void)state;
    memset(&rates, 0, sizeof rates);
    memset(&counters, 0, sizeof counters);
    now = 5000;
    rates_take(&rates, &counters, now);
    return 0;
}

/* So many events in the second that passes, each after 1.5 ms. */
static void second(uint64_t events, uint64_t ms)
{
    counters.events_published += events;
    counters.latency_buckets[1] += events;
    counters.latency_sum_s += 0.0015 * (double)events;
    now += ms;
    rates_take(&rates, &counters, now);
}

static void assert_rate(uint64_t over_ms, double wanted)
{
    double got = rates_published(&rates, &counters, now, over_ms);

    CHECK(got - wanted < 1e-6 && wanted - got < 1e-6, "%g, not %g", got, wanted);
}

static void test_nothing_yet(void **state)
{
    (void)state;
    assert_rate(1000, 0);
    assert_rate(60000, 0);
    now += 500;
    counters.events_published = 10;
    assert_rate(1000, 20);
    assert_rate(60000, 20);
}

static void test_each_looks_back_its_own_time(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++)
        second(i < 90 ? 100 : 1000, 1000);
    assert_rate(1000, 1000);
    assert_rate(10000, 1000);
    assert_rate(60000, (50 * 100 + 10 * 1000) / 60.0);
    second(0, 1000);
    assert_rate(1000, 0);
    assert_rate(10000, 900);
}

static void test_a_timer_that_is_early_or_late(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++)
        second(100, i % 2 == 0 ? 999 : 1001);
    assert_rate(1000, 100 * 1000 / 1001.0);
    second(100, 999);
    assert_rate(1000, 100 * 1000 / 999.0);
    second(700, 7000); /* the loop was busy */
    assert_rate(1000, 100);
}

/* Between two samples what has come since counts, too. */
static void test_asked_between_two_samples(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++)
        second(100, 1000);
    now += 500;
    counters.events_published += 200;
    assert_rate(1000, 300 / 1.5);
}

static void test_latency_of_the_last_minute(void **state)
{
    struct ops_latency l;

    (void)state;
    for (int i = 0; i < 100; i++)
        second(10, 1000);
    counters.latency_buckets[9] += 7;
    counters.latency_sum_s += 0.7;
    l = rates_latency(&rates, &counters, now, 60000);
    assert_int_equal(l.buckets[1], 600);
    assert_int_equal(l.buckets[9], 7);
    assert_true(l.sum_s > 1.59 && l.sum_s < 1.61);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_nothing_yet, setup),
        cmocka_unit_test_setup(test_each_looks_back_its_own_time, setup),
        cmocka_unit_test_setup(test_a_timer_that_is_early_or_late, setup),
        cmocka_unit_test_setup(test_asked_between_two_samples, setup),
        cmocka_unit_test_setup(test_latency_of_the_last_minute, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
