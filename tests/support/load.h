/* The load of the fault tests: many writers, few hot keys and many cold ones, and everything that
 * makes an outbox lose or invert events: xids taken early, sleeps between insert and commit,
 * savepoints, rollbacks, transactions of several events, one transaction open throughout, crashes
 * of the server.
 *
 * Writers of a key take turns: a transaction first locks the key's row in load_aggregate and takes
 * the next number of the key from it, then inserts the event. The number travels in the payload
 * ("seq") and is the writers' order, by which the oracle judges. Each writer notes what became of
 * every event; the outcome of a COMMIT whose answer never came is found out afterwards, in the
 * table. */
#ifndef OUTBOXD_TESTS_LOAD_H
#define OUTBOXD_TESTS_LOAD_H

#include "pg.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOAD_TYPE "order" /* aggregate_type of its events: topic order-events by default */

struct load_params {
    const struct pg_server *pg;
    int writers;             /* threads, one session each; 0: 8 */
    int hot_keys, cold_keys; /* 0: 3 and 500; half of the events go to hot keys */
    uint64_t seed;           /* of what the writers decide; the interleaving is the machine's */
    int64_t max_events;      /* stops after about that many committed events; 0: no bound */
    int duration_ms;         /* stops after that time; 0: no bound (load_stop ends it) */
    int max_pause_ms;        /* between transactions, random; 0: none */
    int max_sleep_ms;        /* of the sleeps inside transactions; 0: 20 */
    int payload_bytes;       /* about the mean size of the payload; 0: 200 */
    const char *marker;      /* NULL, or a word that stands in every payload */
    bool async_commit;       /* synchronous_commit = off */
    bool long_transaction; /* one more session inserts an event at the start and commits at the end
                            */
    bool survive;          /* reconnect when the server goes away; else that is a failure */
    bool plain;            /* no sleeps, rollbacks, savepoints, headers, tombstones: for speed */
};

/* What became of an event. */
enum load_fate { LOAD_OPEN, LOAD_COMMITTED, LOAD_ROLLED_BACK, LOAD_UNKNOWN };

struct load_entry {
    uint8_t event_id[16];
    enum load_fate fate;
};

struct load;

/* The table of keys, and its grants for the role svc. Once per server, after pg_apply_schema. */
void load_prepare(const struct pg_server *pg);

struct load *load_start(const struct load_params *params);
int64_t load_committed(const struct load *l); /* events so far; may be asked while it runs */
bool load_is_running(const struct load *l);   /* false: every writer has reached its bound */
/* Ends the writers, waits for them, and resolves unknown outcomes, for which the server must be up.
 * Fails the test when a writer met an error that the load does not expect. Harmless twice. */
void load_stop(struct load *l);
void load_wait(struct load *l,
               int timeout_ms); /* until every writer has reached its bound, then load_stop */
void load_free(struct load *l); /* stops it if need be; NULL is fine */

/* After load_stop. */
struct load_totals {
    int64_t committed, rolled_back,
        unknown; /* events; those that stayed unknown: 0 after load_stop */
    int64_t transactions, reconnects;
};
struct load_totals load_totals(const struct load *l);
/* Calls fn for each event that a writer has tried to insert. */
void load_each(const struct load *l, void (*fn)(void *ctx, const struct load_entry *e), void *ctx);

/* A backlog by one statement in the caller's transaction: `events` events over `keys` keys named
 * "<prefix>-N", payload of about payload_bytes. Numbers per key begin at first_seq. */
struct load_bulk {
    const char *prefix;
    int64_t events;
    int64_t keys;
    int64_t first_seq;
    int payload_bytes;
};
void load_bulk(PGconn *conn, const struct load_bulk *b);

#endif
