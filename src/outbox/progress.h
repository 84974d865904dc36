/* Lease and positions (design: progress and leadership). Every write checks epoch and holder in the
 * statement that writes; the holder is a random uuid of this process. Answers as in relay/ops.h; an
 * unknown outcome shows as a broken session. */
#ifndef OUTBOXD_OUTBOX_PROGRESS_H
#define OUTBOXD_OUTBOX_PROGRESS_H

#include "outbox/source.h"

struct progress;
struct session;

struct progress_params {
    struct session *control;
    const struct source_events *events;
    void *ctx;         /* of events */
    const char *relay; /* both copied */
    const char *instance;
    int64_t routes_mark; /* route_table_mark: lanes made by others are given up at a takeover */
    uint32_t lease_ttl_ms;
    uint32_t timeout_ms;
};

struct progress *progress_new(const struct progress_params *params);
void progress_free(struct progress *p); /* NULL is harmless */

/* Prepares the fresh session, then calls done(ctx). */
void progress_setup(struct progress *p, void (*done)(void *ctx), void *ctx);
/* The sessions are closed: every request is forgotten. */
void progress_forget(struct progress *p);

/* The ops of relay/ops.h. TAKE_IF_FREE also takes what this process holds already (after a lost
 * connection). */
void progress_take(struct progress *p, enum take_mode mode, int64_t seen_epoch, int64_t seen_beat);
void progress_renew(struct progress *p, int64_t epoch);
void progress_store(struct progress *p, int64_t epoch, const struct store_request *request);
void progress_change(struct progress *p, int64_t epoch, const struct lane_change *change);
void progress_release(struct progress *p);
void progress_tell(struct progress *p, int64_t epoch, const struct trouble *trouble);

#endif
