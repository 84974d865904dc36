/* The question behind a stall: what do the brokers say about a topic? */
#ifndef OUTBOXD_KAFKA_DIAGNOSE_H
#define OUTBOXD_KAFKA_DIAGNOSE_H

#include "base/err.h"
#include "relay/policy.h"

#include <librdkafka/rdkafka.h>
#include <stdbool.h>

/* Asks for the topic's metadata and waits for the answer, up to 50 ms. Returns true, with err and
 * cause filled, when the brokers do not answer, or the topic or one of its partitions cannot be
 * written to; false when nothing is wrong. `rkt` NULL: no topic in particular, any broker's answer
 * will do. */
bool diagnose(rd_kafka_t *rk, rd_kafka_topic_t *rkt, const char *brokers, struct err *err,
              enum refusal *cause);

#endif
