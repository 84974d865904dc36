/* The topics of the demo, read from their beginnings by a reader that belongs to no group: what
 * came, what came again, how far the services have got; and records put into their topics a second
 * time, byte for byte. */
#ifndef OUTBOXD_EXAMPLE_TOPICS_H
#define OUTBOXD_EXAMPLE_TOPICS_H

#include "chance.h"
#include "shop.h"

#include <librdkafka/rdkafka.h>
#include <stddef.h>

enum { TYPES_MAX = 16 };

struct type_count {
    char name[64]; /* of the event, its header event-type */
    long records;
    long events; /* of these, with an event-id that had not come before */
};

struct topics {
    long records[TOPICS];
    long events[TOPICS];
    struct type_count type[TYPES_MAX];
    int type_count;
    long strangers;         /* records without event-id, or of more types than there are */
    long injected;          /* records that were put in again, and acknowledged */
    long dead;              /* records in the dead-letter topics */
    long waiting[SERVICES]; /* records that a service has not done with; -1: not known yet */
    /* private */
    rd_kafka_t *reader;
    rd_kafka_t *producer;
    rd_kafka_queue_t *answers; /* about the groups' offsets */
    rd_kafka_message_t **all;
    size_t count, room;
    void *ids; /* tree of event-ids */
    long next[TOPICS][SHOP_PARTITIONS];
    bool asked[SERVICES];
    uint64_t ask_ms;
};

/* Ends the demo when no broker answers, or when a topic or group that it would make and remove is
 * there already: it is somebody else's. */
void topics_check_free(const char *brokers);
/* Makes the topics, and one for dead letters beside each. */
void topics_make(const char *brokers);
void topics_remove(const char *brokers); /* these, and the groups of the services */

void topics_open(struct topics *t, const char *brokers);
void topics_close(struct topics *t);

/* Takes what is there, waiting up to timeout_ms for the first record. Returns how many came. */
size_t topics_turn(struct topics *t, int timeout_ms);

/* Puts `count` records, drawn from all that came so far, into their topics again. Returns how many
 * it sent. */
size_t topics_inject(struct topics *t, size_t count, struct chance *chance);

/* Events of the types that a service asks for, and records of them that came again. */
long topics_events_for(const struct topics *t, const struct service_facts *service);
long topics_repeats_for(const struct topics *t, const struct service_facts *service);

#endif
