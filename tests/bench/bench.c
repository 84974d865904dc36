/* Everything that `make bench` measures, in one run on private, real servers: prints a table and
 * writes build/bench.json. Floor and relay take turns, because figures move from run to run and
 * from machine to machine: what counts are the ratios of a pair.
 *
 *   BENCH        quick: a smoke of a minute; full: the long ones, too (see README.md)
 *   BENCH_PEERS  1: beside Debezium, too
 *   BENCH_CELLS  a pattern: only cells whose "group/name" matches, as in 'drain/key*', or
 *                '@(drain/bulk|drain/single)'
 *   BENCH_JSON   the file (build/bench.json) */
#include "calls.h"
#include "drain.h"
#include "fill.h"
#include "latency.h"
#include "numbers.h"
#include "peers.h"
#include "report.h"

#include "../support/outboxd.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum scale { QUICK, USUAL, FULL };

struct bench {
    enum scale scale;
    struct report report;
    struct pg_server pg;
    struct kafka kafka;
};

/* Rows of drain cells that follow each other are written once. */
struct shape {
    const char *name;
    const char *title;
    int64_t events; /* usual ones */
    int64_t keys;
    int payload_bytes;
    const char *codec;
    bool single;     /* a transaction for each row */
    bool held;       /* beside a transaction that stays open, and has written an event */
    int64_t kept;    /* events that were published before, and are kept */
    enum scale from; /* which scale has it */
    bool same_rows;  /* as the shape before it */
};

#define MILLION 1000000

static const struct shape shapes[] = {
    {"bulk", "1,000,000 events, one transaction", MILLION, 10000, 200, "lz4", .from = QUICK},
    {"codec-none", "the same, not compressed", MILLION, 10000, 200, "none", .same_rows = true,
     .from = USUAL},
    {"codec-zstd", "the same, zstd", MILLION, 10000, 200, "zstd", .same_rows = true, .from = USUAL},
    {"single", "the same, a transaction for each", MILLION, 10000, 200, "lz4", .single = true,
     .from = QUICK},
    {"held", "the same, one transaction stays open", MILLION, 10000, 200, "lz4", .held = true,
     .from = QUICK},
    {"key-one", "one hot key", MILLION / 2, 1, 200, "lz4", .from = QUICK},
    {"keys-100k", "100,000 keys", MILLION / 2, 100000, 200, "lz4", .from = USUAL},
    {"size-130", "payload 130 bytes", MILLION / 2, 10000, 130, "lz4", .from = USUAL},
    {"size-1k", "payload 1 KB", 300000, 10000, 1024, "lz4", .from = QUICK},
    {"size-10k", "payload 10 KB", 50000, 10000, 10240, "lz4", .from = USUAL},
    {"kept-1m", "500,000 behind a million kept rows", MILLION / 2, 10000, 200, "lz4",
     .kept = MILLION, .from = USUAL},
    {"backlog-5m", "5,000,000 events", 5 * MILLION, 10000, 200, "lz4", .from = FULL},
    {"kept-20m", "1,000,000 behind 20 million kept rows", MILLION, 10000, 200, "lz4",
     .kept = 20 * MILLION, .from = FULL},
};

static bool wanted(const char *group, const char *name)
{
    const char *pattern = getenv("BENCH_CELLS");
    char path[128];

    (void)snprintf(path, sizeof path, "%s/%s", group, name);
    return pattern == NULL || fnmatch(pattern, path, FNM_EXTMATCH) == 0;
}

/* ---- drain ---- */

#define QUICK_EVENTS 20000

static int64_t events_of(const struct bench *b, const struct shape *s)
{
    return b->scale == QUICK ? QUICK_EVENTS : s->events;
}

static PGconn *hold_transaction(const struct bench *b)
{
    PGconn *conn = pg_open(&b->pg, "svc");

    pg_exec(conn, "BEGIN");
    pg_exec(conn, "SELECT outbox.publish('order', 'held', 'order.placed', '{}')");
    return conn;
}

/* Returns the session whose transaction stays open, if there is one. */
static PGconn *write_rows(struct bench *b, const struct shape *s)
{
    struct fill f = {.events = events_of(b, s),
                     .keys = s->keys,
                     .payload_bytes = s->payload_bytes,
                     .single = s->single};
    PGconn *held = NULL;

    fill_empty(&b->pg);
    for (int64_t kept = 0; kept < s->kept; kept += MILLION)
        fill_rows(&b->pg, &(struct fill){.events = MILLION, .keys = s->keys, .payload_bytes = 200});
    drain_mark(&b->pg);
    if (s->held)
        held = hold_transaction(b);
    fill_rows(&b->pg, &f);
    return held;
}

static void drain(struct bench *b, const struct shape *s, bool *written)
{
    struct drain d = {.name = s->name,
                      .title = s->title,
                      .pg = &b->pg,
                      .kafka = &b->kafka,
                      .codec = s->codec,
                      .events = events_of(b, s),
                      .payload_bytes = s->payload_bytes,
                      .pairs = b->scale == QUICK ? 1 : 3};
    PGconn *held = NULL;

    if (!s->same_rows)
        *written = false;
    if (s->from > b->scale || !wanted("drain", s->name))
        return;
    if (!*written)
        held = write_rows(b, s);
    *written = !s->held;
    report_add(&b->report, drain_run(&d));
    PQfinish(held);
}

/* The two send the same bytes, and the broker has warmed up. */
static void compare(struct bench *b)
{
    struct shape s = {.keys = 1000, .payload_bytes = 200, .events = 50000};
    struct drain d = {.name = "same bytes",
                      .pg = &b->pg,
                      .kafka = &b->kafka,
                      .codec = "lz4",
                      .events = events_of(b, &s)};

    (void)write_rows(b, &s);
    drain_compare(&d);
}

