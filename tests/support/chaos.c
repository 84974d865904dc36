/* Who breaks when: the states of the processes, the loop, the timeline. */
#include "chaos_internal.h"

#include "tmp.h"

#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define TURN_MS           5
#define HEAL_TIMEOUT_MS   120000
#define RELAY_PATIENCE_MS 20000 /* shutdown_timeout and more */
#define OTHER_PATIENCE_MS 60000

static const char *const fault_names[] = {
#define CHAOS_TEXT_(name, text) text,
    CHAOS_FAULTS(CHAOS_TEXT_)
#undef CHAOS_TEXT_
};

/* ---- chance ---- */

/* splitmix64: the same everywhere */
unsigned chaos_chance(uint64_t *random, unsigned below)
{
    uint64_t z = (*random += 0x9e3779b97f4a7c15ULL);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return below > 0 ? (unsigned)((z ^ (z >> 31)) % below) : 0;
}

unsigned chaos_between(uint64_t *random, unsigned min, unsigned max)
{
    return min + chaos_chance(random, max - min + 1);
}

/* ---- timeline ---- */

static void put_time(struct chaos *c)
{
    const uint64_t ms = test_now_ms() - c->start_ms;

    str_printf(&c->timeline, "%7.2f s  ", (double)ms / 1000.0);
}

void chaos_note(struct chaos *c, const char *fmt, ...)
{
    va_list ap;

    put_time(c);
    va_start(ap, fmt);
    str_vprintf(&c->timeline, fmt, ap);
    va_end(ap);
    str_put_char(&c->timeline, '\n');
}

void chaos_fault_begins(struct chaos *c, const char *whom, enum chaos_fault fault,
                        unsigned duration_ms)
{
    c->counts[fault]++;
    chaos_note(c, "%-9s %s, %u ms", whom, fault_names[fault], duration_ms);
}

void chaos_print(const struct chaos *c, FILE *out)
{
    (void)fputs(str_text(&c->timeline), out);
}

const int *chaos_counts(const struct chaos *c)
{
    return c->counts;
}

int chaos_total(const struct chaos *c)
{
    int n = 0;

    for (int i = 0; i < CHAOS_FAULT_COUNT; i++)
        n += c->counts[i];
    return n;
}

/* ---- the processes ---- */

/* Until the next fault. Postgres breaks more seldom: all others hang on it. */
static void rest(struct chaos_target *t, uint64_t now_ms)
{
    static const unsigned longest[] = {
        [CHAOS_RELAY] = 4000, [CHAOS_BROKER] = 8000, [CHAOS_POSTGRES] = 9000};

    t->state = CHAOS_UP;
    t->next_ms = now_ms + chaos_between(&t->random, 200, longest[t->role]);
}

static void ended(struct chaos *c, struct chaos_target *t)
{
    t->state = CHAOS_DOWN;
    if (t->role != CHAOS_RELAY || t->fault != CHAOS_RELAY_STOPPED)
        return;
    chaos_note(c, "%-9s has ended, exit code %d", t->name, proc_exit_code(t->proc));
    if (proc_exit_code(t->proc) != 0)
        support_fail("%s: SIGTERM answered by exit code %d", t->name, proc_exit_code(t->proc));
}

/* A relay waits for whatever can pass: it never ends by itself. */
static void fail_if_gone(struct chaos_target *t)
{
    if (!proc_alive(t->proc))
        support_fail("%s ended by itself, exit code %d", t->name, proc_exit_code(t->proc));
}

static void tick_ending(struct chaos *c, struct chaos_target *t, uint64_t now_ms)
{
    if (!proc_alive(t->proc)) {
        ended(c, t);
        return;
    }
    if (now_ms < t->patience_ms)
        return;
    if (t->role == CHAOS_RELAY)
        support_fail("%s has not ended %d ms after SIGTERM", t->name, RELAY_PATIENCE_MS);
    chaos_note(c, "%-9s does not end: killed", t->name);
    proc_kill9(t->proc);
    ended(c, t);
}

static void tick_starting(struct chaos *c, struct chaos_target *t, uint64_t now_ms)
{
    if (chaos_answers(c, t, now_ms)) {
        chaos_note(c, "%-9s is up", t->name);
        rest(t, now_ms);
    } else if (now_ms >= t->patience_ms) {
        support_fail("%s does not come up", t->name);
    }
}

static void thaw(struct chaos *c, struct chaos_target *t, uint64_t now_ms)
{
    proc_signal(t->proc, SIGCONT);
    chaos_note(c, "%-9s goes on", t->name);
    rest(t, now_ms);
}

static void tick_slow(struct chaos *c, struct chaos_target *t, uint64_t now_ms)
{
    if (now_ms >= t->until_ms) {
        thaw(c, t, now_ms);
    } else if (now_ms >= t->flip_ms) {
        t->flip_stopped = !t->flip_stopped;
        proc_signal(t->proc, t->flip_stopped ? SIGSTOP : SIGCONT);
        t->flip_ms = now_ms + chaos_between(&t->random, 20, 200);
    }
}

