/* Postgres as the relay's source: three sessions, `read` (events), `control` (lease, positions,
 * trouble) and `bell` (the doorbell), opened together, checked, and closed together when one of
 * them breaks. A fourth, `lanes`, is opened by the first read of a lane and closed with them. Its
 * answers go to struct source_events, which app/ ties to relay_on_...; each is called from the
 * loop, never from within an op. */
#ifndef OUTBOXD_OUTBOX_SOURCE_H
#define OUTBOXD_OUTBOX_SOURCE_H

#include "outbox/backlog.h"
#include "relay/relay.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_base;
struct outbox_source;

/* What each means is told at relay_on_... in relay/relay.h. */
struct source_events {
    void (*opened)(void *ctx);
    void (*lost)(void *ctx, const struct err *why);
    void (*lease)(void *ctx, const struct lease_view *view);
    void (*asked)(void *ctx, const uint32_t *lanes, size_t count);
    void (*renewed)(void *ctx, enum lease_answer answer);
    void (*stored)(void *ctx, uint32_t lane, enum lease_answer answer);
    void (*changed)(void *ctx, enum lease_answer answer);
    void (*released)(void *ctx);
    void (*batch)(void *ctx, struct slice snapshot, bool complete);
    void (*probed)(void *ctx, uint32_t stream, bool many_new, int64_t min_new_id);
    enum row_verdict (*row)(void *ctx, uint32_t stream, const struct event *e);
    void (*fetched)(void *ctx, uint32_t stream, const struct fetched *f);
    void (*armed)(void *ctx, bool armed);
    void (*bell)(void *ctx);
};

struct outbox_params {
    const char *url;          /* as libpq takes it; "": its environment */
    const char *password;     /* NULL or "": none beside the url's */
    const char *relay;        /* name of the row in outbox.relay */
    const char *instance;     /* who we are, for status and for a quick restart */
    uint64_t (*now_ms)(void); /* monotonic */
    uint32_t lease_ttl_ms;
    uint32_t connect_timeout_ms;
    uint32_t statement_timeout_ms;    /* of every query but the first of a backlog */
    size_t max_event_bytes;           /* payload and headers above it are not fetched */
    int64_t retention_keep_ms;        /* after the end of a day its events go; 0: never */
    const struct route_table *routes; /* lent for the source's life: which rows a lane covers */
    bool doorbell; /* wakeup: doorbell; else no bell session is opened, and arm answers false */
};

/* Strings are copied. `events` must outlive the source. */
struct outbox_source *outbox_source_new(const struct outbox_params *params, struct event_base *base,
                                        const struct source_events *events, void *ctx);
void outbox_source_free(
    struct outbox_source *s); /* closes; NULL is harmless; not within a callback */

/* What the database was last asked about the relay's backlog, in the background, every five seconds
 * or more rarely. */
void outbox_source_backlog(const struct outbox_source *s, struct backlog *out);

extern const struct source_ops outbox_source_ops; /* ctx: the struct outbox_source */

#endif
