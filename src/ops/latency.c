#include "ops/latency.h"

#include <string.h>

struct ops_latency latency_since_start(const struct relay_counters *c)
{
    struct ops_latency l = {.sum_s = c->latency_sum_s};

    memcpy(l.buckets, c->latency_buckets, sizeof l.buckets);
    return l;
}

uint64_t latency_count(const struct ops_latency *l)
{
    uint64_t n = 0;

    for (size_t i = 0; i <= RELAY_LATENCY_BUCKETS; i++)
        n += l->buckets[i];
    return n;
}

double latency_quantile(const struct ops_latency *l, double q)
{
    double rank = q * (double)latency_count(l);
    double below = 0;
    double from = 0;

    if (latency_count(l) == 0)
        return -1;
    for (size_t i = 0; i < RELAY_LATENCY_BUCKETS; i++) {
        double here = (double)l->buckets[i];
        double to = relay_latency_bounds[i];

        if (here > 0 && below + here >= rank)
            return from + (to - from) * (rank > below ? (rank - below) / here : 0);
        below += here;
        from = to;
    }
    return from;
}
