/* relay/rate: steady within its limit, no burst above a second's worth, at any limit. */
#include "../../support/check.h"

#include "relay/rate.h"

#include <stdbool.h>
#include <stdio.h>

/* Takes all that may go whenever something may, until `until_ms`; looks when rate_due says so. */
static uint64_t drain(struct rate *r, uint64_t *now_ms, uint64_t until_ms)
{
    uint64_t gone = 0;

    while (*now_ms < until_ms) {
        uint32_t may_go = rate_events(r, *now_ms);

        if (may_go == 0) {
            assert_true(rate_due(r) > *now_ms); /* else who waits spins */
            *now_ms = rate_due(r);
            assert_true(rate_events(r, *now_ms) > 0);
            continue;
        }
        for (uint32_t i = 0; i < may_go; i++)
            rate_take(r, *now_ms);
        gone += may_go;
    }
    return gone;
}

static void it_is_steady(void **state)
{
    static const uint32_t limits[] = {1, 2, 7, 19, 20, 21, 999, 1000, 1001, 12345, 1000000};

    (void)state;
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        struct rate r = {0};
        uint64_t now = 5000;
        uint64_t gone;

        rate_set(&r, limits[i], now);
        gone = drain(&r, &now, 5000 + 100000);
        /* a hundred seconds: within one share of what is due */
        assert_true(gone <= limits[i] * UINT64_C(100));
        assert_true(gone + limits[i] / 10 + 1 >= limits[i] * UINT64_C(100));
    }
}

static void there_is_no_burst(void **state)
{
    struct rate r = {0};
    uint64_t now = 1000;
    uint32_t first;

    (void)state;
    rate_set(&r, 1000, now);
    assert_int_equal(rate_events(&r, now), 0); /* it begins empty */
    now += 3600 * 1000;                        /* an idle hour is worth a second */
    first = rate_events(&r, now);
    assert_int_equal(first, 1000);
    assert_int_equal(drain(&r, &now, now + 500),
                     1000 + 450); /* shares of 50, the last one at 450 ms */
    /* rows that were asked for and came late: the time on their way counts once */
    now += 10000;
    assert_int_equal(rate_events(&r, now), 1000);
    now += 10000;
    for (int i = 0; i < 1000; i++)
        rate_take(&r, now);
    assert_int_equal(rate_events(&r, now), 0);
}

static void the_limit_can_change(void **state)
{
    struct rate r = {0};
    uint64_t now = 1000;

    (void)state;
    assert_int_equal(rate_events(&r, now), UINT32_MAX); /* none */
    rate_take(&r, now);
    rate_set(&r, 100, now);
    assert_int_equal(rate_events(&r, now), 0);
    assert_int_equal(rate_events(&r, now + 5000), 100);
    rate_set(&r, 10, now + 5000);
    assert_int_equal(rate_events(&r, now + 5000), 10);
    rate_set(&r, 1000, now + 5000);
    assert_int_equal(rate_events(&r, now + 5000), 0); /* 10 are less than a share of 50 */
    assert_int_equal(rate_due(&r), now + 5040);
    rate_set(&r, 0, now + 5000);
    assert_int_equal(rate_events(&r, now + 5000), UINT32_MAX);
}

static void a_clock_that_stands_is_harmless(void **state)
{
    struct rate r = {0};

    (void)state;
    rate_set(&r, 10, 5000);
    assert_int_equal(rate_events(&r, 6000), 10);
    assert_int_equal(rate_events(&r, 5500), 10);
    for (int i = 0; i < 20; i++) /* more than there is */
        rate_take(&r, 5500);
    assert_int_equal(rate_events(&r, 5500), 0);
    assert_int_equal(rate_due(&r), 6100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_steady),
        cmocka_unit_test(there_is_no_burst),
        cmocka_unit_test(the_limit_can_change),
        cmocka_unit_test(a_clock_that_stands_is_harmless),
    };

    return cmocka_run_group_tests_name("rate", tests, NULL, NULL);
}
