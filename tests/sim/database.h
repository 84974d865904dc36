/* The fake Postgres: transactions, a log that reaches the disk late, rows, the relay's row and its
 * lane, advisory locks.
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

/* The relay's row and lane 0. */
struct control {
    uint64_t lsn;
    uint64_t holder; /* 0: nobody */
    uint32_t instance;
    int64_t epoch;
    int64_t beat;
    char base[SNAPSHOT_TEXT];
    char target[SNAPSHOT_TEXT];
    int64_t last_id;
    uint64_t published; /* as the relays have counted */
    bool paused;        /* by an operator */
    char trouble[32];   /* the cause, as `status` shows it */
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
    uint32_t instance;
    enum take_mode mode;
    int64_t seen_epoch;
    int64_t seen_beat;
};
bool database_take(struct database *db, const struct claim *claim);
bool database_renew(struct database *db, uint64_t holder, int64_t epoch);
bool database_store(struct database *db, const struct control *as, bool synchronously);
void database_tell(struct database *db, const struct control *as);
bool database_release_lease(struct database *db, uint64_t holder);
/* An operator's command: it raises the epoch and leaves the holder. */
void database_raise_epoch(struct database *db);
/* Another: whoever leads shall hold still, or go on. */
void database_pause(struct database *db, bool paused);
/* Nothing committed is left that the stored position does not cover. */
bool database_all_settled(const struct database *db);

#endif
