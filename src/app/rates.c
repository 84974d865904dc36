#include "app/rates.h"

#include "ops/latency.h"

#define EARLY_MS 50U /* a timer may be so early */

void rates_take(struct rates *r, const struct relay_counters *c, uint64_t now_ms)
{
    r->samples[r->count++ % RATES_SAMPLES] = (struct rates_sample){
        .at_ms = now_ms, .published = c->events_published, .latency = latency_since_start(c)};
}

/* The newest that is so old, or the oldest of all. */
static const struct rates_sample *sample_before(const struct rates *r, uint64_t now_ms,
                                                uint64_t age_ms)
{
    uint64_t oldest = r->count > RATES_SAMPLES ? r->count - RATES_SAMPLES : 0;
    uint64_t i = r->count - 1;

    while (i > oldest && now_ms - r->samples[i % RATES_SAMPLES].at_ms + EARLY_MS < age_ms)
        i--;
    return &r->samples[i % RATES_SAMPLES];
}

double rates_published(const struct rates *r, const struct relay_counters *c, uint64_t now_ms,
                       uint64_t over_ms)
{
    const struct rates_sample *from = sample_before(r, now_ms, over_ms);
    uint64_t more = c->events_published - from->published;

    return now_ms == from->at_ms ? 0 : (double)more * 1000 / (double)(now_ms - from->at_ms);
}

struct ops_latency rates_latency(const struct rates *r, const struct relay_counters *c,
                                 uint64_t now_ms, uint64_t over_ms)
{
    const struct ops_latency *from = &sample_before(r, now_ms, over_ms)->latency;
    struct ops_latency l = latency_since_start(c);

    for (size_t i = 0; i <= RELAY_LATENCY_BUCKETS; i++)
        l.buckets[i] -= from->buckets[i];
    l.sum_s -= from->sum_s;
    return l;
}
