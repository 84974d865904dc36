/* One run: a database, its writers, a cluster, one or two relay processes, and everything that goes
 * wrong. */
#ifndef OUTBOXD_SIM_SIM_H
#define OUTBOXD_SIM_SIM_H

#include "cluster.h"
#include "database.h"
#include "node.h"
#include "oracle.h"
#include "plan.h"
#include "world.h"
#include "writers.h"

struct sim {
    struct plan plan;
    struct world world;
    struct oracle oracle;
    struct database db;
    struct writers writers;
    struct cluster cluster;
    struct route_table routes[2]; /* at first, and when all is mended */
    const struct route_table *present_routes;
    uint64_t routes_mark; /* another one when they send an event to another topic */
    struct node nodes[MAX_RELAYS];
    uint64_t calm_us;     /* from here on nothing breaks any more */
    uint64_t poisons;     /* events that were too large for a time */
    uint64_t next_holder; /* every life of a process has an identity of its own */
};

/* What a run came to, for those who add up. */
struct outcome {
    char failure[512]; /* "" when every promise was kept */
    uint64_t steps;
    uint64_t events;
    uint64_t duplicates;
    uint64_t faults;
    uint64_t recoveries;
    uint64_t takeovers;
    uint64_t fallbacks; /* looks that found events though no bell had rung */
    uint64_t pages;
    uint64_t polls;
    uint64_t sights[SIGHT_COUNT];
    uint64_t still_us; /* the longest that nothing moved of what nothing was wrong with */
    uint64_t drain_us; /* from the calm to the last event settled */
};

/* Runs the plan to its end, or to the first violation. Returns true when every promise was kept. */
bool sim_run(const struct plan *plan, struct outcome *out);

/* faults.c: schedules the timed faults of the plan. */
void faults_schedule(struct sim *s);

/* troubles.c: schedules those of the plan, and the operator. */
void troubles_schedule(struct sim *s);
/* All of them are over. */
void troubles_mended(struct sim *s);
/* The topic has more partitions. */
void troubles_grew(struct sim *s, uint32_t topic);
/* The configuration is another one: relays are stopped and started again. */
void troubles_routes_change(struct sim *s);
/* An event of this key is written that cannot be published. */
void troubles_poisoned(struct sim *s, uint32_t key);

#endif
