#include "latency.h"

#include "numbers.h"

#include "../support/arrival.h"
#include "../support/outboxd.h"

#include <stdio.h>

#define TOPIC "order-events"

static json_t *side_json(const struct arrival_figures *f)
{
    json_t *j = json_object();

    number_set(j, "p50_ms", f->p50_ms);
    number_set(j, "p99_ms", f->p99_ms);
    number_set(j, "p999_ms", f->p999_ms);
    return j;
}

static json_t *cell_of(struct arrival *a, PGconn *writer, unsigned rate, unsigned seconds)
{
    struct arrival_load load = {.rate = rate, .count = rate * seconds, .seed = 7};
    struct arrival_figures bare;
    struct arrival_figures relay;
    uint64_t start;
    double took_s;
    char name[32];
    char title[64];
    json_t *cell;

    if (load.count < 20)
        load.count = 20;
    arrival_of_produce(a, &load, &bare);
    start = test_now_us();
    arrival_of_commit(a, writer, &load, &relay);
    took_s = (double)(test_now_us() - start) / 1e6;
    (void)snprintf(name, sizeof name, "rate-%u", rate);
    (void)snprintf(title, sizeof title, "%s events a second", number_text(rate));
    cell =
        json_pack("{ss,ss,ss,si,so,so}", "group", "latency", "name", name, "title", title, "count",
                  (int)load.count, "bare", side_json(&bare), "relay", side_json(&relay));
    number_set(cell, "per_s", load.count / took_s);
    number_set(cell, "beyond_ms", relay.p50_ms - bare.p50_ms);
    return cell;
}

void latency_run(const struct latency *l, void (*add)(void *ctx, json_t *cell), void *ctx)
{
    PGconn *writer = pg_open(l->pg, "svc");
    struct arrival_figures ignored;
    struct outboxd relay;
    struct arrival *a;

    kafka_create_topic(l->kafka, TOPIC, 6, NULL);
    a = arrival_start(kafka_brokers(l->kafka), TOPIC);
    outboxd_configure(&relay, l->pg, kafka_brokers(l->kafka), NULL, NULL);
    outboxd_start(&relay);
    outboxd_wait_log(&relay, "lease taken", 20000);
    /* opens the partitions */
    arrival_of_commit(a, writer, &(struct arrival_load){.count = 100, .rate = 100, .seed = 9},
                      &ignored);
    for (size_t i = 0; i < l->count; i++)
        add(ctx, cell_of(a, writer, l->rates[i], l->seconds));
    if (outboxd_stop(&relay) != 0)
        outboxd_fail(&relay, "the relay did not stop well");
    arrival_free(a);
    PQfinish(writer);
    kafka_delete_topic(l->kafka, TOPIC);
}
