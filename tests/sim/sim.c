/* The course of a run: start, load and faults, calm, drain, orderly stop, the last late requests,
 * judgement. */
#include "sim.h"

#include "base/str.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LOAD_LIMIT_US  SECONDS(300)
#define DRAIN_LIMIT_US SECONDS(300)
/* A lane of an event that was refused is tried every five minutes, unless somebody asks. */
#define LANES_LIMIT_US SECONDS(900)
#define STEPS_LIMIT    3000000
#define LATE_US        SECONDS(15) /* the latest of the late requests has landed by then */
#define WAL_WRITER_US  MS(200)

/* What an operator asks for is done within a minute, unless everything else has to wait, too. */
static void judge_asked(struct sim *s)
{
    const struct lane_set *set = s->db.control.lanes;
    for (uint32_t i = 0; i < set->count; i++) {
        uint64_t since_us = set->rows[i].asked_us;
        if (since_us < s->oracle.disturbed_until_us)
            since_us = s->oracle.disturbed_until_us;
        if (set->rows[i].asked && s->world.now_us > since_us &&
            s->world.now_us - since_us > SECONDS(60))
            world_fail(&s->world, "lane %u is not tried, though an operator wants it",
                       set->rows[i].id);
    }
}

static void wal_writer(void *self, void *arg)
{
    struct sim *s = self;
    (void)arg;
    if (s->db.up)
        database_flush(&s->db);
    uint64_t pause_us = world_delay(&s->world, WAL_WRITER_US);
    if (s->plan.scenario == SCENARIO_LANES) {
        oracle_judge_waiting(&s->oracle);
        judge_asked(s);
        oracle_allow_tries(&s->oracle, s->db.control.lanes->count * pause_us / 1000);
    }
    world_at(&s->world, s->world.now_us + pause_us, NULL, wal_writer, s, NULL);
}

static void rung(void *ctx)
{
    struct sim *s = ctx;
    for (uint32_t i = 0; i < s->plan.relays; i++)
        source_rung(&s->nodes[i].source);
}

/* Nothing breaks any more, and what was broken is mended. */
static void calm(void *self, void *arg)
{
    struct sim *s = self;
    (void)arg;
    world_say(&s->world, "calm");
    s->plan.refuse_permille = 0;
    s->plan.sync_permille = 0;
    s->plan.no_reset_permille = 0;
    s->plan.slow_permille = 0;
    s->db.up = true;
    s->cluster.up = true;
    s->cluster.limit_raised = true;
    for (uint32_t i = 0; i < s->plan.topics; i++)
        s->cluster.topics[i].exists = true;
    for (uint32_t i = 0; i < s->plan.relays; i++)
        s->nodes[i].source.rows_corrected = true;
    troubles_mended(s);
    s->present_routes = &s->routes[1];
    if (s->plan.scenario == SCENARIO_LANES && s->plan.unlisted < MAX_TOPICS)
        troubles_routes_change(s);
    for (uint32_t i = 0; i < s->plan.relays && world_chance(&s->world, 300); i++)
        node_retry_now(&s->nodes[i]);
}

static void wrote_poison(void *ctx, uint32_t key)
{
    troubles_poisoned(ctx, key);
}

/* One route for each topic. */
static void make_routes(struct sim *s, struct route_table *t)
{
    route_table_init(t);
    t->routes[0].on_error = ON_ERROR_HALT;
    for (uint32_t i = 0; i < s->plan.topics && s->plan.scenario == SCENARIO_LANES; i++) {
        char type[16];
        struct route *r = route_table_add(t);
        snprintf(type, sizeof type, "t%u", i);
        r->match_aggregate_type = xstrdup(type);
        r->on_error = s->plan.defect == DEFECT_NO_PARKING ? ON_ERROR_HALT : s->plan.on_error[i];
        if (s->plan.dead_letters)
            r->dead_letter_topic = xstrdup("dead-letters");
    }
}

/* One topic may not be written, as the first configuration has it. */
static void leave_unlisted(struct sim *s, struct route_table *t)
{
    if (s->plan.scenario != SCENARIO_LANES || s->plan.unlisted == MAX_TOPICS)
        return;
    route_table_allow(t, "dead-letters");
    for (uint32_t i = 0; i < s->plan.topics; i++) {
        char topic[TOPIC_TEXT];
        snprintf(topic, sizeof topic, "t%u-events", i);
        if (i != s->plan.unlisted)
            route_table_allow(t, topic);
    }
}

