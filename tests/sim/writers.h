/* The load: services that write events in transactions. One key's writers take turns: a transaction
 * holds its keys from the first touch to its end, so that versions ascend in the order in which
 * they were decided. */
#ifndef OUTBOXD_SIM_WRITERS_H
#define OUTBOXD_SIM_WRITERS_H

#include "database.h"
#include "oracle.h"
#include "plan.h"
#include "world.h"

#define WRITER_KEYS 4

struct writers;

struct writer {
    struct writers *all;
    uint32_t number;
    bool active;
    uint64_t xid; /* 0: none yet */
    uint32_t keys[WRITER_KEYS];
    uint32_t key_count;
    uint32_t locked; /* of keys[], in order: nobody waits in a circle */
    uint32_t left;   /* events still to write */
    uint64_t hold_us;
    uint32_t turn;
    bool rings;  /* found the bell armed: NOTIFY at commit */
    bool shared; /* holds the bell's lock shared */
    bool asynchronous;
};

struct writers {
    struct world *world;
    const struct plan *plan;
    struct database *db;
    struct oracle *oracle;
    struct scope scope; /* ends with the database: all their connections break */
    struct writer writers[MAX_WRITERS];
    const struct writer *owner[MAX_KEYS]; /* who holds the key */
    uint32_t version[MAX_KEYS];           /* the newest, committed or by the owner */
    uint32_t left;                        /* transactions still to begin */
    uint64_t until_us;                    /* none begins after */
    uint64_t quiet_from_us;               /* nor in the quiet time */
    uint64_t quiet_until_us;
    uint32_t open;
    bool poisoned[MAX_KEYS]; /* whatever is written for the key cannot be published */
    bool odd[MAX_KEYS];      /* some of it has no legal topic */
    void (*wrote_poison)(void *ctx, uint32_t key);
    void *ctx;
};

void writers_start(struct writers *ws, struct world *w, const struct plan *plan,
                   struct database *db, struct oracle *oracle);
/* The database crashed: what was open is gone. They go on when it is up. */
void writers_interrupted(struct writers *ws);
bool writers_done(const struct writers *ws);
uint32_t writers_payload_bytes(const struct plan *plan, uint32_t fact);

#endif
