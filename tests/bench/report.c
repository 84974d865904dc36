#include "report.h"

#include "numbers.h"

#include <libpq-fe.h>
#include <librdkafka/rdkafka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define PROGRAM_MS 1800000

/* ---- the machine ---- */

/* The first line of the file that begins with `word`, behind `separator`. */
static void line_of(const char *path, const char *word, char separator, char *out, size_t size)
{
    char line[512];
    FILE *f = fopen(path, "re");

    (void)snprintf(out, size, "unknown");
    if (f == NULL)
        return;
    while (fgets(line, sizeof line, f) != NULL) {
        const char *at = strchr(line, separator);

        if (strncmp(line, word, strlen(word)) != 0 || at == NULL)
            continue;
        at += 1 + strspn(at + 1, " \t\"");
        (void)snprintf(out, size, "%.*s", (int)strcspn(at, "\"\n"), at);
        break;
    }
    (void)fclose(f);
}

static json_t *machine_json(void)
{
    char processor[128];
    char memory[64];
    char system[128];
    struct utsname name = {0};
    double load = 0;

    line_of("/proc/cpuinfo", "model name", ':', processor, sizeof processor);
    line_of("/proc/meminfo", "MemTotal", ':', memory, sizeof memory);
    line_of("/etc/os-release", "PRETTY_NAME", '=', system, sizeof system);
    (void)uname(&name);
    (void)getloadavg(&load, 1);
    return json_pack("{ss,si,sf,ss,ss,sf}", "processor", processor, "processors",
                     (int)sysconf(_SC_NPROCESSORS_ONLN), "memory_gib",
                     round(strtod(memory, NULL) / 104857.6) / 10, "system", system, "kernel",
                     name.release, "load_before", load);
}

/* The version of the jar of the broker, of which there is one. */
static void kafka_version(char *out, size_t size)
{
    char command[PATH_SIZE + 128];
    const char *lib = getenv("KAFKA_LIB");
    FILE *f;

    (void)snprintf(out, size, "unknown");
    (void)snprintf(command, sizeof command,
                   "ls '%s%s' | sed -n 's/^kafka_2[.]13-\\(.*\\)[.]jar$/\\1/p'",
                   lib == NULL ? build_root() : lib, lib == NULL ? "/kafka-lib" : "");
    f = popen(command, "re"); /* NOLINT(cert-env33-c): the path is our own */
    if (f == NULL)
        return;
    if (fgets(out, (int)size, f) != NULL)
        out[strcspn(out, "\n")] = '\0';
    (void)pclose(f);
}

void report_versions(struct report *r, const struct pg_server *pg)
{
    PGconn *conn = pg_open(pg, NULL);
    char kafka[64];
    json_t *versions;

    kafka_version(kafka, sizeof kafka);
    versions =
        json_pack("{ss,ss,ss,ss,ss,ss}", "outboxd", OUTBOXD_VERSION, "postgres",
                  pg_scalar(conn, "SHOW server_version"), "kafka", kafka, "librdkafka",
                  rd_kafka_version_str(), "libpq",
                  pg_scalar(conn, "SELECT '%d.%d'", PQlibVersion() / 10000, PQlibVersion() % 10000),
                  "compiler", __VERSION__);
    (void)json_object_set_new(r->doc, "versions", versions);
    PQfinish(conn);
}

/* ---- the table ---- */

static void print_drain_head(void)
{
    (void)printf("\ndrain: events a second; processor time for one event (relay or floor + "
                 "Postgres + broker)\n"
                 "  %-38s %9s %9s %6s   %-22s %-22s %6s %8s\n",
                 "", "floor/s", "relay/s", "wall", "floor us", "relay us", "cpu", "peak");
}

static const char *three(const json_t *cell, const char *side)
{
    static char ring[2][48];
    static unsigned turn;
    char *out = ring[turn++ % 2];
    const json_t *s = json_object_get(cell, side);

    (void)snprintf(out, sizeof ring[0], "%.2f + %.2f + %.2f", number_at(s, "own_us"),
                   number_at(s, "postgres_us"), number_at(s, "broker_us"));
    return out;
}

static void print_drain(const json_t *cell)
{
    (void)printf("  %-38s %9s %9s %4.0f %%   %-22s %-22s %4.0f %% %5.1f MB\n",
                 text_at(cell, "title"), number_text(number_at(cell, "floor.per_s")),
                 number_text(number_at(cell, "relay.per_s")), 100 * number_at(cell, "ratio"),
                 three(cell, "floor"), three(cell, "relay"), 100 * number_at(cell, "cpu_ratio"),
                 number_at(cell, "peak_kib") / 1024);
}

static void print_latency_head(void)
{
    (void)printf("\nlatency: from the commit (bare: the produce) to a consumer, in ms\n"
                 "  %-38s %8s  %-26s %-26s %s\n",
                 "", "reached", "bare p50, p99, p99.9", "relay p50, p99, p99.9", "beyond, p50");
}

static void print_latency(const json_t *cell)
{
    (void)printf("  %-38s %6s/s  %7.2f %8.2f %8.2f   %7.2f %8.2f %8.2f   %.2f\n",
                 text_at(cell, "title"), number_text(number_at(cell, "per_s")),
                 number_at(cell, "bare.p50_ms"), number_at(cell, "bare.p99_ms"),
                 number_at(cell, "bare.p999_ms"), number_at(cell, "relay.p50_ms"),
                 number_at(cell, "relay.p99_ms"), number_at(cell, "relay.p999_ms"),
                 number_at(cell, "beyond_ms"));
}

