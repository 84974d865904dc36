/* The lanes beside main: the relay's changes of them and an operator's, as src/outbox/sql and
 * sql/outbox/0005_lanes.up.sql have them. Each is one transaction that locks the relay's row. */
#include "database.h"

#include "base/str.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* With growing pauses, in the first seconds of a lane. */
#define TRIES_ANEW 10

bool lane_row_covers(const struct lane_row *l, struct slice topic, struct slice key)
{
    struct lane_filter f = {.by = l->by,
                            .topic = slice_of(l->topic),
                            .key = slice_of(l->key),
                            .partition = l->partition,
                            .partitions = l->partitions};
    return lane_filter_covers(&f, topic, key);
}

void database_drop_sets(struct database *db, const struct lane_set *but)
{
    struct lane_set **at = &db->sets;
    while (*at != NULL) {
        struct lane_set *set = *at;
        if (set == but) {
            at = &set->older;
            continue;
        }
        *at = set->older;
        free(set);
    }
}

/* A copy that may be changed until the version is written, with room for one more. */
static struct lane_set *copy_set(struct database *db)
{
    const struct lane_set *old = db->control.lanes;
    struct lane_set *set = xcalloc(1, sizeof *set + (old->count + 1) * sizeof set->rows[0]);
    set->count = old->count;
    memcpy(set->rows, old->rows, old->count * sizeof set->rows[0]);
    set->older = db->sets;
    db->sets = set;
    db->control.lanes = set;
    return set;
}

/* Of a lane that is there. */
static struct lane_row *find(struct lane_set *set, uint32_t id)
{
    uint32_t i = 0;
    while (i < set->count && set->rows[i].id != id)
        i++;
    if (i == set->count)
        abort();
    return &set->rows[i];
}

const struct lane_row *database_lane(const struct database *db, uint32_t id)
{
    const struct lane_set *set = db->control.lanes;
    for (uint32_t i = 0; i < set->count; i++) {
        if (set->rows[i].id == id)
            return &set->rows[i];
    }
    return NULL;
}

static void clear_trouble(struct lane_row *l)
{
    l->cause[0] = '\0';
    l->event_id[0] = '\0';
    l->row_id = 0;
    l->attempts = 0;
    l->next_try_us = 0;
}

static void set_trouble(struct lane_row *l, const struct lane_row *from)
{
    memcpy(l->cause, from->cause, sizeof l->cause);
    memcpy(l->event_id, from->event_id, sizeof l->event_id);
    l->row_id = from->row_id;
    l->attempts = from->attempts;
    l->next_try_us = from->next_try_us;
    l->asked = false;
}

static struct row *row_of(const struct database *db, int64_t id)
{
    for (uint32_t i = 0; i < db->row_count; i++) {
        if (db->rows[i].id == id && !db->rows[i].dead)
            return &db->rows[i];
    }
    return NULL;
}

/* Whoever skips it takes the lane's next event for it: so no other may be named. (Without a target
 * nothing is skipped: not before the next store, then.) */
static void judge_named(struct database *db, const struct lane_row *l)
{
    if (l->cause[0] == '\0')
        world_fail(db->world, "lane %u waits without a cause", l->id);
    if (l->row_id != 0 && l->at.target[0] != '\0' && !database_is_next(db, l, l->row_id))
        world_fail(db->world, "lane %u names row %" PRId64 ", which is not its next one", l->id,
                   l->row_id);
}

static const char *what(const struct lane_row *l, char *text, size_t size)
{
    snprintf(text, size, "lane %u (%s, topic '%s', key '%s', partition %d of %d)", l->id,
             lane_by_name(l->by), l->topic, l->key, l->partition, l->partitions);
    return text;
}

/* ---- what a relay does ---- */

