/* What the relay asks of the world. Postgres (outbox/), Kafka (kafka/) and the simulation's fakes
 * implement the same three structs of functions; app/ ties them together. The core never blocks,
 * never asks a clock, and never allocates per event.
 *
 * Rules that every implementation keeps:
 *  - an op never calls back into the relay before it has returned (the core asserts it). Answers
 * come later, as a call of one of the relay_on_... functions of relay/relay.h;
 *  - every request gets exactly one answer, unless source->close was called in between, after which
 * nothing comes any more;
 *  - slices and structs passed to an op are lent for the duration of the call. */
#ifndef OUTBOXD_RELAY_OPS_H
#define OUTBOXD_RELAY_OPS_H

#include "base/err.h"
#include "base/str.h"
#include "message/message.h"
#include "relay/lane.h"
#include "relay/policy.h"

#include <stdbool.h>
#include <stdint.h>

/* Where reading stands (design: a pair of snapshots, not a number). Snapshots are opaque text here,
 * as Postgres prints a pg_snapshot. Everything visible in `base` is settled; the rows visible in
 * `target` and not in `base` are the present batch, read in id order; those up to last_id are
 * settled. An empty target means that there is no present batch. */
struct position {
    struct str base;
    struct str target;
    int64_t last_id;
};

/* What is read and sent in one order is a stream: stream 0 is main's, the others (1 to
 * relay.lanes_in_parallel) are those of the lanes that are being tried. Each has a producer and a
 * window of its own. A number that is free is used again for another lane. */
#define MAIN_STREAM 0U
#define STREAMS_MAX 17U

/* ---- the source: Postgres
 * ---------------------------------------------------------------------------------------- */

/* Written into the relay's row, or the lane's, for `status`. */
struct trouble {
    char cause[32]; /* a word of the table in relay/policy.h; "" when all is well */
    char text[512];
    char event_id[EVENT_ID_TEXT]; /* "" when no single event is to blame */
    int64_t row_id;               /* its id in outbox.event, or 0 */
    char topic[250];
    uint32_t attempts;
    uint32_t next_try_ms; /* from now; 0: not planned */
    bool halted;          /* a person is needed */
    uint32_t lane;        /* whose it is; 0: main's */
    enum lane_by lane_by; /* when it is a lane's */
};

/* A lane as it is stored. */
struct lane_view {
    uint32_t id; /* from 1; of a relay's lanes each has had another one */
    struct lane_filter filter;
    struct position position;
    struct trouble trouble; /* cause, attempts, next_try_ms: of its last try; cause "" since its
                               events flow */
    bool asked;             /* an operator wants it tried */
};

/* The relay's row as an observer sees it, and whether our attempt to take it succeeded. */
struct lease_view {
    bool ours;          /* we hold it now; epoch and position are valid */
    bool free;          /* nobody holds it (released, or never taken) */
    bool same_instance; /* the row's instance is ours: the holder was an earlier life of this
                           process */
    bool paused;        /* by an operator: whoever leads reads nothing */
    int64_t epoch;
    int64_t beat;  /* rises with every renewal: a standby watches epoch and beat for change */
    uint32_t bell; /* which doorbell this relay listens to */
    /* only when ours, all of one transaction: */
    struct position position; /* main's */
    const struct lane_view *lanes;
    uint32_t lane_count;
    uint32_t last_lane; /* the greatest id that a lane ever had */
    int64_t given_up;   /* the row that an operator gave up when main was halted by it; 0: none */
    bool folded;        /* the routes have changed since lanes were made: those were given up, and
                           main's position went back to where the furthest behind of them stood */
};

/* What a write to the relay's row tells of it. */
enum lease_answer {
    LEASE_LOST = 0, /* not ours any more, or the epoch was raised: nothing was written */
    LEASE_OURS,
    LEASE_PAUSED, /* ours, and an operator wants the relay to hold still */
};

enum take_mode {
    TAKE_IF_FREE,      /* take it only when nobody holds it */
    TAKE_IF_UNCHANGED, /* take it if epoch and beat are still the ones given (the holder is presumed
                          dead) */
    TAKE_OWN,          /* take it if the holder is still us: a command raised the epoch */
};

struct page_request {
    const struct position *position; /* base, target, last_id */
    int64_t
        new_from; /* the new xids are read along the id from here (exclusive); only with many_new */
    bool many_new; /* from the probe: read the new xids along the id, else by xid */
    uint32_t max_rows;
    /* Of a lane: rows that it does not cover may be left out, none that it covers may be missing.
     * NULL: all rows. */
    const struct lane_filter *filter;
    uint32_t scan_rows; /* with a filter: look at so many rows at the most (fetched.read_to) */
};

