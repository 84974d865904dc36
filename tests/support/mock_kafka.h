/* tests/tools/mock_broker as a child: a Kafka that starts at once and costs next to no processor
 * time, for figures of the database's side. */
#ifndef OUTBOXD_TESTS_MOCK_KAFKA_H
#define OUTBOXD_TESTS_MOCK_KAFKA_H

#include "proc.h"

struct mock_kafka {
    struct proc proc;
    char brokers[64];
};

/* `topic` is "name:partitions". Returns when it serves. */
void mock_kafka_start(struct mock_kafka *k, const char *topic);
void mock_kafka_stop(struct mock_kafka *k);

#endif
