/* The judge of the demo: compares what the order service says it committed with what came out of
 * the topic. */
#ifndef OUTBOXD_DEMO_VERDICT_H
#define OUTBOXD_DEMO_VERDICT_H

#include "consumer.h"

#include <stddef.h>
#include <stdint.h>

/* One event as the service logged it. */
struct told {
    char event_id[CONSUMER_TEXT];
    char key[CONSUMER_TEXT];
    int version; /* counts the events of one key */
    int committed;
    int64_t at_us;
    int64_t seen_us; /* when it first came out of the topic; 0: not at all */
};

struct ledger {
    struct told *told; /* sorted by event_id */
    size_t count;
    size_t committed;
};

/* Reads the service's log as far as it is complete; fails the demo when a line is not understood.
 */
void ledger_read(struct ledger *l, const char *path);
void ledger_release(struct ledger *l);

struct verdict {
    long committed;
    long rolled_back;
    long published; /* distinct committed events that came */
    long lost;
    long ghosts;       /* messages that no commit stands behind */
    long out_of_order; /* first occurrences that came after a later one of their key, or in another
                          partition */
    long duplicates;
    int64_t p50_us; /* commit to consumer, of the events that the crash did not touch */
    int64_t p99_us;
    int64_t worst_us; /* the longest, of those that it did */
};

/* The crash: events that came after `from_us` and were committed before `until_us` waited because
 * of it. */
struct verdict judge(struct ledger *l, const struct consumer *c, int64_t from_us, int64_t until_us);

/* Marks what has come; returns how many committed events have not. */
size_t ledger_missing(struct ledger *l, const struct consumer *c);

#endif
