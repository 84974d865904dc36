/* From the commit to a consumer at a fixed rate, beside a bare produce with the relay's producer
 * settings to the same topic and consumer. */
#ifndef OUTBOXD_BENCH_LATENCY_H
#define OUTBOXD_BENCH_LATENCY_H

#include "../support/kafka.h"
#include "../support/pg.h"

#include <jansson.h>
#include <stdbool.h>

struct latency {
    const struct pg_server *pg;
    const struct kafka *kafka;
    const unsigned *rates; /* a second */
    size_t count;
    unsigned seconds; /* of each side at each rate; at least 20 events */
};

/* Calls add(ctx, cell) with a cell of group "latency" for each rate. A writer that cannot keep a
 * rate is told by per_s, what was reached. */
void latency_run(const struct latency *l, void (*add)(void *ctx, json_t *cell), void *ctx);

#endif
