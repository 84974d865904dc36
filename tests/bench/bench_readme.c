/* The README's section of figures, from the JSON of a run of the bench:
 *
 *   bench_readme FIGURES.json    prints it
 *
 * Groups that the run did not have are left out. `make bench-readme` puts it into README.md, and
 * test_bench holds what stands there against tests/bench/figures.json. */
#include "numbers.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct table {
    const char *group;
    const char *head;
    void (*row)(const json_t *cell);
};

static void print_drain(const json_t *c)
{
    (void)printf("| %s | %s/s | %s/s | %.0f %% | %.1f us | %.1f us | %.0f MB |\n",
                 text_at(c, "title"), number_text(number_at(c, "floor.per_s")),
                 number_text(number_at(c, "relay.per_s")), 100 * number_at(c, "ratio"),
                 number_at(c, "floor.own_us") + number_at(c, "floor.postgres_us") +
                     number_at(c, "floor.broker_us"),
                 number_at(c, "relay.own_us") + number_at(c, "relay.postgres_us") +
                     number_at(c, "relay.broker_us"),
                 number_at(c, "peak_kib") / 1024);
}

static void print_latency(const json_t *c)
{
    double wanted = strtod(text_at(c, "name") + strcspn(text_at(c, "name"), "0123456789"), NULL);
    char reached[64] = "";

    if (number_at(c, "per_s") < 0.95 * wanted) /* one writer does no more here */
        (void)snprintf(reached, sizeof reached, " wanted, %s reached",
                       number_text(number_at(c, "per_s")));
    (void)printf("| %s%s | %.1f, %.1f ms | %.1f, %.1f ms | %.1f ms |\n", text_at(c, "title"),
                 reached, number_at(c, "bare.p50_ms"), number_at(c, "bare.p99_ms"),
                 number_at(c, "relay.p50_ms"), number_at(c, "relay.p99_ms"),
                 number_at(c, "beyond_ms"));
}

static void print_peers(const json_t *c)
{
    (void)printf("| %s | %s/s, %.1f us, %.0f MB | %s/s, %.1f us, %.0f MB |\n", text_at(c, "title"),
                 number_text(number_at(c, "relay.per_s")),
                 number_at(c, "relay.own_us") + number_at(c, "relay.postgres_us"),
                 number_at(c, "relay.peak_kib") / 1024, number_text(number_at(c, "debezium.per_s")),
                 number_at(c, "debezium.own_us") + number_at(c, "debezium.postgres_us"),
                 number_at(c, "debezium.peak_kib") / 1024);
}

static void print_peers_latency(const json_t *c)
{
    (void)printf("| %s, p50, p99 | %.1f, %.1f ms | %.1f, %.1f ms |\n", text_at(c, "title"),
                 number_at(c, "relay.p50_ms"), number_at(c, "relay.p99_ms"),
                 number_at(c, "debezium.p50_ms"), number_at(c, "debezium.p99_ms"));
}

static void print_memory(const json_t *c)
{
    (void)printf("\nResident memory of %s: %.1f MB.\n", text_at(c, "title"),
                 number_at(c, "kib") / 1024);
}

static void print_calls(const json_t *c)
{
    (void)printf("\nSystem calls of the relay for an event (%s): %.3f.\n", text_at(c, "title"),
                 number_at(c, "per_event"));
}

static void print_rules(const json_t *c)
{
    (void)printf("| %s | %.2f |\n", text_at(c, "title"), number_at(c, "beside"));
}

static const struct table tables[] = {
    {"drain",
     "| a backlog drained | floor | outboxd | wall time | floor, an event | outboxd, an event | "
     "memory |\n|---|---|---|---|---|---|---|\n",
     print_drain},
    {"rules",
     "| processor time by the floor's, beside the first line's | aim: 1.05 at most |\n|---|---|\n",
     print_rules},
    {"latency",
     "| commit to consumer | a bare produce, p50, p99 | outboxd, p50, p99 | beyond, p50 |\n"
     "|---|---|---|---|\n",
     print_latency},
    {"peers", "| the same rows | outboxd | Debezium, once it runs |\n|---|---|---|\n", print_peers},
    {"peers-latency", "", print_peers_latency},
    {"memory", "", print_memory},
    {"calls", "", print_calls},
};

static void print_table(const json_t *cells, const struct table *t)
{
    const json_t *cell;
    size_t i;
    bool begun = false;

    json_array_foreach(cells, i, cell)
    {
        if (strcmp(text_at(cell, "group"), t->group) != 0)
            continue;
        if (!begun && t->head[0] != '\0')
            (void)printf("\n%s", t->head);
        begun = true;
        t->row(cell);
    }
}

static void print_machine(const json_t *doc)
{
    const json_t *m = json_object_get(doc, "machine");
    const json_t *v = json_object_get(doc, "versions");

    (void)printf("Measured on %s by `make bench` (%s run): %.0f processors of a machine with %s, "
                 "%.1f GB, %s;\nPostgreSQL %s, Kafka %s, librdkafka %s, all on this machine, whose "
                 "load was %.1f before.\n",
                 text_at(doc, "date"), text_at(doc, "mode"), number_at(m, "processors"),
                 text_at(m, "processor"), number_at(m, "memory_gib"), text_at(m, "system"),
                 text_at(v, "postgres"), text_at(v, "kafka"), text_at(v, "librdkafka"),
                 number_at(m, "load_before"));
    (void)printf("The floor is a bare loop of COPY and `rd_kafka_producev` that sends the same "
                 "bytes; \"an event\" is processor time of all three\n(sender, Postgres, broker), "
                 "which other work on the machine moves less than wall time.\n");
}

int main(int argc, char **argv)
{
    json_error_t why;
    json_t *doc;

    if (argc != 2) {
        (void)fprintf(stderr, "usage: bench_readme FIGURES.json\n");
        return 64;
    }
    doc = json_load_file(argv[1], 0, &why);
    if (doc == NULL) {
        (void)fprintf(stderr, "%s: %s\n", argv[1], why.text);
        return 66;
    }
    print_machine(doc);
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        print_table(json_object_get(doc, "cells"), &tables[i]);
    json_decref(doc);
    return 0;
}
