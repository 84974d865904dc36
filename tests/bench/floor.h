/* The floor: what the same events cost a bare loop, COPY and rd_kafka_producev, that knows no
 * position, no window, no opening, no recovery and no lease. It reads the same columns with the
 * same planner settings, sends the same bytes (key, headers, value, partition; `same` proves it)
 * with the same producer settings, and waits for every ack. What it writes of a message it writes
 * by hand, for the one shape that the bench's rows have. */
#ifndef OUTBOXD_BENCH_FLOOR_H
#define OUTBOXD_BENCH_FLOOR_H

#include "../support/kafka.h"
#include "../support/pg.h"

struct floor_params {
    const struct pg_server *pg;
    const char *brokers;
    const char *topic;
    const char *codec;
    int64_t above_id; /* only rows above it */
    int64_t events;   /* that there are */
};

/* Wall time in seconds, from before the sessions are opened until the last ack. */
double floor_run(const struct floor_params *p);

#endif
