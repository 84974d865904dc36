/* A lane's filter as SQL: which rows of outbox.event its messages come of. What it lets through may
 * be more than the lane covers (the relay looks again), never less: by key it compares the key, by
 * partition and topic it works the topic out as message/route.c does. Pure. */
#ifndef OUTBOXD_OUTBOX_LANE_WHERE_H
#define OUTBOXD_OUTBOX_LANE_WHERE_H

#include "message/route.h"
#include "relay/lane.h"

/* Appends a boolean expression over the columns of `e`, an alias of outbox.event; every text in it
 * is quoted. */
void lane_where(struct str *out, const struct route_table *routes, const struct lane_filter *f);

#endif