struct store_request {
    uint32_t lane; /* 0: main */
    const struct position *position;
    uint64_t events; /* acknowledged, that it newly covers */
    bool synchronously;
};

/* What changes more than one position, or a lane's story: one transaction, on disk before the
 * answer, which locks the relay's row and does nothing unless epoch and holder are ours. */
enum lane_change_kind {
    CHANGE_SPLIT, /* makes a lane of `filter` at `position`, which is stored as that of `from`, too
                   */
    CHANGE_FAIL,  /* stores the lane's position, and why its try failed; a wish of an operator is
                     fulfilled */
    CHANGE_SKIP, /* records the lane's event of `trouble` in outbox.dead; `position` is behind it */
    CHANGE_MERGE, /* removes the lane; `position` is main's */
};

struct lane_change {
    enum lane_change_kind kind;
    uint32_t lane;
    const struct position *position;
    uint64_t events;                  /* as in struct store_request */
    uint32_t from;                    /* SPLIT: the lane that it is split off; 0: main */
    const struct lane_filter *filter; /* SPLIT */
    const struct trouble *trouble;    /* SPLIT, FAIL, SKIP: event_id, row_id and topic, too */
    const char *dead_letter_topic;    /* SKIP: where it was sent to; NULL: nowhere */
};

struct source_ops {
    /* Opens the sessions and checks the schema, the grants and the server. Answer: relay_on_opened
     * or relay_on_lost. */
    void (*open)(void *ctx);
    /* Closes all sessions at once and forgets every request. No answer. Harmless when nothing is
     * open. */
    void (*close)(void *ctx);

    /* One look at the relay's row, and with TAKE_... one attempt to take it, in ONE transaction
     * that raises the epoch and reads the position. `seen_*` matter for TAKE_IF_UNCHANGED. Answer:
     * relay_on_lease. */
    void (*take)(void *ctx, enum take_mode mode, int64_t seen_epoch, int64_t seen_beat);
    /* Answer: relay_on_asked when an operator wants lanes tried, then relay_on_renewed. */
    void (*renew)(void *ctx, int64_t epoch);
    /* Stores a lane's position if the epoch is still ours, and adds `events` to what the lane's row
     * counts as published. One of main and one of all lanes together may be out. Answer:
     * relay_on_stored. */
    void (*store)(void *ctx, int64_t epoch, const struct store_request *request);
    /* One at a time. Answer: relay_on_changed. */
    void (*change)(void *ctx, int64_t epoch, const struct lane_change *change);
    /* Gives the lease up, if the row's holder is still this process, whatever the epoch: a command
     * may have raised it. Answer: relay_on_released. */
    void (*release)(void *ctx);
    /* Writes the trouble (or clears it), if the epoch is still ours. No answer: a lost connection
     * is reported as ever. */
    void (*tell)(void *ctx, int64_t epoch, const struct trouble *trouble);

    /* The common case: what became visible since `base`, if it is at most max_rows rows and
     * max_bytes of payload. Answer: relay_on_batch, then the rows (relay_on_row) and
     * relay_on_fetched. */
    void (*poll)(void *ctx, const struct str *base, uint32_t max_rows, size_t max_bytes);
    /* A backlog's first look: are the new xids many, and what is the smallest id among them?
     * Answer: relay_on_probed. Of main one read (poll, probe, page) is out at a time, and one of
     * all other streams together, which does not wait for main's. */
    void (*probe)(void *ctx, uint32_t stream, const struct position *position, uint32_t few_rows);
    /* The next rows of the present batch in id order. Answer: the rows, and relay_on_fetched. */
    void (*page)(void *ctx, uint32_t stream, const struct page_request *request);
    /* A row was answered with ROW_HOLD: offer it again, and go on with the rest. */
    void (*resume)(void *ctx, uint32_t stream);
    /* A row was answered with ROW_HOLD: forget it and the rest; relay_on_fetched still comes. */
    void (*drop_rest)(void *ctx, uint32_t stream);

    /* No lane is left: what only reads for lanes may be closed. Nothing of theirs is out. */
    void (*rest)(void *ctx);

    /* Doorbell: try to take the advisory lock. Answer: relay_on_armed. */
    void (*arm)(void *ctx, uint32_t bell);
    /* Give it back. No answer. */
    void (*disarm)(void *ctx, uint32_t bell);
};

/* ---- the sink: Kafka
 * --------------------------------------------------------------------------------------------- */

