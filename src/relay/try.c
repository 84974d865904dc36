/* A lane is tried: a stream with a fresh producer reads it from its position, one event alone at
 * first. The acknowledgement makes it flow; any failure ends the try: what is not settled is
 * forgotten, position and reason are stored, and the lane rests until the next try, after growing
 * pauses. What passes by itself, or by somebody's hand, is noticed within three seconds; an event
 * that was refused for what it is is tried ever more seldom, or at an operator's word.
 *
 * The next event of a lane whose route says `skip` is given up: its dead letter is sent in its
 * place, and when that is acknowledged, both the record and the position behind it are stored at
 * once. But only if this process has had it refused: what an earlier one had may have been mended
 * with the configuration. */
#include "relay/internal.h"

#include "relay/pacing.h"

#include <assert.h>

#define EVENT_RETRY_FIRST_MS 1000U
#define EVENT_RETRY_MAX_MS   300000U

/* ---- the end of a try ---- */

static bool gives_up(const struct relay *r, size_t route, struct slice topic)
{
    return r->params.routes->routes[route].on_error == ON_ERROR_SKIP &&
           (topic.len == 0 || route_topic_allowed(r->params.routes, topic));
}

void try_pause(struct relay *r, const struct stream *s, struct lane *l)
{
    const struct culprit *c = &s->rec.culprit;
    bool event = refusal_class(s->rec.cause) == REFUSAL_MESSAGE;
    struct trouble *t = &l->trouble;
    uint32_t pause =
        pacing_backoff_ms(t->attempts + 1, event ? EVENT_RETRY_FIRST_MS : RETRY_FIRST_MS,
                          event ? EVENT_RETRY_MAX_MS : RETRY_MAX_MS, r->host->random(r->host_ctx));

    t->lane = l->id;
    t->lane_by = l->by;
    t->halted = false;
    /* Only a lane's next event may be skipped: so no other is named. */
    if (!event || !c->is_next) {
        t->event_id[0] = '\0';
        t->row_id = 0;
    }
    l->refused = t->row_id;
    if (event && t->row_id != 0 && !s->trying.burying &&
        gives_up(r, c->route, str_slice(&c->topic)))
        pause = 0; /* at once, the dead letter */
    t->next_try_ms = pause > 0 ? pause : 1;
    l->retry_at = relay_now(r) + pause;
}

void try_end(struct relay *r, struct stream *s)
{
    struct lane *l = lanes_find(r, s->lane);

    if (l != NULL)
        l->stream = 0;
    s->lane = 0;
    s->rec.feed = FEED_RUN;
    r->lanes.due = 0;
}

void try_fail(struct relay *r, struct stream *s)
{
    r->counters.duplicates_possible += s->window.in_flight;
    RELAY_OP(r, r->sink->close(r->sink_ctx, s->number));
    relay_enter(r);
    topics_close_all(&s->topics);
    (void)window_rewind(&s->window);
    reading_discard(r, s);
    s->reading.blocked = false;
    s->rec.sound = false;
    change_want(s, CHANGE_FAIL);
}

void try_fail_prepare(struct relay *r, struct stream *s, struct lane_change *c)
{
    struct lane *l = lanes_find(r, s->lane);
    uint32_t attempts = s->trying.flowing ? 1 : l->trouble.attempts + 1;

    l->trouble = s->rec.trouble;
    l->trouble.attempts = attempts;
    try_pause(r, s, l);
    window_position(&s->window, &l->position);
    c->position = &l->position;
    c->trouble = &l->trouble;
}

void try_failed(struct relay *r, struct stream *s)
{
    r->host->note(r->host_ctx, RELAY_NOTE_LANE_TRIED, &lanes_find(r, s->lane)->trouble);
    try_end(r, s);
}

/* ---- it flows ---- */

static void forget_trouble(struct lane *l)
{
    l->trouble = (struct trouble){.lane = l->id, .lane_by = l->by};
    l->refused = 0;
}

static void note_lane(struct relay *r, const struct lane *l, enum relay_note note)
{
    struct trouble t = l->trouble;

    t.lane = l->id;
    t.lane_by = l->by;
    r->host->note(r->host_ctx, note, &t);
}

void try_acked(struct relay *r, struct stream *s)
{
    struct lane *l;

    if (s->trying.burying) {
        change_want(s, CHANGE_SKIP);
        reading_discard(r, s);
        return;
    }
    r->counters.lane_events++;
    if (s->trying.flowing)
        return;
    s->trying.flowing = true;
    s->trying.named = 0;
    l = lanes_find(r, s->lane);
    note_lane(r, l, RELAY_NOTE_LANE_FLOWS);
    forget_trouble(l);
}

/* ---- given up ---- */