static void tick(struct chaos *c, struct chaos_target *t, uint64_t now_ms)
{
    switch (t->state) {
    case CHAOS_UP:
        fail_if_gone(t);
        if (now_ms >= t->next_ms) {
            t->patience_ms =
                now_ms + (t->role == CHAOS_RELAY ? RELAY_PATIENCE_MS : OTHER_PATIENCE_MS);
            chaos_break(c, t, now_ms);
            if (t->state == CHAOS_UP)
                rest(t, now_ms);
        }
        break;
    case CHAOS_ENDING:
        tick_ending(c, t, now_ms);
        break;
    case CHAOS_DOWN:
        if (now_ms >= t->until_ms)
            chaos_start_again(c, t, now_ms);
        break;
    case CHAOS_STARTING:
        tick_starting(c, t, now_ms);
        break;
    case CHAOS_FROZEN:
        fail_if_gone(t);
        if (now_ms >= t->until_ms)
            thaw(c, t, now_ms);
        break;
    case CHAOS_SLOW:
        fail_if_gone(t);
        tick_slow(c, t, now_ms);
        break;
    }
}

/* ---- the run ---- */

static void add_target(struct chaos *c, enum chaos_role role, int number, struct proc *proc)
{
    static const char *const names[] = {"relay", "broker", "postgres"};
    struct chaos_target *t = &c->targets[c->target_count++];

    t->role = role;
    t->number = number;
    t->proc = proc;
    t->random = c->params.seed * 1000003U + (uint64_t)c->target_count;
    if (role == CHAOS_POSTGRES)
        (void)snprintf(t->name, sizeof t->name, "%s", names[role]);
    else
        (void)snprintf(t->name, sizeof t->name, "%s-%d", names[role], number + 1);
}

struct chaos *chaos_new(const struct chaos_params *params)
{
    struct chaos *c = xcalloc(1, sizeof *c);

    c->params = *params;
    c->start_ms = test_now_ms();
    c->targets =
        xcalloc((size_t)params->relay_count + (size_t)params->kafka->nodes + 1, sizeof *c->targets);
    for (int i = 0; i < params->relay_count; i++)
        add_target(c, CHAOS_RELAY, i, &params->relays[i].proc);
    for (int i = 0; i < params->kafka->nodes; i++)
        add_target(c, CHAOS_BROKER, i, &params->kafka->node[i].proc);
    add_target(c, CHAOS_POSTGRES, 0, &params->pg->proc);
    c->sessions.random = params->seed * 1000003U + 101;
    c->others.random = params->seed * 1000003U + 102;
    return c;
}

void chaos_free(struct chaos *c)
{
    if (c == NULL)
        return;
    PQfinish(c->others.conn);
    str_release(&c->timeline);
    free(c->targets);
    free(c);
}

void chaos_run(struct chaos *c, int duration_ms, bool spare_relays)
{
    uint64_t now = test_now_ms();
    const uint64_t end = now + (uint64_t)duration_ms;

    c->spare_relays = spare_relays;
    chaos_note(c, "--- faults%s", spare_relays ? ", no relay is ended" : "");
    for (int i = 0; i < c->target_count; i++)
        rest(&c->targets[i], now);
    c->sessions.next_ms = now + chaos_between(&c->sessions.random, 500, 4000);
    c->others.next_ms = now + chaos_between(&c->others.random, 500, 4000);
    for (; now < end; now = test_now_ms()) {
        for (int i = 0; i < c->target_count; i++)
            tick(c, &c->targets[i], now);
        chaos_sessions_tick(c, now);
        chaos_others_tick(c, now);
        test_sleep_ms(TURN_MS);
    }
}

static bool all_up(const struct chaos *c)
{
    for (int i = 0; i < c->target_count; i++)
        if (c->targets[i].state != CHAOS_UP)
            return false;
    return true;
}

void chaos_heal(struct chaos *c)
{
    uint64_t now = test_now_ms();
    const uint64_t end = now + HEAL_TIMEOUT_MS;

    chaos_note(c, "--- heal");
    chaos_sessions_heal(c); /* first: a frozen session delays a shutdown */
    for (; !all_up(c); now = test_now_ms()) {
        if (now >= end)
            support_fail("not everything is up %d ms after the faults", HEAL_TIMEOUT_MS);
        for (int i = 0; i < c->target_count; i++) {
            struct chaos_target *t = &c->targets[i];
            t->next_ms = UINT64_MAX;
            t->until_ms = 0;
            tick(c, t, now);
        }
        test_sleep_ms(TURN_MS);
    }
    chaos_others_heal(c);
    kafka_wait_ready(c->params.kafka, c->params.kafka->nodes, HEAL_TIMEOUT_MS);
    chaos_note(c, "--- healed");
}
