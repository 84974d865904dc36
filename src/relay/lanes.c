/* The lanes: what waits alone. Here is the table of those that there are, as the takeover read them
 * and every change since; who owns a row; and the making of a lane.
 *
 * A refusal whose cause a route parks comes here when the stream has been rewound to its settled
 * prefix: the lane begins there, in one transaction with the stream's own position. Nothing is fed
 * meanwhile; after the answer the stream reads on, and passes what the lane owns.
 *
 * How it can fail: the epoch is not ours any more, or the answer never comes: everything is
 * forgotten, and read anew with the next takeover. */
#include "relay/internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void lane_release(struct lane *l)
{
    str_release(&l->topic);
    str_release(&l->key);
    position_release(&l->position);
}

static struct lane_filter filter_of(const struct lane *l)
{
    return (struct lane_filter){
        .by = l->by,
        .topic = str_slice(&l->topic),
        .key = str_slice(&l->key),
        .partition = l->partition,
        .partitions = l->partitions,
    };
}

/* A new one behind the others; what it is filled with belongs to it. */
static struct lane *add_lane(struct lanes *t)
{
    if (t->count == t->capacity) {
        t->capacity = t->capacity == 0 ? 16 : t->capacity * 2;
        t->list = xrealloc(t->list, t->capacity * sizeof t->list[0]);
    }
    t->list[t->count] = (struct lane){0};
    return &t->list[t->count++];
}

void lanes_forget(struct relay *r)
{
    struct lanes *t = &r->lanes;

    while (t->count > 0)
        lane_release(&t->list[--t->count]);
    if (t->changing)
        lane_release(&t->fresh);
    t->changing = false;
    t->last = 0;
    t->given_up = 0;
}

void lanes_release(struct relay *r)
{
    lanes_forget(r);
    free(r->lanes.list);
}

void lanes_load(struct relay *r, const struct lease_view *view)
{
    lanes_forget(r);
    r->lanes.last = view->last_lane;
    r->lanes.given_up = view->given_up;
    for (uint32_t i = 0; i < view->lane_count; i++) {
        const struct lane_view *v = &view->lanes[i];
        struct lane *l = add_lane(&r->lanes);

        l->id = v->id;
        l->by = v->filter.by;
        str_put_slice(&l->topic, v->filter.topic);
        str_put_slice(&l->key, v->filter.key);
        l->partition = v->filter.partition;
        l->partitions = v->filter.partitions;
        position_copy(&l->position, &v->position);
        l->trouble = v->trouble;
        l->asked = v->asked;
    }
    if (view->folded)
        relay_note(r, RELAY_NOTE_LANES_FOLDED);
}

/* The narrowest that covers it; NULL: it is main's. */
static const struct lane *owner_of(const struct relay *r, struct slice topic, struct slice key)
{
    const struct lane *owner = NULL;

    for (uint32_t i = 0; i < r->lanes.count; i++) {
        const struct lane *l = &r->lanes.list[i];
        struct lane_filter f = filter_of(l);

        if ((owner == NULL || l->by < owner->by) && lane_filter_covers(&f, topic, key))
            owner = l;
    }
    return owner;
}

bool lanes_pass(struct relay *r, const struct stream *s, const struct event *e)
{
    const struct lane *owner;

    if (s->number == MAIN_STREAM && r->lanes.given_up == e->id && e->id != 0)
        return true;
    if (r->lanes.count == 0)
        return false;
    message_address(&r->message, r->params.routes, e);
    owner = owner_of(r, r->message.topic, r->message.key);
    return (owner != NULL ? owner->id : 0) != s->lane;
}

/* ---- a lane is made ---- */

void lanes_blame(struct relay *r, struct stream *s, uint64_t seq)
{
    struct culprit *c = &s->rec.culprit;

    c->seq = seq;
    c->route = (uint32_t)r->message.route;
    str_reset(&c->topic);
    str_put_slice(&c->topic, r->message.topic);
    str_reset(&c->key);
    str_put_slice(&c->key, r->message.key);
}

bool lanes_park(const struct relay *r, size_t route)
{
    return r->params.routes->routes[route].on_error != ON_ERROR_HALT;
}

static uint32_t count_by_key(const struct relay *r)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < r->lanes.count; i++)
        n += r->lanes.list[i].by == LANE_BY_KEY;
    return n;
}

