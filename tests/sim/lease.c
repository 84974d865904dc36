/* The relay's row and its main lane: takeover, renewal, store, release. Every store is held against
 * the oracle at once. */
#include "database.h"

#include <inttypes.h>
#include <string.h>

/* Each statement is a transaction: it uses an xid, and its version is on disk at the next flush. */
void database_written(struct database *db, bool synchronously)
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

bool database_take(struct database *db, const struct claim *claim, bool *folded)
{
    struct control *c = &db->control;
    bool allowed = false;
    *folded = false;
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
    *folded = database_fold(db, claim->routes);
    database_written(db, true);
    oracle_allow_tries(db->oracle, c->lanes->count * UINT64_C(1000)); /* at once */
    world_say(db->world, "database: holder %" PRIu64 " has the lease, epoch %" PRId64, c->holder,
              c->epoch);
    return true;
}

bool database_is_ours(const struct database *db, uint64_t holder, int64_t epoch)
{
    bool ours = db->control.holder == holder && db->control.epoch == epoch;
    db->world->sights[SIGHT_STALE_WRITE] += !ours;
    return ours;
}

bool database_renew(struct database *db, uint64_t holder, int64_t epoch)
{
    if (!database_is_ours(db, holder, epoch))
        return false;
    db->control.beat++;
    database_written(db, false);
    return true;
}

bool database_store(struct database *db, const struct store *as)
{
    if (!database_is_ours(db, as->holder, as->epoch) &&
        db->plan->defect != DEFECT_STORE_IGNORES_EPOCH)
        return false;
    if (as->lane != 0)
        return database_store_lane(db, as);
    db->control.at = as->at;
    db->control.published += as->events;
    database_judge(db);
    database_written(db, as->synchronously);
    return true;
}

void database_tell(struct database *db, const struct telling *t)
{
    struct control *c = &db->control;
    if (!database_is_ours(db, t->holder, t->epoch))
        return;
    memcpy(c->trouble, t->cause, sizeof c->trouble);
    c->halted = t->halted;
    c->trouble_row = t->row_id;
    database_written(db, false);
}

bool database_release_lease(struct database *db, uint64_t holder)
{
    if (db->control.holder != holder)
        return false;
    db->control.holder = 0;
    db->control.beat++;
    database_written(db, true);
    world_say(db->world, "database: lease released by %" PRIu64, holder);
    return true;
}

void database_raise_epoch(struct database *db)
{
    db->control.epoch++;
    database_written(db, true);
    world_say(db->world, "database: a command raised the epoch to %" PRId64, db->control.epoch);
}

void database_pause(struct database *db, bool paused)
{
    db->control.paused = paused;
    database_written(db, true);
    world_say(db->world, "database: a command %s", paused ? "pauses the relay" : "resumes it");
}
