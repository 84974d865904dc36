/* The error table: every code that the library knows is judged, and the judgements that matter are
 * what they should be. */
#include "../../support/check.h"

#include "kafka/errors.h"

#include "base/err.h"

#include <stdlib.h>

static void every_code_of_the_library_is_listed(void **state)
{
    (void)state;
    const struct rd_kafka_err_desc *descs;
    size_t count;
    rd_kafka_get_err_descs(&descs, &count);
    assert_true(count > 100);
    for (size_t i = 0; i < count; i++) {
        if (!descs[i].desc || descs[i].code == RD_KAFKA_RESP_ERR_NO_ERROR)
            continue; /* a gap in the numbers */
        /* A newer library may know more; then the default counts, and this test says what to judge.
         */
        CHECK(kafka_error_is_listed(descs[i].code), "%s (%d) is not in the table", descs[i].name,
              (int)descs[i].code);
        assert_int_not_equal(kafka_refusal(descs[i].code), REFUSAL_NONE);
    }
}

static void causes_are_as_designed(void **state)
{
    (void)state;
    static const struct {
        rd_kafka_resp_err_t code;
        enum refusal refusal;
        enum refusal_class class;
    } CASES[] = {
        /* permanent for librdkafka, not for us */
        {RD_KAFKA_RESP_ERR_UNKNOWN, REFUSAL_BROKER_ERROR, REFUSAL_TRANSIENT},
        {RD_KAFKA_RESP_ERR_INVALID_MSG, REFUSAL_BROKER_ERROR, REFUSAL_TRANSIENT},
        {RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION, REFUSAL_BROKER_UNREACHABLE, REFUSAL_TRANSIENT},
        {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, REFUSAL_MESSAGE_TOO_LARGE, REFUSAL_MESSAGE},
        {RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP, REFUSAL_CLOCK_WRONG, REFUSAL_TRANSIENT},
        {RD_KAFKA_RESP_ERR_INVALID_RECORD, REFUSAL_MESSAGE_INVALID, REFUSAL_MESSAGE},
        {RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, REFUSAL_TOPIC_MISSING, REFUSAL_TOPIC},
        {RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, REFUSAL_TOPIC_MISSING, REFUSAL_TOPIC},
        {RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION, REFUSAL_PARTITION_GONE, REFUSAL_TOPIC},
        {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, REFUSAL_TOPIC_FORBIDDEN, REFUSAL_TOPIC},
        {RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, REFUSAL_NOT_ENOUGH_REPLICAS, REFUSAL_TRANSIENT},
        {RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, REFUSAL_BROKER_UNREACHABLE, REFUSAL_TRANSIENT},
        {RD_KAFKA_RESP_ERR__AUTHENTICATION, REFUSAL_AUTHENTICATION, REFUSAL_SESSION},
        {RD_KAFKA_RESP_ERR__SSL, REFUSAL_AUTHENTICATION, REFUSAL_SESSION},
        {RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, REFUSAL_CLUSTER_FORBIDDEN,
         REFUSAL_SESSION},
        {RD_KAFKA_RESP_ERR__GAPLESS_GUARANTEE, REFUSAL_PRODUCER_FATAL, REFUSAL_SESSION},
        {RD_KAFKA_RESP_ERR__PURGE_QUEUE, REFUSAL_PRODUCER_FATAL, REFUSAL_SESSION},
        {RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, REFUSAL_PRODUCER_FATAL, REFUSAL_SESSION},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        enum refusal r = kafka_refusal(CASES[i].code);
        CHECK(r == CASES[i].refusal, "%s gives %s", rd_kafka_err2name(CASES[i].code),
              refusal_name(r));
        assert_int_equal(refusal_class(r), CASES[i].class);
    }
}

static void an_unknown_code_passes_by_itself(void **state)
{
    (void)state;
    rd_kafka_resp_err_t code = (rd_kafka_resp_err_t)9999;
    assert_false(kafka_error_is_listed(code));
    assert_int_equal(kafka_refusal(code), REFUSAL_BROKER_ERROR);
    assert_int_equal(kafka_refusal(RD_KAFKA_RESP_ERR_NO_ERROR), REFUSAL_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_of_the_library_is_listed),
        cmocka_unit_test(causes_are_as_designed),
        cmocka_unit_test(an_unknown_code_passes_by_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
