/* How things are broken. Nothing here waits for long: faults overlap. */
#include "chaos_internal.h"

#include "loopback.h"
#include "tmp.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define LEADER_MS     1000 /* a broker whose port is open: until it leads its partitions again */
#define MAX_GROWTHS   3
#define LONG_MAX_ROWS 3000

/* ---- choosing ---- */

static const struct chaos_choice relay_choices[] = {
    {CHAOS_RELAY_KILLED, 5, 0, 2500},  {CHAOS_RELAY_BOTH, 2, 0, 1500},
    {CHAOS_RELAY_STOPPED, 4, 0, 2500}, {CHAOS_RELAY_FROZEN, 4, 200, 4000},
    {CHAOS_RELAY_SLOW, 2, 500, 3000},  {CHAOS_RELAY_HUP, 1, 0, 0},
};
/* for a round that spares the relays */
static const struct chaos_choice mild_choices[] = {
    {CHAOS_RELAY_FROZEN, 3, 200, 4000},
    {CHAOS_RELAY_SLOW, 2, 500, 3000},
    {CHAOS_RELAY_HUP, 1, 0, 0},
};
static const struct chaos_choice broker_choices[] = {
    {CHAOS_BROKER_KILLED, 3, 0, 3000},
    {CHAOS_BROKER_STOPPED, 2, 0, 2000},
    {CHAOS_BROKER_FROZEN, 4, 200, 6000},
    {CHAOS_BROKER_SLOW, 3, 500, 4000},
};
static const struct chaos_choice pg_choices[] = {
    {CHAOS_PG_CRASHED, 4, 0, 1500},
    {CHAOS_PG_KILLED, 1, 0, 500},
    {CHAOS_PG_STOPPED, 2, 0, 1500},
};
static const struct chaos_choice session_choices[] = {
    {CHAOS_SESSION_ENDED, 4, 0, 0},
    {CHAOS_SESSIONS_ENDED, 1, 0, 0},
    {CHAOS_SESSION_FROZEN, 3, 100, 3000},
};
static const struct chaos_choice other_choices[] = {
    {CHAOS_LONG_COMMITTED, 5, 500, 6000},
    {CHAOS_LONG_ROLLED_BACK, 2, 500, 6000},
    {CHAOS_TOPIC_GROWN, 1, 0, 0},
};

static struct chaos_choice choose(uint64_t *random, const struct chaos_choice *choices, size_t n)
{
    unsigned sum = 0;
    unsigned ticket;

    for (size_t i = 0; i < n; i++)
        sum += choices[i].weight;
    ticket = chaos_chance(random, sum);
    for (size_t i = 0; i < n; i++) {
        struct chaos_choice choice = choices[i];
        if (ticket >= choice.weight) {
            ticket -= choice.weight;
            continue;
        }
        /* the shortest and the longest are both one draw; it is always drawn */
        choice.min_ms = chaos_between(random, choice.min_ms, choice.max_ms);
        return choice;
    }
    support_fail("chaos: no choice");
}

static struct chaos_choice choose_for(const struct chaos *c, struct chaos_target *t)
{
    switch (t->role) {
    case CHAOS_RELAY:
        if (c->spare_relays)
            return choose(&t->random, mild_choices, ARRAY_LEN(mild_choices));
        return choose(&t->random, relay_choices, ARRAY_LEN(relay_choices));
    case CHAOS_BROKER:
        return choose(&t->random, broker_choices, ARRAY_LEN(broker_choices));
    case CHAOS_POSTGRES:
        return choose(&t->random, pg_choices, ARRAY_LEN(pg_choices));
    }
    support_fail("chaos: no such role");
}

/* ---- processes ---- */

static void kill_now(struct chaos_target *t, enum chaos_fault fault, uint64_t until_ms)
{
    proc_kill9(t->proc);
    t->fault = fault;
    t->until_ms = until_ms;
    t->state = CHAOS_DOWN;
}

/* They come back in the same turn of the loop. */
static void kill_relays(struct chaos *c, uint64_t until_ms)
{
    for (int i = 0; i < c->target_count; i++)
        if (c->targets[i].role == CHAOS_RELAY)
            kill_now(&c->targets[i], CHAOS_RELAY_BOTH, until_ms);
}

static void tell_to_end(struct chaos_target *t, int sig)
{
    proc_signal(t->proc, sig);
    t->state = CHAOS_ENDING;
}

static void freeze(struct chaos_target *t)
{
    proc_signal(t->proc, SIGSTOP);
    t->state = CHAOS_FROZEN;
}

static void slow_down(struct chaos_target *t, uint64_t now_ms)
{
    t->state = CHAOS_SLOW;
    t->flip_stopped = false;
    t->flip_ms = now_ms;
}