static bool split(struct database *db, const struct change *c)
{
    char text[128];
    if (c->lane.id <= db->control.last_lane)
        world_fail(db->world, "lane %u is made, but lane %u has been there", c->lane.id,
                   db->control.last_lane);
    if (c->from != 0 && database_lane(db, c->from) == NULL)
        return false;
    struct lane_set *set = copy_set(db);
    if (set->count == LANES_MAX) {
        world_fail(db->world, "too many lanes");
        return false;
    }
    if (c->from != 0) {
        struct lane_row *from = find(set, c->from);
        from->at = c->lane.at;
        from->published += c->events;
        db->world->sights[SIGHT_SPLIT_OFF_A_LANE]++;
    } else {
        db->control.at = c->lane.at;
        db->control.published += c->events;
    }
    set->rows[set->count++] = c->lane;
    db->control.last_lane = c->lane.id;
    if (db->plan->defect == DEFECT_LANE_TOO_FAR && c->lane.row_id != 0)
        set->rows[set->count - 1].at.last_id = c->lane.row_id;
    db->world->sights[SIGHT_SPLIT_KEY + c->lane.by]++;
    db->world->sights[SIGHT_SPLIT_SILENT] +=
        strcmp(c->lane.cause, refusal_name(REFUSAL_STALLED)) == 0;
    world_say(db->world, "database: %s is made off %u at %s / %s / %" PRId64 ": %s, row %" PRId64,
              what(&c->lane, text, sizeof text), c->from, c->lane.at.base, c->lane.at.target,
              c->lane.at.last_id, c->lane.cause, c->lane.row_id);
    judge_named(db, &set->rows[set->count - 1]);
    oracle_excuse(db->oracle, 0, "a lane is made");
    oracle_allow_tries(db->oracle, TRIES_ANEW * 1000);
    return true;
}

static bool fail(struct database *db, const struct change *c)
{
    if (database_lane(db, c->lane.id) == NULL)
        return false;
    struct lane_row *l = find(copy_set(db), c->lane.id);
    l->at = c->lane.at;
    l->published += c->events;
    set_trouble(l, &c->lane);
    db->world->sights[SIGHT_TRY_FAILED]++;
    oracle_tried(db->oracle);
    world_say(db->world, "database: lane %u at %s / %s / %" PRId64 " waits: %s, row %" PRId64,
              l->id, l->at.base, l->at.target, l->at.last_id, l->cause, l->row_id);
    judge_named(db, l);
    oracle_excuse_lane(db->oracle, "a lane was tried in vain");
    return true;
}

/* That nothing before it is lost is judged with the position. */
static void judge_skip(struct database *db, const struct change *c)
{
    const struct row *r = row_of(db, c->lane.row_id);
    if (r == NULL || r->settled) {
        world_fail(db->world, "lane %u: row %" PRId64 " is skipped, and was not waiting",
                   c->lane.id, c->lane.row_id);
        return;
    }
    const struct fact *f = &db->oracle->facts[r->fact];
    if (!f->poison)
        world_fail(db->world, "event %u is skipped, but nothing is wrong with it", r->fact);
    if (db->plan->dead_letters != c->dead_letter || (c->dead_letter && f->burials == 0))
        world_fail(db->world, "event %u is skipped, and %s", r->fact,
                   c->dead_letter ? "no dead letter is there" : "no dead letter was sent");
    oracle_given_up(db->oracle, r->fact);
}

static bool skip(struct database *db, const struct change *c)
{
    if (database_lane(db, c->lane.id) == NULL)
        return false;
    judge_skip(db, c);
    struct lane_row *l = find(copy_set(db), c->lane.id);
    l->at = c->lane.at;
    l->published += c->events;
    clear_trouble(l);
    db->world->sights[SIGHT_SKIPPED]++;
    oracle_allow_tries(db->oracle, TRIES_ANEW * 1000);
    world_say(db->world, "database: lane %u skips row %" PRId64, l->id, c->lane.row_id);
    return true;
}

static bool is_under(const struct lane_row *narrow, const struct lane_row *wide)
{
    struct slice topic = slice_of(narrow->topic);
    if (wide->by <= narrow->by || strcmp(wide->topic, narrow->topic) != 0 || topic.len == 0)
        return false;
    return wide->by == LANE_BY_TOPIC || lane_row_covers(wide, topic, slice_of(narrow->key));
}

