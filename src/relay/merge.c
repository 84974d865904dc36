/* How far lanes may read, and how a lane comes back to main.
 *
 * A lane that has settled everything up to the frontier is where main is, but for main's own batch.
 * So main is held at the end of its batch until both have nothing unsettled and stand at the same
 * snapshot; then the lane's row goes and main's position is stored, in one transaction. Main must
 * have looked since the lane was made (or taken over): then what was refused lies before, and a
 * split does not follow the merge for ever (tests/model). Under a wider lane nothing is merged:
 * that one may be ahead of both.
 *
 * How it can fail: the lane does not get there within a second: main goes on, and it is tried again
 * later, with growing pauses. */
#include "relay/internal.h"

#include "relay/pacing.h"

#include <assert.h>
#include <stdlib.h>

#define HELD_MS        1000U
#define NEAR_MS        250U /* a lane whose last batch took no longer is about to be there */
#define AGAIN_FIRST_MS 1000U
#define AGAIN_MAX_MS   30000U

/* ---- the frontier ---- */

/* Of two snapshots of one server's main looks. In the text xmin:xmax:xip,xip the later one has the
 * greater xmax, or of the same xmax fewer transactions under way (PostgreSQL, pg_snapshot). */
static bool is_later(const char *a, const char *b)
{
    char *rest_a;
    char *rest_b;
    unsigned long long max_a;
    unsigned long long max_b;
    size_t under_way_a = 0;
    size_t under_way_b = 0;

    (void)strtoull(a, &rest_a, 10);
    (void)strtoull(b, &rest_b, 10);
    max_a = *rest_a == ':' ? strtoull(rest_a + 1, &rest_a, 10) : 0;
    max_b = *rest_b == ':' ? strtoull(rest_b + 1, &rest_b, 10) : 0;
    if (max_a != max_b)
        return max_a > max_b;
    for (; *rest_a != '\0'; rest_a++)
        under_way_a += *rest_a >= '0' && *rest_a <= '9' && (rest_a[-1] < '0' || rest_a[-1] > '9');
    for (; *rest_b != '\0'; rest_b++)
        under_way_b += *rest_b >= '0' && *rest_b <= '9' && (rest_b[-1] < '0' || rest_b[-1] > '9');
    return under_way_a < under_way_b;
}

void frontier_set(struct relay *r, struct slice snapshot, bool looked)
{
    str_reset(&r->lanes.frontier);
    str_put_slice(&r->lanes.frontier, snapshot);
    r->lanes.looks += looked;
}

bool frontier_is_beyond(const struct relay *r, const struct str *snapshot)
{
    return is_later(str_text(&r->lanes.frontier), str_text(snapshot));
}

/* ---- the merge ---- */

/* Nothing is unsettled, and it stands between two batches. */
static bool is_empty(const struct stream *s)
{
    return s->window.head == s->window.settled && s->window.batch_count == 0 &&
           s->reading.fetch == FETCH_NONE;
}

static bool is_up_to_date(const struct relay *r, const struct stream *s)
{
    return is_empty(s) && !frontier_is_beyond(r, window_read_base(&s->window));
}

/* Nowhere to go: the wider one comes first. */
static bool rests(struct relay *r, struct stream *s, struct lane *l)
{
    if (!lanes_has_wider(r, l))
        return false;
    if (!is_up_to_date(r, s) || window_is_dirty(&s->window) || s->storing.out)
        return true;
    window_position(&s->window, &l->position);
    l->retry_at = UINT64_MAX;
    RELAY_OP(r, r->sink->close(r->sink_ctx, s->number));
    relay_enter(r);
    try_end(r, s);
    return true;
}

static bool wants_merge(struct relay *r, struct stream *s)
{
    struct lane *l = lanes_find(r, s->lane);

    if (s->rec.feed != FEED_RUN || !is_empty(s) || r->lanes.looks == l->looks || rests(r, s, l))
        return false;
    if (!is_up_to_date(r, s) && s->trying.batch_took_ms > NEAR_MS)
        return false;
    if (relay_now(r) >= s->trying.merge_due)
        return true;
    relay_due(r, s->trying.merge_due);
    return false;
}

