/* What the outbox costs those who write into it, and how long an event is on its way.
 *
 * Writers: one business transaction (an update, an insert), with 1, 8 and 64 clients as fast as
 * they can and at fixed rates, on a server that commits fast (fsync off) and one that commits
 * slowly (fsync, commit_delay 3 ms); without an event, with an event and no trigger (the relay
 * polls), with the doorbell, with the same rung at COMMIT by a deferred trigger, and with a NOTIFY
 * in every transaction. A relay runs beside, to librdkafka's mock broker, which costs little
 * processor time. The variants of a line run one after the other.
 *
 * The way: from the insert before a commit to a consumer of a real broker, beside a bare produce.
 *
 *   BENCH=full  fifteen seconds a cell instead of two
 *   BENCH_PART  fast, slow or way: only this part */
#include "../support/arrival.h"
#include "../support/kafka.h"
#include "../support/mock_kafka.h"
#include "../support/outboxd.h"
#include "../support/pg.h"
#include "../support/pgbench.h"
#include "../support/tmp.h"

#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define TOPIC "order-events"

static const struct variant {
    const char *name;
    bool event;
    enum bell_kind bell;
} variants[] = {
    {"no outbox", false, BELL_ABSENT},  {"poll", true, BELL_ABSENT},
    {"doorbell", true, BELL_OF_SCHEMA}, {"deferred", true, BELL_DEFERRED},
    {"NOTIFY", true, BELL_NOTIFY},
};

static const struct load_kind {
    int clients;
    int rate;
} loads[] = {
    {1, 0}, {8, 0}, {64, 0}, {4, 100}, {4, 300}, {16, 1000}, {16, 3000},
};

static bool full(void)
{
    const char *text = getenv("BENCH");

    return text != NULL && strcmp(text, "full") == 0;
}

static bool wanted(const char *part)
{
    const char *text = getenv("BENCH_PART");

    return text == NULL || strcmp(text, part) == 0;
}

/* The relay, leading; as it is when nothing has come for a while. */
static void start_relay(struct outboxd *relay, const struct pg_server *pg, const char *brokers,
                        enum bell_kind bell)
{
    outboxd_configure(relay, pg, brokers, bell == BELL_ABSENT ? ", wakeup: poll" : NULL, NULL);
    outboxd_start(relay);
    outboxd_wait_log(relay, "lease taken", 10000);
}

/* How often the bell woke it, for the whole of its life. */
static long rings_of(const struct outboxd *relay)
{
    char *log = file_read(relay->log);
    const char *at = strstr(log, "wakeups_notify=");
    long rings = at == NULL ? -1 : strtol(at + strlen("wakeups_notify="), NULL, 10);

    free(log);
    return rings;
}

static void stop_relay(struct outboxd *relay)
{
    if (outboxd_stop(relay) != 0)
        support_fail("the relay did not stop well: %s", relay->log);
}

/* ---- writers ---- */

static void cell(const struct pg_server *pg, const char *brokers, const struct variant *v,
                 const struct load_kind *load)
{
    struct pgbench_params params = {.pg = pg,
                                    .event = v->event,
                                    .clients = load->clients,
                                    .rate = load->rate,
                                    .run_ms = full() ? 15000 : 2000};
    struct pgbench_figures f;
    struct outboxd relay;

    pgbench_set_bell(pg, v->bell);
    start_relay(&relay, pg, brokers, v->bell);
    pgbench_run(&params, &f);
    stop_relay(&relay);
    (void)printf(
        "    %-10s %8.0f /s   mean %7.3f ms   p99 %8.3f ms   COMMIT alone %7.3f ms   woken "
        "%ld times\n",
        v->name, f.tps, f.mean_ms, f.p99_ms, f.commit_mean_ms, rings_of(&relay));
}

