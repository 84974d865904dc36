#include "plan.h"

#include "world.h"

#include <string.h>

const char *defect_text(enum defect d)
{
    static const char *const texts[] = {
#define X(name, text) text,
        DEFECTS(X)
#undef X
    };
    return texts[d];
}

static void draw_params(struct relay_params *p, struct world *w)
{
    p->window_events = (uint32_t)world_between(w, 4, 64);
    p->window_bytes = (size_t)world_between(w, 4, 32) * 1024;
    p->lease_ttl_ms = (uint32_t)world_between(w, 1000, 3000);
    p->shutdown_timeout_ms = (uint32_t)world_between(w, 3000, 10000);
    p->stall_after_ms = 5000;
    p->wakeup = world_chance(w, 700) ? WAKEUP_DOORBELL : WAKEUP_POLL;
    p->poll_max_ms = (uint32_t)world_between(w, 10, 100);
    p->fallback_ms = 1000;
    p->quiet_ms = 30;
    p->max_lanes = 256;
    p->lanes_in_parallel = 4;
}

static void draw_load(struct plan *p, struct world *w)
{
    p->keys = (uint32_t)world_between(w, 1, MAX_KEYS);
    p->topics = (uint32_t)world_between(w, 1, MAX_TOPICS);
    p->partitions = (uint32_t)world_between(w, 1, 4);
    p->writers = (uint32_t)world_between(w, 1, MAX_WRITERS);
    p->transactions = (uint32_t)world_between(w, 20, 120);
    p->long_writer = world_chance(w, 300);
    p->bulk = world_chance(w, 25);
    p->sparse = world_chance(w, 100);
    if (p->sparse)
        p->writers = 1;
    p->active_us = SECONDS(world_between(w, 2, 8));
    p->packet_permille = world_chance(w, 700) ? 30 : 0;
    p->full_permille = world_chance(w, 300) ? 50 : 0;
}

static void draw_faults(struct plan *p, struct world *w)
{
    p->faults = (uint32_t)world_between(w, 1, 8);
    p->async_commits = world_chance(w, 300);
    p->refuse_permille = world_chance(w, 400) ? 30 : 0;
    p->sync_permille = world_chance(w, 200) ? 10 : 0;
    p->no_reset_permille = world_chance(w, 200) ? 300 : 0;
    p->slow_permille = world_chance(w, 300) ? 10 : 0;
    p->poison_permille = world_chance(w, 150) ? 10 : 0;
}

/* Troubles that last, and a load that lasts longer. */
static void draw_lanes(struct plan *p, struct world *w)
{
    enum on_error policy = ON_ERROR_PARK;
    uint32_t which = (uint32_t)world_between(w, 0, 9);

    if (which == 0)
        policy = ON_ERROR_SKIP;
    p->dead_letters = policy == ON_ERROR_SKIP && world_chance(w, 500);
    for (uint32_t i = 0; i < MAX_TOPICS; i++)
        p->on_error[i] = policy;
    if (which == 1)
        p->on_error[world_between(w, 0, p->topics - 1)] = ON_ERROR_HALT;
    p->troubles = (uint32_t)world_between(w, 1, 5);
    p->active_us = SECONDS(world_between(w, 3, world_chance(w, 300) ? 100 : 20));
    p->pause_ms = (uint32_t)(p->active_us / 1000 * p->writers / p->transactions);
    p->scan_rows = world_chance(w, 500) ? 50000 : (uint32_t)world_between(w, 2, 30);
    p->unlisted = MAX_TOPICS;
    if (which != 1 && world_chance(w, 100))
        p->unlisted = (uint32_t)world_between(w, 0, p->topics - 1);
    p->patient_operator = world_chance(w, 100);
    p->params.max_lanes = world_chance(w, 150) ? (uint32_t)world_between(w, 1, 3) : 256;
    p->params.lanes_in_parallel = (uint32_t)world_between(w, 1, 4);
    p->params.stall_after_ms = world_chance(w, 500) ? 5000 : 1000;
    p->relays = world_chance(w, 300) ? 2 : 1;
    p->sparse = false;
    if (world_chance(w, 150)) { /* the culprit is one of many */
        p->params.window_events = (uint32_t)world_between(w, 200, 1000);
        p->params.window_bytes = 1024 * 1024;
    }
    if (p->writers == 1)
        p->writers = 4;
    if (world_chance(w, 500)) {
        draw_faults(p, w);
        return;
    }
    p->poison_permille = world_chance(w, 300) ? 10 : 0;
}

void plan_draw(struct plan *p, enum scenario scenario, uint64_t seed, enum defect defect)
{
    struct world w;
    world_init(&w, seed ^ 0x6f626f78, false);
    memset(p, 0, sizeof *p);
    p->seed = seed;
    p->scenario = scenario;
    p->defect = defect;
    draw_params(&p->params, &w);
    draw_load(p, &w);
    p->relays = scenario == SCENARIO_TWO ? 2 : 1;
    p->same_instance = world_chance(&w, 200);
    p->pause_ms = 40;
    if (scenario == SCENARIO_LANES)
        draw_lanes(p, &w);
    else if (scenario != SCENARIO_FAULTLESS)
        draw_faults(p, &w);
    else
        p->params.shutdown_timeout_ms =
            60000; /* a stop is no fault when it may wait for the acks */
    if (world_chance(&w, 15) && scenario != SCENARIO_LANES) {
        p->quiet_us = SECONDS(2 * 3600);
        p->params.lease_ttl_ms = 10000;
        p->params.poll_max_ms = 1000;
        p->long_writer = false;
    }
    if (world_chance(&w, 150))
        p->params.max_rate = (uint32_t)world_between(&w, p->bulk ? 200 : 30, 500);
    world_release(&w);
}
