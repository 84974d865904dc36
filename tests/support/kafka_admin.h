/* A short-lived librdkafka handle for questions and topic work. */
#ifndef OUTBOXD_TESTS_KAFKA_ADMIN_H
#define OUTBOXD_TESTS_KAFKA_ADMIN_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>

struct kafka_client {
    rd_kafka_t *rk;
};

void kafka_client_open(struct kafka_client *c, const char *brokers);
void kafka_client_close(struct kafka_client *c);

int kafka_client_broker_count(
    const struct kafka_client *c); /* registered brokers; 0 when nobody answers */
bool kafka_client_sees_broker(const struct kafka_client *c,
                              int port); /* one of them listens on this port */

/* Takes the one answer of an admin request off the queue; fails the test when none comes or
 * something in it has failed. */
void kafka_client_await(rd_kafka_queue_t *answers, const char *what);

#endif