void chaos_break(struct chaos *c, struct chaos_target *t, uint64_t now_ms)
{
    const struct chaos_choice choice = choose_for(c, t);

    chaos_fault_begins(c, t->name, choice.fault, choice.min_ms);
    t->fault = choice.fault;
    t->until_ms = now_ms + choice.min_ms;
    if (choice.fault == CHAOS_RELAY_BOTH)
        kill_relays(c, t->until_ms);
    else if (choice.fault == CHAOS_RELAY_KILLED || choice.fault == CHAOS_BROKER_KILLED ||
             choice.fault == CHAOS_PG_KILLED)
        kill_now(t, choice.fault, t->until_ms);
    else if (choice.fault == CHAOS_RELAY_STOPPED || choice.fault == CHAOS_BROKER_STOPPED)
        tell_to_end(t, SIGTERM);
    else if (choice.fault == CHAOS_PG_CRASHED)
        tell_to_end(t, SIGQUIT);
    else if (choice.fault == CHAOS_PG_STOPPED)
        tell_to_end(t, SIGINT);
    else if (choice.fault == CHAOS_RELAY_FROZEN || choice.fault == CHAOS_BROKER_FROZEN)
        freeze(t);
    else if (choice.fault == CHAOS_RELAY_SLOW || choice.fault == CHAOS_BROKER_SLOW)
        slow_down(t, now_ms);
    else if (choice.fault == CHAOS_RELAY_HUP)
        proc_signal(t->proc, SIGHUP);
}

void chaos_start_again(struct chaos *c, struct chaos_target *t, uint64_t now_ms)
{
    chaos_note(c, "%-9s starts", t->name);
    t->state = CHAOS_STARTING;
    t->answers_ms = 0;
    t->patience_ms = now_ms + 90000;
    switch (t->role) {
    case CHAOS_RELAY:
        outboxd_start(&c->params.relays[t->number]);
        break;
    case CHAOS_BROKER:
        kafka_start_nowait(c->params.kafka, t->number);
        break;
    case CHAOS_POSTGRES:
        pg_start_nowait(c->params.pg);
        break;
    }
}

/* Its handler of SIGTERM stands when it says who it is. */
static bool relay_answers(const struct chaos *c, struct chaos_target *t)
{
    char line_end[32];

    if (!proc_alive(t->proc))
        support_fail("%s ended at start, exit code %d", t->name, proc_exit_code(t->proc));
    (void)snprintf(line_end, sizeof line_end, " pid=%d\n", (int)t->proc->pid);
    return outboxd_log_has(&c->params.relays[t->number], line_end);
}

static bool port_is_open(int port)
{
    int fd = loopback_connect(port, 0);

    if (fd >= 0)
        (void)close(fd);
    return fd >= 0;
}

static bool postgres_answers(struct chaos *c, struct chaos_target *t)
{
    if (!proc_alive(t->proc)) {
        if (!file_holds(c->params.pg->log, "shared memory block"))
            support_fail("Postgres ended at start, see %s", c->params.pg->log);
        test_sleep_ms(50); /* its predecessor's children still end */
        pg_start_nowait(c->params.pg);
        return false;
    }
    return pg_is_ready(c->params.pg);
}

bool chaos_answers(struct chaos *c, struct chaos_target *t, uint64_t now_ms)
{
    switch (t->role) {
    case CHAOS_RELAY:
        return relay_answers(c, t);
    case CHAOS_BROKER:
        if (!proc_alive(t->proc))
            support_fail("%s ended at start, see %s", t->name,
                         c->params.kafka->node[t->number].log);
        if (t->answers_ms == 0 && port_is_open(c->params.kafka->node[t->number].port))
            t->answers_ms = now_ms;
        return t->answers_ms != 0 && now_ms >= t->answers_ms + LEADER_MS;
    case CHAOS_POSTGRES:
        return postgres_answers(c, t);
    }
    support_fail("chaos: no such role");
}

/* ---- sessions ---- */

/* One number of a statement as superuser; 0 when the server does not answer, or no row. */
static long ask(const struct chaos *c, const char *sql)
{
    PGconn *conn = pg_try_open(c->params.pg, NULL, 2);
    PGresult *res;
    long value = 0;

    if (conn == NULL)
        return 0;
    res = PQexec(conn, sql);
    if (PQresultStatus(res) == PGRES_TUPLES_OK && PQntuples(res) > 0)
        value = strtol(PQgetvalue(res, 0, 0), NULL, 10);
    PQclear(res);
    PQfinish(conn);
    return value;
}

#define A_RELAYS_SESSION "FROM pg_stat_activity WHERE usename = 'relay' ORDER BY random() LIMIT 1"

