/* The question behind a stall: what do the brokers say about a topic? */
#ifndef OUTBOXD_KAFKA_DIAGNOSE_H
#define OUTBOXD_KAFKA_DIAGNOSE_H

#include "base/err.h"
#include "relay/policy.h"

#include <librdkafka/rdkafka.h>
#include <stdbool.h>

/* Asks for the topic's metadata and waits for the answer, up to 50 ms. Returns true, with err and
 * cause filled, when the brokers do not answer, or the topic or one of its partitions cannot be
 * written to; false when nothing is wrong. With `partition` >= 0 the other partitions do not
 * matter. `rkt` NULL: no topic in particular, any broker's answer will do. */
bool diagnose(rd_kafka_t *rk, rd_kafka_topic_t *rkt, int32_t partition, const char *brokers,
              struct err *err, enum refusal *cause);

/* What the first topic of an answer says; the rest of `diagnose`. */
bool diagnose_answer(const struct rd_kafka_metadata *md, int32_t partition, struct err *err,
                     enum refusal *cause);

#endif