static void print_memory_head(void)
{
    (void)printf("\nresident memory\n");
}

static void print_memory(const json_t *cell)
{
    (void)printf("  %-38s %9.1f MB\n", text_at(cell, "title"), number_at(cell, "kib") / 1024);
}

static void print_calls_head(void)
{
    (void)printf("\nsystem calls of the relay for one event, under strace\n");
}

static void print_calls(const json_t *cell)
{
    const char *name;
    json_t *value;

    (void)printf("  %-38s %9.4f:", text_at(cell, "title"), number_at(cell, "per_event"));
    json_object_foreach(json_object_get(cell, "most"), name, value)(void)
        printf(" %s %.4f", name, json_number_value(value));
    (void)printf("\n");
}

static void print_rules_head(void)
{
    (void)printf("\nprocessor time of all three by the floor's, as a multiple of the plain case "
                 "(aim: 1.05 at most)\n");
}

static void print_rules(const json_t *cell)
{
    (void)printf("  %-38s %9.2f\n", text_at(cell, "title"), number_at(cell, "beside"));
}

static void print_peers_head(void)
{
    (void)printf("\nbeside Debezium, the same rows: events a second; processor time for one event "
                 "(itself + Postgres + broker)\n"
                 "  %-38s %9s %9s   %-22s %-22s %9s %9s\n",
                 "", "relay/s", "Debezium", "relay us", "Debezium us", "relay", "Debezium");
}

static void print_peers(const json_t *cell)
{
    (void)printf("  %-38s %9s %9s   %-22s %-22s %6.1f MB %6.0f MB\n", text_at(cell, "title"),
                 number_text(number_at(cell, "relay.per_s")),
                 number_text(number_at(cell, "debezium.per_s")), three(cell, "relay"),
                 three(cell, "debezium"), number_at(cell, "relay.peak_kib") / 1024,
                 number_at(cell, "debezium.peak_kib") / 1024);
}

static void print_peers_latency_head(void)
{
    (void)printf("\nbeside Debezium: from the commit to a consumer, p50, p99, p99.9 in ms\n");
}

static void print_peers_latency(const json_t *cell)
{
    (void)printf("  %-38s relay %.2f %.2f %.2f   Debezium %.2f %.2f %.2f\n", text_at(cell, "title"),
                 number_at(cell, "relay.p50_ms"), number_at(cell, "relay.p99_ms"),
                 number_at(cell, "relay.p999_ms"), number_at(cell, "debezium.p50_ms"),
                 number_at(cell, "debezium.p99_ms"), number_at(cell, "debezium.p999_ms"));
}

static const struct group {
    const char *name;
    void (*head)(void);
    void (*line)(const json_t *cell);
} groups[] = {
    {"drain", print_drain_head, print_drain},
    {"latency", print_latency_head, print_latency},
    {"memory", print_memory_head, print_memory},
    {"calls", print_calls_head, print_calls},
    {"rules", print_rules_head, print_rules},
    {"peers", print_peers_head, print_peers},
    {"peers-latency", print_peers_latency_head, print_peers_latency},
};

/* ---- its life ---- */

void report_begin(struct report *r, const char *mode)
{
    char now[32];
    time_t t = time(NULL);
    struct tm tm;

    (void)strftime(now, sizeof now, "%Y-%m-%d", gmtime_r(&t, &tm));
    *r = (struct report){
        .doc = json_pack("{ss,ss,so}", "date", now, "mode", mode, "machine", machine_json())};
    r->cells = json_array();
    (void)json_object_set_new(r->doc, "cells", r->cells);
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
}

void report_add(struct report *r, json_t *cell)
{
    const char *name = text_at(cell, "group");

    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        if (strcmp(groups[i].name, name) != 0)
            continue;
        if (strcmp(r->group, name) != 0)
            groups[i].head();
        groups[i].line(cell);
    }
    (void)snprintf(r->group, sizeof r->group, "%s", name);
    (void)json_array_append_new(r->cells, cell);
}

const json_t *report_cell(const struct report *r, const char *group, const char *name)
{
    const json_t *cell;
    size_t i;

    json_array_foreach(r->cells, i, cell)
    {
        if (strcmp(text_at(cell, "group"), group) == 0 && strcmp(text_at(cell, "name"), name) == 0)
            return cell;
    }
    return NULL;
}

void report_text(struct report *r, const char *name, const char *program, int *code)
{
    char folder[PATH_SIZE];
    char path[PATH_SIZE];
    char *text;

    tmp_folder("program", folder);
    path_join(path, folder, "out");
    file_write(path, "%s", "");
    *code = proc_run((const char *const[]){program, NULL}, path, PROGRAM_MS);
    text = file_read(path);
    (void)printf("\n%s\n%s", name, text);
    report_add(r, json_pack("{ss,ss,ss,ss+}", "group", "program", "name", name, "title", name,
                            "text", text, ""));
    free(text);
}

void report_end(struct report *r, const char *path)
{
    if (json_dump_file(r->doc, path, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) != 0)
        support_fail("cannot write %s", path);
    (void)printf("\n%zu cells in %s\n", json_array_size(r->cells), path);
    json_decref(r->doc);
}
