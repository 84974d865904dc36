/* What cannot be published for a time, while everything else can: a key whose events are refused,
 * events without a legal topic, a topic that is missing or forbidden, a partition that does not
 * answer. And the operator, who asks for lanes to be tried, and gives events up. */
#include "sim.h"

#include "message/murmur2.h"

#include <stdio.h>
#include <stdlib.h>

enum ill { ILL_KEY, ILL_TOPIC_NAME, ILL_AWAY, ILL_FORBIDDEN, ILL_PARTITION, ILL_COUNT };

struct illness {
    enum ill ill;
    uint32_t key;
    uint32_t topic;
    int32_t partition;
};

/* ---- who has to wait ---- */

/* Where a route halts, everybody waits. */
static void trouble_key(struct sim *s, uint32_t key)
{
    s->oracle.troubled[key] = true;
    if (s->plan.on_error[key % s->plan.topics] == ON_ERROR_HALT)
        s->oracle.disturbed_until_us = UINT64_MAX;
}

static void trouble_topic(struct sim *s, uint32_t topic)
{
    for (uint32_t key = topic; key < s->plan.keys; key += s->plan.topics)
        trouble_key(s, key);
}

void troubles_poisoned(struct sim *s, uint32_t key)
{
    if (s->plan.params.max_lanes < s->plan.keys)
        trouble_topic(s, key % s->plan.topics);
    trouble_key(s, key);
}

void troubles_grew(struct sim *s, uint32_t topic)
{
    for (uint32_t p = 0; p < MAX_PARTITIONS; p++) {
        if (s->cluster.topics[topic].logs[p].silent)
            trouble_topic(s, topic);
    }
}

static void trouble_partition(struct sim *s, const struct illness *i)
{
    int32_t partitions = s->cluster.topics[i->topic].partitions;
    for (uint32_t key = i->topic; key < s->plan.keys; key += s->plan.topics) {
        char text[KEY_TEXT];
        int len = snprintf(text, sizeof text, "k%u", key);
        if (murmur2_partition(text, (size_t)len, partitions) == i->partition)
            trouble_key(s, key);
    }
}

/* ---- begin and end ---- */

static void tell_leaderless(void *self, void *arg)
{
    struct sim *s = self;
    const struct illness *i = arg;
    struct broker_partition *p = &s->cluster.topics[i->topic].logs[i->partition];
    p->leaderless = p->silent;
}

/* The others notice after some time that a leader is gone; if they never do, nobody can tell a
 * silent partition from silent brokers before something else is acknowledged. */
static void silence(struct sim *s, const struct illness *i)
{
    s->cluster.topics[i->topic].logs[i->partition].silent = true;
    trouble_partition(s, i);
    if (world_chance(&s->world, 300)) {
        s->oracle.disturbed_until_us = UINT64_MAX;
        return;
    }
    struct illness *same = xmalloc(sizeof *same);
    *same = *i;
    world_at(&s->world, s->world.now_us + world_between(&s->world, 0, SECONDS(9)), NULL,
             tell_leaderless, s, same);
}

static void cure_key(struct sim *s, uint32_t key)
{
    for (uint32_t i = 0; i < s->oracle.count; i++) {
        struct fact *f = &s->oracle.facts[i];
        if (f->key == key && !f->odd)
            f->cured = true;
    }
}

static void end(void *self, void *arg)
{
    struct sim *s = self;
    const struct illness *i = arg;
    struct broker_topic *t = &s->cluster.topics[i->topic];
    if (i->ill == ILL_KEY && world_chance(&s->world, 500))
        cure_key(s, i->key);
    s->writers.poisoned[i->key] = false;
    s->writers.odd[i->key] = false;
    t->exists = true;
    t->forbidden = false;
    t->logs[i->partition].silent = false;
    t->logs[i->partition].leaderless = false;
    world_say(&s->world, "TROUBLE ends: kind %d, key %u, topic %u, partition %d", i->ill, i->key,
              i->topic, i->partition);
}

static void begin(void *self, void *arg)
{
    struct sim *s = self;
    const struct illness *i = arg;
    struct broker_topic *t = &s->cluster.topics[i->topic];
    world_say(&s->world, "TROUBLE begins: kind %d, key %u, topic %u, partition %d", i->ill, i->key,
              i->topic, i->partition);
    switch (i->ill) {
    case ILL_KEY:
        s->writers.poisoned[i->key] = true;
        break;
    case ILL_TOPIC_NAME:
        s->writers.odd[i->key] = true;
        break;
    case ILL_AWAY:
        t->exists = false;
        trouble_topic(s, i->topic);
        break;
    case ILL_FORBIDDEN:
        t->forbidden = true;
        trouble_topic(s, i->topic);
        break;
    case ILL_PARTITION:
        silence(s, i);
        break;
    case ILL_COUNT:
        break;
    }
}

