/* Chaos: everything that may break, broken at random.
 *
 * Each thing that can break (a relay, a broker, Postgres, its sessions, the topic) draws its own
 * pauses, faults and durations from the seed, so faults overlap as they fall, and a seed repeats
 * the choice of faults; when exactly they meet is the machine's. Whatever was done stands in a
 * timeline.
 *
 * Fails the test (support_fail) when a relay ends without having been told to, when it answers
 * SIGTERM with another exit code than 0, and when a server does not come back. */
#ifndef OUTBOXD_TESTS_CHAOS_H
#define OUTBOXD_TESTS_CHAOS_H

#include "kafka.h"
#include "outboxd.h"
#include "pg.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define CHAOS_FAULTS(X)                                                                            \
    X(CHAOS_RELAY_KILLED, "killed")                                                                \
    X(CHAOS_RELAY_BOTH, "all relays killed, to be started at once")                                \
    X(CHAOS_RELAY_STOPPED, "SIGTERM")                                                              \
    X(CHAOS_RELAY_FROZEN, "frozen")                                                                \
    X(CHAOS_RELAY_SLOW, "slow")                                                                    \
    X(CHAOS_RELAY_HUP, "SIGHUP")                                                                   \
    X(CHAOS_BROKER_KILLED, "killed")                                                               \
    X(CHAOS_BROKER_STOPPED, "SIGTERM")                                                             \
    X(CHAOS_BROKER_FROZEN, "frozen")                                                               \
    X(CHAOS_BROKER_SLOW, "slow")                                                                   \
    X(CHAOS_PG_CRASHED, "immediate shutdown")                                                      \
    X(CHAOS_PG_KILLED, "postmaster killed")                                                        \
    X(CHAOS_PG_STOPPED, "fast shutdown")                                                           \
    X(CHAOS_SESSION_ENDED, "a session of a relay terminated")                                      \
    X(CHAOS_SESSIONS_ENDED, "all sessions terminated")                                             \
    X(CHAOS_SESSION_FROZEN, "a session of a relay frozen")                                         \
    X(CHAOS_LONG_COMMITTED, "a long transaction, which commits")                                   \
    X(CHAOS_LONG_ROLLED_BACK, "a long transaction, which rolls back")                              \
    X(CHAOS_TOPIC_GROWN, "partitions added")

enum chaos_fault {
#define CHAOS_NAME_(name, text) name,
    CHAOS_FAULTS(CHAOS_NAME_)
#undef CHAOS_NAME_
        CHAOS_FAULT_COUNT
};

#define CHAOS_MAX_RELAYS 4

struct chaos_params {
    struct pg_server *pg;   /* running */
    struct kafka *kafka;    /* running, every node */
    struct outboxd *relays; /* running, when chaos_run begins */
    int relay_count;        /* at most CHAOS_MAX_RELAYS */
    const char *topic;      /* whose partitions are added to */
    int max_partitions;     /* and up to how many */
    uint64_t seed;
};

struct chaos;

struct chaos *chaos_new(const struct chaos_params *params);
void chaos_free(struct chaos *c); /* leaves everything as it is; NULL is fine */

/* Breaks things for that long. With `spare_relays` no relay is ended, so that one process lives
 * through what happens around it. Returns with faults still going on. */
void chaos_run(struct chaos *c, int duration_ms, bool spare_relays);
/* Ends every fault; returns when all servers answer and all relays run. Relays that were alive are
 * not touched. */
void chaos_heal(struct chaos *c);

/* How often each fault happened, by enum chaos_fault; their sum. */
const int *chaos_counts(const struct chaos *c);
int chaos_total(const struct chaos *c);

/* A line into the timeline, and the whole of it. */
void chaos_note(struct chaos *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
void chaos_print(const struct chaos *c, FILE *out);

#endif
