/* What goes wrong, and when. Each fault excuses one window of duplicates, no more. */
#include "sim.h"

#include <inttypes.h>
#include <stdlib.h>

#define DISTURBED_US SECONDS(20) /* the longest of them is over by then */

enum fault {
    FAULT_STOP,      /* SIGTERM and a new start */
    FAULT_RETRY_NOW, /* SIGHUP: harmless */
    FAULT_FORGERY,   /* anybody may NOTIFY */
    FAULT_HOLD,      /* an operator pauses the relay, and resumes it later: harmless */
    FAULT_GROW,      /* a topic gets more partitions */
    FAULT_KILL,
    FAULT_PAUSE, /* the process sleeps, perhaps past its lease */
    FAULT_BREAK, /* the database sessions of a relay break */
    FAULT_CRASH, /* of the database */
    FAULT_BROKERS_DOWN,
    FAULT_TOPIC_AWAY,
    FAULT_RAISE_EPOCH, /* an operator's command */
    FAULT_COUNT
};

static void database_up(void *self, void *arg)
{
    struct sim *s = self;
    (void)arg;
    s->db.up = true;
    world_say(&s->world, "database: up again");
}

static void crash(struct sim *s)
{
    if (!s->db.up)
        return;
    database_crash(&s->db);
    writers_interrupted(&s->writers);
    for (uint32_t i = 0; i < s->plan.relays && s->plan.defect != DEFECT_UNTOLD_CRASH; i++)
        source_break(&s->nodes[i].source, "database crashed");
    uint64_t down = world_delay(&s->world, MS(300));
    world_at(&s->world, s->world.now_us + down, NULL, database_up, s, NULL);
}

static void brokers_up(void *self, void *arg)
{
    struct sim *s = self;
    (void)arg;
    s->cluster.up = true;
    world_say(&s->world, "broker: up again");
}

static void brokers_down(struct sim *s)
{
    s->cluster.up = false;
    world_say(&s->world, "broker: all down");
    for (uint32_t i = 0; i < s->plan.relays; i++)
        sink_brokers_down(&s->nodes[i].sink);
    uint64_t down = world_delay(&s->world, MS(2000));
    world_at(&s->world, s->world.now_us + down, NULL, brokers_up, s, NULL);
}

static void topics_back(void *self, void *arg)
{
    struct sim *s = self;
    (void)arg;
    for (uint32_t i = 0; i < s->plan.topics; i++)
        s->cluster.topics[i].exists = true;
    world_say(&s->world, "broker: all topics are there");
}

static void topic_away(struct sim *s)
{
    uint32_t topic = (uint32_t)(world_random(&s->world) % s->plan.topics);
    s->cluster.topics[topic].exists = false;
    for (uint32_t key = topic; key < s->plan.keys; key += s->plan.topics)
        s->oracle.troubled[key] = true;
    world_say(&s->world, "broker: topic %u is not there", topic);
    uint64_t away = world_delay(&s->world, MS(2000));
    world_at(&s->world, s->world.now_us + away, NULL, topics_back, s, NULL);
}

static void grow(struct sim *s)
{
    uint32_t topic = (uint32_t)(world_random(&s->world) % s->plan.topics);
    struct broker_topic *t = &s->cluster.topics[topic];
    troubles_grew(s, topic);
    if (t->partitions < MAX_PARTITIONS)
        t->partitions++;
    s->world.sights[SIGHT_GREW]++;
    world_say(&s->world, "broker: a topic has %d partitions now", t->partitions);
}

/* The server ends an idle session after twice the ttl, so that a stopped relay does not leave the
 * bell armed. */
static void idle_too_long(void *self, void *arg)
{
    struct node *n = self;
    (void)arg;
    if (n->scope.paused_until_us > n->world->now_us)
        source_break(&n->source, "idle for too long");
}

static void pause_node(struct sim *s, struct node *n)
{
    uint64_t ttl_us = MS(s->plan.params.lease_ttl_ms);
    uint64_t us = world_between(&s->world, MS(20), ttl_us * 5 / 2);
    node_pause(n, us, world_chance(&s->world, 500));
    world_at(&s->world, s->world.now_us + ttl_us * 2, NULL, idle_too_long, n, NULL);
}

static void go_on(void *self, void *arg)
{
    struct sim *s = self;
    (void)arg;
    if (s->db.up)
        database_pause(&s->db, false);
    else
        world_at(&s->world, s->world.now_us + MS(50), NULL, go_on, s, NULL);
}

static void hold(struct sim *s)
{
    uint64_t us = world_between(&s->world, MS(20), MS(s->plan.params.lease_ttl_ms) * 3);
    if (!s->db.up)
        return;
    database_pause(&s->db, true);
    world_at(&s->world, s->world.now_us + us, NULL, go_on, s, NULL);
}

static void strike(void *self, void *arg)
{
    struct sim *s = self;
    enum fault fault = *(const enum fault *)arg;
    struct world *w = &s->world;
    struct node *n = &s->nodes[world_random(w) % s->plan.relays];
    oracle_disturbed(&s->oracle, DISTURBED_US);
    switch (fault) {
    case FAULT_STOP:
        if (s->plan.scenario == SCENARIO_FAULTLESS && n->stopping)
            break;
        if (s->plan.scenario != SCENARIO_FAULTLESS)
            oracle_excuse(&s->oracle, 0, "a relay is stopped");
        node_stop(n, world_delay(w, MS(100)), false);
        if (s->plan.scenario != SCENARIO_FAULTLESS && world_chance(w, 200))
            node_stop(n, world_delay(w, MS(100)), false); /* the second SIGTERM means now */
        break;
    case FAULT_RETRY_NOW:
        node_retry_now(n);
        break;
    case FAULT_FORGERY:
        source_rung(&n->source);
        break;
    case FAULT_HOLD:
        hold(s);
        break;
    case FAULT_GROW:
        grow(s);
        break;
    case FAULT_KILL:
        oracle_excuse(&s->oracle, 0, "a relay is killed");
        node_kill(n, world_delay(w, MS(100)));
        break;
    case FAULT_PAUSE:
        oracle_excuse(&s->oracle, 0, "a relay pauses");
        pause_node(s, n);
        break;
    case FAULT_BREAK:
        oracle_excuse(&s->oracle, 0, "sessions break");
        source_break(&n->source, "connection reset");
        break;
    case FAULT_CRASH:
        crash(s);
        break;
    case FAULT_BROKERS_DOWN:
        brokers_down(s);
        break;
    case FAULT_TOPIC_AWAY:
        topic_away(s);
        break;
    case FAULT_RAISE_EPOCH:
        oracle_excuse(&s->oracle, 0, "a command raises the epoch");
        if (s->db.up)
            database_raise_epoch(&s->db);
        break;
    case FAULT_COUNT:
        break;
    }
}

/* In the first and the last part of the run, not in the quiet time between. */
static uint64_t some_time(struct sim *s)
{
    uint64_t at = world_between(&s->world, MS(10), s->plan.active_us);
    return s->world.now_us + at + (at > s->plan.active_us / 2 ? s->plan.quiet_us : 0);
}

void faults_schedule(struct sim *s)
{
    bool faultless = s->plan.scenario == SCENARIO_FAULTLESS;
    uint32_t count = faultless ? (uint32_t)world_between(&s->world, 0, 3) : s->plan.faults;
    for (uint32_t i = 0; i < count; i++) {
        enum fault *which = xmalloc(sizeof *which);
        *which = (enum fault)(world_random(&s->world) % (faultless ? FAULT_GROW : FAULT_COUNT));
        world_at(&s->world, some_time(s), NULL, strike, s, which);
    }
}
