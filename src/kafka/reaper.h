/* Ends discarded producers beside the loop. rd_kafka_destroy joins librdkafka's threads, and one of
 * them may hang in a name lookup or a handshake for many seconds; the loop, and with it the lease,
 * must not wait for that. */
#ifndef OUTBOXD_KAFKA_REAPER_H
#define OUTBOXD_KAFKA_REAPER_H

#include "kafka/client.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* So many may be ending at a time: it bounds the memory and the threads of producers that cannot
 * end. The last ones are not for lanes. */
#define REAPER_GRAVES         16
#define REAPER_GRAVES_OF_MAIN 4

struct reaper {
    struct grave {
        struct client *client;
        pthread_t thread;
        bool used;
        atomic_bool done;
    } graves[REAPER_GRAVES];
    struct client *waiting; /* for a grave, the first to come last */
};

void reaper_init(struct reaper *r);

/* How many more can end at once; below zero: so many wait for their turn. Collects what has ended
 * by now, and begins with what waits. Does not block. */
int reaper_room(struct reaper *r);

/* Takes a muted client and ends it in a thread of its own, at once or when another has ended. Who
 * makes new clients asks for room first. Blocks only if no thread can be made. */
void reaper_take(struct reaper *r, struct client *c);

/* Waits up to wait_ms for all of them. Returns false if something has not ended; it is left alone
 * then, and the process should end soon. */
bool reaper_finish(struct reaper *r, uint32_t wait_ms);

#endif
