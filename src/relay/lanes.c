/* The lanes: what waits alone. Here is the table of those that there are, as the takeover read them
 * and every change since (change.c), and who owns a row.
 *
 * How it can fail: the epoch is not ours any more, or an answer never comes: everything is
 * forgotten, and read anew with the next takeover. */
#include "relay/internal.h"

#include "message/murmur2.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void lane_release(struct lane *l)
{
    str_release(&l->topic);
    str_release(&l->key);
    position_release(&l->position);
}

struct lane_filter lane_filter_of(const struct lane *l)
{
    return (struct lane_filter){
        .by = l->by,
        .topic = str_slice(&l->topic),
        .key = str_slice(&l->key),
        .partition = l->partition,
        .partitions = l->partitions,
    };
}

/* ---- who owns what: each row is asked about while there are lanes ---- */

static uint32_t *slot_of(const struct lanes *t, struct slice topic, struct slice key)
{
    uint32_t i = murmur2(key.ptr, key.len);

    if (topic.len > 0)
        i ^= murmur2(topic.ptr, topic.len);

    for (;; i++) {
        uint32_t *slot = &t->slots[i & (t->slot_count - 1)];

        if (*slot == 0)
            return slot;
        if (lane_name_eq(str_slice(&t->list[*slot - 1].topic), topic) &&
            lane_name_eq(str_slice(&t->list[*slot - 1].key), key))
            return slot;
    }
}

/* Whenever the table has changed, which is seldom. At most half of the slots are taken. */
static void build_index(struct lanes *t)
{
    t->slot_count = 16;
    while (t->slot_count < t->count * 2)
        t->slot_count *= 2;
    t->slots = xrealloc(t->slots, t->slot_count * sizeof t->slots[0]);
    memset(t->slots, 0, t->slot_count * sizeof t->slots[0]);
    t->wide = xrealloc(t->wide, t->slot_count * sizeof t->wide[0]);
    t->wide_count = 0;
    for (uint32_t i = 0; i < t->count; i++) {
        const struct lane *l = &t->list[i];

        if (l->by == LANE_BY_KEY)
            *slot_of(t, str_slice(&l->topic), str_slice(&l->key)) = i + 1;
        else
            t->wide[t->wide_count++] = i;
    }
}

/* The narrowest that covers it, of two by partition, made when the topic had different numbers of
 * them, the older; NULL: it is main's. */
