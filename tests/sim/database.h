/* The fake Postgres: transactions, a log that reaches the disk late, rows, the relay's row and its
 * lanes, advisory locks.
 *
 * True to the original where it matters: an xid is handed out at the first write and an id at the
 * insert, long before the commit; a snapshot's xmax is the latest COMPLETED xid + 1; a commit with
 * synchronous_commit=off is visible at once and on disk later; a crash takes what was not on disk,
 * and xids and ids are handed out again after it. */
#ifndef OUTBOXD_SIM_DATABASE_H
#define OUTBOXD_SIM_DATABASE_H

#include "oracle.h"
#include "plan.h"
#include "relay/ops.h"
#include "snapshot.h"
#include "world.h"

#define NO_ROW UINT32_MAX

enum xact_state { XACT_RUNNING, XACT_COMMITTED, XACT_ABORTED };

struct xact {
    enum xact_state state;
    uint64_t first_lsn; /* 0: it has written nothing yet; a crash forgets such an xid */
    uint64_t commit_lsn;
    uint32_t first_row; /* NO_ROW: none */
    uint32_t last_row;
};

struct row {
    int64_t id;
    uint64_t xid;
    uint64_t lsn;
    uint32_t fact;
    uint32_t next; /* of the same transaction */
    uint32_t payload_bytes;
    bool dead;    /* rolled back to a savepoint */
    bool settled; /* covered by the stored position */
};

/* A position, as stored. */
struct place {
    char base[SNAPSHOT_TEXT];
    char target[SNAPSHOT_TEXT]; /* "": between batches */
    int64_t last_id;
};

#define LANES_MAX  64
#define TOPIC_TEXT 32
#define KEY_TEXT   16

/* A lane beside main, and what `parked` shows of it. */
struct lane_row {
    uint32_t id;
    enum lane_by by;
    char topic[TOPIC_TEXT];
    char key[KEY_TEXT];
    int32_t partition;
    int32_t partitions;
    struct place at;
    uint64_t published;
    char cause[32]; /* "": its events flow */
    char event_id[EVENT_ID_TEXT];
    int64_t row_id; /* its next event, which was refused; 0: not known */
    uint32_t attempts;
    uint64_t next_try_us;
    bool asked;
    uint64_t asked_us;
    uint64_t routes; /* it was made under these */
};

/* Never changed once it is made: versions of the relay's row share it. */
struct lane_set {
    struct lane_set *older;
    uint32_t count;
    struct lane_row rows[];
};

/* The relay's row, its main lane, and the others. */
struct control {
    uint64_t lsn;
    uint64_t holder; /* 0: nobody */
    uint32_t instance;
    int64_t epoch;
    int64_t beat;
    struct place at;
    uint64_t published; /* as the relays have counted */
    bool paused;        /* by an operator */
    char trouble[32];   /* the cause, as `status` shows it */
    bool halted;
    int64_t trouble_row;
    int64_t given_up; /* the row that main passes, since an operator gave it up; 0: none */
    uint32_t last_lane;
    const struct lane_set *lanes;
};

#define CONTROL_VERSIONS 64

struct database {
    struct world *world;
    const struct plan *plan;
    struct oracle *oracle;
    bool up;
    uint64_t incarnation; /* crashes so far */

    struct xact *xacts; /* by xid - XID_FIRST */
    uint64_t xact_cap;
    uint64_t next_xid;
    uint64_t latest_completed;
    uint64_t running[SNAPSHOT_XIP]; /* ascending */
    size_t running_count;

    struct row *rows; /* in id order */
    uint32_t row_count;
    uint32_t row_cap;
    int64_t next_id;

    uint64_t lsn;     /* end of the log */
    uint64_t flushed; /* up to here it is on disk */
    struct control control;
    struct control
        versions[CONTROL_VERSIONS]; /* written since the last flush, and the one before */
    size_t version_count;
    struct lane_set *sets; /* all that a version may point to */

    const void *bell_owner; /* who holds the exclusive advisory lock */
    uint64_t rung_us;       /* the first ring since it was armed; 0: none */
    uint32_t bell_shared;   /* writers that hold it shared */
    void (*ring)(void *ctx);
    void *ring_ctx;
};