static void writers(const char *title, const struct pg_params *server)
{
    struct mock_kafka mock;
    struct pg_server pg;

    (void)printf("writers, %s\n", title);
    mock_kafka_start(&mock, TOPIC ":6");
    pg_create(&pg, server);
    pg_apply_schema(&pg);
    pgbench_prepare(&pg);
    for (size_t i = 0; i < ARRAY_LEN(loads); i++) {
        if (loads[i].rate > 0)
            (void)printf("  %d a second\n", loads[i].rate);
        else
            (void)printf("  %d client%s\n", loads[i].clients, loads[i].clients > 1 ? "s" : "");
        for (size_t v = 0; v < ARRAY_LEN(variants); v++)
            cell(&pg, mock.brokers, &variants[v], &loads[i]);
    }
    pg_drop(&pg);
    mock_kafka_stop(&mock);
}

/* ---- the way ---- */

static double cpu_of_children(void)
{
    struct rusage used;

    (void)getrusage(RUSAGE_CHILDREN, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void print_way(const char *name, const struct arrival_figures *f)
{
    (void)printf("    %-34s p50 %7.3f ms   p99 %7.3f ms   max %7.3f ms\n", name, f->p50_ms,
                 f->p99_ms, f->max_ms);
}

static void way_of_relay(const struct pg_server *pg, const struct kafka *kafka, struct arrival *a,
                         const struct arrival_load *load)
{
    static const char *const names[] = {"commit, polling relay", "commit, doorbell",
                                        "the same, one writer stays open"};
    struct arrival_figures f;
    struct outboxd relay;

    for (int i = 0; i < 3; i++) {
        PGconn *writer = pg_open(pg, "svc");
        PGconn *open_writer = pg_open(pg, "svc");
        double cpu = cpu_of_children();
        uint64_t start = test_now_us();

        pgbench_set_bell(pg, i == 0 ? BELL_ABSENT : BELL_OF_SCHEMA);
        start_relay(&relay, pg, kafka_brokers(kafka), i == 0 ? BELL_ABSENT : BELL_OF_SCHEMA);
        if (i == 2)
            arrival_leave_open(open_writer, writer);
        arrival_of_commit(a, writer, &(struct arrival_load){.count = 20, .rate = 100, .seed = 1},
                          &f); /* its first events open the partitions */
        arrival_of_commit(a, writer, load, &f);
        print_way(names[i], &f);
        PQfinish(open_writer);
        PQfinish(writer);
        stop_relay(&relay);
        (void)printf("    %-34s processor %.1f %%\n", "",
                     (cpu_of_children() - cpu) * 1e8 / (double)(test_now_us() - start));
    }
}

static void way(void)
{
    static const unsigned rates[] = {10, 100};
    struct arrival_figures f;
    struct pg_server pg;
    struct kafka kafka;
    struct arrival *a;

    kafka_create(&kafka, NULL);
    kafka_create_topic(&kafka, TOPIC, 6, NULL);
    pg_create(&pg, NULL);
    pg_apply_schema(&pg);
    pgbench_prepare(&pg);
    a = arrival_start(kafka_brokers(&kafka), TOPIC);
    for (size_t i = 0; i < ARRAY_LEN(rates); i++) {
        struct arrival_load load = {.rate = rates[i], .seed = 7};

        load.count = rates[i] * (full() ? 30 : 5);
        (void)printf("the way to a consumer, %u a second, one real broker\n", rates[i]);
        arrival_of_produce(a, &load, &f);
        print_way("bare produce", &f);
        way_of_relay(&pg, &kafka, a, &load);
    }
    arrival_free(a);
    pg_drop(&pg);
    kafka_drop(&kafka);
}

int main(void)
{
    static const char *const slow[] = {"commit_delay = 3000", "commit_siblings = 0", NULL};

    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    if (wanted("fast"))
        writers("fast commits (fsync off)", NULL);
    if (wanted("slow"))
        writers("slow commits (fsync, commit_delay 3 ms)",
                &(struct pg_params){.fsync = true, .settings = slow});
    if (wanted("way"))
        way();
    return 0;
}