/* Why a message was not taken. */
struct send_refusal {
    enum refusal cause;
    struct err err;
};

/* Where a message goes. The core numbers topics from 0 in the order of their first use in the
 * stream, and sequence numbers rise within the stream; the sink keeps what belongs to a number. */
struct sending {
    uint32_t topic;
    int32_t partition; /* -1: the count is not known, let the key decide by murmur2 once it is */
    uint64_t seq;
};

/* Main's producer is there from the beginning, another stream's from its first reset to close. */
struct sink_ops {
    /* A topic appears. Harmless twice. After close a stream's topics are numbered anew. */
    void (*topic)(void *ctx, uint32_t stream, uint32_t topic, const char *name);
    /* How many partitions the topic has as far as the present producer knows; 0: not known yet. */
    int32_t (*partitions)(void *ctx, uint32_t stream, uint32_t topic);
    /* Hands one message to the producer. Returns 0; -EAGAIN when the producer's queue is full (try
     * again after the next ack or tick); another negative errno with `why` filled when the producer
     * refuses it (cause as in relay_on_refused). Answer, when 0: relay_on_acked or relay_on_refused
     * with `seq`, exactly once, unless reset or close was called. */
    int (*send)(void *ctx, uint32_t stream, const struct sending *to, const struct message *m,
                struct send_refusal *why);
    /* Throws the producer away with everything in it and makes a new one. After it returned no
     * report of the old one arrives. Returns -1 when no producer can be made (err says why); the
     * next call tries again. */
    int (*reset)(void *ctx, uint32_t stream, struct err *err);
    /* Throws the producer away with everything in it, and its topics. Not of main. Harmless when
     * there is none. */
    void (*close)(void *ctx, uint32_t stream);
    /* Asks the brokers why nothing comes back for this topic (UINT32_MAX: does any broker answer?),
     * and there for this partition (-1: any). May block for some tens of milliseconds; used only
     * when a message has been waiting for seconds, or to learn that a trouble is over. Returns true
     * and fills err and cause when it learnt something. */
    bool (*diagnose)(void *ctx, uint32_t stream, const struct sending *what, struct err *err,
                     enum refusal *cause);
};

/* ---- the host: time, chance, and those who want to know
 * ---------------------------------------------------------- */

enum relay_note {
#define RELAY_NOTES(X)                                                                             \
    X(CONNECTED, "connected to the database")                                                      \
    X(LOST, "database lost")                                                                       \
    X(STANDBY, "standing by: another process holds the lease")                                     \
    X(LEADING, "lease taken")                                                                      \
    X(FENCED, "lease lost to another process")                                                     \
    X(LEASE_EXPIRED, "lease not renewed in time")                                                  \
    X(RECOVERING, "producer is being replaced")                                                    \
    X(RECOVERED, "publishing again")                                                               \
    X(STALLED, "no acknowledgement")                                                               \
    X(HALTED, "halted: an event cannot be published")                                              \
    X(PARTITIONS_GREW, "partition count changed")                                                  \
    X(PARKED, "set aside: waits alone in a lane, the others go on")                                \
    X(LANE_TRIED, "a lane was tried in vain")                                                      \
    X(LANE_FLOWS, "a lane's events flow again")                                                    \
    X(LANE_MERGED, "a lane is back with the others")                                               \
    X(SKIPPED, "given up: recorded in outbox.dead")                                                \
    X(LANES_FOLDED, "lanes given up for changed routes: publishing from where the oldest stood")   \
    X(PAUSED, "paused: events wait until `outboxd resume`")                                        \
    X(RESUMED, "resumed")                                                                          \
    X(DRAINING, "stopping: waiting for what is in flight")                                         \
    X(RELEASED, "lease released")                                                                  \
    X(FATAL, "a person is needed")                                                                 \
    X(STOPPED, "stopped")
#define X(name, text) RELAY_NOTE_##name,
    RELAY_NOTES(X)
#undef X
};

const char *relay_note_text(enum relay_note note);

struct host_ops {
    uint64_t (*now_ms)(void *ctx); /* monotonic, counts while suspended */
    int64_t (*wall_us)(void *ctx); /* since 1970, for latencies only */
    uint32_t (*random)(void *ctx); /* jitter */
    /* relay_tick is due at this time (0: no longer). Replaces the earlier wish. */
    void (*wake_at)(void *ctx, uint64_t at_ms);
    /* A change of state, for log and readiness. `trouble` may be NULL. */
    void (*note)(void *ctx, enum relay_note note, const struct trouble *trouble);
};

#endif
