/* The partitions that this member has at present: for each the events that were polled and not yet
 * settled, in order, and how far it is done. */
#ifndef OUTBOXD_INBOX_PARTS_H
#define OUTBOXD_INBOX_PARTS_H

#include "inbox/dead.h"
#include "inbox/event.h"

struct part {
    char *topic;
    int32_t partition;
    struct inbox_event *head; /* nothing of this partition is handled before it */
    struct inbox_event *tail;
    size_t held;
    size_t held_bytes;
    int64_t done;      /* the next offset to be handled; -1: nothing was yet. All below it is
                          committed in the database, or in the dead-letter topic */
    int64_t committed; /* what Kafka was last told of it */
    bool fresh;        /* nothing was polled since the assignment */
    bool paused;
    uint64_t wake_ms;           /* nothing happens before that; 0: at once */
    struct dead_letter *letter; /* of the head, under way */
    uint64_t letter_ms;         /* since when */
    uint64_t explain_ms;        /* when to say next why it takes so long */
};

struct parts {
    struct part **part;
    size_t count;
    size_t room;
    size_t found; /* by the last parts_find */
};

void parts_release(struct parts *p);
struct part *parts_add(struct parts *p, const char *topic, int32_t partition);
struct part *parts_find(struct parts *p, const char *topic, int32_t partition); /* NULL: none */
void parts_clear(struct parts *p); /* all of them, with the events that they hold */

void part_push(struct part *part, struct inbox_event *event);
/* The head is settled: its offset is done. */
void part_pop(struct part *part);
/* Whether its head has to wait: for its next try, or for an ack of the dead-letter topic. */
bool part_waits(const struct part *part, uint64_t now_ms);

#endif
