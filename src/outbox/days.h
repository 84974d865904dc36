/* Partitions of the days ahead are created while the relay runs, so that no row lands in the
 * default partition. Any relay may do it, standby or leader, and several at once:
 * outbox.ensure_days makes what is missing and leaves alone what is there. Nothing is reported to
 * the relay: what cannot be created is logged, once per change, and tried again; the session never
 * breaks by it. */
#ifndef OUTBOXD_OUTBOX_DAYS_H
#define OUTBOXD_OUTBOX_DAYS_H

#include <stdint.h>

struct days;
struct event_base;
struct session;

struct days_params {
    struct event_base *base;
    struct session *session;  /* shared with the lease */
    uint64_t (*now_ms)(void); /* monotonic: how long a trouble has lasted */
    uint32_t lease_ttl_ms;    /* no statement takes more than a quarter of it */
    uint32_t timeout_ms;      /* of the session's queries; no more than a half of it */
    uint32_t first_ms; /* from days_start to the first look, and to a second one if need be */
    uint32_t every_ms; /* from one look to the next */
    uint32_t retry_ms; /* after one that met an error or a busy table twice */
};

struct days *days_new(const struct days_params *params);
void days_free(struct days *d); /* NULL is harmless */

/* The session is open and checked: look in first_ms, and then again and again. */
void days_start(struct days *d);
/* The session is closed: no look until days_start. What has been told stays told. */
void days_forget(struct days *d);

#endif