static struct stream *candidate(struct relay *r)
{
    for (uint32_t n = 1; n <= r->params.lanes_in_parallel; n++)
        if (r->streams[n] != NULL && r->streams[n]->lane != 0 && wants_merge(r, r->streams[n]))
            return r->streams[n];
    return NULL;
}

bool merge_holds(const struct relay *r, const struct stream *s)
{
    return s->number == MAIN_STREAM && r->lanes.held_for != 0;
}

void merge_let_go(struct relay *r)
{
    r->lanes.held_for = 0;
    r->lanes.held_since = 0;
}

bool merge_is_ready(const struct relay *r, const struct stream *s)
{
    const struct stream *m = &r->main;

    return m->rec.feed == FEED_RUN && is_empty(m) && is_empty(s) &&
           lane_name_eq(str_slice(&m->window.base), str_slice(&s->window.base)) &&
           !lanes_has_wider(r, lanes_find(r, s->lane));
}

/* Main waits at its batch's end; the lane is about to be there, or not. */
static void hold_pump(struct relay *r, struct stream *s)
{
    struct lanes *t = &r->lanes;
    struct stream *m = &r->main;

    if (s->rec.feed == FEED_CHANGE && s->rec.change == CHANGE_MERGE)
        return; /* until the answer */
    /* A wider one may have been made since it was chosen. */
    if (s->rec.feed != FEED_RUN || lanes_has_wider(r, lanes_find(r, s->lane))) {
        merge_let_go(r);
        return;
    }
    if (window_open_batch(&m->window) != NULL || m->reading.fetch != FETCH_NONE) {
        t->held_since = 0;
        return;
    }
    if (t->held_since == 0)
        t->held_since = relay_now(r);
    if (merge_is_ready(r, s)) {
        change_want(s, CHANGE_MERGE);
        return;
    }
    if (relay_now(r) < t->held_since + HELD_MS) {
        relay_due(r, t->held_since + HELD_MS);
        return;
    }
    s->trying.merge_failures++;
    s->trying.merge_due =
        relay_now(r) + pacing_backoff_ms(s->trying.merge_failures + 1, AGAIN_FIRST_MS, AGAIN_MAX_MS,
                                         r->host->random(r->host_ctx));
    merge_let_go(r);
}

void merge_pump(struct relay *r)
{
    struct lanes *t = &r->lanes;
    struct stream *s;
    struct lane *l;

    if (t->count == 0 || r->paused)
        return;
    if (t->held_for == 0) {
        s = candidate(r);
        if (s == NULL)
            return;
        t->held_for = s->lane;
        t->held_since = 0;
    }
    l = lanes_find(r, t->held_for);
    if (l == NULL || l->stream == 0)
        merge_let_go(r);
    else
        hold_pump(r, r->streams[l->stream]);
}

void merge_prepare(struct relay *r, struct stream *s, struct lane_change *c)
{
    (void)s;
    window_position(&r->main.window, &r->lanes.fresh.position);
    c->position = &r->lanes.fresh.position;
    c->events += window_published(&r->main.window);
}

void merge_done(struct relay *r, struct stream *s)
{
    struct lane *l = lanes_find(r, s->lane);
    struct trouble t = {.lane = l->id, .lane_by = l->by};

    r->counters.lanes_merged++;
    RELAY_OP(r, r->sink->close(r->sink_ctx, s->number));
    relay_enter(r);
    try_end(r, s);
    lanes_remove(r, t.lane);
    merge_let_go(r);
    if (r->lanes.count == 0 && r->lanes.reader == 0)
        RELAY_OP(r, r->source->rest(r->source_ctx));
    r->host->note(r->host_ctx, RELAY_NOTE_LANE_MERGED, &t);
}
