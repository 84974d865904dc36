/* Old days go while the relay runs: a day that is over for `keep` is emptied as soon as every relay
 * has published all of it, and its empty partition is dropped when that makes nobody wait. Any
 * relay may do it, standby or leader, and several at once: outbox.retire_next takes one step for
 * one partition. Nothing is reported to the relay: what is kept against its time is logged, once
 * per change, and tried again; the session never breaks by it. The default partition is watched,
 * too. */
#ifndef OUTBOXD_OUTBOX_RETENTION_H
#define OUTBOXD_OUTBOX_RETENTION_H

#include <stdint.h>

struct event_base;
struct retention;
struct session;

struct retention_params {
    struct event_base *base;
    struct session *session;  /* shared with the lease */
    uint64_t (*now_ms)(void); /* monotonic: how long a trouble has lasted */
    int64_t keep_ms;          /* after the end of the day; 0: for ever */
    uint32_t lease_ttl_ms;    /* no statement takes more than a quarter of it */
    uint32_t timeout_ms;      /* of the session's queries; no more than a half of it */
    uint32_t first_ms;        /* from retention_start to the first look */
    uint32_t soon_ms;         /* to the next step of what is under way, and to a second try */
    uint32_t every_ms;        /* from one look to the next */
    uint32_t retry_ms;        /* after one that met an error, or a partition in use, twice */
};

struct retention *retention_new(const struct retention_params *params);
void retention_free(struct retention *r); /* NULL is harmless */

/* The session is open and checked: look in first_ms, and then again and again. */
void retention_start(struct retention *r);
/* The session is closed: no look until retention_start. What has been told stays told. */
void retention_forget(struct retention *r);

#endif
