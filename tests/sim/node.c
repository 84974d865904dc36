#include "node.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LARGEST_MESSAGE 4096U

/* ---- its clock ---- */

static uint64_t local_ms(const struct node *n, uint64_t at_us)
{
    int64_t drift = (int64_t)(at_us / 1000) * n->drift_ppm / 1000000;
    return (uint64_t)((int64_t)(at_us / 1000) + drift) + n->clock_offset_ms;
}

/* The first moment at which the process's clock shows `ms`. */
static uint64_t moment_of(const struct node *n, uint64_t ms)
{
    uint64_t now = n->world->now_us;
    uint64_t have = local_ms(n, now);
    if (ms <= have)
        return now;
    uint64_t at = now - now % 1000 + (ms - have) * 1000;
    while (local_ms(n, at) < ms)
        at += 1000;
    return at;
}

static void tick(void *self, void *arg);

static void schedule_tick(struct node *n)
{
    uint64_t at = moment_of(n, n->wish_ms) + world_between(n->world, 0, 50);
    if (n->tick_us != 0 && n->tick_us <= at)
        return;
    n->tick_us = at;
    world_at(n->world, at, &n->scope, tick, n, NULL);
}

static void tick(void *self, void *arg)
{
    struct node *n = self;
    (void)arg;
    if (n->tick_us == 0 || n->world->now_us < n->tick_us)
        return; /* replaced by another one */
    n->tick_us = 0;
    if (n->wish_ms == 0)
        return;
    if (local_ms(n, n->world->now_us) < n->wish_ms) {
        schedule_tick(n);
        return;
    }
    n->wish_ms = 0;
    relay_tick(n->relay);
}

/* ---- host_ops ---- */

static uint64_t host_now_ms(void *ctx)
{
    const struct node *n = ctx;
    return local_ms(n, n->world->now_us);
}

static int64_t host_wall_us(void *ctx)
{
    const struct node *n = ctx;
    return (int64_t)n->world->now_us;
}

static uint32_t host_random(void *ctx)
{
    struct node *n = ctx;
    return (uint32_t)world_random(n->world);
}

static void host_wake_at(void *ctx, uint64_t at_ms)
{
    struct node *n = ctx;
    n->wish_ms = at_ms;
    if (at_ms != 0)
        schedule_tick(n);
}

static void restart(void *self, void *arg);

static void add_counters(struct node *n)
{
    const struct relay_counters *c = relay_counters(n->relay);
    n->counters.events_published += c->events_published;
    n->counters.recoveries += c->recoveries;
    n->counters.takeovers += c->takeovers;
    n->counters.polls += c->polls;
    n->counters.pages += c->pages;
    for (int i = 0; i < WAKEUP_CAUSES; i++)
        n->counters.wakeups[i] += c->wakeups[i];
}

/* Ends the life without a word to anybody. */
static void end(struct node *n)
{
    if (n->relay == NULL)
        return;
    add_counters(n);
    n->scope.life++;
    n->tick_us = 0;
    n->wish_ms = 0;
    n->scope.paused_until_us = 0;
    n->threads.paused_until_us = 0;
    source_detach(&n->source);
    sink_detach(&n->sink);
    relay_free(n->relay);
    n->relay = NULL;
}

static void bury(void *self, void *arg)
{
    struct node *n = self;
    (void)arg;
    end(n);
    if (!n->stay_down)
        world_at(n->world, n->world->now_us + n->restart_us, NULL, restart, n, NULL);
}

/* Only an event that cannot be published stops the others, and it is named. */
static void judge_halt(struct node *n, const struct trouble *trouble)
{
    const struct oracle *o = n->source.db->oracle;
    n->world->sights[SIGHT_HALTED]++;
    uint32_t fact = UINT32_MAX;
    if (trouble != NULL && strlen(trouble->event_id) == EVENT_ID_TEXT - 1)
        fact = (uint32_t)strtoul(trouble->event_id + EVENT_ID_TEXT - 1 - 8, NULL, 16);
    if (fact >= o->count || !o->facts[fact].poison)
        world_fail(n->world, "relay %u: halted, but event %u is not to blame", n->number, fact);
    else if (n->plan->scenario == SCENARIO_LANES &&
             n->plan->on_error[o->facts[fact].key % n->plan->topics] != ON_ERROR_HALT &&
             n->plan->defect != DEFECT_NO_PARKING)
        world_fail(n->world, "relay %u: halted, though the route of event %u parks", n->number,
                   fact);
}

static void host_note(void *ctx, enum relay_note note, const struct trouble *trouble)
{
    struct node *n = ctx;
    world_say(n->world, "relay %u: NOTE %s%s%s", n->number, relay_note_text(note),
              trouble != NULL ? ": " : "", trouble != NULL ? trouble->cause : "");
    if (note == RELAY_NOTE_HALTED)
        judge_halt(n, trouble);
    n->world->sights[SIGHT_EXPIRED] += note == RELAY_NOTE_LEASE_EXPIRED;
    if (note != RELAY_NOTE_STOPPED)
        return;
    if (!n->stopping)
        world_fail(n->world, "relay %u: stopped by itself: %s", n->number,
                   relay_failure(n->relay)->text);
    world_at(n->world, n->world->now_us, &n->scope, bury, n, NULL);
}

