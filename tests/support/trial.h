/* One run of the whole binary through faults of its database: relay and load at work, the fault,
 * the time until publishing resumes, and at the end the drained backlog, what must be as it was
 * before (sessions, locks, descriptors, memory, the process itself), and the oracle's verdict. */
#ifndef OUTBOXD_TESTS_TRIAL_H
#define OUTBOXD_TESTS_TRIAL_H

#include "kafka.h"
#include "load.h"
#include "outboxd.h"
#include "pg.h"

#include <stdbool.h>
#include <stdint.h>

#define TRIAL_TOPIC     "order-events"
#define TRIAL_PROBES    "probe-events" /* one event after each fault */
#define TRIAL_WINDOW    500            /* small, so that the bound on duplicates says something */
#define TRIAL_RESUME_MS 5000           /* the promise: after whatever was broken is there again */

struct trial {
    struct pg_server *pg; /* where the truth is in the end: a failover changes it */
    const struct kafka *kafka;
    struct outboxd relay;
    struct load *load;
    /* before the first fault */
    int fds, threads, sessions;
    long rss_kib;
    bool producers_linger; /* replaced producers may take longer to end than the trial */
    unsigned chance;       /* of trial_chance; the seed is printed, and taken from $SEED */
    int64_t slowest_ms;
};

/* Makes the topics and starts the relay (over `route`, NULL: as pg; with the window above), then
 * the load: 8 writers and one transaction that stays open, all of which survive. Returns when the
 * relay leads and events flow. */
void trial_begin(struct trial *t, struct pg_server *pg, const struct kafka *kafka,
                 const struct pg_server *route, const char *relay_extra);
/* A number below n. */
unsigned trial_chance(struct trial *t, unsigned n);
/* The fault is over: writes a probe and waits until it is acknowledged and the position stored.
 * Prints how long it took, and fails the test after TRIAL_RESUME_MS. */
void trial_healed(struct trial *t, const char *fault);
/* Ends the load, and then all that the head of this file names. */
void trial_end(struct trial *t, int64_t max_duplicates);
/* For the teardown of a test that may have failed anywhere. */
void trial_clean(struct trial *t);

#endif
