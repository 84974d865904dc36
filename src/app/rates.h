/* How fast events were published of late: a sample a second of what the core has counted, and what
 * has come since then. Pure. */
#ifndef OUTBOXD_APP_RATES_H
#define OUTBOXD_APP_RATES_H

#include "ops/view.h"

#include <stdint.h>

#define RATES_SAMPLES 64 /* a second apart: more than the minute that is looked back */

struct rates_sample {
    uint64_t at_ms;
    uint64_t published;
    struct ops_latency latency;
};

struct rates {
    struct rates_sample samples[RATES_SAMPLES]; /* ring; the newest at count - 1 */
    uint64_t count;
};

/* To be called about once a second, the first time before any of the other functions. */
void rates_take(struct rates *r, const struct relay_counters *c, uint64_t now_ms);

/* Events per second over the last over_ms, or since the first sample when that is later. */
double rates_published(const struct rates *r, const struct relay_counters *c, uint64_t now_ms,
                       uint64_t over_ms);

/* The latencies of what was acknowledged in that time. */
struct ops_latency rates_latency(const struct rates *r, const struct relay_counters *c,
                                 uint64_t now_ms, uint64_t over_ms);

#endif