static void prepare(struct sim *s, const struct plan *plan)
{
    memset(s, 0, sizeof *s);
    s->plan = *plan;
    world_init(&s->world, plan->seed, plan->verbose);
    oracle_init(&s->oracle, &s->world, &s->plan);
    database_init(&s->db, &s->world, &s->plan, &s->oracle);
    s->db.ring = rung;
    s->db.ring_ctx = s;
    cluster_init(&s->cluster, &s->world, &s->plan, &s->oracle);
    make_routes(s, &s->routes[0]);
    leave_unlisted(s, &s->routes[0]);
    make_routes(s, &s->routes[1]);
    s->present_routes = &s->routes[0];
    writers_start(&s->writers, &s->world, &s->plan, &s->db, &s->oracle);
    if (plan->scenario == SCENARIO_LANES) {
        s->writers.wrote_poison = wrote_poison;
        s->writers.ctx = s;
    }
    s->next_holder = 1;
    struct node_params np = {.world = &s->world,
                             .plan = &s->plan,
                             .db = &s->db,
                             .cluster = &s->cluster,
                             .routes = &s->present_routes,
                             .routes_mark = &s->routes_mark,
                             .next_holder = &s->next_holder};
    for (uint32_t i = 0; i < plan->relays; i++) {
        node_init(&s->nodes[i], &np, i + 1);
        node_start(&s->nodes[i], world_delay(&s->world, MS(50)));
    }
    s->calm_us = s->world.now_us + plan->active_us + plan->quiet_us + MS(10);
    faults_schedule(s);
    troubles_schedule(s);
    wal_writer(s, NULL);
    world_at(&s->world, s->calm_us, NULL, calm, s, NULL);
}

static bool somebody_leads(const struct sim *s)
{
    for (uint32_t i = 0; i < s->plan.relays; i++) {
        if (s->nodes[i].relay != NULL && relay_state(s->nodes[i].relay) == RELAY_LEADING)
            return true;
    }
    return false;
}

static bool drained(const struct sim *s)
{
    return s->oracle.missing == 0 && database_all_settled(&s->db) && somebody_leads(s) &&
           s->db.control.lanes->count == 0;
}

static bool all_down(const struct sim *s)
{
    for (uint32_t i = 0; i < s->plan.relays; i++) {
        if (s->nodes[i].relay != NULL)
            return false;
    }
    return true;
}

static bool load_is_over(const struct sim *s)
{
    for (uint32_t i = 0; i < s->plan.relays; i++) {
        if (s->nodes[i].scope.paused_until_us > s->world.now_us)
            return false;
    }
    return s->world.now_us > s->calm_us && writers_done(&s->writers);
}

/* Runs until `done` says so (asked every 10 ms), a violation, or the time. Returns false when time
 * is over. */
static bool run_until(struct sim *s, bool (*done)(const struct sim *s), uint64_t limit_us)
{
    uint64_t ask_us = s->world.now_us;
    while (s->world.failure[0] == '\0') {
        if (s->world.now_us >= ask_us) {
            if (done != NULL && done(s))
                return true;
            ask_us = s->world.now_us + MS(10);
        }
        if (s->world.steps > STEPS_LIMIT)
            world_fail(&s->world, "no end: so many steps");
        if (!world_step(&s->world, limit_us))
            return done == NULL || done(s);
        for (uint32_t i = 0; i < s->plan.relays; i++)
            node_check(&s->nodes[i]);
    }
    return true;
}

static void stop_all(struct sim *s)
{
    for (uint32_t i = 0; i < s->plan.relays; i++)
        node_stop(&s->nodes[i], 0, true);
    uint64_t limit = s->world.now_us + MS(s->plan.params.shutdown_timeout_ms) + SECONDS(10);
    if (!run_until(s, all_down, limit))
        world_fail(&s->world, "a relay does not stop");
    else if (s->plan.scenario == SCENARIO_FAULTLESS && s->db.control.holder != 0)
        world_fail(&s->world, "the lease was not released");
}

static void sum_up(struct sim *s, struct outcome *out)
{
    *out = (struct outcome){.steps = s->world.steps,
                            .events = s->oracle.count,
                            .duplicates = s->oracle.duplicates,
                            .faults = s->oracle.faults};
    memcpy(out->sights, s->world.sights, sizeof out->sights);
    memcpy(out->failure, s->world.failure, sizeof out->failure);
    for (uint32_t i = 0; i < s->plan.relays; i++) {
        const struct relay_counters *c = &s->nodes[i].counters;
        out->recoveries += c->recoveries;
        out->takeovers += c->takeovers;
        out->fallbacks += c->wakeups[WAKEUP_FALLBACK];
        out->pages += c->pages;
        out->polls += c->polls;
    }
}

