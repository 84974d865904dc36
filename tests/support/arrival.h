/* How long it takes from a commit to a consumer, beside a bare produce to the same topic.
 *
 * One consumer in a thread of its own reads the topic. Each value holds its number; the time goes
 * from just before COMMIT (or produce) is called to the record's arrival. */
#ifndef OUTBOXD_TESTS_ARRIVAL_H
#define OUTBOXD_TESTS_ARRIVAL_H

#include "pg.h"

struct arrival;

struct arrival_figures {
    unsigned count;
    double p50_ms;
    double p99_ms;
    double p999_ms; /* of one in a thousand; the longest when there are fewer */
    double max_ms;
};

/* The topic must exist; what it holds already is not counted. Returns when the consumer has seen a
 * record. */
struct arrival *arrival_start(const char *brokers, const char *topic);
void arrival_free(struct arrival *a);

/* `count` at `rate` a second, at random distances with that mean; then waits for the last of them.
 */
struct arrival_load {
    unsigned count;
    unsigned rate;
    unsigned seed;
};
/* By a producer that sets what the relay's sets: idempotent, acks=all, no linger. */
void arrival_of_produce(struct arrival *a, const struct arrival_load *load,
                        struct arrival_figures *out);
/* By transactions of one event each, for aggregate type `order`. The relay must be running. */
void arrival_of_commit(struct arrival *a, PGconn *writer, const struct arrival_load *load,
                       struct arrival_figures *out);

/* Leaves a transaction of `open` open that has inserted an event while the relay was awake: it
 * keeps the relay from arming the doorbell. (One that comes while the relay sleeps rings at its
 * commit, and is in nobody's way.) `other` commits an event to wake the relay. */
void arrival_leave_open(PGconn *open, PGconn *other);

#endif
