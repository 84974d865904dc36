/* What a lane covers: the events of one key in a topic, of one partition, or of a whole topic. A
 * lane reads the log from a position of its own, and everybody else passes its events over. */
#ifndef OUTBOXD_RELAY_LANE_H
#define OUTBOXD_RELAY_LANE_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

/* The narrower first: an event that two lanes cover belongs to the narrower one. Names as in
 * outbox.lane.filter. */
#define LANE_BYS(X)                                                                                \
    X(KEY, "key")                                                                                  \
    X(PARTITION, "partition")                                                                      \
    X(TOPIC, "topic")

enum lane_by {
#define X(name, word) LANE_BY_##name,
    LANE_BYS(X)
#undef X
        LANE_BY_COUNT,
};

struct lane_filter {
    enum lane_by by;
    struct slice
        topic;        /* of the message; empty (by key only): events whose topic is no legal name */
    struct slice key; /* by key: of the message */
    int32_t partition;  /* by partition: what murmur2 makes of the key ... */
    int32_t partitions; /* ... when the topic has so many; the count of the time it was made */
};

/* The same topic, or key? A topic that is no name is the NULL slice in memory and empty in the
 * table.
 */
bool lane_name_eq(struct slice a, struct slice b);

const char *lane_by_name(enum lane_by by);
bool lane_by_parse(const char *text, enum lane_by *out); /* false for an unknown word */

/* Whether the lane covers an event whose message has this topic and key (message_address; a topic
 * that is no legal name is the NULL slice). */
bool lane_filter_covers(const struct lane_filter *f, struct slice topic, struct slice key);

#endif
