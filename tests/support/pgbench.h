/* What the outbox costs those who write into it: pgbench with one business transaction, with and
 * without the event, and outbox.event with another bell. Needs pgbench (postgresql's own). */
#ifndef OUTBOXD_TESTS_PGBENCH_H
#define OUTBOXD_TESTS_PGBENCH_H

#include "pg.h"

/* Who wakes the relay, when the transaction inserts an event. */
enum bell_kind {
    BELL_OF_SCHEMA, /* the doorbell of the migrations */
    BELL_ABSENT,    /* no trigger: the relay polls */
    BELL_DEFERRED,  /* the doorbell's lock taken, or rung, at COMMIT: for comparison */
    BELL_NOTIFY,    /* a plain NOTIFY in every transaction, for comparison */
};

/* The service's own tables (accounts and their ledger), written by role svc; once for a server. */
void pgbench_prepare(const struct pg_server *s);

/* Gives outbox.event this bell, and empties the tables that the load fills. No relay may run. */
void pgbench_set_bell(const struct pg_server *s, enum bell_kind bell);

struct pgbench_params {
    const struct pg_server *pg;
    bool event; /* the transaction inserts an event; else it only does its business */
    int clients;
    int rate;   /* transactions a second; 0: as many as there can be */
    int run_ms; /* rounded up to seconds */
};

/* Times in milliseconds. A transaction's begins when it is sent, not when the rate wanted it. */
struct pgbench_figures {
    double tps;
    double mean_ms; /* of the whole transaction, from BEGIN to the commit's answer */
    double p50_ms;
    double p99_ms;
    double commit_mean_ms; /* of the COMMIT alone */
};

/* Runs it for run_ms; the first half second, and the first transactions of each client, are left
 * out of mean and percentiles (not of commit_mean_ms). Fails the test when a transaction fails. */
void pgbench_run(const struct pgbench_params *p, struct pgbench_figures *out);

#endif
