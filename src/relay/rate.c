#include "relay/rate.h"

#define SHARES_PER_S 20U /* events are let go in shares of a second */

static uint64_t share_of(const struct rate *r)
{
    uint32_t events = r->per_s / SHARES_PER_S;

    return (events > 0 ? events : 1) * UINT64_C(1000);
}

/* per_s events a second are per_s thousandths of an event a millisecond: nothing is rounded. */
static void fill(struct rate *r, uint64_t now_ms)
{
    uint64_t full = r->per_s * UINT64_C(1000);
    uint64_t passed_ms = r->at_ms == 0 || now_ms < r->at_ms ? 0 : now_ms - r->at_ms;

    if (now_ms > r->at_ms)
        r->at_ms = now_ms;
    if (passed_ms >= 1000)
        r->thousandths = full;
    else
        r->thousandths += passed_ms * r->per_s;
    if (r->thousandths > full)
        r->thousandths = full;
}

void rate_set(struct rate *r, uint32_t per_s, uint64_t now_ms)
{
    fill(r, now_ms);
    r->per_s = per_s;
    fill(r, now_ms);
}

uint32_t rate_events(struct rate *r, uint64_t now_ms)
{
    if (r->per_s == 0)
        return UINT32_MAX;
    fill(r, now_ms);
    return r->thousandths < share_of(r) ? 0 : (uint32_t)(r->thousandths / 1000);
}

uint64_t rate_due(const struct rate *r)
{
    uint64_t share = share_of(r);

    if (r->per_s == 0 || r->thousandths >= share)
        return r->at_ms;
    return r->at_ms + (share - r->thousandths + r->per_s - 1) / r->per_s;
}

void rate_take(struct rate *r, uint64_t now_ms)
{
    if (r->per_s == 0)
        return;
    fill(r, now_ms); /* what came in while the rows were on their way is not kept beyond a full
                        bucket */
    r->thousandths -= r->thousandths < 1000 ? r->thousandths : 1000;
}
