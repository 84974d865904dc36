/* The relay's state, shared by the files of this folder only.
 *
 *   relay.c     life cycle: open, fall back, stop, tick
 *   lease.c     look, take, renew, release; storing a stream's position
 *   read.c      when to look for events, and for how many; the doorbell
 *   pause.c     holding still for an operator
 *   send.c      row -> message -> sink; acks
 *   lanes.c     the lanes that there are, who owns a row, how a lane is made
 *   recovery.c  what is done about a refusal; what `status` is told
 *   stall.c     nothing comes back */
#ifndef OUTBOXD_RELAY_INTERNAL_H
#define OUTBOXD_RELAY_INTERNAL_H

#include "relay/opening.h"
#include "relay/rate.h"
#include "relay/relay.h"
#include "relay/window.h"

#define POLL_ROWS 500U /* a look returns at most so many events ... */
#define POLL_BYTES                                                                                 \
    (1024U * 1024U) /* ... and so many bytes of payload; more is a backlog, read by pages */
#define PAGE_ROWS      10000U
#define POLL_FIRST_MS  1U
#define POLL_ACTIVE_MS 4U  /* the longest pause between two looks until the bell is armed */
#define ARM_RETRY_MS   20U /* a writer holds the bell: try again after this */
#define HOLD_MS                                                                                    \
    250U /* a row held longer lets go of the page: the server should not keep a snapshot for us */
#define PAGE_HELD_MS     5000U /* the same for a page of which row after row is held */
#define DRAIN_REPORTS_MS 5000U /* after a refusal, wait so long for the other reports */
#define HALT_RETRY_MS    30000U
#define RETRY_FIRST_MS   100U
#define RETRY_MAX_MS     3000U /* what is mended is noticed within this */
#define REOPEN_FIRST_MS  50U
#define REOPEN_MAX_MS    2000U
#define REOPEN_CALM_MS   10000U /* sessions that lasted so long had no part in what comes after */
#define DIAGNOSE_MS                                                                                \
    1000U /* the first question why nothing comes back; then every DIAGNOSE_AGAIN_MS */
#define DIAGNOSE_AGAIN_MS  5000U
#define OVERTAKEN_AGAIN_MS 250U /* between two looks whether one partition alone is silent */

/* Inside LEADING: may events be fed to the sink? */
enum feed {
    FEED_RUN,     /* yes */
    FEED_RECOVER, /* a refusal came: waiting for the other reports, then the producer is replaced */
    FEED_PAUSE,   /* replaced; waiting until retry_at */
    FEED_CHANGE,  /* replaced; a lane is being made for what was refused */
    FEED_HALT,    /* a person is needed; tried again at retry_at */
};

enum fetch { FETCH_NONE, FETCH_POLL, FETCH_PROBE, FETCH_PAGE };

enum bell {
    BELL_OFF,
    BELL_ARMING,  /* asked for the lock */
    BELL_ARMED,   /* have it; one more look must begin after that */
    BELL_CHECKED, /* that look is out */
    BELL_ASLEEP,  /* it found nothing: waiting for the bell, or the fallback */
};

struct reading {
    enum fetch fetch; /* the request that is out */
    bool discard;     /* its rows are no longer wanted */
    bool held;        /* a row was answered with ROW_HOLD */
    uint64_t held_since;
    uint64_t first_held; /* of this fetch; 0: none was */
    bool
        blocked; /* an opener or a full queue is in the way: nothing to do before the next report */
    bool complete;       /* FETCH_POLL: the rows are the whole batch */
    uint32_t taken;      /* rows of the present fetch that went into the window */
    uint32_t page_rows;  /* what was asked for */
    struct str snapshot; /* of the present poll */
    bool probed;         /* the open batch has been probed */
    bool many_new;
    int64_t new_from;
    uint32_t mean_bytes; /* of a message, smoothed: turns bytes into rows */
    enum wakeup_cause cause;
    bool cause_counted;
    uint64_t due; /* the next look */
    uint32_t pause_ms;
    uint64_t last_event;
    enum bell bell;
    uint64_t arm_due;
};

