#include "shop.h"

#include "../../demo/say.h"
#include "base/str.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define END_MS   15000 /* for what was told to end */
#define YOUNG_MS 5000  /* just started: may not have come to its signal handlers */

const char *const topic_names[TOPICS] = {
#define TOPIC_(name, text) text,
    TOPICS_(TOPIC_)
#undef TOPIC_
};

const struct service_facts services[SERVICES] = {
    [SERVICE_ORDER] = {.name = "order",
                       .database = "orders",
                       .role = "order_service",
                       .reads = {[TOPIC_INVENTORY] = true, [TOPIC_PAYMENT] = true},
                       .takes = {"inventory.reserved", "inventory.reservation.failed",
                                 "payment.confirmed", "payment.failed"}},
    [SERVICE_INVENTORY] = {.name = "inventory",
                           .database = "inventory",
                           .role = "inventory_service",
                           .reads = {[TOPIC_ORDER] = true},
                           .takes = {"order.placed", "order.cancelled", "order.shipped"}},
    [SERVICE_PAYMENT] = {.name = "payment",
                         .database = "payments",
                         .role = "payment_service",
                         .reads = {[TOPIC_INVENTORY] = true},
                         .takes = {"inventory.reserved"}},
    [SERVICE_NOTIFICATION] = {.name = "notification",
                              .database = "notifications",
                              .role = "notification_service",
                              .reads = {[TOPIC_ORDER] = true},
                              .takes = {"order.cancelled", "order.shipped"}},
    [SERVICE_SALES] = {.name = "sales",
                       .database = "sales",
                       .role = "sales_service",
                       .reads = {[TOPIC_ORDER] = true},
                       .takes = {"order.shipped"}},
};

static const char *const part_names[PARTS] = {
    "order", "inventory",     "payment",           "notification",
    "sales", "order's relay", "inventory's relay", "payment's relay"};

static struct shop *running; /* for the exit handler */

void shop_init(struct shop *s)
{
    char name[64];

    memset(s, 0, sizeof *s);
    (void)snprintf(s->dir, sizeof s->dir, "%s", tmp_root());
    for (int i = 0; i < PARTS; i++) {
        s->part[i].name = part_names[i];
        (void)snprintf(name, sizeof name, "%s%s.log", services[i % SERVICES].name,
                       i < SERVICES ? "" : "-relay");
        path_join(s->part[i].log, s->dir, name);
    }
    s->http_port = port_free();
    running = s;
    /* Runs before the handler that kills what is left and removes the folder: Postgres ends in
     * order. */
    if (atexit(shop_stop) != 0)
        give_up(NULL, "atexit failed");
}

void shop_stop(void)
{
    struct shop *s = running;

    running = NULL;
    if (s == NULL)
        return;
    for (int i = 0; i < PARTS; i++)
        proc_signal(&s->part[i].proc, SIGKILL);
    for (int i = 0; i < s->kafka.processes; i++)
        proc_signal(&s->kafka.node[i].proc, SIGKILL);
    postgres_stop(&s->postgres);
}

/* ---- the databases ---- */

const char *shop_config(const struct shop *s, enum service relay)
{
    static char path[PATH_SIZE];
    char name[64];

    (void)snprintf(name, sizeof name, "%s.yaml", services[relay].name);
    path_join(path, s->dir, name);
    return path;
}

void shop_write_config(struct shop *s)
{
    for (int i = 0; i < RELAYS; i++)
        file_write(shop_config(s, i),
                   "postgres:\n"
                   "  url: \"%s\"\n"
                   "kafka:\n"
                   "  brokers: \"%s\"\n"
                   "relay:\n"
                   "  name: %s\n"
                   "  instance: demo\n"
                   "  start: beginning\n"
                   "http:\n"
                   "  listen: \"\"\n",
                   postgres_url(&s->postgres, services[i].database, "outboxd"), s->brokers,
                   services[i].name);
}

static void run_migrate(const struct shop *s, enum service i, const char *option, const char *value)
{
    char program[PATH_SIZE];
    char log[PATH_SIZE];
    char url[2 * PATH_SIZE];

    path_join(program, build_root(), "outboxd");
    path_join(log, s->dir, "migrate.log");
    (void)snprintf(url, sizeof url, "%s",
                   postgres_url(&s->postgres, services[i].database, "postgres"));
    if (proc_run((const char *const[]){program, "migrate", "--url", url, option, value, NULL}, log,
                 30000) != 0)
        give_up(log, "outboxd migrate failed");
}

/* The service's own tables, and whoever uses them. */
static void apply_sql(PGconn *db, enum service i)
{
    char path[PATH_SIZE];
    char name[64];
    char *text;
    PGresult *r;

    (void)snprintf(name, sizeof name, "deploy/example/sql/%s.sql", services[i].name);
    path_join(path, source_root(), name);
    text = file_read(path);
    r = PQexec(db, text);
    if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK)
        give_up(NULL, "%s: %s", path, PQerrorMessage(db));
    PQclear(r);
    free(text);
}

void shop_migrate(const struct shop *s)
{
    for (int i = 0; i < SERVICES; i++) {
        PGconn *db = postgres_open(&s->postgres, "postgres", "postgres");
        char create[64];

        (void)snprintf(create, sizeof create, "CREATE DATABASE %s", services[i].database);
        postgres_exec(db, create);
        PQfinish(db);
        if (i < RELAYS)
            run_migrate(s, i, "-c", shop_config(s, i));
        run_migrate(s, i, "--inbox", NULL);
        db = postgres_open(&s->postgres, services[i].database, "postgres");
        apply_sql(db, i);
        PQfinish(db);
    }
}

