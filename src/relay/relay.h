/* The relay: the pure core. Events go in by relay_on_..., requests go out by the ops of
 * relay/ops.h, time comes from host->now_ms. One thread; no function blocks; nothing is allocated
 * per event.
 *
 * Happy path: open -> take the lease (epoch and position in one transaction) -> poll/page rows ->
 * message -> send -> ack -> settle the prefix -> store the position -> poll ... On any refusal: one
 * recovery path (relay/recovery.c). On any lost database session: forget everything, open again. */
#ifndef OUTBOXD_RELAY_RELAY_H
#define OUTBOXD_RELAY_RELAY_H

#include "message/route.h"
#include "relay/ops.h"
#include "relay/policy.h"

struct relay;

enum wakeup_mode { WAKEUP_DOORBELL, WAKEUP_POLL };

struct relay_params {
    const struct route_table *routes; /* lent for the relay's life */
    uint32_t window_events;
    size_t window_bytes;
    uint32_t lease_ttl_ms;
    uint32_t shutdown_timeout_ms;
    uint32_t stall_after_ms;
    uint32_t max_lanes;         /* by key; beyond them the topic becomes the lane */
    uint32_t lanes_in_parallel; /* tried at a time; fewer than STREAMS_MAX */
    enum wakeup_mode wakeup;
    uint32_t poll_max_ms; /* wakeup poll: the longest pause between two looks */
    uint32_t fallback_ms; /* the belt beside the doorbell (1000) */
    uint32_t quiet_ms;    /* arm the bell only after this long without an event (30) */
    uint32_t max_rate;    /* events per second, at most; 0: no limit */
};

enum wakeup_cause { WAKEUP_NOTIFY, WAKEUP_POLLED, WAKEUP_FALLBACK, WAKEUP_BACKLOG, WAKEUP_CAUSES };
const char *wakeup_cause_name(enum wakeup_cause c);

#define RELAY_LATENCY_BUCKETS 16
extern const double
    relay_latency_bounds[RELAY_LATENCY_BUCKETS]; /* seconds; the last bucket is +Inf, beyond them */

/* Everything that is ever counted, from the start of the process. The array behind the pointer
 * belongs to the relay. */
struct relay_counters {
    uint64_t events_published;
    uint64_t bytes_published;
    uint64_t events_read;
    uint64_t duplicates_possible; /* entries that were unsettled when a producer was thrown away:
                                     may arrive twice */
    uint64_t polls;
    uint64_t pages;
    uint64_t wakeups[WAKEUP_CAUSES]; /* looks that found events, by what made us look */
    uint64_t events_passed;          /* by main: a lane covers them */
    uint64_t events_skipped;
    uint64_t lane_events; /* of events_published, those that lanes sent */
    uint64_t lanes_made;
    uint64_t lanes_merged;
    uint64_t lane_tries;
    uint64_t stores;
    uint64_t renewals;
    uint64_t takeovers;
    uint64_t recoveries;                         /* by refusals: the producer was thrown away ... */
    uint64_t recoveries_by_cause[REFUSAL_COUNT]; /* ... because of what was refused first */
    uint64_t producers;                          /* thrown away, for whatever reason */
    uint64_t reconnects;                         /* sessions with the database that were lost */
    uint64_t errors[PROBLEM_COUNT];              /* refusals and lost sessions, by what they tell */
    uint64_t *published_by_route;                /* as many as params->routes has */
    uint64_t latency_buckets[RELAY_LATENCY_BUCKETS + 1]; /* commit (created_at) to ack */
    double latency_sum_s;
};

enum relay_state {
#define RELAY_STATES(X)                                                                            \
    X(NEW, "new")            /* relay_start was not called yet */                                  \
    X(OPENING, "connecting") /* source->open is out */                                             \
    X(BACKOFF, "waiting")    /* until the next open */                                             \
    X(STANDBY, "standby")    /* open; another process holds the lease */                           \
    X(TAKING, "taking over") /* a takeover is out */                                               \
    X(LEADING, "leading")    /* ours: reading and publishing */                                    \
    X(DRAINING, "draining")  /* stopping: acks, last store, release */                             \
    X(STOPPED, "stopped")
#define X(name, text) RELAY_##name,
    RELAY_STATES(X)
#undef X
};
const char *relay_state_name(enum relay_state s);

/* Whom the relay works with. All of it must outlive the relay. */
struct relay_world {
    const struct source_ops *source;
    void *source_ctx;
    const struct sink_ops *sink;
    void *sink_ctx;
    const struct host_ops *host;
    void *host_ctx;
};

struct relay *relay_new(const struct relay_params *params, const struct relay_world *world);
void relay_free(struct relay *r);

