/* A pg_snapshot: "xmin:xmax:xip,xip,...". A transaction is seen when it is below xmax and not among
 * the running. */
#ifndef OUTBOXD_SIM_SNAPSHOT_H
#define OUTBOXD_SIM_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SNAPSHOT_XIP  32
#define SNAPSHOT_TEXT 512

struct snapshot {
    uint64_t xmin; /* everything below is over */
    uint64_t xmax; /* the latest completed transaction + 1: a running one may be above */
    size_t count;
    uint64_t xip[SNAPSHOT_XIP]; /* running, below xmax */
};

bool snapshot_sees(const struct snapshot *s, uint64_t xid);
void snapshot_print(const struct snapshot *s, char out[SNAPSHOT_TEXT]);
/* False when the text is no snapshot. */
bool snapshot_parse(struct snapshot *s, const char *text);

#endif
