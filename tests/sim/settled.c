/* What the stored positions cover, together: a row belongs to the narrowest lane that covers its
 * address, else to main, and is settled when its owner's position covers it. That is what must be
 * in its topic, whatever else is lost, and it never shrinks. */
#include "database.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct cut {
    struct snapshot base;
    struct snapshot target;
    bool batch;
    int64_t last_id;
};

/* Whose a row is, by its key and whether its topic is a name: 0 main, else 1 + the lane's index. */
struct owners {
    uint32_t of[MAX_KEYS][2];
};

struct cover {
    struct cut cuts[LANES_MAX + 1];
    struct owners owners;
};

static bool cut_parse(struct cut *c, const struct place *at)
{
    c->batch = at->target[0] != '\0';
    c->last_id = at->last_id;
    return snapshot_parse(&c->base, at->base) &&
           (!c->batch || snapshot_parse(&c->target, at->target));
}

static bool cut_covers(const struct cut *c, const struct row *r)
{
    return snapshot_sees(&c->base, r->xid) ||
           (c->batch && r->id <= c->last_id && snapshot_sees(&c->target, r->xid));
}

static void find_owners(const struct database *db, struct owners *o)
{
    const struct lane_set *set = db->control.lanes;
    memset(o, 0, sizeof *o);
    if (set->count == 0)
        return;
    for (uint32_t k = 0; k < db->plan->keys; k++) {
        char topic[TOPIC_TEXT];
        char key[KEY_TEXT];
        snprintf(topic, sizeof topic, "t%u-events", k % db->plan->topics);
        snprintf(key, sizeof key, "k%u", k);
        for (uint32_t odd = 0; odd < 2; odd++) {
            struct slice t = odd ? (struct slice){NULL, 0} : slice_of(topic);
            uint32_t *owner = &o->of[k][odd];
            for (uint32_t i = 0; i < set->count; i++) {
                if (lane_row_covers(&set->rows[i], t, slice_of(key)) &&
                    (*owner == 0 || set->rows[i].by < set->rows[*owner - 1].by))
                    *owner = i + 1;
            }
        }
    }
}

static uint32_t owner_of(const struct database *db, const struct owners *o, const struct row *r)
{
    const struct fact *f = &db->oracle->facts[r->fact];
    return o->of[f->key][f->odd];
}

/* False when a position is no snapshot. */
static bool cover_now(const struct database *db, struct cover *c)
{
    const struct lane_set *set = db->control.lanes;
    find_owners(db, &c->owners);
    if (!cut_parse(&c->cuts[0], &db->control.at))
        return false;
    for (uint32_t i = 0; i < set->count; i++) {
        if (!cut_parse(&c->cuts[i + 1], &set->rows[i].at))
            return false;
    }
    return true;
}

static bool is_covered(const struct database *db, const struct cover *c, const struct row *r)
{
    return cut_covers(&c->cuts[owner_of(db, &c->owners, r)], r);
}

uint64_t database_uncover(struct database *db)
{
    static struct cover c;
    uint64_t lost = 0;
    (void)cover_now(db, &c);
    for (uint32_t i = 0; i < db->row_count; i++) {
        struct row *r = &db->rows[i];
        bool covered = is_covered(db, &c, r);
        lost += r->settled && !covered;
        r->settled = covered;
    }
    return lost;
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
    if (covered && f->appends == 0 && !f->given_up)
        world_fail(db->world,
                   "settled but not published: event %u (id %" PRId64 ", key %u, "
                   "version %u)",
                   r->fact, r->id, f->key, f->version);
    db->oracle->unsettled -= covered && !r->settled && f->appends > 0;
    r->settled = covered;
}

static void judge_time(struct database *db, const struct cut *c)
{
    if (c->base.xmax > db->next_xid || (c->batch && c->target.xmax > db->next_xid))
        world_fail(db->world, "position is ahead of the server: its next xid is %" PRIu64,
                   db->next_xid);
}

/* What is settled must be in its topic, and what was settled must stay so. */
void database_judge(struct database *db)
{
    static struct cover c;
    if (!cover_now(db, &c)) {
        world_fail(db->world, "position is no snapshot: '%s' '%s'", db->control.at.base,
                   db->control.at.target);
        return;
    }
    for (uint32_t i = 0; i <= db->control.lanes->count; i++)
        judge_time(db, &c.cuts[i]);
    for (uint32_t i = 0; i < db->row_count; i++) {
        struct row *r = &db->rows[i];
        if (!r->dead)
            judge_row(db, r, is_covered(db, &c, r));
    }
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

bool database_is_next(const struct database *db, const struct lane_row *l, int64_t row_id)
{
    struct owners owners;
    struct cut cut;
    const struct lane_set *set = db->control.lanes;
    uint32_t index = 0;
    find_owners(db, &owners);
    while (index < set->count && set->rows[index].id != l->id)
        index++;
    if (index == set->count || !cut_parse(&cut, &l->at) || !cut.batch)
        return false;
    for (uint32_t i = 0; i < db->row_count; i++) {
        const struct row *r = &db->rows[i];
        if (r->dead || db->oracle->facts[r->fact].fate != FATE_COMMITTED ||
            owner_of(db, &owners, r) != index + 1 || cut_covers(&cut, r) ||
            !snapshot_sees(&cut.target, r->xid))
            continue;
        return r->id == row_id;
    }
    return false;
}
