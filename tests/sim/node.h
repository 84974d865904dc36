/* A relay process: the core with its fakes, a clock that is a little too fast or slow, and a life
 * that can end at any moment. */
#ifndef OUTBOXD_SIM_NODE_H
#define OUTBOXD_SIM_NODE_H

#include "cluster.h"
#include "database.h"
#include "plan.h"
#include "relay/relay.h"
#include "sink.h"
#include "source.h"
#include "world.h"

struct node {
    struct world *world;
    const struct plan *plan;
    uint32_t number; /* from 1 */
    struct scope scope;
    struct scope threads; /* the producer's: only their pause counts */
    struct relay *relay;  /* NULL: not running */
    struct fake_source source;
    struct fake_sink sink;
    struct relay_params params;
    int32_t drift_ppm;
    uint64_t clock_offset_ms;
    uint64_t wish_ms; /* relay_tick is due then, by this process's clock; 0: never */
    uint64_t tick_us; /* a tick is scheduled then; 0: none */
    uint64_t *next_holder;
    const struct route_table *const *routes;
    const uint64_t *routes_mark;
    bool stopping; /* was told to stop */
    bool stay_down;
    uint64_t restart_us;            /* after a stop: the pause until the next life */
    struct relay_counters counters; /* of its lives so far */
};

struct node_params {
    struct world *world;
    const struct plan *plan;
    struct database *db;
    struct cluster *cluster;
    const struct route_table *const *routes; /* those that a process has which starts now, ... */
    const uint64_t *routes_mark;             /* ... and what tells them from others */
    uint64_t *next_holder;
};

void node_init(struct node *n, const struct node_params *p, uint32_t number);
void node_release(struct node *n);
void node_start(struct node *n, uint64_t after_us);
/* SIGKILL; a new life begins after the pause. */
void node_kill(struct node *n, uint64_t pause_us);
/* SIGTERM (the second one means now); a new life begins after the pause, unless stay_down. */
void node_stop(struct node *n, uint64_t pause_us, bool stay_down);
/* SIGHUP. */
void node_retry_now(struct node *n);
/* SIGSTOP for a while; or the loop alone stands still, and the producer's threads go on sending
 * what they have. */
void node_pause(struct node *n, uint64_t us, bool threads_too);
/* Holds the relay's invariants and bounds; called after every step. */
void node_check(struct node *n);

#endif
