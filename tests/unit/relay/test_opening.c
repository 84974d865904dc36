/* The opening of partitions, and pauses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "message/murmur2.h"
#include "relay/opening.h"
#include "relay/pacing.h"

#define KEY SLICE_LIT("order-1")

static struct topics t;

static int setup(void **state)
{
    (void)state;
    topics_init(&t);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    topics_release(&t);
    return 0;
}

static void test_names_are_found_again(void **state)
{
    char name[16];
    bool added;

    (void)state;
    for (uint32_t i = 0; i < 1000; i++) {
        (void)snprintf(name, sizeof name, "topic-%u", i);
        assert_int_equal(topics_find(&t, slice_of(name), &added), i);
        assert_true(added);
    }
    for (uint32_t i = 0; i < 1000; i++) {
        (void)snprintf(name, sizeof name, "topic-%u", i);
        assert_int_equal(topics_find(&t, slice_of(name), &added), i);
        assert_false(added);
    }
}

static void test_an_unknown_topic_sends_one(void **state)
{
    int32_t partition;
    bool added;
    uint32_t topic = topics_find(&t, SLICE_LIT("a"), &added);

    (void)state;
    assert_int_equal(topics_permit(&t, topic, 0, KEY, 0, &partition), PERMIT_SEND);
    assert_int_equal(partition, -1);
    topics_sent(&t, topic, -1, 7);
    assert_int_equal(topics_permit(&t, topic, 0, KEY, 0, &partition), PERMIT_WAIT);
    /* the count becomes known with the ack: the partition it went to is open, the others are not */
    topics_set_count(&t, topic, 4);
    topics_acked(&t, topic, murmur2_partition("order-1", 7, 4), 7, 100);
    assert_int_equal(topics_permit(&t, topic, 4, KEY, 100, &partition), PERMIT_SEND);
    topics_sent(&t, topic, partition, 8);
    assert_int_equal(topics_permit(&t, topic, 4, KEY, 100, &partition), PERMIT_SEND);
}

static void open_topic(uint32_t topic, int32_t count)
{
    topics_set_count(&t, topic, count);
    for (int32_t p = 0; p < count; p++)
        topics_acked(&t, topic, p, 0, 1000);
}

static void test_a_closed_partition_sends_one(void **state)
{
    int32_t p;
    bool added;
    uint32_t topic = topics_find(&t, SLICE_LIT("a"), &added);

    (void)state;
    topics_set_count(&t, topic, 3);
    assert_int_equal(topics_permit(&t, topic, 3, KEY, 0, &p), PERMIT_SEND);
    assert_int_equal(p, murmur2_partition("order-1", 7, 3));
    topics_sent(&t, topic, p, 1);
    assert_int_equal(topics_permit(&t, topic, 3, KEY, 0, &p), PERMIT_WAIT);
    topics_acked(&t, topic, p, 1, 5);
    assert_int_equal(topics_permit(&t, topic, 3, KEY, 5, &p), PERMIT_SEND);
    topics_sent(&t, topic, p, 2);
    assert_int_equal(topics_permit(&t, topic, 3, KEY, 5, &p), PERMIT_SEND);
}

static void test_an_hour_without_acks_closes(void **state)
{
    int32_t p;
    bool added;
    uint32_t topic = topics_find(&t, SLICE_LIT("a"), &added);

    (void)state;
    open_topic(topic, 2);
    assert_int_equal(topics_permit(&t, topic, 2, KEY, 1000 + OPENING_FORGET_MS, &p), PERMIT_SEND);
    topics_sent(&t, topic, p, 1);
    assert_int_equal(topics_permit(&t, topic, 2, KEY, 1000 + OPENING_FORGET_MS, &p), PERMIT_SEND);
    assert_int_equal(topics_permit(&t, topic, 2, KEY, 1001 + OPENING_FORGET_MS, &p), PERMIT_SEND);
    topics_sent(&t, topic, p, 2);
    assert_int_equal(topics_permit(&t, topic, 2, KEY, 1001 + OPENING_FORGET_MS, &p), PERMIT_WAIT);
}

static void test_growth_is_seen_before_it_is_used(void **state)
{
    int32_t p;
    bool added;
    uint32_t topic = topics_find(&t, SLICE_LIT("a"), &added);

    (void)state;
    open_topic(topic, 2);
    assert_int_equal(topics_permit(&t, topic, 3, KEY, 1000, &p), PERMIT_GREW);
    topics_set_count(&t, topic, 3);
    assert_int_equal(topics_permit(&t, topic, 3, KEY, 1000, &p), PERMIT_SEND);
    assert_int_equal(p, murmur2_partition("order-1", 7, 3));
    /* a new producer that knows no count yet starts over */
    topics_close_all(&t);
    assert_int_equal(topics_permit(&t, topic, 0, KEY, 1000, &p), PERMIT_SEND);
    assert_int_equal(p, -1);
}

static void test_pauses_grow_and_are_bounded(void **state)
{
    (void)state;
    assert_int_equal(pacing_backoff_ms(1, 100, 30000, 12345), 0);
    for (uint32_t attempt = 2; attempt < 100; attempt++) {
        uint32_t least = pacing_backoff_ms(attempt, 100, 30000, 0);
        uint32_t next = pacing_backoff_ms(attempt + 1, 100, 30000, 0);

        assert_true(least >= 50 && least <= 15000);
        assert_true(next >= least);
        for (uint32_t chance = 0; chance < 50000; chance += 999)
            assert_true(pacing_backoff_ms(attempt, 100, 30000, chance) <= 30000);
    }
    assert_int_equal(pacing_store_ms(0), 100);
    assert_int_equal(pacing_store_ms(10), 500);
    assert_int_equal(pacing_store_ms(1000), 2000);
    assert_int_equal(pacing_store_ms(UINT32_MAX), 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_names_are_found_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_unknown_topic_sends_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_closed_partition_sends_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_hour_without_acks_closes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_growth_is_seen_before_it_is_used, setup, teardown),
        cmocka_unit_test(test_pauses_grow_and_are_bounded),
    };

    return cmocka_run_group_tests_name("relay/opening", tests, NULL, NULL);
}