static void calls(struct bench *b)
{
    struct shape s = {.keys = 10000, .payload_bytes = 200, .events = MILLION / 5};
    struct drain d = {.name = "bulk",
                      .title = "events of one transaction",
                      .pg = &b->pg,
                      .kafka = &b->kafka,
                      .codec = "lz4",
                      .events = events_of(b, &s)};

    if (!wanted("calls", "bulk"))
        return;
    (void)write_rows(b, &s);
    report_add(&b->report, calls_run(&d));
}

/* What must cost no more than the plain case. Each is divided by its own floor, because minutes lie
 * between them. */
static void rules(struct bench *b)
{
    static const char *const names[] = {"single", "held", "key-one", "kept-1m", "kept-20m"};
    const json_t *plain = report_cell(&b->report, "drain", "bulk");

    for (size_t i = 0; plain != NULL && i < sizeof names / sizeof names[0]; i++) {
        const json_t *cell = report_cell(&b->report, "drain", names[i]);
        json_t *rule;

        if (cell == NULL)
            continue;
        rule = json_pack("{ss,ss,ss}", "group", "rules", "name", names[i], "title",
                         text_at(cell, "title"));
        number_set(rule, "beside", number_at(plain, "cpu_ratio") / number_at(cell, "cpu_ratio"));
        report_add(&b->report, rule);
    }
}

static void drains(struct bench *b)
{
    bool written = false;

    if (wanted("drain", "same"))
        compare(b);
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        drain(b, &shapes[i], &written);
    rules(b);
    calls(b);
    if (wanted("memory", "idle"))
        report_add(&b->report, drain_idle(&b->pg, &b->kafka, b->scale == QUICK ? 500 : 3000));
}

/* ---- latency ---- */

static void add(void *ctx, json_t *cell)
{
    struct bench *b = ctx;

    report_add(&b->report, cell);
}

static void latencies(struct bench *b)
{
    static const unsigned rates[] = {10, 100, 1000, 5000};
    static const unsigned seconds[] = {[QUICK] = 1, [USUAL] = 8, [FULL] = 18};
    struct latency l = {.pg = &b->pg,
                        .kafka = &b->kafka,
                        .rates = rates,
                        .count = b->scale == QUICK ? 3 : 4,
                        .seconds = seconds[b->scale]};

    if (!wanted("latency", "all"))
        return;
    fill_empty(&b->pg);
    drain_mark(&b->pg);
    latency_run(&l, add, b);
}

/* ---- beside Debezium ---- */

static void peers(struct bench *b)
{
    static const struct shape both[] = {
        {"bulk", "events of one transaction", MILLION / 2, 10000, 200, "lz4", .from = QUICK},
        {"single", "a transaction for each", MILLION / 2, 10000, 200, "lz4", .single = true},
    };
    struct peer *p;

    if (getenv("BENCH_PEERS") == NULL || !wanted("peers", "all"))
        return;
    fill_empty(&b->pg);
    p = peer_start(&b->pg, &b->kafka);
    for (size_t i = 0; i < sizeof both / sizeof both[0]; i++) {
        struct drain d = {.name = both[i].name,
                          .title = both[i].title,
                          .pg = &b->pg,
                          .kafka = &b->kafka,
                          .codec = both[i].codec,
                          .events = events_of(b, &both[i])};

        peer_pause(p);
        (void)write_rows(b, &both[i]);
        report_add(&b->report, peer_drain(p, &d));
    }
    report_add(&b->report, peer_latency(p, 100, b->scale == QUICK ? 2 : 10));
    peer_stop(p);
}

/* ---- the programs that measure one thing each, on servers of their own ---- */

static void programs(struct bench *b)
{
    static const struct {
        const char *name;
        enum scale from;
    } all[] = {{"bench_claim", USUAL},
               {"bench_inbox", USUAL},
               {"bench_writers", USUAL},
               {"test_writers_cost", FULL}};

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        char path[PATH_SIZE];
        char name[64];
        int code;

        if (all[i].from > b->scale || !wanted("program", all[i].name))
            continue;
        (void)snprintf(name, sizeof name, "tests/bench/%s", all[i].name);
        path_join(path, build_root(), name);
        report_text(&b->report, all[i].name, path, &code);
        if (code != 0)
            support_fail("%s ended with %d", path, code);
    }
}

/* ---- main ---- */

static enum scale scale_of(const char *word)
{
    if (word == NULL || word[0] == '\0')
        return USUAL;
    if (strcmp(word, "quick") == 0)
        return QUICK;
    if (strcmp(word, "full") == 0)
        return FULL;
    support_fail("BENCH=%s: quick or full", word);
}

int main(void)
{
    static const char *const settings[] = {"wal_level = logical", "max_wal_size = 4GB",
                                           "wal_sender_timeout = 0", NULL};
    static struct bench b;
    char path[PATH_SIZE];

    b.scale = scale_of(getenv("BENCH"));
    path_join(path, build_root(), "bench.json");
    report_begin(&b.report, b.scale == QUICK ? "quick" : b.scale == FULL ? "full" : "usual");
    kafka_create(&b.kafka, &(struct kafka_params){.heap_mib = 1024, .warms_up = b.scale != QUICK});
    pg_create(&b.pg, &(struct pg_params){.settings = settings});
    pg_apply_schema(&b.pg);
    report_versions(&b.report, &b.pg);
    drains(&b);
    latencies(&b);
    peers(&b);
    pg_drop(&b.pg);
    kafka_drop(&b.kafka);
    programs(&b);
    report_end(&b.report, getenv("BENCH_JSON") != NULL ? getenv("BENCH_JSON") : path);
    return 0;
}