static const struct host_ops host_ops = {
    .now_ms = host_now_ms,
    .wall_us = host_wall_us,
    .random = host_random,
    .wake_at = host_wake_at,
    .note = host_note,
};

/* ---- life ---- */

static void restart(void *self, void *arg)
{
    struct node *n = self;
    (void)arg;
    if (n->relay != NULL || n->stay_down)
        return;
    n->stopping = false;
    n->params.routes = *n->routes;
    n->source.routes = *n->routes_mark;
    n->relay = relay_new(&n->params, &(struct relay_world){&fake_source_ops, &n->source,
                                                           &fake_sink_ops, &n->sink, &host_ops, n});
    source_attach(&n->source, n->relay, (*n->next_holder)++, n->number);
    sink_attach(&n->sink, n->relay, n->number);
    world_say(n->world, "relay %u: starts as holder %" PRIu64, n->number, n->source.holder);
    if (n->plan->same_instance && n->plan->relays > 1)
        oracle_excuse(n->source.db->oracle, 0, "it may succeed the other one of its host");
    relay_start(n->relay);
}

void node_init(struct node *n, const struct node_params *p, uint32_t number)
{
    memset(n, 0, sizeof *n);
    n->world = p->world;
    n->plan = p->plan;
    n->number = number;
    n->params = p->plan->params;
    n->routes = p->routes;
    n->routes_mark = p->routes_mark;
    n->next_holder = p->next_holder;
    n->drift_ppm = (int32_t)world_between(p->world, 0, 10000) - 5000;
    n->clock_offset_ms = world_between(p->world, 1, 1000000);
    source_init(&n->source, p->world, p->plan, p->db, &n->scope);
    sink_init(&n->sink, p->world, p->plan, p->cluster, &n->scope, &n->threads);
}

void node_release(struct node *n)
{
    end(n);
    n->stay_down = true;
    sink_release(&n->sink);
    source_release(&n->source);
}

void node_start(struct node *n, uint64_t after_us)
{
    world_at(n->world, n->world->now_us + after_us, NULL, restart, n, NULL);
}

void node_kill(struct node *n, uint64_t pause_us)
{
    if (n->relay == NULL)
        return;
    world_say(n->world, "relay %u: killed", n->number);
    end(n);
    if (!n->stay_down)
        node_start(n, pause_us);
}

static void terminate(void *self, void *arg)
{
    struct node *n = self;
    (void)arg;
    world_say(n->world, "relay %u: told to stop", n->number);
    n->stopping = true;
    relay_stop(n->relay);
}

void node_stop(struct node *n, uint64_t pause_us, bool stay_down)
{
    n->stay_down = stay_down;
    n->restart_us = pause_us;
    if (n->relay != NULL)
        world_at(n->world, n->world->now_us, &n->scope, terminate, n, NULL);
}

static void hang_up(void *self, void *arg)
{
    const struct node *n = self;
    const struct database *db = n->source.db;
    (void)arg;
    oracle_allow_tries(db->oracle, db->control.lanes->count * UINT64_C(1000));
    relay_retry_now(n->relay);
}

void node_retry_now(struct node *n)
{
    if (n->relay != NULL)
        world_at(n->world, n->world->now_us, &n->scope, hang_up, n, NULL);
}

void node_pause(struct node *n, uint64_t us, bool threads_too)
{
    if (n->relay == NULL)
        return;
    world_say(n->world, "relay %u: %s for %" PRIu64 " ms", n->number,
              threads_too ? "is stopped" : "does not turn its loop", us / 1000);
    n->scope.paused_until_us = n->world->now_us + us;
    if (threads_too)
        n->threads.paused_until_us = n->scope.paused_until_us;
}

/* Main's window, and one with a quarter of its bytes of each lane that is tried. */
static void judge_room(const struct node *n)
{
    uint32_t lanes = n->plan->scenario == SCENARIO_LANES ? n->params.lanes_in_parallel : 0;
    uint32_t events = n->params.window_events * (lanes + 1);
    size_t bytes = n->params.window_bytes + LARGEST_MESSAGE +
                   lanes * (n->params.window_bytes / 4 + 1 + LARGEST_MESSAGE);
    if (relay_window_events(n->relay) > events)
        world_fail(n->world, "relay %u: %u events in a window of %u", n->number,
                   relay_window_events(n->relay), events);
    if (relay_window_bytes(n->relay) > bytes)
        world_fail(n->world, "relay %u: %zu bytes in flight, %zu allowed", n->number,
                   relay_window_bytes(n->relay), bytes);
}

void node_check(struct node *n)
{
    if (n->relay == NULL)
        return;
    relay_check(n->relay);
    n->sink.lease_until_us = n->source.lease_until_us;
    if (relay_state(n->relay) != RELAY_LEADING || relay_window_events(n->relay) > 0 ||
        relay_paused(n->relay))
        n->source.idle_since_us = n->world->now_us;
    judge_room(n);
}
