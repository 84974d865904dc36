/* The lease and the stored position.
 *
 * A holder renews every ttl/3 and stops by its own deadline, counted from BEFORE the renewal was
 * sent. A standby takes over when epoch and beat have not changed for a whole ttl by its own clock.
 * Neither looks at wall clocks. Split brain is survivable all the same (design: each stream starts
 * at or before what is settled, and moves the position only if the epoch is still its own), the
 * lease only makes it rare. */
#include "relay/internal.h"

#include "relay/pacing.h"

#include <assert.h>

#define LOOK_MAX_MS 250U /* how often a standby looks: a released lease is taken within this */

static void take(struct relay *r, enum take_mode mode)
{
    r->lease.request_out = true;
    r->lease.sent_at = relay_now(r);
    r->state = RELAY_TAKING;
    RELAY_OP(r, r->source->take(r->source_ctx, mode, r->lease.seen_epoch, r->lease.seen_beat));
}

void lease_look(struct relay *r)
{
    take(r, r->lease.was_ours ? TAKE_OWN : TAKE_IF_FREE);
}

static void become_leader(struct relay *r, const struct lease_view *view)
{
    struct stream *s = &r->main;
    struct leasing *l = &r->lease;
    uint64_t now = relay_now(r);

    l->epoch = view->epoch;
    l->bell = view->bell;
    l->deadline = l->sent_at + r->params.lease_ttl_ms;
    l->renew_due = now + pause_renew_ms(r);
    l->was_ours = true;
    l->refused = false;
    l->seen = false;
    r->counters.takeovers++;
    window_load(&s->window, &view->position);
    lanes_load(r, view);
    frontier_set(
        r, str_slice(view->position.target.len > 0 ? &view->position.target : &view->position.base),
        false);
    reading_reset(r, s);
    s->storing.out = false;
    s->storing.dirty_since = 0;
    r->state = RELAY_LEADING;
    recovery_leading(r, s);
    relay_note(r, RELAY_NOTE_LEADING);
    pause_heed(r, view->paused);
    if (r->stopping)
        r->state = RELAY_DRAINING;
}

/* The row has not changed for a whole ttl: its holder is dead, stopped, or cut off. */
static bool holder_is_dead(struct relay *r, const struct lease_view *view)
{
    struct leasing *l = &r->lease;

    if (!l->seen || view->epoch != l->seen_epoch || view->beat != l->seen_beat) {
        l->seen = true;
        l->seen_epoch = view->epoch;
        l->seen_beat = view->beat;
        l->seen_since = relay_now(r);
        return false;
    }
    return relay_now(r) - l->seen_since >= r->params.lease_ttl_ms;
}

static void stay_behind(struct relay *r)
{
    uint32_t pause = r->params.lease_ttl_ms / 10;

    r->state = RELAY_STANDBY;
    r->lease.look_due = relay_now(r) + (pause < LOOK_MAX_MS ? pause : LOOK_MAX_MS);
    if (!r->lease.standby_noted) {
        r->lease.standby_noted = true;
        relay_note(r, RELAY_NOTE_STANDBY);
    }
}

void relay_on_lease(struct relay *r, const struct lease_view *view)
{
    struct leasing *l = &r->lease;
    bool first = l->first_look;
    bool dead;

    relay_enter(r);
    assert(l->request_out && r->state == RELAY_TAKING);
    l->request_out = false;
    l->first_look = false;
    dead = holder_is_dead(r, view);
    r->paused = view->paused;
    if (view->ours) {
        become_leader(r, view);
    } else if (r->stopping) {
        relay_finish(r);
    } else if (view->free) {
        l->was_ours = false;
        take(r, TAKE_IF_FREE);
    } else if (dead || (first && view->same_instance)) {
        l->was_ours = false;
        take(r, TAKE_IF_UNCHANGED);
    } else {
        l->was_ours = false;
        stay_behind(r);
    }
    relay_pump(r);
}

/* A stop goes on: nothing can be stored, but the lease may still be ours to release. */
void lease_lost(struct relay *r)
{
    if (r->state == RELAY_DRAINING) {
        r->lease.refused = true;
        return;
    }
    relay_note(r, RELAY_NOTE_FENCED);
    relay_fall_back(r, 0);
}

void relay_on_renewed(struct relay *r, enum lease_answer answer)
{
    relay_enter(r);
    if (!r->lease.renew_out)
        return;
    r->lease.renew_out = false;
    if (answer != LEASE_LOST) {
        r->counters.renewals++;
        r->lease.deadline = r->lease.renew_sent + r->params.lease_ttl_ms;
        pause_heed(r, answer == LEASE_PAUSED);
    } else {
        lease_lost(r);
    }
    relay_pump(r);
}