struct leasing {
    bool request_out; /* take or look */
    uint64_t sent_at;
    bool first_look; /* the first of this process: an earlier life of the same instance may be
                        succeeded at once */
    bool was_ours;   /* we held it when the sessions were closed */
    bool seen;
    int64_t seen_epoch;
    int64_t seen_beat;
    uint64_t seen_since;
    uint64_t look_due;
    int64_t epoch;
    uint32_t bell;
    uint64_t deadline; /* ours until here, by our own clock */
    bool renew_out;
    uint64_t renew_sent;
    uint64_t renew_due;
    bool standby_noted;
};

struct storing {
    bool out;
    bool refused; /* while draining: the epoch is no longer ours */
    uint64_t sent_at;
    uint64_t settled; /* what is being stored */
    uint64_t version;
    uint64_t dirty_since; /* 0: clean */
    uint32_t last_took_ms;
    struct position position;
};

/* What was refused, and so what a lane would cover. */
struct culprit {
    uint64_t seq; /* topic and key are those of this entry, or of a row that was never sent */
    bool is_next; /* nothing unsettled is before it: so a lane for it begins with it */
    uint32_t route;
    struct str topic;
    struct str key;
    int32_t partition;  /* -1: not known */
    int32_t partitions; /* how many the topic had */
};

struct recovering {
    enum feed feed;
    uint64_t deadline; /* FEED_RECOVER */
    bool reset_failed; /* no producer could be made; tried again at the deadline */
    enum refusal cause;
    bool culprit_known; /* the message was alone in flight: it is to blame */
    bool sound;         /* the producer has refused nothing that it took: it may stay */
    struct culprit culprit;
    uint64_t retry_at; /* FEED_PAUSE, FEED_HALT */
    uint32_t attempts; /* since the settled prefix last moved */
    uint32_t careful;  /* so many entries go one by one, to find the culprit of a refused batch */
    uint64_t progress_at; /* last ack, or the first send into an empty flight */
    uint64_t diagnose_due;
    uint64_t overtaken_due;
    bool stalled;
    bool trouble_dirty; /* not told to the database yet */
    uint64_t tell_due;
    struct trouble trouble;
};

/* What is read and sent in one order, with a window and a producer of its own. */
struct stream {
    uint32_t number;
    struct window window;
    struct topics topics;
    struct reading reading;
    struct storing storing;
    struct recovering rec;
    uint32_t lane; /* whose events it sends; 0: main */
};

/* A lane as it is stored. */
struct lane {
    uint32_t id;
    enum lane_by by;
    struct str topic;
    struct str key;
    int32_t partition;
    int32_t partitions;
    struct position position;
    struct trouble trouble;
    bool asked;
};

struct lanes {
    struct lane *list;
    uint32_t count;
    uint32_t capacity;
    uint32_t last;    /* the greatest id that there ever was */
    int64_t given_up; /* main passes this row */
    bool changing;    /* a change is out: `fresh` is being made ... */
    struct lane fresh;
    uint32_t stream; /* ... for this stream */
};

struct relay {
    struct relay_params params;
    const struct source_ops *source;
    void *source_ctx;
    const struct sink_ops *sink;
    void *sink_ctx;
    const struct host_ops *host;
    void *host_ctx;

    enum relay_state state;
    struct err failure;
    uint32_t open_attempts;
    uint64_t open_due;
    uint64_t opened_at;
    bool stopping;
    bool stop_reopened;     /* while stopping: the one attempt to get at our lease again was made */
    uint64_t stop_deadline; /* drain no longer than this */
    bool release_out;
    bool paused;      /* by an operator, as far as we have heard */
    bool pause_noted; /* the last note about it said so */
    bool in_op;       /* an op is running: it may not call back */
    bool pump_wanted; /* reports came since the last relay_pump */
    uint64_t now;     /* of this turn */
    int64_t wall_us;  /* the same by the wall clock; asked once for each value of `now` */
    uint64_t wall_of; /* the `now` it belongs to */
    uint64_t wake;    /* collected by relay_pump */

    struct message message; /* the row of this turn */
    struct rate rate;       /* of all streams together */
    struct leasing lease;
    struct stream main;
    struct lanes lanes;
    struct relay_counters counters;
};

