/* A backlog is drained, by the floor and by the relay in turns. */
#ifndef OUTBOXD_BENCH_DRAIN_H
#define OUTBOXD_BENCH_DRAIN_H

#include "../support/kafka.h"
#include "../support/pg.h"

#include <jansson.h>

struct drain {
    const char *name;  /* one word */
    const char *title; /* for people */
    const struct pg_server *pg;
    const struct kafka *kafka;
    const char *codec;
    int64_t events;    /* written since drain_mark */
    int payload_bytes; /* as it is told */
    int pairs;
};

/* What is in the table now is published: every drain begins here, until it is called again. */
void drain_mark(const struct pg_server *pg);

/* A cell of group "drain": every pair, and the medians. Who begins a pair alternates. Wall time
 * goes from the process's start (the floor: from its first connection) until every event is
 * acknowledged and, by the relay, its position stored. Processor time is that of relay or floor, of
 * Postgres and of the broker, for one event. */
json_t *drain_run(const struct drain *d);

/* The relay alone, once: per_s, wall_s, own_us, postgres_us, broker_us, peak_kib. */
json_t *drain_relay(const struct drain *d);

/* One pair, whose two topics must hold the same bytes; else the program fails. */
void drain_compare(const struct drain *d);

/* Resident memory of a relay that leads and has nothing to do: a cell of group "memory". */
json_t *drain_idle(const struct pg_server *pg, const struct kafka *kafka, unsigned settle_ms);

#endif
