/* A service that inserts one event after the other while something else is at work, and what the
 * slowest insert took. */
#ifndef OUTBOXD_TESTS_STOPWATCH_H
#define OUTBOXD_TESTS_STOPWATCH_H

#include "pg.h"

#include <pthread.h>
#include <stdatomic.h>

#define STOPWATCH_EVENT                                                                            \
    "INSERT INTO outbox.event (aggregate_type, aggregate_id, event_type, payload) "                \
    "VALUES ('order', '1', 'order.placed', '{}')"

struct stopwatch {
    const struct pg_server *pg;
    pthread_t thread;
    atomic_bool stop;
    unsigned events;
    unsigned slowest_us;
    char error[256]; /* of the insert that ended it */
};

/* Role svc, a transaction for each event. An insert that waits longer than 50 ms for a lock fails:
 * that does not mistake a busy machine for a lock. */
void stopwatch_start(struct stopwatch *w, const struct pg_server *pg);
/* Fails the test when an insert has failed or there were hardly any; prints the figures. */
void stopwatch_stop(struct stopwatch *w, const char *beside);

/* The longest that an insert has waited for a lock, of the waits that the server logged for role
 * svc (log_lock_waits, deadlock_timeout): "... acquired RowExclusiveLock on relation 16402 of
 * database 5 after 9.127 ms". */
double stopwatch_slowest_lock_ms(const struct pg_server *pg);

#endif
