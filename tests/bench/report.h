/* What a run of the bench found: the machine, the versions, and a cell for each thing measured. It
 * is printed as a table while it grows, and written as JSON at the end.
 *
 * A cell is an object with "group", "name" and "title"; what else it holds is its group's:
 *   drain    events, payload_bytes, codec, floor and relay (per_s; own_us, postgres_us, broker_us:
 *            processor time for one event), ratio (floor's wall time by relay's), cpu_ratio (the
 *            same of all processor time), peak_kib, pairs (each of them)
 *   latency  per_s, count, bare and relay (p50_ms, p99_ms, p999_ms), beyond_ms (of the medians)
 *   memory   kib
 *   calls    events, per_event (system calls), most (of each name, for one event)
 *   rules    beside (processor time by the floor's, as a multiple of the plain cell's)
 *   peers, peers-latency   relay and debezium, each as in drain, and as in latency
 *   program  text (what it said) */
#ifndef OUTBOXD_BENCH_REPORT_H
#define OUTBOXD_BENCH_REPORT_H

#include "../support/pg.h"

#include <jansson.h>

struct report {
    json_t *doc;
    json_t *cells; /* borrowed from doc */
    char group[32];
};

void report_begin(struct report *r, const char *mode);
/* With the versions of what is measured, once it runs. */
void report_versions(struct report *r, const struct pg_server *pg);
/* Takes the cell, and prints its line. */
void report_add(struct report *r, json_t *cell);
/* A cell that was added; NULL: there is none. */
const json_t *report_cell(const struct report *r, const char *group, const char *name);
/* Runs a program that measures by itself: what it says is printed, and becomes a cell of group
 * "program". Its exit code in *code. */
void report_text(struct report *r, const char *name, const char *program, int *code);
/* Writes it to `path` and says so. */
void report_end(struct report *r, const char *path);

#endif
