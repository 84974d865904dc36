/* What days and retention share. */
#include "../../support/check.h"

#include "outbox/upkeep.h"

static void limit_leaves_time_to_the_lease(void **state)
{
    (void)state;
    assert_int_equal(upkeep_limit_ms(10000, 30000), 2500);
    assert_int_equal(upkeep_limit_ms(60000, 10000), 5000);
    assert_int_equal(upkeep_limit_ms(3, 10000), 1); /* 0 would be no limit */
    assert_int_equal(upkeep_limit_ms(10000, 1), 1);
}

static void wrong_things_are_collected(void **state)
{
    struct upkeep u = {0};

    (void)state;
    upkeep_begin(&u);
    assert_false(upkeep_is_news(&u));
    upkeep_refused(&u, "42501", "permission denied");
    assert_string_equal(str_text(&u.partition), "");
    assert_string_equal(str_text(&u.reason), "permission denied (SQLSTATE 42501)");
    assert_int_equal(u.partitions, 0);
    upkeep_wrong(&u, "event_20260101", "is busy");
    upkeep_wrong(&u, "event_20260102", "is busy");
    assert_string_equal(str_text(&u.reason), "permission denied (SQLSTATE 42501)");
    assert_int_equal(u.partitions, 2);
    upkeep_begin(&u);
    upkeep_wrong(&u, "event_20260102", "is busy");
    assert_string_equal(str_text(&u.partition), "event_20260102");
    assert_string_equal(str_text(&u.reason), "is busy");
    assert_int_equal(u.partitions, 1);
    upkeep_release(&u);
}

static void told_once_per_change(void **state)
{
    struct upkeep u = {0};

    (void)state;
    upkeep_begin(&u);
    upkeep_wrong(&u, "a", "is busy");
    assert_true(upkeep_is_news(&u));
    upkeep_told(&u, 5000);
    assert_false(upkeep_is_news(&u));
    upkeep_begin(&u);
    upkeep_wrong(&u, "a", "is busy");
    assert_false(upkeep_is_news(&u));
    upkeep_wrong(&u, "b", "is busy");
    assert_true(upkeep_is_news(&u));
    upkeep_told(&u, 9000);
    upkeep_begin(&u);
    assert_true(upkeep_is_news(&u)); /* all is well again */
    assert_int_equal(upkeep_lasted_s(&u, 12000), 7);
    upkeep_told(&u, 12000);
    assert_false(upkeep_is_news(&u));
    upkeep_release(&u);
}

static void first_remedy_that_fits(void **state)
{
    static const struct upkeep_remedy remedies[] = {{"is busy", "wait"}, {"busy", "look"}};

    (void)state;
    assert_string_equal(upkeep_remedy(remedies, 2, "a is busy now", "ask"), "wait");
    assert_string_equal(upkeep_remedy(remedies, 2, "busy", "ask"), "look");
    assert_string_equal(upkeep_remedy(remedies, 2, "gone", "ask"), "ask");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limit_leaves_time_to_the_lease),
        cmocka_unit_test(wrong_things_are_collected),
        cmocka_unit_test(told_once_per_change),
        cmocka_unit_test(first_remedy_that_fits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
