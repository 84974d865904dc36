/* The relay's state, shared by the files of this folder only.
 *
 *   relay.c     life cycle: open, fall back, stop, tick
 *   lease.c     look, take, renew, release; storing a stream's position
 *   read.c      when to look for events, and for how many; the doorbell
 *   pause.c     holding still for an operator
 *   send.c      row -> message -> sink; acks
 *   recovery.c  what is done about a refusal; what `status` is told
 *   stall.c     nothing comes back
 *   lanes.c     the lanes that there are, and who owns a row
 *   change.c    one after another: a lane is made, has failed, skips, is merged
 *   split.c     what was refused becomes a lane
 *   try.c       a lane is tried: a stream of its own, until it fails or flows
 *   merge.c     how far lanes may read; a lane comes back to main */
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
#define LANE_SCAN_ROWS 50000U /* a page of a lane looks at so many rows at the most */
#define POLL_FIRST_MS  1U
#define POLL_ACTIVE_MS 4U  /* the longest pause between two looks until the bell is armed */
#define ARM_RETRY_MS   20U /* a writer holds the bell: try again after this */
#define HOLD_MS                                                                                    \
    250U /* a row held longer lets go of the page: the server should not keep a snapshot for us */
#define PAGE_HELD_MS     5000U /* the same for a page of which row after row is held */
#define DRAIN_REPORTS_MS 1000U /* after a refusal, wait so long for the other reports ... */
#define DRAIN_QUIET_MS   250U  /* ... and no longer than this after the last */
#define HALT_RETRY_MS    30000U
#define RETRY_FIRST_MS   100U
#define RETRY_MAX_MS     3000U /* what is mended is noticed within this */
#define REOPEN_FIRST_MS  50U
#define REOPEN_MAX_MS    2000U
#define REOPEN_CALM_MS   10000U /* sessions that lasted so long had no part in what comes after */
#define DIAGNOSE_MS                                                                                \
    1000U /* the first question why nothing comes back; then every DIAGNOSE_AGAIN_MS */
#define DIAGNOSE_AGAIN_MS  5000U
#define TRY_ASK_MS         200U /* the first message of a lane's try: ask soon */
#define OVERTAKEN_AGAIN_MS 250U /* between two looks whether one partition alone is silent */

/* Inside LEADING: may events be fed to the sink? */
enum feed {
    FEED_RUN,     /* yes */
    FEED_RECOVER, /* a refusal came: waiting for the other reports, then the producer is replaced */
    FEED_PAUSE,   /* replaced; waiting until retry_at */
    FEED_CHANGE,  /* waiting until a change of lanes (rec.change) is on disk */
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
    uint32_t asked;      /* how many at the most */
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
    bool refused;      /* while draining: the epoch is no longer ours */
    uint64_t deadline; /* ours until here, by our own clock */
    bool renew_out;
    uint64_t renew_sent;
    uint64_t renew_due;
    bool standby_noted;
};