/* A record that is too large halts the relay: it is not tried again and again. */
static void judge_halts(struct sim *s)
{
    uint64_t refused = s->world.sights[SIGHT_TOO_LARGE];
    uint64_t others = s->oracle.faults - refused;
    uint64_t half_minutes = (s->world.now_us / SECONDS(30) + 1) * s->plan.relays;
    uint64_t allowed = 10 + half_minutes + 4 * (others + s->poisons);
    allowed += s->world.sights[SIGHT_NO_PRODUCER]; /* tried again when there is one */
    if (refused > allowed)
        world_fail(&s->world, "%" PRIu64 " records were refused as too large, %" PRIu64 " expected",
                   refused, allowed);
}

/* What `status` and the metrics say in the end: no trouble is left behind. */
static bool untroubled(const struct sim *s)
{
    for (uint32_t i = 0; i < s->plan.relays; i++) {
        const struct node *n = &s->nodes[i];
        if (n->relay != NULL && relay_state(n->relay) == RELAY_LEADING &&
            relay_trouble(n->relay)->cause[0] != '\0')
            return false;
    }
    return s->db.control.trouble[0] == '\0';
}

/* Without faults each event is counted as published with the one store that first covers it. */
static void judge_published(struct sim *s)
{
    uint64_t committed = 0;
    for (uint32_t i = 0; i < s->oracle.count; i++)
        committed += s->oracle.facts[i].fate == FATE_COMMITTED;
    if (s->plan.scenario == SCENARIO_FAULTLESS && s->db.control.published != committed)
        world_fail(&s->world, "%" PRIu64 " events are counted as published, %" PRIu64 " are",
                   s->db.control.published, committed);
}

/* Without faults the fallback finds nothing, and who sleeps does not ask the database all the time.
 */
static void judge_wakeups(struct sim *s)
{
    uint64_t awake_us = s->world.now_us - s->plan.quiet_us;
    uint64_t polls = awake_us / MS(1) + s->plan.quiet_us / MS(900);
    if (s->plan.scenario != SCENARIO_FAULTLESS || s->plan.params.wakeup != WAKEUP_DOORBELL)
        return;
    for (uint32_t i = 0; i < s->plan.relays; i++) {
        if (s->nodes[i].counters.wakeups[WAKEUP_FALLBACK] > 0)
            world_fail(&s->world, "the doorbell missed a commit: found by the fallback");
        if (s->nodes[i].counters.polls > polls)
            world_fail(&s->world, "%" PRIu64 " looks, %" PRIu64 " allowed",
                       s->nodes[i].counters.polls, polls);
    }
}

bool sim_run(const struct plan *plan, struct outcome *out)
{
    static struct sim s;
    prepare(&s, plan);
    if (!run_until(&s, load_is_over, s.calm_us + LOAD_LIMIT_US))
        world_fail(&s.world, "simulation: the writers find no end");
    uint64_t begin_us = s.world.now_us;
    bool lanes = plan->scenario == SCENARIO_LANES;
    if (!run_until(&s, drained, begin_us + (lanes ? LANES_LIMIT_US : DRAIN_LIMIT_US)))
        world_fail(&s.world, "no end: %u events are missing, %u lanes are left, %s",
                   s.oracle.missing, s.db.control.lanes->count,
                   somebody_leads(&s) ? "somebody leads" : "nobody leads");
    uint64_t drain_us = s.world.now_us - begin_us;
    if (!run_until(&s, untroubled, s.world.now_us + SECONDS(60)))
        world_fail(&s.world, "all is well, but the trouble remains: '%s'", s.db.control.trouble);
    if (s.world.failure[0] == '\0')
        stop_all(&s);
    if (s.world.failure[0] == '\0') {
        (void)run_until(&s, NULL, s.world.now_us + LATE_US);
        oracle_end(&s.oracle);
        for (uint32_t i = 0; i < s.oracle.count; i++)
            s.poisons += s.oracle.facts[i].poison;
        judge_wakeups(&s);
        judge_published(&s);
        if (!lanes)
            judge_halts(&s);
    }
    for (uint32_t i = 0; i < plan->relays; i++)
        node_release(&s.nodes[i]);
    sum_up(&s, out);
    out->still_us = s.oracle.longest_still_us;
    out->drain_us = drain_us;
    route_table_release(&s.routes[0]);
    route_table_release(&s.routes[1]);
    cluster_release(&s.cluster);
    database_release(&s.db);
    oracle_release(&s.oracle);
    world_release(&s.world);
    return out->failure[0] == '\0';
}
