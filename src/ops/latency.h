/* Percentiles of the histogram of latencies (relay_latency_bounds). */
#ifndef OUTBOXD_OPS_LATENCY_H
#define OUTBOXD_OPS_LATENCY_H

#include "ops/view.h"

/* All that the core has counted. */
struct ops_latency latency_since_start(const struct relay_counters *c);

/* How many there are. */
uint64_t latency_count(const struct ops_latency *l);

/* Seconds within which the share `q` (0 to 1) of them lies, taken as spread evenly within a bucket,
 * which is also how Prometheus does it; -1 when there are none. Beyond the last bound it is that
 * bound: nothing more is known. */
double latency_quantile(const struct ops_latency *l, double q);

#endif