int shop_rebuild(const struct shop *s, const char *from)
{
    char program[PATH_SIZE];
    char log[PATH_SIZE];
    char env[2][2 * PATH_SIZE];
    struct proc p;

    path_join(program, build_root(), "deploy/example/rebuild");
    path_join(log, s->dir, "rebuild.log");
    (void)snprintf(env[0], sizeof env[0], "DATABASE_URL=%s",
                   postgres_url(&s->postgres, services[SERVICE_ORDER].database, "postgres"));
    (void)snprintf(env[1], sizeof env[1], "KAFKA_BROKERS=%s", s->brokers);
    proc_start(&p,
               &(struct proc_params){.argv = (const char *const[]){program, "--from", from, NULL},
                                     .env = (const char *const[]){env[0], env[1], NULL},
                                     .out_path = log,
                                     .err_path = log});
    if (!proc_wait(&p, 60000))
        give_up(log, "rebuild does not end");
    if (proc_exit_code(&p) != 0)
        say_file_end(log, 15);
    return proc_exit_code(&p);
}

/* ---- services and relays ---- */

static void start_service(const struct shop *s, enum service i, struct part *p)
{
    char program[PATH_SIZE];
    char folder[PATH_SIZE];
    char env[4][2 * PATH_SIZE];

    path_join(folder, build_root(), "deploy/example");
    path_join(program, folder, services[i].name);
    (void)snprintf(env[0], sizeof env[0], "DATABASE_URL=%s",
                   postgres_url(&s->postgres, services[i].database, services[i].role));
    (void)snprintf(env[1], sizeof env[1], "KAFKA_BROKERS=%s", s->brokers);
    (void)snprintf(env[2], sizeof env[2], "LISTEN=127.0.0.1:%d", s->http_port);
    /* A static member: it gets its partitions back at once, also after SIGKILL. Else its group
     * would wait until the session of the dead one is over. */
    (void)snprintf(env[3], sizeof env[3],
                   "KAFKA_PROPERTIES=group.instance.id=%s-1 session.timeout.ms=6000",
                   services[i].name);
    proc_start(&p->proc,
               &(struct proc_params){.argv = (const char *const[]){program, NULL},
                                     .env = (const char *const[]){env[0], env[1], env[2], env[3],
                                                                  "LOG_LEVEL=info", NULL},
                                     .out_path = p->log,
                                     .err_path = p->log});
}

static void start_relay(const struct shop *s, enum service i, struct part *p)
{
    char program[PATH_SIZE];

    path_join(program, build_root(), "outboxd");
    proc_start(&p->proc,
               &(struct proc_params){
                   .argv = (const char *const[]){program, "run", "-c", shop_config(s, i), NULL},
                   .out_path = p->log,
                   .err_path = p->log});
}

void shop_start_part(struct shop *s, int part)
{
    struct part *p = &s->part[part];

    p->ends = false;
    p->back_ms = 0;
    p->start_ms = test_now_ms();
    if (part < SERVICES)
        start_service(s, part, p);
    else
        start_relay(s, part - SERVICES, p);
}

void shop_end_part(struct shop *s, int part, int signal, uint32_t away_ms)
{
    struct part *p = &s->part[part];

    p->ends = true;
    p->end_ms = test_now_ms();
    p->back_ms = away_ms == 0 ? 0 : test_now_ms() + away_ms;
    if (signal == SIGKILL)
        p->kills++;
    else
        p->stops++;
    proc_signal(&p->proc, signal);
}

bool shop_part_started(const struct shop *s, int part)
{
    return s->part[part].proc.pid != 0;
}

/* Nothing ends by itself, and what was told to end does so with 0; but a program of which the first
 * line has not run yet does not know of SIGTERM. */
static void check_part(const struct part *p)
{
    const int code = proc_exit_code(&p->proc);
    const bool young = p->end_ms < p->start_ms + YOUNG_MS;

    if (!p->ends)
        give_up(p->log, "%s has ended by itself, with code %d", p->name, code);
    if (code != 0 && code != 128 + SIGKILL && !(young && code == 128 + SIGTERM))
        give_up(p->log, "%s was told to end, and did so with code %d", p->name, code);
}

bool shop_part_runs(struct shop *s, int part)
{
    struct part *p = &s->part[part];

    if (proc_alive(&p->proc))
        return !p->ends;
    if (p->proc.pid != 0)
        check_part(p);
    return false;
}

int shop_turn(struct shop *s)
{
    int started = -1;

    if (s->kafka.processes > 0 && !proc_alive(&s->kafka.node[0].proc))
        give_up(s->kafka.node[0].log, "Kafka has ended");
    if (!proc_alive(&s->postgres.proc))
        give_up(s->postgres.log, "Postgres has ended");
    for (int i = 0; i < PARTS; i++) {
        struct part *p = &s->part[i];
        if (shop_part_runs(s, i) || p->back_ms == 0 || test_now_ms() < p->back_ms ||
            proc_alive(&p->proc) || started >= 0)
            continue;
        shop_start_part(s, i);
        started = i;
    }
    return started;
}

void shop_end(struct shop *s)
{
    for (int i = 0; i < PARTS; i++) {
        s->part[i].ends = true;
        s->part[i].end_ms = test_now_ms();
        s->part[i].back_ms = 0;
        proc_signal(&s->part[i].proc, SIGTERM);
    }
    for (int i = 0; i < PARTS; i++) {
        struct part *p = &s->part[i];
        if (!shop_part_started(s, i))
            continue;
        if (!proc_wait(&p->proc, END_MS))
            give_up(p->log, "%s does not end within %d s of SIGTERM", p->name, END_MS / 1000);
        check_part(p);
    }
}