void relay_start(struct relay *r);
/* Ends in an orderly way: drains, stores, releases; then state STOPPED, with a note. A second call
 * stops at once. */
void relay_stop(struct relay *r);
/* Due when host->wake_at said so; harmless earlier. */
void relay_tick(struct relay *r);
/* What may change while it runs is taken over: shutdown_timeout_ms (for a stop to come),
 * stall_after_ms, poll_max_ms and max_rate. The rest of `params` must be as it was. */
void relay_adjust(struct relay *r, const struct relay_params *params);
/* SIGHUP: what waits for a retry is tried now. */
void relay_retry_now(struct relay *r);

/* ---- answers of the source
 * --------------------------------------------------------------------------------------- */
void relay_on_opened(struct relay *r);
/* A session broke, or open failed. kind ERR_CONFIG: a person is needed; the relay stops and
 * relay_failure tells. */
void relay_on_lost(struct relay *r, const struct err *why);
void relay_on_lease(struct relay *r, const struct lease_view *view);
void relay_on_renewed(struct relay *r, enum lease_answer answer);
/* Before relay_on_renewed: these lanes an operator wants tried. They come again with each renewal
 * until CHANGE_FAIL or CHANGE_MERGE has told what came of it. */
void relay_on_asked(struct relay *r, const uint32_t *lanes, size_t count);
void relay_on_stored(struct relay *r, uint32_t lane, enum lease_answer answer);
void relay_on_changed(struct relay *r, enum lease_answer answer);
void relay_on_released(struct relay *r);
/* The poll's answer. complete: the rows that follow are the whole batch, bounded by `snapshot`. Not
 * complete: there are more than asked for, no rows follow (relay_on_fetched does), and `snapshot`
 * bounds the backlog. */
void relay_on_batch(struct relay *r, struct slice snapshot, bool complete);
void relay_on_probed(struct relay *r, uint32_t stream, bool many_new,
                     int64_t min_new_id); /* min_new_id 0: there are none */
enum row_verdict { ROW_TAKEN, ROW_HOLD };
enum row_verdict relay_on_row(struct relay *r, uint32_t stream, const struct event *e);

struct fetched {
    uint32_t rows; /* offered, and taken or dropped; of a page without a filter, fewer than max_rows
                      (and nothing dropped) mean that the batch is read to its end */
    bool dropped;
    int64_t read_to; /* of a page with a filter: no row up to here is left to be offered;
                        INT64_MAX: the batch is read to its end. Else 0 */
};

/* The rows of a poll or page are through. */
void relay_on_fetched(struct relay *r, uint32_t stream, const struct fetched *f);
void relay_on_armed(struct relay *r, bool armed);
void relay_on_bell(struct relay *r);

/* ---- answers of the sink
 * ----------------------------------------------------------------------------------------- */
void relay_on_acked(struct relay *r, uint32_t stream, uint64_t seq, int32_t partition);
void relay_on_refused(struct relay *r, uint32_t stream, uint64_t seq, enum refusal why,
                      const char *text);
/* An error that belongs to no message: brokers down, authentication, fatal. */
void relay_on_sink_error(struct relay *r, uint32_t stream, enum refusal why, const char *text);

/* ---- looking in
 * --------------------------------------------------------------------------------------------------
 */
struct relay_lanes {
    uint32_t by[LANE_BY_COUNT];
    uint32_t waiting;    /* for their next try ... */
    uint32_t for_person; /* ... among them, those whose cause does not pass by itself */
    uint32_t tried;      /* now, and nothing was acknowledged yet */
    uint32_t flowing;    /* their events are acknowledged: catching up with main */
};

enum relay_state relay_state(const struct relay *r);
/* The lanes beside main; all 0 unless this process leads. */
void relay_lanes(const struct relay *r, struct relay_lanes *out);
int64_t relay_epoch(const struct relay *r);
/* An operator has paused the relay, as far as this process has heard: as the leader, or as a
 * standby from its last look at the row. */
bool relay_paused(const struct relay *r);
const struct relay_counters *relay_counters(const struct relay *r);
const struct trouble *relay_trouble(const struct relay *r); /* cause "" when all is well */
/* Why the relay stopped by itself; kind ERR_NONE when it was told to. */
const struct err *relay_failure(const struct relay *r);
/* Until the next attempt to publish or to open the sessions; -1: none is waited for. */
int64_t relay_next_try_ms(const struct relay *r, uint64_t now_ms);
uint32_t relay_window_events(const struct relay *r); /* read and not yet stored */
size_t relay_window_bytes(const struct relay *r);    /* sent and not yet acknowledged */
/* Aborts when an invariant does not hold. Tests call it after every step. */
void relay_check(const struct relay *r);

#endif