static void disturb_sessions(struct chaos *c, const struct chaos_choice *choice, uint64_t now_ms)
{
    long pid = 0;

    chaos_fault_begins(c, "sessions", choice->fault, choice->min_ms);
    if (choice->fault == CHAOS_SESSION_ENDED) {
        (void)ask(c, "SELECT pg_terminate_backend(pid) " A_RELAYS_SESSION);
    } else if (choice->fault == CHAOS_SESSIONS_ENDED) {
        (void)ask(c, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                     " WHERE usename IN ('relay', 'svc')");
    } else {
        pid = ask(c, "SELECT pid " A_RELAYS_SESSION);
        if (pid > 0 && kill((pid_t)pid, SIGSTOP) == 0) {
            c->sessions.frozen_pid = (pid_t)pid;
            c->sessions.until_ms = now_ms + choice->min_ms;
        }
    }
}

void chaos_sessions_heal(struct chaos *c)
{
    if (c->sessions.frozen_pid != 0) {
        (void)kill(c->sessions.frozen_pid, SIGCONT);
        chaos_note(c, "%-9s the frozen one goes on", "sessions");
    }
    c->sessions.frozen_pid = 0;
    c->sessions.until_ms = 0;
}

void chaos_sessions_tick(struct chaos *c, uint64_t now_ms)
{
    struct chaos_nuisance *n = &c->sessions;
    struct chaos_choice choice;

    if (n->until_ms != 0 && now_ms >= n->until_ms)
        chaos_sessions_heal(c);
    if (n->until_ms != 0 || now_ms < n->next_ms)
        return;
    choice = choose(&n->random, session_choices, ARRAY_LEN(session_choices));
    disturb_sessions(c, &choice, now_ms);
    n->next_ms = now_ms + chaos_between(&n->random, 500, 5000);
}

/* ---- long transactions, partitions ---- */

/* Many events of keys of its own; what becomes of it when the server goes away is the server's. */
static void begin_long(struct chaos *c, const struct chaos_choice *choice, uint64_t now_ms)
{
    struct chaos_nuisance *n = &c->others;
    char sql[512];
    PGresult *res;

    n->conn = pg_try_open(c->params.pg, "svc", 2);
    if (n->conn == NULL)
        return;
    (void)snprintf(sql, sizeof sql,
                   "BEGIN; INSERT INTO outbox.event (aggregate_type, aggregate_id, event_type,"
                   " payload) SELECT 'order', 'straggler-%d-' || n %% 10, 'order.placed',"
                   " ('{\"seq\": ' || n || '}')::json FROM generate_series(1, %u) n",
                   ++n->serial, chaos_between(&n->random, 1, LONG_MAX_ROWS));
    res = PQexec(n->conn, sql);
    PQclear(res);
    n->fault = choice->fault;
    n->until_ms = now_ms + choice->min_ms;
}

void chaos_others_heal(struct chaos *c)
{
    struct chaos_nuisance *n = &c->others;
    const bool commits = n->fault == CHAOS_LONG_COMMITTED;

    if (n->conn != NULL) {
        PGresult *res = PQexec(n->conn, commits ? "COMMIT" : "ROLLBACK");
        chaos_note(c, "%-9s the long transaction ends: %s", "others",
                   PQresultStatus(res) == PGRES_COMMAND_OK ? PQcmdStatus(res) : "lost");
        PQclear(res);
    }
    PQfinish(n->conn);
    n->conn = NULL;
    n->until_ms = 0;
}

/* Waits until the brokers know; only while all of them answer. */
static void grow(struct chaos *c)
{
    int partitions;

    for (int i = 0; i < c->target_count; i++)
        if (c->targets[i].role == CHAOS_BROKER && c->targets[i].state != CHAOS_UP)
            return;
    partitions = kafka_partitions(kafka_brokers(c->params.kafka), c->params.topic);
    if (partitions < 1 || partitions + 2 > c->params.max_partitions ||
        c->others.growths >= MAX_GROWTHS)
        return;
    c->others.growths++;
    chaos_fault_begins(c, "topic", CHAOS_TOPIC_GROWN, 0);
    kafka_grow_topic(c->params.kafka, c->params.topic, partitions + 2);
}

void chaos_others_tick(struct chaos *c, uint64_t now_ms)
{
    struct chaos_nuisance *n = &c->others;
    struct chaos_choice choice;

    if (n->until_ms != 0 && now_ms >= n->until_ms)
        chaos_others_heal(c);
    if (n->until_ms != 0 || now_ms < n->next_ms)
        return;
    choice = choose(&n->random, other_choices, ARRAY_LEN(other_choices));
    if (choice.fault == CHAOS_TOPIC_GROWN) {
        grow(c);
    } else {
        chaos_fault_begins(c, "others", choice.fault, choice.min_ms);
        begin_long(c, &choice, now_ms);
    }
    n->next_ms = now_ms + chaos_between(&n->random, 500, 5000);
}