/* Returns what it is. */
static enum ill schedule(struct sim *s)
{
    struct world *w = &s->world;
    struct illness *i = xmalloc(sizeof *i);
    struct illness *same = xmalloc(sizeof *same);
    uint64_t from = w->now_us + world_between(w, MS(10), s->plan.active_us / 2);
    uint64_t to = from + world_between(w, MS(200), s->plan.active_us);
    *i = (struct illness){.ill = (enum ill)(world_random(w) % ILL_COUNT),
                          .key = (uint32_t)(world_random(w) % s->plan.keys),
                          .topic = (uint32_t)(world_random(w) % s->plan.topics),
                          .partition = (int32_t)(world_random(w) % s->plan.partitions)};
    *same = *i;
    world_at(w, from, NULL, begin, s, i);
    world_at(w, to < s->calm_us ? to : s->calm_us - 1, NULL, end, s, same);
    return same->ill;
}

/* ---- the operator ---- */

static const struct lane_row *some_lane(struct sim *s)
{
    const struct lane_set *set = s->db.control.lanes;
    return set->count > 0 ? &set->rows[world_random(&s->world) % set->count] : NULL;
}

void troubles_routes_change(struct sim *s)
{
    for (uint32_t i = 0; i < s->plan.relays; i++) {
        oracle_excuse(&s->oracle, 0, "a relay is stopped");
        node_stop(&s->nodes[i], world_delay(&s->world, MS(100)), false);
    }
    oracle_disturbed(&s->oracle, SECONDS(20));
}

static void try_something(struct sim *s)
{
    const struct lane_row *l = some_lane(s);
    if (world_chance(&s->world, 50)) {
        s->routes_mark++;
        troubles_routes_change(s);
        return;
    }
    if (l == NULL)
        (void)database_skip(&s->db, 0);
    else if (world_chance(&s->world, 500))
        database_ask(&s->db, l->id);
    else
        (void)database_skip(&s->db, l->id);
}

static bool is_odd(const struct sim *s, int64_t row_id)
{
    for (uint32_t i = 0; i < s->db.row_count; i++) {
        if (s->db.rows[i].id == row_id)
            return s->oracle.facts[s->db.rows[i].fact].odd;
    }
    return false;
}

/* All is mended but what never can be: that is given up. */
static void clean_up(struct sim *s)
{
    const struct lane_set *set = s->db.control.lanes;
    if (s->db.control.halted && is_odd(s, s->db.control.trouble_row)) {
        (void)database_skip(&s->db, 0);
        return;
    }
    for (uint32_t i = 0; i < set->count; i++) {
        const struct lane_row *l = &set->rows[i];
        if (is_odd(s, l->row_id)) {
            (void)database_skip(&s->db, l->id);
            return; /* the set is another one now */
        }
    }
    for (uint32_t i = 0; i < set->count && !s->plan.patient_operator; i++) {
        if (!set->rows[i].asked && set->rows[i].cause[0] != '\0' && world_chance(&s->world, 200)) {
            database_ask(&s->db, set->rows[i].id);
            return;
        }
    }
}

static void operate(void *self, void *arg)
{
    struct sim *s = self;
    (void)arg;
    if (s->db.up && s->world.now_us > s->calm_us)
        clean_up(s);
    else if (s->db.up && world_chance(&s->world, 200))
        try_something(s);
    world_at(&s->world, s->world.now_us + world_delay(&s->world, SECONDS(1)), NULL, operate, s,
             NULL);
}

void troubles_mended(struct sim *s)
{
    for (uint32_t key = 0; key < MAX_KEYS; key++)
        s->writers.poisoned[key] = s->writers.odd[key] = false;
    for (uint32_t t = 0; t < s->plan.topics; t++) {
        s->cluster.topics[t].forbidden = false;
        for (uint32_t p = 0; p < MAX_PARTITIONS; p++)
            s->cluster.topics[t].logs[p].silent = s->cluster.topics[t].logs[p].leaderless = false;
    }
}

void troubles_schedule(struct sim *s)
{
    bool only_events =
        s->plan.faults == 0 && s->plan.packet_permille == 0 && s->plan.unlisted == MAX_TOPICS;
    for (uint32_t i = 0; i < s->plan.troubles; i++) {
        enum ill ill = schedule(s);
        only_events = only_events && (ill == ILL_KEY || ill == ILL_TOPIC_NAME);
    }
    if (only_events) /* nobody's silence is waited for */
        s->oracle.still_max_us = SECONDS(2);
    if (s->plan.params.max_rate > 0 || s->plan.bulk) /* then all wait for that */
        s->oracle.disturbed_until_us = UINT64_MAX;
    if (s->plan.troubles > 0 && s->plan.unlisted < MAX_TOPICS)
        trouble_topic(s, s->plan.unlisted);
    if (s->plan.troubles > 0)
        operate(s, NULL);
}
