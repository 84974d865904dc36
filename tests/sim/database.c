/* Transactions and rows of the fake Postgres; lease.c holds the relay's row. */
#include "database.h"

#include "base/str.h"

#include <stdlib.h>
#include <string.h>

#define XID_FIRST 10U

void database_init(struct database *db, struct world *w, const struct plan *plan,
                   struct oracle *oracle)
{
    memset(db, 0, sizeof *db);
    db->world = w;
    db->plan = plan;
    db->oracle = oracle;
    db->up = true;
    db->next_xid = XID_FIRST;
    db->latest_completed = XID_FIRST - 1;
    db->next_id = 1;
    strcpy(db->control.at.base, "10:10:");
    db->sets = xcalloc(1, sizeof *db->sets);
    db->control.lanes = db->sets;
    db->versions[db->version_count++] = db->control;
}

void database_release(struct database *db)
{
    free(db->xacts);
    free(db->rows);
    database_drop_sets(db, NULL);
}

static struct xact *xact_of(const struct database *db, uint64_t xid)
{
    return &db->xacts[xid - XID_FIRST];
}

uint64_t database_begin(struct database *db)
{
    uint64_t xid = db->next_xid++;
    if (xid - XID_FIRST >= db->xact_cap) {
        db->xact_cap = db->xact_cap ? db->xact_cap * 2 : 1024;
        db->xacts = xrealloc(db->xacts, db->xact_cap * sizeof *db->xacts);
    }
    *xact_of(db, xid) = (struct xact){.first_row = NO_ROW, .last_row = NO_ROW};
    if (db->running_count == SNAPSHOT_XIP)
        abort();
    db->running[db->running_count++] = xid;
    return xid;
}

static void complete(struct database *db, uint64_t xid, enum xact_state state)
{
    size_t i = 0;
    while (db->running[i] != xid)
        i++;
    db->running_count--;
    memmove(&db->running[i], &db->running[i + 1], (db->running_count - i) * sizeof db->running[0]);
    if (xid > db->latest_completed)
        db->latest_completed = xid;
    xact_of(db, xid)->state = state;
}

static void logged(struct database *db, uint64_t xid)
{
    struct xact *x = xact_of(db, xid);
    db->lsn++;
    if (x->first_lsn == 0)
        x->first_lsn = db->lsn;
}

void database_insert(struct database *db, uint64_t xid, uint32_t fact, uint32_t payload_bytes)
{
    if (db->row_count == db->row_cap) {
        db->row_cap = db->row_cap ? db->row_cap * 2 : 256;
        db->rows = xrealloc(db->rows, db->row_cap * sizeof *db->rows);
    }
    logged(db, xid);
    struct xact *x = xact_of(db, xid);
    uint32_t at = db->row_count++;
    db->rows[at] = (struct row){.id = db->next_id++,
                                .xid = xid,
                                .lsn = db->lsn,
                                .fact = fact,
                                .next = NO_ROW,
                                .payload_bytes = payload_bytes};
    if (x->first_row == NO_ROW)
        x->first_row = at;
    else
        db->rows[x->last_row].next = at;
    x->last_row = at;
}

void database_kill_last_row(struct database *db, uint64_t xid)
{
    struct row *r = &db->rows[xact_of(db, xid)->last_row];
    r->dead = true;
    oracle_rolled_back(db->oracle, r->fact);
}

void database_commit(struct database *db, uint64_t xid, bool synchronously)
{
    struct xact *x = xact_of(db, xid);
    logged(db, xid);
    x->commit_lsn = db->lsn;
    complete(db, xid, XACT_COMMITTED);
    if (synchronously)
        database_flush(db);
    for (uint32_t i = x->first_row; i != NO_ROW; i = db->rows[i].next) {
        if (!db->rows[i].dead)
            oracle_committed(db->oracle, db->rows[i].fact);
    }
}

void database_rollback(struct database *db, uint64_t xid)
{
    struct xact *x = xact_of(db, xid);
    complete(db, xid, XACT_ABORTED);
    for (uint32_t i = x->first_row; i != NO_ROW; i = db->rows[i].next)
        oracle_rolled_back(db->oracle, db->rows[i].fact);
}

void database_flush(struct database *db)
{
    db->flushed = db->lsn;
    db->versions[0] = db->control;
    db->version_count = 1;
    database_drop_sets(db, db->control.lanes);
}

/* ---- crash ---- */

