#include "sample.h"

#include <string.h>
#include <time.h>

static const char *format(int64_t us)
{
    static char text[MESSAGE_TIME_SIZE];
    size_t len = message_format_time(us, text);

    assert_int_equal(len, strlen(text));
    return text;
}

static void as_many_digits_as_it_takes(void **state)
{
    (void)state;
    assert_string_equal(format(0), "1970-01-01T00:00:00Z");
    assert_string_equal(format(1769860800000000), "2026-01-31T12:00:00Z");
    assert_string_equal(format(1769860800500000), "2026-01-31T12:00:00.500Z");
    assert_string_equal(format(1769860800001000), "2026-01-31T12:00:00.001Z");
    assert_string_equal(format(1769860800123456), "2026-01-31T12:00:00.123456Z");
    assert_string_equal(format(1769860800000001), "2026-01-31T12:00:00.000001Z");
    assert_string_equal(format(1769860800123400), "2026-01-31T12:00:00.123400Z");
}

static void before_1970(void **state)
{
    (void)state;
    assert_string_equal(format(-1), "1969-12-31T23:59:59.999999Z");
    assert_string_equal(format(-1000), "1969-12-31T23:59:59.999Z");
    assert_string_equal(format(-86400000000), "1969-12-31T00:00:00Z");
}

static void leap_days(void **state)
{
    (void)state;
    assert_string_equal(format(951782400000000), "2000-02-29T00:00:00Z");
    assert_string_equal(format(951868800000000), "2000-03-01T00:00:00Z");
    assert_string_equal(format(4107542399000000), "2100-02-28T23:59:59Z");
    assert_string_equal(format(4107542400000000), "2100-03-01T00:00:00Z");
}

static void clamped_to_the_years_1_to_9999(void **state)
{
    const char first[] = "0001-01-01T00:00:00Z";
    const char last[] = "9999-12-31T23:59:59.999999Z";

    (void)state;
    assert_string_equal(format(-62135596800000000), first);
    assert_string_equal(format(-62135596799999999), "0001-01-01T00:00:00.000001Z");
    assert_string_equal(format(-62135596800000001), first);
    assert_string_equal(format(253402300799999999), last);
    assert_string_equal(format(253402300800000000), last);
    assert_string_equal(format(-210866803200000000), first); /* 4714 BC, the first of Postgres */
    assert_string_equal(format(INT64_MAX - 1), last);
    assert_string_equal(format(EVENT_TIME_INFINITY), last);
    assert_string_equal(format(EVENT_TIME_MINUS_INFINITY), first);
}

/* Every day of the 9999 years, at a time of day that moves on, against the C library. */
static void same_as_gmtime(void **state)
{
    int64_t seconds = -62135596800;
    char want[64];

    (void)state;
    for (; seconds <= 253402300799; seconds += 86400 + 7) {
        time_t t = (time_t)seconds;
        struct tm tm;

        assert_non_null(gmtime_r(&t, &tm));
        (void)snprintf(want, sizeof want, "%04d-%02d-%02dT%02d:%02d:%02dZ", tm.tm_year + 1900,
                       tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
        if (strcmp(format(seconds * 1000000), want) != 0)
            assert_string_equal(format(seconds * 1000000), want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_many_digits_as_it_takes),
        cmocka_unit_test(before_1970),
        cmocka_unit_test(leap_days),
        cmocka_unit_test(clamped_to_the_years_1_to_9999),
        cmocka_unit_test(same_as_gmtime),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