/* Every op goes through this, so that an op that calls back is caught. */
#define RELAY_OP(r, call)                                                                          \
    do {                                                                                           \
        (r)->in_op = true;                                                                         \
        (call);                                                                                    \
        (r)->in_op = false;                                                                        \
    } while (0)

/* Asked once at the top of each turn (relay_enter): a row costs one look at the clock, not five. */
static inline uint64_t relay_now(const struct relay *r)
{
    return r->now;
}

/* relay.c */
/* At the top of every relay_on_...: looks at the clock, and asserts that no op is running. Again
 * after an op that may have taken its time. */
void relay_enter(struct relay *r);
void relay_pump(
    struct relay *r); /* does everything that is due; at the end of every relay_on_... but on_row */
void relay_due(struct relay *r, uint64_t at_ms); /* wake me then at the latest */
void relay_note(struct relay *r, enum relay_note note);
void stream_note(struct relay *r, const struct stream *s, enum relay_note note);
void stream_init(struct stream *s, uint32_t number, uint32_t capacity);
void stream_release(struct stream *s);
struct stream *relay_stream(struct relay *r, uint32_t number);
/* Closes the sessions, forgets everything, and opens them again after delay_ms. */
void relay_fall_back(struct relay *r, uint32_t delay_ms);
void relay_finish(struct relay *r); /* to STOPPED, at once */

/* lease.c */
void lease_look(struct relay *r);
void lease_pump(struct relay *r);
void store_pump(struct relay *r, struct stream *s);
void lease_drain(struct relay *r); /* DRAINING: last store, release */

/* read.c */
void reading_reset(struct relay *r, struct stream *s);
void reading_begin_batch(struct stream *s); /* bounded by the snapshot of the present poll */
void reading_pump(struct relay *r, struct stream *s);
/* the rows of the present fetch are no longer wanted */
void reading_discard(struct relay *r, struct stream *s);
void reading_found(struct relay *r, struct stream *s); /* an event came */
void reading_hold_still(struct relay *r); /* paused: nothing is read, and nobody need ring */
void reading_go_on(struct relay *r);

/* pause.c */
void pause_heed(struct relay *r, bool paused); /* what the row says of it */
uint32_t pause_renew_ms(const struct relay *r);

/* send.c */
bool send_has_room(const struct relay *r, const struct stream *s);
void relay_want_pump(struct relay *r); /* soon, once for many reports */

/* lanes.c */
void lanes_load(struct relay *r, const struct lease_view *view);
void lanes_forget(struct relay *r);
void lanes_release(struct relay *r);
/* Whether the stream goes over this row: it belongs to another one, or is given up. */
bool lanes_pass(struct relay *r, const struct stream *s, const struct event *e);
/* The row of this turn, whose topic and key r->message has, is entry `seq` or never becomes one. */
void lanes_blame(struct relay *r, struct stream *s, uint64_t seq);
bool lanes_park(const struct relay *r, size_t route); /* else it halts */
/* FEED_CHANGE: makes the lane of the culprit; the window is rewound. */
void lanes_split(struct relay *r, struct stream *s);

/* stall.c */
void stall_pump(struct relay *r, struct stream *s);

/* recovery.c */
/* What is refused first decides which topic and partition a lane would cover, and whose route. */
void recovery_blame(struct stream *s, const struct window_entry *e);
void recovery_parked(struct relay *r, struct stream *s); /* the lane is made: goes on */
void count_error(struct relay *r, enum refusal cause);
void recovery_begin(struct relay *r, struct stream *s, enum refusal cause, const char *text);
void recovery_halt(struct relay *r, struct stream *s);
void recovery_pump(struct relay *r, struct stream *s);
void recovery_progress(struct relay *r, struct stream *s); /* the settled prefix moved */
void recovery_idle(struct relay *r, struct stream *s);     /* a look found nothing */
void recovery_leading(struct relay *r, struct stream *s);  /* just took the lease */
bool recovery_reset_sink(struct relay *r, struct stream *s);
void trouble_set(struct stream *s, enum refusal cause, const char *text);
void trouble_clear(struct relay *r, struct stream *s);
void trouble_blame(struct stream *s, const uint8_t event_id[16], int64_t row_id, const char *topic);

#endif
