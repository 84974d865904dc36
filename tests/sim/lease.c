/* The relay's row and its lane: takeover, renewal, store, release. Every store is held against the
 * oracle at once. */
#include "database.h"

#include <inttypes.h>
#include <string.h>

/* Each statement is a transaction: it uses an xid, and its version is on disk at the next flush. */
static void written(struct database *db, bool synchronously)
{
    uint64_t xid = database_begin(db);
    database_commit(db, xid, false);
    db->control.lsn = db->lsn;
    if (db->version_count == CONTROL_VERSIONS)
        database_flush(db);
    db->versions[db->version_count++] = db->control;
    if (synchronously)
        database_flush(db);
}

bool database_take(struct database *db, const struct claim *claim)
{
    struct control *c = &db->control;
    bool allowed = false;
    switch (claim->mode) {
    case TAKE_IF_FREE:
        allowed = c->holder == 0;
        break;
    case TAKE_IF_UNCHANGED:
        allowed = c->holder == 0 || (c->epoch == claim->seen_epoch && c->beat == claim->seen_beat);
        break;
    case TAKE_OWN:
        allowed = c->holder == claim->holder;
        break;
    }
    if (!allowed)
        return false;
    c->holder = claim->holder;
    c->instance = claim->instance;
    c->epoch++;
    c->beat++;
    written(db, true);
    world_say(db->world, "database: holder %" PRIu64 " has the lease, epoch %" PRId64, c->holder,
              c->epoch);
    return true;
}

static bool is_ours(const struct database *db, uint64_t holder, int64_t epoch)
{
    bool ours = db->control.holder == holder && db->control.epoch == epoch;
    db->world->sights[SIGHT_STALE_WRITE] += !ours;
    return ours;
}

bool database_renew(struct database *db, uint64_t holder, int64_t epoch)
{
    if (!is_ours(db, holder, epoch))
        return false;
    db->control.beat++;
    written(db, false);
    return true;
}

static void judge_row(struct database *db, struct row *r, bool covered)
{
    const struct fact *f = &db->oracle->facts[r->fact];
    if (covered && f->fate == FATE_OPEN)
        world_fail(db->world, "position covers event %u of an open transaction (xid %" PRIu64 ")",
                   r->fact, r->xid);
    if (f->fate != FATE_COMMITTED)
        return;
    if (r->settled && !covered)
        world_fail(db->world, "position went back: event %u (id %" PRId64 ") was settled", r->fact,
                   r->id);
    if (covered && f->appends == 0)
        world_fail(db->world,
                   "settled but not published: event %u (id %" PRId64 ", key %u, "
                   "version %u)",
                   r->fact, r->id, f->key, f->version);
    db->oracle->unsettled -= covered && !r->settled && f->appends > 0;
    r->settled = covered;
}

/* What is settled must be in its topic, and what was settled must stay so. */
static void judge_position(struct database *db)
{
    const struct control *c = &db->control;
    struct snapshot base;
    struct snapshot target;
    bool batch = c->target[0] != '\0';
    if (!snapshot_parse(&base, c->base) || (batch && !snapshot_parse(&target, c->target))) {
        world_fail(db->world, "position is no snapshot: '%s' '%s'", c->base, c->target);
        return;
    }
    if (base.xmax > db->next_xid || (batch && target.xmax > db->next_xid))
        world_fail(db->world, "position is ahead of the server: '%s' '%s'", c->base, c->target);
    for (uint32_t i = 0; i < db->row_count; i++) {
        struct row *r = &db->rows[i];
        bool covered = snapshot_sees(&base, r->xid) ||
                       (batch && r->id <= c->last_id && snapshot_sees(&target, r->xid));
        if (!r->dead)
            judge_row(db, r, covered);
    }
}

bool database_store(struct database *db, const struct control *as, bool synchronously)
{
    if (!is_ours(db, as->holder, as->epoch) && db->plan->defect != DEFECT_STORE_IGNORES_EPOCH)
        return false;
    memcpy(db->control.base, as->base, sizeof db->control.base);
    memcpy(db->control.target, as->target, sizeof db->control.target);
    db->control.last_id = as->last_id;
    db->control.published += as->published;
    judge_position(db);
    written(db, synchronously);
    return true;
}

void database_tell(struct database *db, const struct control *as)
{
    if (!is_ours(db, as->holder, as->epoch))
        return;
    memcpy(db->control.trouble, as->trouble, sizeof db->control.trouble);
    written(db, false);
}

bool database_release_lease(struct database *db, uint64_t holder)
{
    if (db->control.holder != holder)
        return false;
    db->control.holder = 0;
    db->control.beat++;
    written(db, true);
    world_say(db->world, "database: lease released by %" PRIu64, holder);
    return true;
}

void database_raise_epoch(struct database *db)
{
    db->control.epoch++;
    written(db, true);
    world_say(db->world, "database: a command raised the epoch to %" PRId64, db->control.epoch);
}

void database_pause(struct database *db, bool paused)
{
    db->control.paused = paused;
    written(db, true);
    world_say(db->world, "database: a command %s", paused ? "pauses the relay" : "resumes it");
}

bool database_all_settled(const struct database *db)
{
    for (uint32_t i = 0; i < db->row_count; i++) {
        const struct row *r = &db->rows[i];
        if (!r->dead && !r->settled && db->oracle->facts[r->fact].fate == FATE_COMMITTED)
            return false;
    }
    return true;
}