static const struct lane *owner_of(const struct lanes *t, struct slice topic, struct slice key)
{
    const struct lane *owner = NULL;
    uint32_t slot = *slot_of(t, topic, key);

    if (slot != 0)
        return &t->list[slot - 1];
    for (uint32_t i = 0; i < t->wide_count; i++) {
        const struct lane *l = &t->list[t->wide[i]];
        struct lane_filter f = lane_filter_of(l);

        if (owner != NULL && (l->by > owner->by || (l->by == owner->by && l->id > owner->id)))
            continue;
        if (lane_filter_covers(&f, topic, key))
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
    owner = owner_of(&r->lanes, r->message.topic, r->message.key);
    return (owner != NULL ? owner->id : 0) != s->lane;
}

bool lanes_has_wider(const struct relay *r, const struct lane *l)
{
    const struct lanes *t = &r->lanes;

    for (uint32_t i = 0; i < t->wide_count; i++) {
        const struct lane *w = &t->list[t->wide[i]];
        struct lane_filter f = lane_filter_of(w);

        if (w->by < l->by)
            continue;
        if (w->by == l->by && (w->id <= l->id || w->partitions == l->partitions))
            continue;
        if (l->by == LANE_BY_KEY ? lane_filter_covers(&f, str_slice(&l->topic), str_slice(&l->key))
                                 : lane_name_eq(str_slice(&w->topic), str_slice(&l->topic)))
            return true;
    }
    return false;
}

/* ---- the table ---- */

struct lane *lanes_find(const struct relay *r, uint32_t id)
{
    for (uint32_t i = 0; i < r->lanes.count; i++)
        if (r->lanes.list[i].id == id)
            return &r->lanes.list[i];
    return NULL;
}

/* Without the index. */
static struct lane *append(struct lanes *t)
{
    if (t->count == t->capacity) {
        t->capacity = t->capacity == 0 ? 16 : t->capacity * 2;
        t->list = xrealloc(t->list, t->capacity * sizeof t->list[0]);
    }
    t->list[t->count] = (struct lane){0};
    return &t->list[t->count++];
}

void lanes_add(struct relay *r, struct lane *l)
{
    struct lanes *t = &r->lanes;

    l->looks = t->looks;
    *append(t) = *l;
    *l = (struct lane){0};
    build_index(t);
    t->due = 0;
}

void lanes_remove(struct relay *r, uint32_t id)
{
    struct lanes *t = &r->lanes;
    uint32_t i = 0;

    while (t->list[i].id != id)
        i++;
    lane_release(&t->list[i]);
    t->list[i] = t->list[--t->count];
    build_index(t);
    t->due = 0;
}

void lanes_forget(struct relay *r)
{
    struct lanes *t = &r->lanes;

    while (t->count > 0)
        lane_release(&t->list[--t->count]);
    lane_release(&t->fresh);
    t->fresh = (struct lane){0};
    t->changing = false;
    t->reader = 0;
    t->held_for = 0;
    t->last = 0;
    t->given_up = 0;
    t->looks = 0;
    t->due = 0;
}

void lanes_release(struct relay *r)
{
    lanes_forget(r);
    free(r->lanes.list);
    free(r->lanes.slots);
    free(r->lanes.wide);
    str_release(&r->lanes.frontier);
}

static void load(struct relay *r, struct lane *l, const struct lane_view *v)
{
    l->id = v->id;
    l->by = v->filter.by;
    str_put_slice(&l->topic, v->filter.topic);
    str_put_slice(&l->key, v->filter.key);
    l->partition = v->filter.partition;
    l->partitions = v->filter.partitions;
    position_copy(&l->position, &v->position);
    l->trouble = v->trouble;
    l->asked = v->asked;
    l->retry_at = relay_now(r);
}

void lanes_load(struct relay *r, const struct lease_view *view)
{
    lanes_forget(r);
    r->lanes.last = view->last_lane;
    r->lanes.given_up = view->given_up;
    for (uint32_t i = 0; i < view->lane_count; i++)
        load(r, append(&r->lanes), &view->lanes[i]);
    build_index(&r->lanes);
    if (view->folded)
        relay_note(r, RELAY_NOTE_LANES_FOLDED);
}

uint32_t lanes_by_key(const struct relay *r)
{
    return r->lanes.count - r->lanes.wide_count;
}

/* ---- answers, and looking in ---- */

/* They come again and again until the try that they began has an end. */
void relay_on_asked(struct relay *r, const uint32_t *lanes, size_t count)
{
    relay_enter(r);
    for (size_t i = 0; i < count; i++) {
        struct lane *l = lanes_find(r, lanes[i]);

        if (l == NULL || l->stream != 0)
            continue;
        l->asked = true;
        r->lanes.due = 0;
    }
}

/* It does not pass by itself. */
static bool waits_for_person(const struct lane *l)
{
    enum problem p = problem_parse(l->trouble.cause);

    return p != PROBLEM_NONE && problem_class(p) == PROBLEM_PERSON;
}

void relay_lanes(const struct relay *r, struct relay_lanes *out)
{
    *out = (struct relay_lanes){0};
    for (uint32_t i = 0; i < r->lanes.count; i++) {
        const struct lane *l = &r->lanes.list[i];

        out->by[l->by]++;
        if (l->stream == 0) {
            out->waiting++;
            out->for_person += waits_for_person(l);
        } else if (r->streams[l->stream]->trying.flowing) {
            out->flowing++;
        } else {
            out->tried++;
        }
    }
}
