/* What changes more than one lane's position, or a lane's story (struct lane_change in
 * relay/ops.h): each is one statement, and so one transaction, which commits on disk and writes
 * nothing unless epoch and holder are ours under the lock of the relay's row. */
#ifndef OUTBOXD_OUTBOX_CHANGES_H
#define OUTBOXD_OUTBOX_CHANGES_H

#include "outbox/source.h"

struct changes;
struct session;

struct changes_params {
    struct session *control;
    const struct source_events *events;
    void *ctx;         /* of events */
    const char *relay; /* as SQL literals, as holder; lent for the life of it */
    const char *holder;
    int64_t mark; /* of the routes, for lanes that are made */
    uint32_t timeout_ms;
};

struct changes *changes_new(const struct changes_params *params);
void changes_free(struct changes *c); /* NULL is harmless */

/* One at a time. Answer: events->changed. A lane that should be there and is not counts as a lost
 * lease: who has it has removed it. */
void changes_make(struct changes *c, int64_t epoch, const struct lane_change *change);

#endif
