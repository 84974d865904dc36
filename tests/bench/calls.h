/* What the relay asks of the kernel. */
#ifndef OUTBOXD_BENCH_CALLS_H
#define OUTBOXD_BENCH_CALLS_H

#include "drain.h"

/* Drains once more, under strace -c, which counts and slows down. A cell of group "calls": system
 * calls of all the relay's threads for one event, from its start to its end, and the most frequent
 * ones. */
json_t *calls_run(const struct drain *d);

#endif
