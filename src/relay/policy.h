/* What kinds of refusal there are and what the relay does about each. The Kafka side maps
 * librdkafka's codes to a cause (its own table in kafka/errors.c); the core decides by the class
 * alone. */
#ifndef OUTBOXD_RELAY_POLICY_H
#define OUTBOXD_RELAY_POLICY_H

#include <stdbool.h>

enum refusal_class {
    REFUSAL_TRANSIENT, /* passes by itself: recover at once, then with growing pauses */
    REFUSAL_TOPIC,     /* concerns a topic or a partition: somebody must mend it; growing pauses */
    REFUSAL_MESSAGE,   /* this message can never be accepted as it is: halt */
    REFUSAL_SESSION,   /* concerns the producer as a whole (authentication, fenced, fatal): new
                          producer, growing pauses */
};

/* name (used in status, logs and metrics), class, what to do */
#define REFUSALS(X)                                                                                \
    X(BROKER_UNREACHABLE, "broker_unreachable", TRANSIENT,                                         \
      "check kafka.brokers, the network and the brokers; nothing is lost, publishing goes on by "  \
      "itself")                                                                                    \
    X(BROKER_ERROR, "broker_error", TRANSIENT,                                                     \
      "passes by itself; see the brokers' logs if it stays")                                       \
    X(NOT_ENOUGH_REPLICAS, "not_enough_replicas", TRANSIENT,                                       \
      "bring the missing replicas back, or lower min.insync.replicas of the topic")                \
    X(CLOCK_WRONG, "clock_wrong", TRANSIENT,                                                       \
      "this machine's clock is too far from the brokers': set it; publishing goes on by itself")   \
    X(TOPIC_MISSING, "topic_missing", TOPIC, "create the topic; publishing goes on by itself")     \
    X(TOPIC_FORBIDDEN, "topic_forbidden", TOPIC,                                                   \
      "grant the relay's principal WRITE and DESCRIBE on the topic")                               \
    X(PARTITION_GONE, "partition_gone", TOPIC,                                                     \
      "the topic has fewer partitions than before, or is being recreated")                         \
    X(MESSAGE_TOO_LARGE, "message_too_large", MESSAGE,                                             \
      "raise max.message.bytes of the topic (and kafka.properties message.max.bytes), or correct " \
      "the event")                                                                                 \
    X(MESSAGE_INVALID, "message_invalid", MESSAGE,                                                 \
      "the broker refuses this record (compacted topic without key, record "                       \
      "validation): correct it")                                                                   \
    X(EVENT_INVALID, "event_invalid", MESSAGE,                                                     \
      "the row cannot become a message: correct the row or the configuration")                     \
    X(EVENT_OVERSIZE, "event_oversize", MESSAGE,                                                   \
      "raise relay.max_event_bytes, or correct the row")                                           \
    X(AUTHENTICATION, "authentication", SESSION,                                                   \
      "correct the credentials or certificates in kafka.properties")                               \
    X(CLUSTER_FORBIDDEN, "cluster_forbidden", SESSION,                                             \
      "grant the relay's principal IDEMPOTENT_WRITE on the cluster (brokers before 2.8), or "      \
      "WRITE on its topics")                                                                       \
    X(PRODUCER_FATAL, "producer_fatal", SESSION, "passes by itself with a new producer")           \
    X(STALLED, "no_acknowledgement", TRANSIENT,                                                    \
      "brokers are reachable but do not acknowledge: see the partition's leader")

enum refusal {
    REFUSAL_NONE = 0,
#define X(name, word, class, advice) REFUSAL_##name,
    REFUSALS(X)
#undef X
};

enum refusal_class refusal_class(enum refusal r);
const char *refusal_name(enum refusal r);     /* "" for NONE */
enum refusal refusal_parse(const char *name); /* the other way round; NONE for an unknown word */
const char *refusal_advice(enum refusal r);   /* what to do; "" for NONE */

#endif
