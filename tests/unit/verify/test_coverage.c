/* What may have been removed, and so cannot be judged. */
#include "../../support/check.h"

#include "verify/coverage.h"

#define T0 INT64_C(1700000000000000)
#define H  COVERAGE_MARGIN_US

static struct coverage c;

static int setup(void **state)
{
    (void)state;
    coverage_init(&c);
    coverage_topic(&c, 0, 2);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    coverage_release(&c);
    return 0;
}

/* A row whose key goes to `partition` of two. */
static bool complete_for(uint32_t partition, int64_t created_us)
{
    struct row_entry row = {.created_us = created_us, .key = {.murmur = partition}};

    return coverage_is_complete_for(&c, &row);
}

static void record(int32_t partition, int64_t offset, int64_t us)
{
    uint32_t murmur = (uint32_t)partition;

    coverage_record(&c, 0, partition, offset, us, &murmur);
}

static void a_whole_log_is_complete(void **state)
{
    (void)state;
    coverage_partition(&c, 0, 0, 0, 0, 2);
    coverage_partition(&c, 0, 1, 0, 0, 0); /* never written */
    record(0, 0, T0);
    record(0, 1, T0 + 5);
    coverage_finish(&c);
    assert_true(complete_for(0, 1));
    assert_true(complete_for(1, T0));
    assert_true(coverage_is_first(&c, 0, 0, 1));
    assert_int_equal(c.topics[0].missing, 0);
}

static void rows_before_the_first_record_left_are_not_judged(void **state)
{
    (void)state;
    coverage_partition(&c, 0, 0, 100, 100, 102);
    coverage_partition(&c, 0, 1, 0, 0, 1);
    record(1, 0, T0 - 9 * H); /* the partition count has been two since then */
    record(0, 100, T0);
    record(0, 101, T0 + 9 * H);
    coverage_finish(&c);
    assert_false(complete_for(0, T0 + H));
    assert_true(complete_for(0, T0 + H + 1));
    assert_false(coverage_is_first(&c, 0, 0, T0));
    assert_true(complete_for(1, T0)); /* nothing is missing in the other partition */
    assert_true(coverage_is_first(&c, 0, 1, 1));
    assert_int_equal(c.topics[0].missing, 100);
}

static void a_gap_within_counts_as_removed(void **state)
{
    (void)state;
    coverage_partition(&c, 0, 0, 0, 0, 10);
    coverage_partition(&c, 0, 1, 0, 0, 0);
    record(0, 0, T0 - 20 * H);
    record(0, 4, T0); /* compacted: 1 to 3 */
    record(0, 5, T0 + 9 * H);
    record(0, 6, T0 + 9 * H);
    record(0, 9, T0 + 12 * H); /* 7 and 8 */
    coverage_finish(&c);
    assert_int_equal(c.topics[0].missing, 5);
    assert_false(complete_for(0, T0 + 13 * H));
    assert_true(complete_for(0, T0 + 13 * H + 1));
}

static void what_was_removed_wholly_or_at_the_end_has_no_time(void **state)
{
    (void)state;
    coverage_partition(&c, 0, 0, 7, 7, 7); /* empty, but once written */
    coverage_partition(&c, 0, 1, 0, 0, 3);
    record(1, 0, T0 - 20 * H);
    record(1, 1, T0);
    coverage_finish(&c);
    assert_false(complete_for(0, T0 + 1000 * H));
    assert_false(complete_for(1, T0 + 1000 * H));
    assert_int_equal(c.topics[0].missing, 8);
}

static void a_record_without_a_time_proves_nothing(void **state)
{
    (void)state;
    coverage_partition(&c, 0, 0, 7, 7, 8);
    coverage_partition(&c, 0, 1, 0, 0, 0);
    record(0, 7, COVERAGE_NO_TIME);
    coverage_finish(&c);
    assert_false(complete_for(0, T0 + 1000 * H));
}

/* Asked from a time on: what is before the start does not matter, and was not removed for us. */
static void a_later_start_is_no_gap(void **state)
{
    (void)state;
    coverage_partition(&c, 0, 0, 100, 200, 201);
    coverage_partition(&c, 0, 1, 100, 100, 101);
    record(0, 200, T0);
    record(1, 100, T0 - 10 * H);
    coverage_finish(&c);
    assert_true(complete_for(0, T0 - H));
    assert_false(complete_for(1, T0 - 9 * H));
}

/* A key went elsewhere while there were fewer partitions: what is missing there may have been its
 * record. */
static void a_topic_that_grew_is_judged_by_its_worst_partition(void **state)
{
    uint32_t murmur = 1; /* partition 1 of two, 0 of one */

    (void)state;
    coverage_partition(&c, 0, 0, 50, 50, 52);
    coverage_partition(&c, 0, 1, 0, 0, 1);
    coverage_record(&c, 0, 0, 50, T0, &murmur);
    coverage_record(&c, 0, 0, 51, T0 + 9 * H, &murmur);
    record(1, 0, T0 + 10 * H);
    coverage_finish(&c);
    assert_false(complete_for(1, T0 + H)); /* partition 0 lacks records of that time */
    assert_true(complete_for(1, T0 + H + 1));
    assert_true(complete_for(1, T0 + 11 * H));
}

static void an_absent_topic_has_lost_nothing_to_retention(void **state)
{
    (void)state;
    coverage_topic(&c, 0, 0);
    coverage_finish(&c);
    assert_true(complete_for(0, 1));
    assert_true(coverage_is_read(&c, 0));
    assert_false(coverage_is_read(&c, 1));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_whole_log_is_complete),
        TEST(rows_before_the_first_record_left_are_not_judged),
        TEST(a_gap_within_counts_as_removed),
        TEST(what_was_removed_wholly_or_at_the_end_has_no_time),
        TEST(a_record_without_a_time_proves_nothing),
        TEST(a_later_start_is_no_gap),
        TEST(a_topic_that_grew_is_judged_by_its_worst_partition),
        TEST(an_absent_topic_has_lost_nothing_to_retention),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
