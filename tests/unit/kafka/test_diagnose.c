/* What an answer of the brokers says about a partition, by answers made here. */
#include "../../support/check.h"

#include "kafka/diagnose.h"

enum { DEAD = -1 };

static rd_kafka_metadata_broker_t brokers[] = {{.id = 1}, {.id = 2}};
static int32_t one_two[] = {1, 2};
static int32_t three[] = {3};
static int32_t all[] = {1, 2, 3};
static rd_kafka_metadata_partition_t parts[3];
static rd_kafka_metadata_topic_t topic;
static struct err err;
static enum refusal cause;

/* Brokers 1 and 2 answer, 3 does not; three partitions, led by 1, 2 and 1. */
static struct rd_kafka_metadata answer(void)
{
    for (int i = 0; i < 3; i++)
        parts[i] = (rd_kafka_metadata_partition_t){.id = i,
                                                   .leader = i % 2 + 1,
                                                   .replica_cnt = 2,
                                                   .replicas = one_two,
                                                   .isr_cnt = 2,
                                                   .isrs = one_two};
    topic = (rd_kafka_metadata_topic_t){
        .topic = (char *)(uintptr_t) "t", .partition_cnt = 3, .partitions = parts};
    err_clear(&err);
    cause = REFUSAL_NONE;
    return (struct rd_kafka_metadata){
        .broker_cnt = 2, .brokers = brokers, .topic_cnt = 1, .topics = &topic};
}

static bool ask(const struct rd_kafka_metadata *md, int32_t partition)
{
    err_clear(&err);
    cause = REFUSAL_NONE;
    return diagnose_answer(md, partition, &err, &cause);
}

static void nothing_is_wrong(void **state)
{
    struct rd_kafka_metadata md = answer();

    (void)state;
    for (int32_t p = -1; p < 3; p++)
        assert_false(ask(&md, p));
    topic.err = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE; /* just created */
    topic.partition_cnt = 0;
    assert_false(ask(&md, -1));
    assert_false(ask(&md, 0));
    md.topic_cnt = 0;
    assert_false(ask(&md, 0));
}

static void the_topic_is_wrong(void **state)
{
    struct rd_kafka_metadata md = answer();

    (void)state;
    topic.err = RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    topic.partition_cnt = 0;
    for (int32_t p = -1; p < 2; p++) {
        assert_true(ask(&md, p));
        assert_int_equal(cause, REFUSAL_TOPIC_MISSING);
    }
    topic.err = RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    assert_true(ask(&md, 1));
    assert_int_equal(cause, REFUSAL_TOPIC_FORBIDDEN);
}

static void only_that_partition_counts(void **state)
{
    struct rd_kafka_metadata md = answer();

    (void)state;
    parts[1].leader = DEAD;
    parts[1].err = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
    parts[2].isr_cnt = 1;
    assert_false(ask(&md, 0));
    assert_true(ask(&md, 1));
    assert_int_equal(cause, REFUSAL_PARTITION_GONE);
    assert_contains(err.text, "topic t: partition 1 has no leader");
    assert_true(ask(&md, 2));
    assert_int_equal(cause, REFUSAL_NOT_ENOUGH_REPLICAS);
    assert_contains(err.text, "partition 2 has 1 of 2 replicas in sync");
    assert_true(ask(&md, -1));
    assert_int_equal(cause, REFUSAL_BROKER_ERROR);
    assert_contains(err.text, "partition 1 has no leader");
}

/* Brokers that start, or that choose: all are without a leader, and some could lead. */
static void all_without_a_leader(void **state)
{
    struct rd_kafka_metadata md = answer();

    (void)state;
    for (int i = 0; i < 3; i++) {
        parts[i].leader = DEAD;
        parts[i].replica_cnt = 3;
        parts[i].replicas = all;
    }
    parts[2].isr_cnt = 1;
    parts[2].isrs = three; /* nobody who answers may lead this one */
    assert_true(ask(&md, 0));
    assert_int_equal(cause, REFUSAL_BROKER_ERROR);
    assert_true(ask(&md, 2));
    assert_int_equal(cause, REFUSAL_PARTITION_GONE);
}

static void there_is_no_such_partition(void **state)
{
    struct rd_kafka_metadata md = answer();

    (void)state;
    assert_true(ask(&md, 3));
    assert_int_equal(cause, REFUSAL_PARTITION_GONE);
    assert_contains(err.text, "topic t: there is no partition 3, it has 3");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_wrong),           cmocka_unit_test(the_topic_is_wrong),
        cmocka_unit_test(only_that_partition_counts), cmocka_unit_test(all_without_a_leader),
        cmocka_unit_test(there_is_no_such_partition),
    };
    return cmocka_run_group_tests_name("diagnose", tests, NULL, NULL);
}