void lease_pump(struct relay *r)
{
    struct leasing *l = &r->lease;
    uint64_t now = relay_now(r);

    if (r->state == RELAY_STANDBY && !l->request_out) {
        if (now >= l->look_due)
            lease_look(r);
        else
            relay_due(r, l->look_due);
    }
    if (r->state != RELAY_LEADING && r->state != RELAY_DRAINING)
        return;
    /* While draining nothing new is sent, and the last store and the release check for themselves
     * whose lease it is. */
    if (now >= l->deadline && r->state == RELAY_LEADING) {
        relay_note(r, RELAY_NOTE_LEASE_EXPIRED);
        relay_fall_back(r, 0);
        relay_due(r, now);
        return;
    }
    if (r->state == RELAY_LEADING)
        relay_due(r, l->deadline);
    if (l->renew_out || r->release_out)
        return;
    if (now >= l->renew_due) {
        l->renew_out = true;
        l->renew_sent = now;
        l->renew_due = now + pause_renew_ms(r);
        RELAY_OP(r, r->source->renew(r->source_ctx, l->epoch));
    }
    relay_due(r, l->renew_due);
}

/* ---- the stored position
 * ------------------------------------------------------------------------------------------ */

static void store(struct relay *r, struct stream *s, bool synchronously)
{
    struct storing *o = &s->storing;

    o->out = true;
    o->sent_at = relay_now(r);
    o->settled = s->window.settled;
    o->version = s->window.version;
    window_position(&s->window, &o->position);
    RELAY_OP(r, r->source->store(r->source_ctx, r->lease.epoch,
                                 &(struct store_request){
                                     .lane = s->lane,
                                     .position = &o->position,
                                     .events = window_published(&s->window),
                                     .synchronously = synchronously,
                                 }));
}

/* A change stores the position that it is about; and of all lanes one store is out at a time. */
static bool may_store(const struct relay *r, const struct stream *s)
{
    if (s->storing.out || r->state != RELAY_LEADING || s->rec.feed == FEED_CHANGE)
        return false;
    if (s->number == MAIN_STREAM)
        return !(r->lanes.changing && r->lanes.change == CHANGE_MERGE);
    for (const struct stream *o = &r->main; (o = relay_next_stream(r, o)) != NULL;)
        if (o->storing.out)
            return false;
    return true;
}

void store_pump(struct relay *r, struct stream *s)
{
    struct storing *o = &s->storing;
    uint64_t now = relay_now(r);
    uint64_t due;

    if (!may_store(r, s))
        return;
    if (!window_is_dirty(&s->window)) {
        o->dirty_since = 0;
        return;
    }
    if (o->dirty_since == 0)
        o->dirty_since = now;
    due = o->dirty_since + pacing_store_ms(o->last_took_ms);
    /* A slot is free when its position is stored: store before the window is full. */
    if (now >= due || s->window.settled - s->window.stored >= (s->window.capacity + 3) / 4)
        store(r, s, false);
    else
        relay_due(r, due);
}

static struct stream *stream_of(struct relay *r, uint32_t lane)
{
    struct stream *s = NULL;

    while ((s = relay_next_stream(r, s)) != NULL && s->lane != lane)
        ;
    return s;
}

void relay_on_stored(struct relay *r, uint32_t lane, enum lease_answer answer)
{
    struct stream *s = stream_of(r, lane);
    struct storing *o;

    relay_enter(r);
    if (s == NULL || !s->storing.out)
        return;
    o = &s->storing;
    o->out = false;
    if (answer != LEASE_LOST) {
        r->counters.stores++;
        o->last_took_ms = (uint32_t)(relay_now(r) - o->sent_at);
        o->dirty_since = 0;
        window_mark_stored(&s->window, o->settled, o->version);
        pause_heed(r, answer == LEASE_PAUSED);
    } else {
        lease_lost(r);
    }
    relay_pump(r);
}

/* ---- stopping
 * ------------------------------------------------------------------------------------------------------
 */

/* Its position goes with a record that was not written: the next leader sends the dead letter
 * again.
 */
static bool is_given_up(const struct stream *s)
{
    return s->rec.feed == FEED_CHANGE && s->rec.change == CHANGE_SKIP;
}

/* DRAINING: acks until half of the time is over, then the settled prefix is stored and the lease
 * released. */
void lease_drain(struct relay *r)
{
    uint64_t patience = r->stop_deadline - r->params.shutdown_timeout_ms / 2;
    struct stream *unstored = NULL;
    bool waits = r->lanes.changing || r->release_out;

    for (struct stream *s = NULL; (s = relay_next_stream(r, s)) != NULL;) {
        if (s->window.in_flight > 0 && s->rec.feed != FEED_RECOVER && relay_now(r) < patience) {
            relay_due(r, patience);
            return;
        }
        waits = waits || s->storing.out;
        if (window_is_dirty(&s->window) && !is_given_up(s))
            unstored = s;
    }
    if (waits)
        return;
    if (unstored != NULL && !r->lease.refused) {
        store(r, unstored, true);
        return;
    }
    r->release_out = true;
    RELAY_OP(r, r->source->release(r->source_ctx));
}

void relay_on_released(struct relay *r)
{
    relay_enter(r);
    r->release_out = false;
    relay_note(r, RELAY_NOTE_RELEASED);
    relay_finish(r);
    relay_pump(r);
}