struct storing {
    bool out;
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

/* Something else that is silent, besides the culprit. */
struct silent {
    uint32_t topic;
    int32_t partition;
    int32_t partitions;
    uint32_t route;
    enum refusal cause; /* NONE: the brokers say that nothing is wrong with it */
};

struct recovering {
    enum feed feed;
    uint64_t deadline;            /* FEED_RECOVER: for all reports ... */
    uint64_t quiet;               /* ... or when none has come until then */
    enum lane_change_kind change; /* FEED_CHANGE */
    bool reset_failed;            /* no producer could be made; tried again at the deadline */
    enum refusal cause;
    bool culprit_known; /* the message was alone in flight: it is to blame */
    bool sound;         /* the producer has refused nothing that it took: it may stay */
    struct culprit culprit;
    struct silent *silent; /* they become lanes after the culprit */
    uint32_t silent_count;
    uint64_t retry_at;    /* FEED_PAUSE, FEED_HALT */
    uint32_t attempts;    /* since the settled prefix last moved */
    uint32_t careful;     /* so many entries go in groups, to find the culprit of a refused batch */
    uint32_t group;       /* entries in a group: each is awaited before the next begins */
    uint64_t group_end;   /* the present one ends before this entry */
    uint64_t suspect;     /* the last entry that was refused for what it is */
    uint64_t progress_at; /* last ack, or the first send into an empty flight */
    uint64_t diagnose_due;
    uint64_t overtaken_due;   /* the next look whether the oldest message is */
    uint64_t overtaken_seq;   /* this one is ... */
    uint64_t overtaken_since; /* ... at least since then; 0: none is */
    bool stalled;
    bool trouble_dirty; /* not told to the database yet */
    uint64_t tell_due;
    struct trouble trouble;
};

/* The try of a lane, from its first read to its failure or its end. */
struct trying {
    bool flowing;      /* something was acknowledged */
    int64_t named;     /* the lane's `refused`, as long as it is its next event */
    bool burying;      /* in flight is the dead letter of the lane's next event */
    uint32_t owned;    /* rows of the present batch that are the lane's */
    uint32_t pause_ms; /* between two batches without any */
    uint64_t batch_began;
    uint32_t batch_took_ms; /* the last one; UINT32_MAX: none yet */
    uint64_t merge_due;     /* not before */
    uint32_t merge_failures;
};

/* What is read and sent in one order, with a window and a producer of its own. */
struct stream {
    uint32_t number;
    uint32_t lane; /* whose events it sends; 0: main, or that the stream is free */
    size_t window_bytes;
    struct window window;
    struct topics topics;
    struct reading reading;
    struct storing storing;
    struct recovering rec;
    struct trying trying;
};

struct lane {
    uint32_t id;
    enum lane_by by;
    struct str topic;
    struct str key;
    int32_t partition;
    int32_t partitions;
    struct position position; /* while it is at rest; else its stream knows better */
    struct trouble trouble;   /* why its last try failed; cause "" since its events flow */
    bool asked;
    uint32_t stream; /* that tries it; 0: at rest */
    int64_t refused; /* its next event, if this process has had it refused for what it is; else 0 */
    uint64_t retry_at; /* at rest: when it is tried; UINT64_MAX: when a wider lane is gone */
    uint64_t looks;    /* of main, when it was made or taken over */
};

struct lanes {
    struct lane *list;
    uint32_t count;
    uint32_t capacity;
    uint32_t *slots; /* the lanes by key: open addressing over `list`, index + 1 */
    uint32_t slot_count;
    uint32_t *wide; /* the others: indexes of `list` */
    uint32_t wide_count;
    uint32_t last;    /* the greatest id that there ever was */
    int64_t given_up; /* main passes this row */
    uint64_t due;     /* the next try; 0: look for it */
    uint32_t reader;  /* the stream that has a read out; 0: none has */
    uint32_t last_reader;
    bool changing; /* a change is out ... */
    enum lane_change_kind change;
    uint32_t stream;     /* ... of this stream */
    struct lane fresh;   /* the lane that is being made, or the position that is being stored */
    struct str frontier; /* the newest snapshot that main looked at: no lane reads beyond it */
    uint64_t looks;      /* so many times */
    uint32_t held_for;   /* main begins no other batch, so that this lane can be merged; 0: none */
    uint64_t held_since; /* main's window ends with a batch since then; 0: not yet */
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
    struct stream *streams[STREAMS_MAX]; /* first main, then those of lanes; NULL: not needed yet */
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
void stream_init(struct stream *s, uint32_t number, uint32_t capacity, size_t window_bytes);
void stream_release(struct stream *s);
struct stream *relay_stream(struct relay *r, uint32_t number);
/* The first stream behind `s` (NULL: from the beginning, main) that sends somebody's events; NULL:
 * there is none. */
struct stream *relay_next_stream(const struct relay *r, const struct stream *s);
/* Closes the sessions, forgets everything, and opens them again after delay_ms. */
void relay_fall_back(struct relay *r, uint32_t delay_ms);
void relay_finish(struct relay *r); /* to STOPPED, at once */

/* lease.c */
void lease_look(struct relay *r);
/* A write found that the epoch is not ours. */
void lease_lost(struct relay *r);
void lease_pump(struct relay *r);
void store_pump(struct relay *r, struct stream *s);
void lease_drain(struct relay *r); /* DRAINING: last store, release */

/* read.c */
void reading_reset(struct relay *r, struct stream *s);
/* bounded by the snapshot of the present poll */
void reading_begin_batch(struct relay *r, struct stream *s);
void reading_pump(struct relay *r, struct stream *s);
/* the rows of the present fetch are no longer wanted */
void reading_discard(struct relay *r, struct stream *s);
/* How many rows a page of the open batch may have; 0: none can be taken yet. */
uint32_t reading_page_rows(struct relay *r, struct stream *s);
void reading_ask(struct relay *r, struct stream *s, uint32_t rows); /* of the open batch */
void reading_found(struct relay *r, struct stream *s);              /* an event came */
void reading_hold_still(struct relay *r); /* paused: nothing is read, and nobody need ring */
void reading_go_on(struct relay *r);

/* read_lane.c */
void lane_reading_pump(struct relay *r, struct stream *s);
void lane_page_fetched(struct relay *r, struct stream *s, const struct fetched *f);

/* pause.c */
void pause_heed(struct relay *r, bool paused); /* what the row says of it */
uint32_t pause_renew_ms(const struct relay *r);

/* send.c */
bool send_has_room(const struct stream *s);
void relay_want_pump(struct relay *r); /* soon, once for many reports */

/* lanes.c */
void lanes_load(struct relay *r, const struct lease_view *view);
void lanes_forget(struct relay *r);
void lanes_release(struct relay *r);
struct lane_filter lane_filter_of(const struct lane *l);
struct lane *lanes_find(const struct relay *r, uint32_t id); /* good until the table changes */
void lanes_add(struct relay *r, struct lane *l);             /* takes what it holds */
void lanes_remove(struct relay *r, uint32_t id);
void lane_release(struct lane *l);
uint32_t lanes_by_key(const struct relay *r); /* how many */
/* Whether a wider one covers some of what it covers. */
bool lanes_has_wider(const struct relay *r, const struct lane *l);
/* Whether the stream goes over this row: it belongs to another one, or is given up. */
bool lanes_pass(struct relay *r, const struct stream *s, const struct event *e);

/* change.c */
void change_want(struct stream *s, enum lane_change_kind kind);
void changes_pump(struct relay *r);

/* split.c */
/* The row of this turn, whose topic and key r->message has, is entry `seq` or never becomes one. */
void split_blame(struct relay *r, struct stream *s, uint64_t seq);
bool split_parks(const struct relay *r, size_t route); /* else it halts */
/* Whether what was refused becomes a lane, narrower than the one that the stream sends. */
bool split_wanted(const struct relay *r, const struct stream *s);
void split_prepare(struct relay *r, struct stream *s, struct lane_change *c);
void split_done(struct relay *r, struct stream *s);

/* try.c */
void tries_pump(struct relay *r);
void tries_close(struct relay *r); /* all of them, at once: what they know is forgotten */
/* After a failure: when the lane is tried again, and what is told of it. */
void try_pause(struct relay *r, const struct stream *s, struct lane *l);
void try_acked(struct relay *r, struct stream *s);
/* The producer is thrown away; the stream waits until the failure is on disk. */
void try_fail(struct relay *r, struct stream *s);
void try_fail_prepare(struct relay *r, struct stream *s, struct lane_change *c);
void try_failed(struct relay *r, struct stream *s);
/* The row of this turn is the lane's next event, which its route gives up. */
bool try_buries(const struct relay *r, const struct stream *s, const struct event *e);
void try_skip_prepare(struct relay *r, struct stream *s, struct lane_change *c);
void try_skipped(struct relay *r, struct stream *s);
void try_end(struct relay *r, struct stream *s); /* the stream is free; the lane is at rest */

/* merge.c */
void frontier_set(struct relay *r, struct slice snapshot, bool looked);
bool frontier_is_beyond(const struct relay *r, const struct str *snapshot);
/* Both stand at one place, at a batch's end, with nothing unsettled. */
bool merge_is_ready(const struct relay *r, const struct stream *s);
void merge_let_go(struct relay *r);
bool merge_holds(const struct relay *r, const struct stream *s);
void merge_pump(struct relay *r);
void merge_prepare(struct relay *r, struct stream *s, struct lane_change *c);
void merge_done(struct relay *r, struct stream *s);

/* stall.c */
void stall_pump(struct relay *r, struct stream *s);
/* Before the producer of a refusal goes: a partition that is gone may be one of a topic that is. */
void stall_look_wider(struct relay *r, struct stream *s);
/* What else was found silent when the culprit was becomes the next lane; false: nothing. */
bool stall_next(struct relay *r, struct stream *s);

/* recovery.c */
/* The next `entries` go in groups, from the window's end: each is acknowledged before the next one,
 * of twice the size, is sent. */
void recovery_careful(struct stream *s, uint32_t entries, uint32_t group);
/* What is refused first decides which topic and partition a lane would cover, and whose route. */
void recovery_blame(struct stream *s, const struct window_entry *e);
void recovery_again(struct relay *r, struct stream *s);  /* feeds, from the beginning */
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
