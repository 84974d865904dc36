/* The same rows through another program: Debezium's outbox event router, on Kafka Connect. */
#ifndef OUTBOXD_BENCH_PEERS_H
#define OUTBOXD_BENCH_PEERS_H

#include "drain.h"

struct peer;

/* Starts it and returns when it follows the table: an event has come through. Its jars are in
 * PEERS_LIB. */
struct peer *peer_start(const struct pg_server *pg, const struct kafka *kafka);
void peer_stop(struct peer *p);

/* While it is paused it takes nothing. */
void peer_pause(struct peer *p);

/* It is paused, and d->events rows have been written since: the relay drains them, then the peer
 * does. A cell of group "peers". The peer's wall time begins when it goes on, long after its start;
 * the relay's begins with its process. */
json_t *peer_drain(struct peer *p, const struct drain *d);

/* From commit to consumer, `rate` a second for `seconds`: relay, then peer, the other one at rest.
 * A cell of group "peers-latency". */
json_t *peer_latency(struct peer *p, unsigned rate, unsigned seconds);

#endif
