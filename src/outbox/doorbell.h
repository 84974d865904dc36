/* The doorbell (design: waking up without NOTIFY's price). Armed is who holds the advisory lock
 * (0x6f626f78, bell); writers then ring by NOTIFY. The session ends by itself when we stop touching
 * it, so that a stopped relay leaves no bell armed (PostgreSQL 14 and later). */
#ifndef OUTBOXD_OUTBOX_DOORBELL_H
#define OUTBOXD_OUTBOX_DOORBELL_H

#include "outbox/source.h"

struct doorbell;
struct session;

struct doorbell_params {
    struct event_base *base;
    struct session *session; /* NULL: there is no doorbell; arm answers false */
    const struct source_events *events;
    void *ctx; /* of events */
    uint32_t lease_ttl_ms;
    uint32_t timeout_ms;
};

struct doorbell *doorbell_new(const struct doorbell_params *params);
void doorbell_free(struct doorbell *d); /* NULL is harmless */

/* Listens on the fresh session, then calls done(ctx). */
void doorbell_setup(struct doorbell *d, void (*done)(void *ctx), void *ctx);
/* The session is closed, and with it the lock is gone. */
void doorbell_forget(struct doorbell *d);

/* The session's notifications. Reported at most 200 times a second, because anybody may send them.
 */
void doorbell_notified(struct doorbell *d);

/* The ops of relay/ops.h. */
void doorbell_arm(struct doorbell *d, uint32_t bell);
void doorbell_disarm(struct doorbell *d, uint32_t bell);

#endif
