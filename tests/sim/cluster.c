#include "cluster.h"

#include "base/str.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Brokers forget a producer that was idle for so long: longer than the hour that the relay trusts
 * them for. */
#define FORGET_US SECONDS(3700)

void cluster_init(struct cluster *c, struct world *w, const struct plan *plan,
                  struct oracle *oracle)
{
    memset(c, 0, sizeof *c);
    c->world = w;
    c->plan = plan;
    c->oracle = oracle;
    c->up = true;
    c->next_producer = 1;
    for (uint32_t i = 0; i < ALL_TOPICS; i++) {
        c->topics[i].exists = i < plan->topics || i == DEAD_TOPIC;
        c->topics[i].partitions = (int32_t)plan->partitions;
    }
}

void cluster_release(struct cluster *c)
{
    for (uint32_t i = 0; i < ALL_TOPICS; i++) {
        for (uint32_t p = 0; p < MAX_PARTITIONS; p++)
            free(c->topics[i].logs[p].producers);
    }
}

static struct producer_state *find_state(struct cluster *c, struct broker_partition *log,
                                         uint64_t producer)
{
    for (uint32_t i = 0; i < log->count; i++) {
        struct producer_state *s = &log->producers[i];
        if (s->producer != producer)
            continue;
        if (c->world->now_us - s->used_us <= FORGET_US)
            return s;
        c->world->sights[SIGHT_FORGOTTEN]++;
        *s = log->producers[--log->count];
        return NULL;
    }
    return NULL;
}

static struct producer_state *new_state(struct broker_partition *log, const struct batch *b)
{
    if (log->count == log->cap) {
        log->cap = log->cap ? log->cap * 2 : 8;
        log->producers = xrealloc(log->producers, log->cap * sizeof *log->producers);
    }
    struct producer_state *s = &log->producers[log->count++];
    *s = (struct producer_state){.producer = b->producer, .first = b->first, .next = b->first};
    return s;
}

static bool holds_poison(const struct cluster *c, const struct batch *b)
{
    for (uint32_t i = 0; i < b->count && !c->limit_raised && b->topic != DEAD_TOPIC; i++) {
        if (oracle_is_poison(c->oracle, b->facts[i]))
            return true;
    }
    return false;
}

static void append(struct cluster *c, struct broker_partition *log, struct producer_state *s,
                   const struct batch *b)
{
    if (s == NULL)
        s = new_state(log, b);
    s->next = b->first + b->count;
    s->used_us = c->world->now_us;
    if (b->stream == MAIN_STREAM)
        c->oracle->moved_us = c->world->now_us;
    for (uint32_t i = 0; i < b->count; i++) {
        if (b->topic == DEAD_TOPIC)
            oracle_buried(c->oracle, b->facts[i]);
        else
            oracle_appended(c->oracle, b->facts[i], b->partition);
    }
    world_say(c->world,
              "broker: topic %u partition %d <- producer %" PRIu64 " sequence %" PRIu64
              ": events %u to %u",
              b->topic, b->partition, b->producer, b->first, b->facts[0], b->facts[b->count - 1]);
}

enum verdict cluster_produce(struct cluster *c, const struct batch *b)
{
    struct broker_topic *t = &c->topics[b->topic];
    if (!c->up)
        return VERDICT_SILENCE;
    if (!t->exists || b->partition >= t->partitions)
        return VERDICT_UNKNOWN_TOPIC;
    if (t->logs[b->partition].silent)
        return VERDICT_SILENCE;
    if (t->forbidden) {
        oracle_excuse(c->oracle, 0, "a topic is forbidden");
        c->world->sights[SIGHT_FORBIDDEN]++;
        return VERDICT_FORBIDDEN;
    }
    if (holds_poison(c, b)) {
        oracle_excuse(c->oracle, 0, "a record is too large");
        c->world->sights[SIGHT_TOO_LARGE]++;
        return VERDICT_TOO_LARGE;
    }
    bool refuse = world_chance(c->world, c->plan->refuse_permille);
    if (refuse)
        oracle_excuse(c->oracle, 0, "a batch is refused");
    if (refuse && world_chance(c->world, 500))
        return VERDICT_REFUSED;
    struct broker_partition *log = &t->logs[b->partition];
    struct producer_state *s = find_state(c, log, b->producer);
    if (c->plan->defect == DEFECT_LENIENT_BROKER)
        s = NULL;
    if (s != NULL && b->first != s->next) {
        bool have = b->first >= s->first && b->first < s->next;
        c->world->sights[have ? SIGHT_DEDUPLICATED : SIGHT_OUT_OF_ORDER]++;
        return have ? VERDICT_APPENDED : VERDICT_OUT_OF_ORDER;
    }
    append(c, log, s, b);
    c->world->sights[SIGHT_REFUSED_APPENDED] += refuse;
    return refuse ? VERDICT_REFUSED_APPENDED : VERDICT_APPENDED;
}
