/* What kinds of refusal there are and what the relay does about each. The Kafka side maps
 * librdkafka's codes to a cause (its own table in kafka/errors.c); the core decides by the class
 * alone. */
#ifndef OUTBOXD_RELAY_POLICY_H
#define OUTBOXD_RELAY_POLICY_H

#include "base/problem.h"

enum refusal_class {
    REFUSAL_TRANSIENT, /* passes by itself: recover at once, then with growing pauses */
    REFUSAL_TOPIC,     /* concerns a topic or a partition: somebody must mend it; growing pauses */
    REFUSAL_MESSAGE,   /* this message can never be accepted as it is: halt */
    REFUSAL_SESSION,   /* concerns the producer as a whole (authentication, fenced, fatal): new
                          producer, growing pauses */
};

/* Each is a problem of base/problem.h, which has its word and its texts; here is the class. */
#define REFUSALS(X)                                                                                \
    X(BROKER_UNREACHABLE, TRANSIENT)                                                               \
    X(BROKER_ERROR, TRANSIENT)                                                                     \
    X(NOT_ENOUGH_REPLICAS, TRANSIENT)                                                              \
    X(CLOCK_WRONG, TRANSIENT)                                                                      \
    X(TOPIC_MISSING, TOPIC)                                                                        \
    X(TOPIC_FORBIDDEN, TOPIC)                                                                      \
    X(PARTITION_GONE, TOPIC)                                                                       \
    X(MESSAGE_TOO_LARGE, MESSAGE)                                                                  \
    X(MESSAGE_INVALID, MESSAGE)                                                                    \
    X(EVENT_INVALID, MESSAGE)                                                                      \
    X(EVENT_OVERSIZE, MESSAGE)                                                                     \
    X(AUTHENTICATION, SESSION)                                                                     \
    X(CLUSTER_FORBIDDEN, SESSION)                                                                  \
    X(PRODUCER_FATAL, SESSION)                                                                     \
    X(STALLED, TRANSIENT)

enum refusal {
    REFUSAL_NONE = 0,
#define X(name, class) REFUSAL_##name,
    REFUSALS(X)
#undef X
        REFUSAL_COUNT,
};

enum refusal_class refusal_class(enum refusal r);
enum problem refusal_problem(enum refusal r); /* PROBLEM_NONE for NONE */
const char *refusal_name(enum refusal r);     /* the problem's word: status, logs, metrics */

#endif
