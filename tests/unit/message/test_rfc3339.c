/* Times as programs write them: RFC 3339 and no less. */
#include "../../support/check.h"

#include "message/message.h"

static int64_t read_or_fail(const char *text)
{
    int64_t us = 0;

    CHECK(message_parse_rfc3339(slice_of(text), &us), "%s", text);
    return us;
}

static void well_formed(void **state)
{
    (void)state;
    assert_int_equal(read_or_fail("1970-01-01T00:00:00Z"), 0);
    assert_int_equal(read_or_fail("2026-01-01T00:00:00Z"), 1767225600000000);
    assert_int_equal(read_or_fail("2026-01-01T00:00:01.5Z"), 1767225601500000);
    assert_int_equal(read_or_fail("2026-01-01t01:30:00.123456789+01:30"), 1767225600123456);
    assert_int_equal(read_or_fail("2025-12-31 19:00:00-05:00"), 1767225600000000);
    assert_int_equal(read_or_fail("1969-12-31T23:59:59.999999Z"), -1);
    assert_int_equal(read_or_fail("2024-02-29T00:00:00Z"), 1709164800000000);
    assert_int_equal(read_or_fail("2000-03-01T00:00:00Z"), 951868800000000);
    assert_int_equal(read_or_fail("0001-01-01T00:00:00Z"), -62135596800000000);
    assert_int_equal(read_or_fail("9999-12-31T23:59:59Z"), 253402300799000000);
    assert_int_equal(read_or_fail("2016-12-31T23:59:60Z"), 1483228800000000);
}

static void malformed(void **state)
{
    static const char *const texts[] = {"",
                                        "2026",
                                        "2026-01-01",
                                        "2026-01-01T00:00:00",
                                        "2026-01-01T00:00:00.Z",
                                        "2026-01-01T00:00:00Z ",
                                        "2026-1-1T00:00:00Z",
                                        "2026-02-29T00:00:00Z",
                                        "1900-02-29T00:00:00Z",
                                        "2026-13-01T00:00:00Z",
                                        "2026-00-01T00:00:00Z",
                                        "2026-01-32T00:00:00Z",
                                        "0000-01-01T00:00:00Z",
                                        "2026-01-01T24:00:00Z",
                                        "2026-01-01T00:60:00Z",
                                        "2026-01-01T00:00:61Z",
                                        "2026-01-01T00:00:00+24:00",
                                        "2026-01-01T00:00:00+0100",
                                        "2026-01-01T00:00:00+01:60",
                                        "-026-01-01T00:00:00Z",
                                        "infinity"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        int64_t us = 42;

        CHECK(!message_parse_rfc3339(slice_of(texts[i]), &us), "%s", texts[i]);
        assert_int_equal(us, 42);
    }
    assert_false(message_parse_rfc3339((struct slice){0}, &(int64_t){0}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(well_formed),
        cmocka_unit_test(malformed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
