/* The rows that the bench drains: orders as JSON, which compress about as such things do (ids are
 * digests, the rest repeats). */
#ifndef OUTBOXD_BENCH_FILL_H
#define OUTBOXD_BENCH_FILL_H

#include "../support/pg.h"

struct fill {
    int64_t events;
    int64_t keys;
    int payload_bytes; /* about; at least 130 */
    bool single;       /* a transaction for each row; else one for all of them */
};

/* Writes them, over days of the table's own, and analyzes. */
void fill_rows(const struct pg_server *pg, const struct fill *f);
void fill_empty(const struct pg_server *pg); /* no row is left */

#endif