/* The wide one may be ahead of both, and would have passed what main has not reached. */
static void judge_merge(struct database *db, const struct lane_row *l)
{
    const struct lane_set *set = db->control.lanes;
    for (uint32_t i = 0; i < set->count; i++) {
        if (is_under(l, &set->rows[i]))
            world_fail(db->world, "lane %u is merged under lane %u", l->id, set->rows[i].id);
    }
}

static bool merge(struct database *db, const struct change *c)
{
    const struct lane_row *old = database_lane(db, c->lane.id);
    if (old == NULL)
        return false;
    judge_merge(db, old);
    world_say(db->world, "database: lane %u is merged at %s / %s / %" PRId64, c->lane.id,
              c->lane.at.base, c->lane.at.target, c->lane.at.last_id);
    struct lane_set *set = copy_set(db);
    struct lane_row *l = find(set, c->lane.id);
    db->control.published += l->published + c->events;
    db->control.at = c->lane.at;
    *l = set->rows[--set->count];
    /* in the order of their ids, as the takeover reads them */
    for (struct lane_row *end = &set->rows[set->count]; l + 1 < end && l[0].id > l[1].id; l++) {
        struct lane_row moved = l[0];
        l[0] = l[1];
        l[1] = moved;
    }
    db->world->sights[SIGHT_MERGED]++;
    return true;
}

bool database_change(struct database *db, const struct change *c)
{
    bool done = false;
    if (!database_is_ours(db, c->holder, c->epoch) &&
        db->plan->defect != DEFECT_CHANGE_IGNORES_EPOCH)
        return false;
    switch (c->kind) {
    case CHANGE_SPLIT:
        done = split(db, c);
        break;
    case CHANGE_FAIL:
        done = fail(db, c);
        break;
    case CHANGE_SKIP:
        done = skip(db, c);
        break;
    case CHANGE_MERGE:
        done = merge(db, c);
        break;
    }
    if (!done)
        return false;
    database_judge(db);
    const struct row *given_up = row_of(db, c->kind == CHANGE_SKIP ? c->lane.row_id : 0);
    if (given_up != NULL && !given_up->settled)
        world_fail(db->world, "lane %u: skips a row, and stays before it", c->lane.id);
    database_written(db, true);
    return true;
}

bool database_store_lane(struct database *db, const struct store *as)
{
    if (database_lane(db, as->lane) == NULL)
        return false;
    struct lane_row *l = find(copy_set(db), as->lane);
    l->at = as->at;
    l->published += as->events;
    if (as->events > 0) {
        clear_trouble(l);
        l->asked = false;
        db->world->sights[SIGHT_LANE_STORED]++;
        oracle_allow_tries(db->oracle, 1000);
    }
    database_judge(db);
    database_written(db, as->synchronously);
    return true;
}

/* ---- the routes have changed ---- */

/* The order in which a server's snapshots were taken, as far as the text tells. */
static bool is_earlier(const struct place *a, const struct place *b)
{
    struct snapshot x;
    struct snapshot y;
    if (!snapshot_parse(&x, a->base) || !snapshot_parse(&y, b->base))
        abort();
    if (x.xmax != y.xmax)
        return x.xmax < y.xmax;
    return x.count != y.count ? x.count > y.count : a->last_id < b->last_id;
}

/* Whether the earliest's batch may be kept: who began at its base is in it, the others are beyond
 * it. */
static bool is_with(const struct place *at, const struct place *earliest)
{
    struct snapshot base;
    struct snapshot target;
    if (earliest->target[0] == '\0')
        return false;
    if (strcmp(at->base, earliest->base) == 0)
        return strcmp(at->target, earliest->target) == 0;
    if (!snapshot_parse(&base, at->base) || !snapshot_parse(&target, earliest->target))
        abort();
    return base.xmax > target.xmax || strcmp(at->base, earliest->target) == 0;
}

