/* One Kafka for all tests of a program. Included by one program each. */
#ifndef OUTBOXD_TESTS_ONE_KAFKA_H
#define OUTBOXD_TESTS_ONE_KAFKA_H

#include "../support/kafka.h"

static struct kafka kafka;

static inline int setup_kafka(void **state)
{
    (void)state;
    kafka_create(&kafka, NULL);
    return 0;
}

static inline int teardown_kafka(void **state)
{
    (void)state;
    kafka_drop(&kafka);
    return 0;
}

#endif
