#include "oracle.h"

#include "base/str.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define WAITING_MAX_US SECONDS(60)

void oracle_init(struct oracle *o, struct world *w, const struct plan *plan)
{
    memset(o, 0, sizeof *o);
    o->world = w;
    o->plan = plan;
    o->still_max_us = SECONDS(20);
}

void oracle_release(struct oracle *o)
{
    free(o->facts);
}

uint32_t oracle_wrote(struct oracle *o, uint32_t key, uint32_t version)
{
    if (o->count == o->cap) {
        o->cap = o->cap ? o->cap * 2 : 256;
        o->facts = xrealloc(o->facts, o->cap * sizeof *o->facts);
    }
    o->facts[o->count] =
        (struct fact){.key = key, .version = version, .fate = FATE_OPEN, .partition = -1};
    return o->count++;
}

void oracle_committed(struct oracle *o, uint32_t fact)
{
    o->facts[fact].fate = FATE_COMMITTED;
    o->facts[fact].committed_us = o->world->now_us;
    o->missing++;
}

void oracle_rolled_back(struct oracle *o, uint32_t fact)
{
    o->facts[fact].fate = FATE_ROLLED_BACK;
}

/* What the database has lost is promised no more, and its version number will be used again. */
void oracle_lost(struct oracle *o, uint32_t fact)
{
    struct fact *f = &o->facts[fact];
    if (f->fate == FATE_COMMITTED && f->appends == 0 && !f->given_up)
        o->missing--;
    f->fate = FATE_LOST;
    o->world->sights[SIGHT_COMMITS_LOST]++;
    o->last_version[f->key] = 0;
    for (uint32_t i = 0; i < o->count; i++) {
        const struct fact *other = &o->facts[i];
        if (other->key == f->key && other->fate == FATE_COMMITTED && other->appends > 0 &&
            other->version > o->last_version[f->key])
            o->last_version[f->key] = other->version;
    }
}

void oracle_appended(struct oracle *o, uint32_t fact, int32_t partition)
{
    struct fact *f = &o->facts[fact];
    bool first = f->appends++ == 0;
    f->partition = partition;
    if (f->fate == FATE_LOST || f->given_up)
        return;
    if (f->fate != FATE_COMMITTED) {
        world_fail(o->world, "ghost: event %u (key %u, version %u) was never committed", fact,
                   f->key, f->version);
        return;
    }
    if (!first) {
        o->duplicates++;
        if (o->duplicates > o->allowed)
            world_fail(o->world,
                       "duplicate: event %u (key %u, version %u): %" PRIu64 " by now, %" PRIu64
                       " allowed after %" PRIu64 " faults",
                       fact, f->key, f->version, o->duplicates, o->allowed, o->faults);
        return;
    }
    o->missing--;
    o->unsettled++;
    if (o->plan->scenario == SCENARIO_FAULTLESS && o->unsettled > o->plan->params.window_events)
        world_fail(o->world, "%u events are published and not settled, in a window of %u",
                   o->unsettled, o->plan->params.window_events);
    if (f->version <= o->last_version[f->key])
        world_fail(o->world, "order: event %u (key %u, version %u) first appears after version %u",
                   fact, f->key, f->version, o->last_version[f->key]);
    o->last_version[f->key] = f->version;
}

void oracle_buried(struct oracle *o, uint32_t fact)
{
    struct fact *f = &o->facts[fact];
    f->burials++;
    if (f->fate != FATE_COMMITTED && f->fate != FATE_LOST)
        world_fail(o->world, "ghost: event %u is a dead letter, and was never committed", fact);
    if (!f->poison)
        world_fail(o->world, "event %u is a dead letter, but nothing is wrong with it", fact);
}

void oracle_given_up(struct oracle *o, uint32_t fact)
{
    struct fact *f = &o->facts[fact];
    if (f->fate == FATE_COMMITTED && f->appends == 0 && !f->given_up)
        o->missing--;
    f->given_up = true;
}

bool oracle_is_poison(const struct oracle *o, uint32_t fact)
{
    return o->facts[fact].poison && !o->facts[fact].cured;
}

void oracle_disturbed(struct oracle *o, uint64_t for_us)
{
    if (o->world->now_us + for_us > o->disturbed_until_us)
        o->disturbed_until_us = o->world->now_us + for_us;
}

/* What waits behind a long backlog moves all the same: so what counts is that nothing moves. */
static void judge_still(struct oracle *o, const struct fact *f, uint64_t since_us)
{
    if (since_us < o->moved_us)
        since_us = o->moved_us;
    if (o->world->now_us <= since_us)
        return;
    uint64_t still_us = o->world->now_us - since_us;
    if (still_us > o->longest_still_us)
        o->longest_still_us = still_us;
    if (still_us > o->still_max_us)
        world_fail(o->world,
                   "nothing moves: event %u (key %u, version %u) waits, though nothing is "
                   "wrong with it",
                   (unsigned)(f - o->facts), f->key, f->version);
}

void oracle_judge_waiting(struct oracle *o)
{
    for (uint32_t i = 0; i < o->count; i++) {
        const struct fact *f = &o->facts[i];
        uint64_t since = f->committed_us;
        if (f->fate != FATE_COMMITTED || f->appends > 0 || f->given_up || o->troubled[f->key])
            continue;
        if (since < o->disturbed_until_us)
            since = o->disturbed_until_us;
        judge_still(o, f, since);
        if (o->world->now_us > since && o->world->now_us - since > WAITING_MAX_US)
            world_fail(o->world,
                       "held up: event %u (key %u, version %u) waits, though nothing is wrong "
                       "with it",
                       i, f->key, f->version);
    }
}

void oracle_allow_tries(struct oracle *o, uint64_t tries_x1000)
{
    o->tries_allowed_x1000 += tries_x1000;
}

void oracle_tried(struct oracle *o)
{
    if (++o->tries * 1000 > o->tries_allowed_x1000)
        world_fail(o->world, "lanes are tried again and again: %" PRIu64 " times in vain",
                   o->tries);
}

void oracle_excuse(struct oracle *o, uint64_t more, const char *why)
{
    o->faults++;
    o->allowed += o->plan->params.window_events + more;
    world_say(o->world, "FAULT %s", why);
}

void oracle_excuse_lane(struct oracle *o, const char *why)
{
    o->faults++;
    o->allowed += o->plan->params.window_events;
    world_say(o->world, "FAULT %s", why);
}

void oracle_end(struct oracle *o)
{
    for (uint32_t i = 0; i < o->count; i++) {
        const struct fact *f = &o->facts[i];
        if (f->fate == FATE_OPEN)
            world_fail(o->world, "simulation: event %u was left open", i);
        if (f->fate == FATE_COMMITTED && f->appends == 0 && !f->given_up)
            world_fail(o->world, "lost: event %u (key %u, version %u) is in no topic", i, f->key,
                       f->version);
    }
}
