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
 * end. */
#define REAPER_GRAVES 8

struct reaper {
    struct grave {
        struct client *client;
        pthread_t thread;
        bool used;
        atomic_bool done;
    } graves[REAPER_GRAVES];
};

void reaper_init(struct reaper *r);

/* How many more reaper_take would find room for. Collects what has ended by now. Does not block. */
int reaper_room(struct reaper *r);

/* Takes a muted client and ends it in a thread of its own. There must be room. Blocks only if no
 * thread can be made. */
void reaper_take(struct reaper *r, struct client *c);

/* Waits up to wait_ms for what is ending. Returns false if something still is; it is left alone
 * then, and the process should end soon. */
bool reaper_finish(struct reaper *r, uint32_t wait_ms);

#endif
