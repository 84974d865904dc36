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

/* ---- the way back ---- */

static void parses(const char *text, int64_t want)
{
    int64_t us = -7;

    if (!message_parse_time(slice_of(text), &us) || us != want)
        fail_msg("%s: %lld, expected %lld", text, (long long)us, (long long)want);
}

static void parses_what_people_write(void **state)
{
    const int64_t noon = INT64_C(1769860800000000);

    (void)state;
    parses("2026-01-31T12:00:00Z", noon);
    parses("2026-01-31t12:00:00z", noon);
    parses("2026-01-31 12:00:00", noon);
    parses("2026-01-31T12:00", noon);
    parses("2026-01-31T13:30:00+01:30", noon);
    parses("2026-01-31T13:30+0130", noon);
    parses("2026-01-31 09:00:00-03", noon);
    parses("2026-01-31T12:00:00.5Z", noon + 500000);
    parses("2026-01-31T12:00:00.123456Z", noon + 123456);
    parses("2026-01-31T12:00:00.123456789Z", noon + 123456);
    parses("2026-01-31", noon - INT64_C(43200000000));
    parses("2024-02-29", INT64_C(1709164800000000));
    parses("1969-12-31T23:59:59.999999Z", -1);
}

static void refuses_what_is_no_time(void **state)
{
    static const char *const texts[] = {
        "",
        "now",
        "2026",
        "2026-13-01",
        "2026-00-01",
        "2026-01-32",
        "2026-02-29",
        "2026-04-31",
        "2026-01-31T",
        "2026-01-31T24:00:00Z",
        "2026-01-31T12:60:00Z",
        "2026-01-31T12:00:60Z",
        "2026-01-31T12",
        "2026-01-31T12:00:00.Z",
        "2026-01-31T12:00:00ZZ",
        "2026-01-31T12:00:00+25:00",
        "2026-01-31T12:00:00+1",
        "2026-01-31Z",
        "0000-01-01",
        " 2026-01-31",
        "2026-01-31 ",
        "26-01-31",
        "2026/01/31",
    };
    int64_t us = 0;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (message_parse_time(slice_of(texts[i]), &us))
            fail_msg("\"%s\" was taken for a time", texts[i]);
    assert_false(message_parse_time((struct slice){0}, &us));
}

/* From the year 1 to 9999, with fractions of each length. */
static void parses_what_format_writes(void **state)
{
    int64_t us = INT64_C(-62135596800000000);

    (void)state;
    for (int i = 0; us < INT64_C(253402300799000000); i++) {
        parses(format(us), us);
        us += INT64_C(86400000000) * 13 + (i % 3 == 0 ? 1000 : i % 3 == 1 ? 1 : 999999 - 1001);
    }
    parses(format(INT64_C(253402300799999999)), INT64_C(253402300799999999));
}

static void event_ids_are_read_back(void **state)
{
    struct event e = {.event_id = {0x01, 0xa2, 0x06, 0x65, 0xe0, 0xf5, 0x7c, 0x9c, 0xad, 0xc0, 0xd8,
                                   0xd6, 0x35, 0x34, 0xd5, 0xff}};
    char text[EVENT_ID_TEXT];
    uint8_t back[16];

    (void)state;
    event_id_text(e.event_id, text);
    assert_true(event_id_parse(slice_of(text), back));
    assert_memory_equal(back, e.event_id, 16);
    assert_true(event_id_parse(slice_of("01A20665-E0F5-7C9C-ADC0-D8D63534D5FF"), back));
    assert_memory_equal(back, e.event_id, 16);
    assert_false(event_id_parse((struct slice){0}, back));
    assert_false(event_id_parse(slice_of("01A20665E0F57C9CADC0D8D63534D5FF"), back));
    assert_false(event_id_parse(slice_of("01a20665-e0f5-7c9c-adc0-d8d63534d5fg"), back));
    assert_false(event_id_parse(slice_of("01a20665-e0f5-7c9c-adc0_d8d63534d5ff"), back));
    assert_false(event_id_parse(slice_of("01a20665-e0f5-7c9c-adc0-d8d63534d5ff "), back));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_many_digits_as_it_takes),
        cmocka_unit_test(before_1970),
        cmocka_unit_test(leap_days),
        cmocka_unit_test(clamped_to_the_years_1_to_9999),
        cmocka_unit_test(same_as_gmtime),
        cmocka_unit_test(parses_what_people_write),
        cmocka_unit_test(refuses_what_is_no_time),
        cmocka_unit_test(parses_what_format_writes),
        cmocka_unit_test(event_ids_are_read_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
