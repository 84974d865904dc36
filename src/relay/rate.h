/* A limit on how many events are read and sent each second: a bucket that fills evenly and holds
 * one second's worth, so that a backlog after an outage goes out as steadily as consumers were
 * promised. It begins empty. */
#ifndef OUTBOXD_RELAY_RATE_H
#define OUTBOXD_RELAY_RATE_H

#include <stdint.h>

struct rate {
    uint32_t per_s;       /* 0: no limit */
    uint64_t thousandths; /* of an event, in the bucket */
    uint64_t at_ms;       /* filled up to here; 0: never yet */
};

/* Another limit from now on; what is in the bucket stays, up to the new limit's second. */
void rate_set(struct rate *r, uint32_t per_s, uint64_t now_ms);

/* How many events may go now; UINT32_MAX without a limit. 0 also while it would be so few that
 * asking for them costs more than they are worth: events are let go at most some twenty times a
 * second. */
uint32_t rate_events(struct rate *r, uint64_t now_ms);

/* When rate_events will answer more than 0, if nothing is taken. */
uint64_t rate_due(const struct rate *r);

/* One event goes. */
void rate_take(struct rate *r, uint64_t now_ms);

#endif