bool try_buries(const struct relay *r, const struct stream *s, const struct event *e)
{
    return s->lane != 0 && s->trying.named == e->id && s->trying.named != 0 &&
           s->window.head == s->window.settled && gives_up(r, r->message.route, r->message.topic);
}

void try_skip_prepare(struct relay *r, struct stream *s, struct lane_change *c)
{
    struct lane *l = lanes_find(r, s->lane);

    window_position(&s->window, &r->lanes.fresh.position);
    c->position = &r->lanes.fresh.position;
    c->trouble = &l->trouble;
    c->dead_letter_topic = r->params.routes->routes[s->rec.culprit.route].dead_letter_topic;
    if (s->trying.burying) /* its dead letter is no event */
        c->events--;
}

void try_skipped(struct relay *r, struct stream *s)
{
    struct lane *l = lanes_find(r, s->lane);

    r->counters.events_skipped++;
    note_lane(r, l, RELAY_NOTE_SKIPPED);
    forget_trouble(l);
    s->trying.burying = false;
    s->trying.named = 0;
    recovery_careful(s, 1, 1);
    recovery_again(r, s);
}

/* ---- the beginning ---- */

static void begin(struct relay *r, struct lane *l, struct stream *s)
{
    struct err err = {0};
    int rc;

    l->asked = false;
    l->stream = s->number;
    s->lane = l->id;
    topics_release(&s->topics); /* they are numbered anew */
    topics_init(&s->topics);
    window_load(&s->window, &l->position);
    reading_reset(r, s);
    s->storing.dirty_since = 0;
    recovery_careful(s, 1, 1);
    s->rec.attempts = 0;
    s->rec.culprit_known = false;
    s->rec.stalled = false;
    s->rec.trouble = (struct trouble){0};
    s->trying = (struct trying){
        .named = l->refused, .batch_took_ms = UINT32_MAX, .batch_began = relay_now(r)};
    r->counters.lane_tries++;
    r->in_op = true;
    rc = r->sink->reset(r->sink_ctx, s->number, &err);
    r->in_op = false;
    relay_enter(r);
    recovery_again(r, s);
    s->rec.diagnose_due = 0;
    if (rc != 0) {
        recovery_begin(r, s, REFUSAL_PRODUCER_FATAL, err.text);
        try_fail(r, s);
    }
}

/* A read that is out for an earlier try is answered first. */
static struct stream *free_stream(struct relay *r)
{
    for (uint32_t n = 1; n <= r->params.lanes_in_parallel; n++) {
        struct stream *s = r->streams[n];

        if (s == NULL) {
            s = xcalloc(1, sizeof *s);
            stream_init(s, n, r->params.window_events, r->params.window_bytes / 4 + 1);
            r->streams[n] = s;
        }
        if (s->lane == 0 && s->reading.fetch == FETCH_NONE)
            return s;
    }
    return NULL;
}

/* When a lane at rest is tried. Below a wider one it could not be merged: that one comes first,
 * unless an operator asks. */
static uint64_t due_of(const struct relay *r, const struct lane *l)
{
    if (l->asked)
        return 0;
    if (lanes_has_wider(r, l))
        return UINT64_MAX;
    return l->retry_at == UINT64_MAX ? 0 : l->retry_at;
}

static struct lane *first_due(const struct relay *r, uint64_t *due)
{
    struct lane *first = NULL;

    *due = UINT64_MAX;
    for (uint32_t i = 0; i < r->lanes.count; i++) {
        struct lane *l = &r->lanes.list[i];
        uint64_t at = l->stream == 0 ? due_of(r, l) : UINT64_MAX;

        if (at < *due) {
            *due = at;
            first = l;
        }
    }
    return first;
}

void tries_pump(struct relay *r)
{
    struct lanes *t = &r->lanes;
    struct stream *s;
    struct lane *l;

    if (t->count == 0 || r->paused)
        return;
    while (t->due <= relay_now(r)) {
        l = first_due(r, &t->due);
        if (l == NULL || t->due > relay_now(r))
            break;
        s = free_stream(r);
        if (s == NULL) { /* until one ends */
            t->due = UINT64_MAX;
            return;
        }
        begin(r, l, s);
        t->due = 0;
    }
    if (t->due != UINT64_MAX)
        relay_due(r, t->due);
}

void tries_close(struct relay *r)
{
    for (uint32_t n = 1; n < STREAMS_MAX; n++) {
        struct stream *s = r->streams[n];

        if (s == NULL)
            continue;
        if (s->lane != 0) {
            r->counters.duplicates_possible += s->window.in_flight;
            RELAY_OP(r, r->sink->close(r->sink_ctx, s->number));
            (void)window_rewind(&s->window);
        }
        s->lane = 0;
        s->reading.fetch = FETCH_NONE;
        s->reading.held = false;
        s->storing.out = false;
        s->rec.feed = FEED_RUN;
    }
}