/* Main goes back to where the furthest behind stands: as outbox.fold_lanes does. */
static void fold(struct database *db)
{
    const struct lane_set *set = db->control.lanes;
    struct control *c = &db->control;
    struct place at = c->at;
    for (uint32_t i = 0; i < set->count; i++) {
        c->published += set->rows[i].published;
        if (is_earlier(&set->rows[i].at, &at))
            at = set->rows[i].at;
    }
    bool kept = is_with(&c->at, &at);
    for (uint32_t i = 0; i < set->count; i++) {
        kept = kept && is_with(&set->rows[i].at, &at);
        if (strcmp(set->rows[i].at.base, at.base) == 0 && set->rows[i].at.last_id < at.last_id)
            at.last_id = set->rows[i].at.last_id;
    }
    if (strcmp(c->at.base, at.base) == 0 && c->at.last_id < at.last_id)
        at.last_id = c->at.last_id;
    if (!kept) {
        at.target[0] = '\0';
        at.last_id = 0;
    }
    c->at = at;
}

bool database_fold(struct database *db, uint64_t routes)
{
    const struct lane_set *set = db->control.lanes;
    bool same = true;
    for (uint32_t i = 0; i < set->count; i++)
        same = same && set->rows[i].routes == routes;
    if (same)
        return false;
    db->world->sights[SIGHT_FOLDED] += set->count;
    if (db->plan->defect != DEFECT_FOLD_AT_MAIN)
        fold(db);
    copy_set(db)->count = 0;
    world_say(db->world, "database: lanes are folded, main stands at %s / %s / %" PRId64,
              db->control.at.base, db->control.at.target, db->control.at.last_id);
    oracle_excuse(db->oracle, database_uncover(db), "the routes have changed");
    database_judge(db);
    return true;
}

/* ---- what an operator does ---- */

void database_ask(struct database *db, uint32_t lane)
{
    if (database_lane(db, lane) == NULL)
        return;
    struct lane_row *l = find(copy_set(db), lane);
    if (!l->asked)
        l->asked_us = db->world->now_us;
    l->asked = true;
    database_written(db, true);
    db->world->sights[SIGHT_ASKED]++;
    oracle_allow_tries(db->oracle, 1000);
    world_say(db->world, "database: a command asks for lane %u to be tried", lane);
}

static bool skip_of_main(struct database *db)
{
    struct control *c = &db->control;
    const struct row *r = row_of(db, c->trouble_row);
    if (!c->halted || r == NULL)
        return false;
    oracle_given_up(db->oracle, r->fact);
    c->given_up = c->trouble_row;
    c->trouble[0] = '\0';
    c->halted = false;
    c->trouble_row = 0;
    return true;
}

static bool skip_of_lane(struct database *db, const struct lane_row *old)
{
    struct snapshot base;
    struct snapshot target;
    const struct row *r = row_of(db, old->row_id);
    if (r == NULL || old->at.target[0] == '\0' || !snapshot_parse(&base, old->at.base) ||
        !snapshot_parse(&target, old->at.target) || !snapshot_sees(&target, r->xid) ||
        snapshot_sees(&base, r->xid) || r->id <= old->at.last_id)
        return false;
    struct lane_row *l = find(copy_set(db), old->id);
    l->at.last_id = r->id;
    clear_trouble(l);
    l->asked = false;
    oracle_given_up(db->oracle, r->fact);
    return true;
}

bool database_skip(struct database *db, uint32_t lane)
{
    const struct lane_row *l = database_lane(db, lane);
    int64_t row_id = l != NULL ? l->row_id : db->control.trouble_row;
    if (lane != 0 && l == NULL)
        return false;
    if (!(lane == 0 ? skip_of_main(db) : skip_of_lane(db, l)))
        return false;
    world_say(db->world, "database: a command gives row %" PRId64 " of lane %u up", row_id, lane);
    db->world->sights[SIGHT_GIVEN_UP]++;
    oracle_excuse(db->oracle, 0, "a command raises the epoch");
    db->control.epoch++;
    database_judge(db);
    database_written(db, true);
    return true;
}