/* Rows whose insert or commit was not on disk are gone; their transactions count as rolled back. */
static void lose_rows(struct database *db)
{
    while (db->row_count > 0 && db->rows[db->row_count - 1].lsn > db->flushed) {
        struct row *r = &db->rows[--db->row_count];
        if (!r->dead && xact_of(db, r->xid)->state == XACT_COMMITTED)
            oracle_lost(db->oracle, r->fact);
    }
    for (uint32_t i = 0; i < db->row_count; i++) {
        struct row *r = &db->rows[i];
        const struct xact *x = xact_of(db, r->xid);
        if (r->next != NO_ROW && r->next >= db->row_count)
            r->next = NO_ROW;
        if (!r->dead && x->state == XACT_COMMITTED && x->commit_lsn > db->flushed)
            oracle_lost(db->oracle, r->fact);
    }
}

/* Returns the last xid that left a trace on disk: those after it will be handed out again. */
static uint64_t lose_xacts(struct database *db)
{
    uint64_t last = XID_FIRST - 1;
    for (uint64_t xid = XID_FIRST; xid < db->next_xid; xid++) {
        struct xact *x = xact_of(db, xid);
        if (x->state == XACT_COMMITTED && x->commit_lsn > db->flushed)
            x->state = XACT_ABORTED;
        if (x->first_row != NO_ROW && x->first_row >= db->row_count)
            x->first_row = NO_ROW;
        if (x->first_lsn != 0 && x->first_lsn <= db->flushed)
            last = xid;
    }
    return last;
}

void database_crash(struct database *db)
{
    /* a commit may have reached the disk while its client never heard of it */
    if (db->running_count > 0 && world_chance(db->world, 300))
        database_commit(db, db->running[world_random(db->world) % db->running_count], true);
    while (db->running_count > 0)
        database_rollback(db, db->running[0]);
    lose_rows(db);
    uint64_t last_xid = lose_xacts(db);
    world_say(db->world, "database: xids %llu to %llu will be used again",
              (unsigned long long)last_xid + 1, (unsigned long long)db->next_xid - 1);
    db->world->sights[SIGHT_XIDS_REUSED] += db->next_xid > last_xid + 1;
    db->next_xid = last_xid + 1;
    db->latest_completed = last_xid;
    db->next_id = db->row_count > 0 ? db->rows[db->row_count - 1].id + 1 : 1;
    if (world_chance(db->world, 500))
        db->next_id += (int64_t)world_between(db->world, 0, 32);
    while (db->versions[db->version_count - 1].lsn > db->flushed)
        db->version_count--;
    db->control = db->versions[db->version_count - 1];
    db->lsn = db->flushed;
    database_flush(db);
    db->bell_owner = NULL;
    db->bell_shared = 0;
    db->incarnation++;
    db->up = false;
    uint64_t uncovered = database_uncover(db);
    db->world->sights[SIGHT_STORES_LOST] += uncovered;
    oracle_excuse(db->oracle, uncovered, "the database crashes");
}

/* ---- reading ---- */

void database_snapshot(const struct database *db, struct snapshot *s)
{
    s->xmax = db->latest_completed + 1;
    s->xmin = s->xmax;
    s->count = 0;
    for (size_t i = 0; i < db->running_count && db->running[i] < s->xmax; i++)
        s->xip[s->count++] = db->running[i];
    if (s->count > 0)
        s->xmin = s->xip[0];
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static bool readable(const struct database *db, uint64_t xid)
{
    enum xact_state state = xact_of(db, xid)->state;
    return state == XACT_COMMITTED ||
           (state == XACT_RUNNING && db->plan->defect == DEFECT_DIRTY_READ);
}

size_t database_rows(const struct database *db, const struct snapshot *base,
                     const struct snapshot *target, int64_t after, uint32_t **rows)
{
    size_t count = 0;
    size_t cap = 0;
    *rows = NULL;
    for (uint64_t xid = base->xmin; xid < db->next_xid; xid++) {
        const struct xact *x = xact_of(db, xid);
        bool sees = snapshot_sees(target, xid) || db->plan->defect == DEFECT_DIRTY_READ;
        if (x->first_row == NO_ROW || !readable(db, xid) || snapshot_sees(base, xid) || !sees)
            continue;
        for (uint32_t i = x->first_row; i != NO_ROW; i = db->rows[i].next) {
            if (db->rows[i].dead || db->rows[i].id <= after)
                continue;
            if (count == cap) {
                cap = cap ? cap * 2 : 16;
                *rows = xrealloc(*rows, cap * sizeof **rows);
            }
            (*rows)[count++] = i;
        }
    }
    if (count > 1)
        qsort(*rows, count, sizeof **rows, by_number);
    return count;
}
