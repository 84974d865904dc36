/* What the demos ask of Kafka beside reading: is it there, make a topic, remove it. */
#ifndef OUTBOXD_DEMO_BROKER_H
#define OUTBOXD_DEMO_BROKER_H

#include "base/err.h"

#include <librdkafka/rdkafka.h>

/* A client that says nothing by itself. A consumer is quick to fetch, and commits nothing. NULL
 * with `err` filled when the addresses cannot be used. */
NODISCARD rd_kafka_t *broker_client_new(rd_kafka_type_t type, const char *brokers, struct err *err);

/* 0 when a broker answers, -1 when none does within some seconds; not as long when every address of
 * the list refuses. The client must come from broker_client_new. */
NODISCARD int broker_answers(rd_kafka_t *kafka, const char *brokers, struct err *err);

/* Asks the brokers whether they are there and makes the topic unless it exists: 1 made, 0 there
 * already, -1 no broker answers within some seconds, or the topic cannot be made. */
NODISCARD int topic_prepare(const char *brokers, const char *topic, int partitions,
                            struct err *err);
/* Removes a topic that topic_prepare made; a failure is only told. */
void topic_delete(const char *brokers, const char *topic);

#endif