void database_init(struct database *db, struct world *w, const struct plan *plan,
                   struct oracle *oracle);
void database_release(struct database *db);

/* ---- writers */
uint64_t database_begin(struct database *db); /* hands out an xid */
void database_insert(struct database *db, uint64_t xid, uint32_t fact, uint32_t payload_bytes);
void database_kill_last_row(struct database *db, uint64_t xid); /* ROLLBACK TO a savepoint */
void database_commit(struct database *db, uint64_t xid, bool synchronously);
void database_rollback(struct database *db, uint64_t xid);

/* ---- the disk */
void database_flush(struct database *db);
/* Loses what was not on disk. Transactions that were open are rolled back. */
void database_crash(struct database *db);

/* ---- reading */
void database_snapshot(const struct database *db, struct snapshot *s);
/* Indices of the committed rows visible in `target` and not in `base`, with id > after, ascending.
 * The caller frees. */
size_t database_rows(const struct database *db, const struct snapshot *base,
                     const struct snapshot *target, int64_t after, uint32_t **rows);

/* ---- the relay's row: each is one transaction of its own; false: the row is not ours */
struct claim {
    uint64_t holder;
    uint64_t routes; /* tells the holder's from others */
    uint32_t instance;
    enum take_mode mode;
    int64_t seen_epoch;
    int64_t seen_beat;
};
/* `folded`: lanes were made under other routes, and given up. */
bool database_take(struct database *db, const struct claim *claim, bool *folded);
bool database_renew(struct database *db, uint64_t holder, int64_t epoch);
bool database_release_lease(struct database *db, uint64_t holder);

struct store {
    uint64_t holder;
    int64_t epoch;
    uint32_t lane; /* 0: main */
    struct place at;
    uint64_t events;
    bool synchronously;
};
bool database_store(struct database *db, const struct store *as);

struct telling {
    uint64_t holder;
    int64_t epoch;
    char cause[32];
    bool halted;
    int64_t row_id;
};
void database_tell(struct database *db, const struct telling *t);

/* An operator's command: it raises the epoch and leaves the holder. */
void database_raise_epoch(struct database *db);
/* Another: whoever leads shall hold still, or go on. */
void database_pause(struct database *db, bool paused);

/* A change of the relay's row: on disk at the next flush, or at once. lease.c */
void database_written(struct database *db, bool synchronously);
bool database_is_ours(const struct database *db, uint64_t holder, int64_t epoch);

/* ---- lanes.c: the lanes beside main */
struct change {
    enum lane_change_kind kind;
    uint64_t holder;
    int64_t epoch;
    uint32_t from;
    uint64_t events;
    bool dead_letter;     /* SKIP: the event was sent to one */
    struct lane_row lane; /* id, filter, position and trouble, as far as the kind has them */
};
bool database_change(struct database *db, const struct change *c);
bool database_store_lane(struct database *db, const struct store *as);
bool database_fold(struct database *db, uint64_t routes);
void database_drop_sets(struct database *db, const struct lane_set *but);
/* NULL: there is none. */
const struct lane_row *database_lane(const struct database *db, uint32_t id);
bool lane_row_covers(const struct lane_row *l, struct slice topic, struct slice key);
/* An operator's commands. */
void database_ask(struct database *db, uint32_t lane);
/* Gives up the event that the lane's trouble names (0: the one that halts main). False: it names
 * none, or it is not the next one any more. */
bool database_skip(struct database *db, uint32_t lane);

/* ---- settled.c: what the stored positions cover, together */
/* Judges it after a store or change. */
void database_judge(struct database *db);
/* After a crash: takes it as it is. Returns how many rows are not covered any more. */
uint64_t database_uncover(struct database *db);
/* Nothing committed is left that they do not cover. */
bool database_all_settled(const struct database *db);
/* The lane's next row is this one: nothing that it owns is left before it. */
bool database_is_next(const struct database *db, const struct lane_row *l, int64_t row_id);

#endif
