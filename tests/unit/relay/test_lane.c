/* What a lane covers. */
#include "message/murmur2.h"
#include "relay/lane.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static bool covers(const struct lane_filter *f, const char *topic, const char *key)
{
    return lane_filter_covers(f, slice_of(topic), slice_of(key));
}

static void test_words(void **state)
{
    enum lane_by by = LANE_BY_COUNT;

    (void)state;
    for (int i = 0; i < LANE_BY_COUNT; i++) {
        assert_true(lane_by_parse(lane_by_name((enum lane_by)i), &by));
        assert_int_equal(by, i);
    }
    assert_string_equal(lane_by_name(LANE_BY_KEY), "key");
    assert_string_equal(lane_by_name(LANE_BY_PARTITION), "partition");
    assert_string_equal(lane_by_name(LANE_BY_TOPIC), "topic");
    assert_false(lane_by_parse("", &by));
    assert_false(lane_by_parse("Key", &by));
    assert_int_equal(by, LANE_BY_TOPIC);
}

static void test_by_key(void **state)
{
    const struct lane_filter f = {
        .by = LANE_BY_KEY, .topic = SLICE_LIT("orders"), .key = SLICE_LIT("4711")};

    (void)state;
    assert_true(covers(&f, "orders", "4711"));
    assert_false(covers(&f, "orders", "471"));
    assert_false(covers(&f, "orders", "47110"));
    assert_false(covers(&f, "orders", ""));
    assert_false(covers(&f, "orders-2", "4711"));
    assert_false(covers(&f, NULL, "4711"));
}

/* An empty key is a key, and bytes count. */
static void test_odd_keys(void **state)
{
    struct lane_filter f = {.by = LANE_BY_KEY, .topic = SLICE_LIT("orders"), .key = SLICE_LIT("")};

    (void)state;
    assert_true(covers(&f, "orders", ""));
    assert_false(covers(&f, "orders", "a"));
    f.key = SLICE_LIT("a\0b");
    assert_true(lane_filter_covers(&f, SLICE_LIT("orders"), SLICE_LIT("a\0b")));
    assert_false(lane_filter_covers(&f, SLICE_LIT("orders"), SLICE_LIT("a\0c")));
}

/* Their topic is no legal name: NULL in memory, empty in the table. */
static void test_events_without_a_topic(void **state)
{
    struct lane_filter f = {.by = LANE_BY_KEY, .topic = SLICE_LIT(""), .key = SLICE_LIT("k")};

    (void)state;
    assert_true(covers(&f, NULL, "k"));
    assert_false(covers(&f, "orders", "k"));
    f.topic = (struct slice){0};
    assert_true(covers(&f, NULL, "k"));
    assert_false(covers(&f, "orders", "k"));
    assert_false(covers(&f, NULL, "l"));
}

/* Each key belongs to one partition's lane, whatever the topic has by now. */
static void test_by_partition(void **state)
{
    char key[16];

    (void)state;
    for (int i = 0; i < 1000; i++) {
        int found = 0;

        (void)snprintf(key, sizeof key, "k%d", i);
        for (int32_t p = 0; p < 7; p++) {
            const struct lane_filter f = {.by = LANE_BY_PARTITION,
                                          .topic = SLICE_LIT("orders"),
                                          .partition = p,
                                          .partitions = 7};

            assert_int_equal(covers(&f, "orders", key),
                             murmur2_partition(key, slice_of(key).len, 7) == p);
            assert_false(covers(&f, "order", key));
            found += covers(&f, "orders", key);
        }
        assert_int_equal(found, 1);
    }
}

static void test_by_topic(void **state)
{
    const struct lane_filter f = {.by = LANE_BY_TOPIC, .topic = SLICE_LIT("orders")};

    (void)state;
    assert_true(covers(&f, "orders", "a"));
    assert_true(covers(&f, "orders", ""));
    assert_false(covers(&f, "order", "a"));
    assert_false(covers(&f, "orders2", "a"));
    assert_false(covers(&f, NULL, "a"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),        cmocka_unit_test(test_by_key),
        cmocka_unit_test(test_odd_keys),     cmocka_unit_test(test_events_without_a_topic),
        cmocka_unit_test(test_by_partition), cmocka_unit_test(test_by_topic),
    };

    return cmocka_run_group_tests_name("lane", tests, NULL, NULL);
}
