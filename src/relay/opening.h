/* Topics, and the opening of their partitions.
 *
 * Brokers accept ANY first sequence number from a producer id that they have no state for. A fresh
 * producer that sends {1, 2 = refused} and then {3, 4} therefore gets 3 and 4 accepted in front of
 * 1 (reproduced on Kafka 4.1; KAFKA-15591). So a partition is opened: one message alone, and the
 * others only when it is acknowledged. The same after an hour without an ack, when the broker may
 * have forgotten the producer. */
#ifndef OUTBOXD_RELAY_OPENING_H
#define OUTBOXD_RELAY_OPENING_H

#include "base/str.h"

#include <stdint.h>

#define OPENING_FORGET_MS (3600U * 1000U)

enum partition_state { PARTITION_CLOSED, PARTITION_OPENING, PARTITION_OPEN };

struct partition {
    enum partition_state state;
    uint64_t last_ack_ms;
};

struct topic {
    char *name;
    int32_t count; /* partitions that we compute with; 0: not known yet */
    struct partition *partitions;
    bool opening; /* count unknown: one message is out that will tell */
    uint64_t opener;
};

struct topics {
    struct topic *list;
    uint32_t count;
    uint32_t *slots; /* open addressing over `list`, index + 1 */
    uint32_t slot_count;
};

void topics_init(struct topics *t);
void topics_release(struct topics *t);

/* The number of the topic; a new one is added with *added = true. Allocates only then. */
uint32_t topics_find(struct topics *t, struct slice name, bool *added);

enum permit {
    PERMIT_SEND, /* to *partition (-1: let the key decide when the count is known) */
    PERMIT_WAIT, /* an opener is out */
    PERMIT_GREW, /* the count has changed: empty the window, then topics_set_count */
};

/* May a message with this key be sent now? `known` is the count that the producer sees (0: none
 * yet). */
enum permit topics_permit(struct topics *t, uint32_t topic, int32_t known, struct slice key,
                          uint64_t now_ms, int32_t *partition);
void topics_sent(struct topics *t, uint32_t topic, int32_t partition, uint64_t seq);
void topics_acked(struct topics *t, uint32_t topic, int32_t partition, uint64_t seq,
                  uint64_t now_ms);
/* Uses another partition count; every partition of the topic is closed then. */
void topics_set_count(struct topics *t, uint32_t topic, int32_t count);
/* A new producer: nothing is open, no count is known. */
void topics_close_all(struct topics *t);

#endif