/* What the lane of this recovery covers. A topic that is no name has no lane of its own. */
static enum lane_by width(const struct relay *r, const struct stream *s)
{
    const struct culprit *c = &s->rec.culprit;
    struct slice topic = str_slice(&c->topic);

    if (s->rec.cause == REFUSAL_STALLED)
        return LANE_BY_PARTITION;
    if (refusal_class(s->rec.cause) == REFUSAL_TOPIC)
        return s->rec.cause == REFUSAL_PARTITION_GONE && c->partition >= 0 ? LANE_BY_PARTITION
                                                                           : LANE_BY_TOPIC;
    if (topic.len == 0)
        return LANE_BY_KEY;
    if (count_by_key(r) >= r->params.max_lanes || !route_topic_allowed(r->params.routes, topic))
        return LANE_BY_TOPIC;
    return LANE_BY_KEY;
}

static void fill_fresh(struct relay *r, const struct stream *s)
{
    struct lane *l = &r->lanes.fresh;

    *l = (struct lane){.id = r->lanes.last + 1, .by = width(r, s)};
    str_copy(&l->topic, &s->rec.culprit.topic);
    if (l->by == LANE_BY_KEY)
        str_copy(&l->key, &s->rec.culprit.key);
    if (l->by == LANE_BY_PARTITION) {
        l->partition = s->rec.culprit.partition;
        l->partitions = s->rec.culprit.partitions;
    }
    l->trouble = s->rec.trouble;
    l->trouble.lane = l->id;
    l->trouble.lane_by = l->by;
    /* Only a lane's next event may be skipped: so no other is named. */
    if (!s->rec.culprit.is_next) {
        l->trouble.event_id[0] = '\0';
        l->trouble.row_id = 0;
    }
    window_position(&s->window, &l->position);
}

void lanes_split(struct relay *r, struct stream *s)
{
    struct lanes *t = &r->lanes;
    struct lane_filter filter;

    assert(!t->changing);
    assert(s->window.head == s->window.settled);
    fill_fresh(r, s);
    t->changing = true;
    t->stream = s->number;
    s->rec.feed = FEED_CHANGE;
    filter = filter_of(&t->fresh);
    RELAY_OP(r, r->source->change(r->source_ctx, r->lease.epoch,
                                  &(struct lane_change){
                                      .kind = CHANGE_SPLIT,
                                      .lane = t->fresh.id,
                                      .position = &t->fresh.position,
                                      .events = window_published(&s->window),
                                      .from = s->lane,
                                      .filter = &filter,
                                      .trouble = &t->fresh.trouble,
                                  }));
}

/* It is on disk: from now on the stream passes what the lane owns. */
static void lane_made(struct relay *r)
{
    struct lanes *t = &r->lanes;
    struct stream *s = relay_stream(r, t->stream);

    *add_lane(t) = t->fresh;
    t->last = t->fresh.id;
    t->fresh = (struct lane){0};
    window_mark_stored(&s->window, s->window.settled, s->window.version);
    r->counters.lanes_made++;
    r->host->note(r->host_ctx, RELAY_NOTE_PARKED, &t->list[t->count - 1].trouble);
    recovery_parked(r, s);
}

void relay_on_changed(struct relay *r, enum lease_answer answer)
{
    relay_enter(r);
    assert(r->lanes.changing);
    r->lanes.changing = false;
    if (answer != LEASE_LOST) {
        lane_made(r);
        pause_heed(r, answer == LEASE_PAUSED);
    } else {
        lane_release(&r->lanes.fresh);
        if (r->state == RELAY_DRAINING) {
            r->main.storing.refused = true; /* as in relay_on_stored */
        } else {
            relay_note(r, RELAY_NOTE_FENCED);
            relay_fall_back(r, 0);
        }
    }
    relay_pump(r);
}

void relay_on_asked(struct relay *r, const uint32_t *lanes, size_t count)
{
    relay_enter(r);
    for (size_t i = 0; i < count; i++)
        for (uint32_t k = 0; k < r->lanes.count; k++)
            if (r->lanes.list[k].id == lanes[i])
                r->lanes.list[k].asked = true;
}

void relay_lanes(const struct relay *r, struct relay_lanes *out)
{
    *out = (struct relay_lanes){0};
    for (uint32_t i = 0; i < r->lanes.count; i++) {
        const struct lane *l = &r->lanes.list[i];

        out->by[l->by]++;
        out->waiting++;
    }
}
