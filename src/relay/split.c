/* What was refused becomes a lane. The stream has been rewound to its settled prefix, which is
 * where the lane begins; both positions are stored in one transaction. Nothing is fed meanwhile;
 * after the answer the stream reads on, and passes what the lane owns. */
#include "relay/internal.h"

#include <assert.h>

void split_blame(struct relay *r, struct stream *s, uint64_t seq)
{
    struct culprit *c = &s->rec.culprit;

    c->seq = seq;
    c->route = (uint32_t)r->message.route;
    str_reset(&c->topic);
    str_put_slice(&c->topic, r->message.topic);
    str_reset(&c->key);
    str_put_slice(&c->key, r->message.key);
}

bool split_parks(const struct relay *r, size_t route)
{
    return r->params.routes->routes[route].on_error != ON_ERROR_HALT;
}

/* What the lane of this recovery covers. A topic that is no name has no lane of its own. */
static enum lane_by width(const struct relay *r, const struct stream *s)
{
    const struct culprit *c = &s->rec.culprit;
    struct slice topic = str_slice(&c->topic);

    if (s->rec.cause == REFUSAL_STALLED || s->rec.cause == REFUSAL_PARTITION_GONE)
        return c->partition >= 0 ? LANE_BY_PARTITION : LANE_BY_TOPIC;
    if (refusal_class(s->rec.cause) == REFUSAL_TOPIC)
        return LANE_BY_TOPIC;
    if (topic.len == 0)
        return LANE_BY_KEY;
    if (lanes_by_key(r) >= r->params.max_lanes || !route_topic_allowed(r->params.routes, topic))
        return LANE_BY_TOPIC;
    return LANE_BY_KEY;
}

/* What can pass by itself makes no lane, and what concerns one message only when it is found. */
bool split_wanted(const struct relay *r, const struct stream *s)
{
    const struct recovering *c = &s->rec;

    if (!split_parks(r, c->culprit.route))
        return false;
    if (s->lane != 0 && width(r, s) >= lanes_find(r, s->lane)->by)
        return false;
    if (c->cause == REFUSAL_STALLED) /* one partition: see stall.c */
        return true;
    switch (refusal_class(c->cause)) {
    case REFUSAL_TOPIC:
        return true;
    case REFUSAL_MESSAGE:
        return c->culprit_known;
    case REFUSAL_TRANSIENT:
    case REFUSAL_SESSION:
        break;
    }
    return false;
}

static void fill(struct relay *r, const struct stream *s, struct lane *l)
{
    const struct culprit *c = &s->rec.culprit;

    *l = (struct lane){.id = r->lanes.last + 1, .by = width(r, s)};
    str_copy(&l->topic, &c->topic);
    if (l->by == LANE_BY_KEY)
        str_copy(&l->key, &c->key);
    if (l->by == LANE_BY_PARTITION) {
        l->partition = c->partition;
        l->partitions = c->partitions;
    }
    l->trouble = s->rec.trouble;
    window_position(&s->window, &l->position);
}

void split_prepare(struct relay *r, struct stream *s, struct lane_change *c)
{
    struct lane *l = &r->lanes.fresh;

    assert(s->window.head == s->window.settled);
    fill(r, s, l);
    l->trouble.attempts = 1;
    try_pause(r, s, l);
    c->lane = l->id;
    c->from = s->lane;
    c->position = &l->position;
    c->trouble = &l->trouble;
}

/* It is on disk: from now on the stream passes what the lane owns. */
void split_done(struct relay *r, struct stream *s)
{
    struct trouble parked = r->lanes.fresh.trouble;

    r->lanes.last = r->lanes.fresh.id;
    lanes_add(r, &r->lanes.fresh);
    r->counters.lanes_made++;
    r->host->note(r->host_ctx, RELAY_NOTE_PARKED, &parked);
    recovery_parked(r, s);
}
