/* Paused by an operator (outbox.relay.paused_at). The answers of take, renew and store tell it, so
 * that a pause costs no takeover and no duplicate: the leader keeps lease and epoch, settles and
 * stores what is in flight, and reads nothing. Whoever takes the lease over finds the pause in the
 * row.
 *
 * How it can fail: the database does not answer: then nothing new is heard, and the lease's own
 * deadline counts. */
#include "relay/internal.h"

#define PAUSED_RENEW_MS 1000U /* while paused, so soon is a resumption heard of */

uint32_t pause_renew_ms(const struct relay *r)
{
    uint32_t usual = r->params.lease_ttl_ms / 3;

    return r->paused && usual > PAUSED_RENEW_MS ? PAUSED_RENEW_MS : usual;
}

void pause_heed(struct relay *r, bool paused)
{
    bool was = r->paused;

    r->paused = paused;
    if (r->state != RELAY_LEADING)
        return;
    if (paused && !was)
        reading_hold_still(r);
    else if (!paused && was)
        reading_go_on(r);
    if (paused && r->lease.renew_due > relay_now(r) + PAUSED_RENEW_MS)
        r->lease.renew_due = relay_now(r) + PAUSED_RENEW_MS;
    if (paused != r->pause_noted) {
        r->pause_noted = paused;
        relay_note(r, paused ? RELAY_NOTE_PAUSED : RELAY_NOTE_RESUMED);
    }
}

bool relay_paused(const struct relay *r)
{
    return r->paused;
}
