/* Reading of lanes. A lane never looks for events itself: main does, and the snapshot of its last
 * look is the frontier up to which lanes read, batch by batch. One read of all lanes is out at a
 * time, beside main's.
 *
 * A page may end before the batch, although it has fewer rows than were asked for: of a rare key's
 * batch only so many rows are looked at in one query. */
#include "relay/internal.h"

#include <assert.h>

#define CHASE_FIRST_MS 10U /* between two batches without an event of the lane's */
#define CHASE_MAX_MS   1000U

static void begin_batch(struct relay *r, struct stream *s)
{
    window_begin_batch(&s->window, str_slice(&r->lanes.frontier));
    s->reading.probed = false;
    s->trying.batch_began = relay_now(r);
    s->trying.owned = 0;
}

/* Main looks often; a lane that is up to date need not follow each time, but when main waits. */
static bool may_begin(struct relay *r, struct stream *s)
{
    if (!window_has_batch_room(&s->window) || !frontier_is_beyond(r, window_read_base(&s->window)))
        return false;
    if (r->lanes.held_for == s->lane || relay_now(r) >= s->reading.due)
        return true;
    relay_due(r, s->reading.due);
    return false;
}

void lane_reading_pump(struct relay *r, struct stream *s)
{
    uint32_t rows;

    if (window_open_batch(&s->window) == NULL) {
        if (!may_begin(r, s))
            return;
        begin_batch(r, s);
    }
    if (r->lanes.reader != 0)
        return; /* its answer comes, and everybody is asked again */
    rows = reading_page_rows(r, s);
    if (rows > 0)
        reading_ask(r, s, rows);
}

static void end_batch(struct relay *r, struct stream *s)
{
    struct trying *t = &s->trying;

    window_complete_batch(&s->window);
    t->batch_took_ms = (uint32_t)(relay_now(r) - t->batch_began);
    if (t->owned > 0)
        t->pause_ms = 0;
    else if (t->pause_ms == 0)
        t->pause_ms = CHASE_FIRST_MS;
    else
        t->pause_ms = t->pause_ms * 2 < CHASE_MAX_MS ? t->pause_ms * 2 : CHASE_MAX_MS;
    s->reading.due = relay_now(r) + t->pause_ms;
}

void lane_page_fetched(struct relay *r, struct stream *s, const struct fetched *f)
{
    const struct window_batch *b = window_open_batch(&s->window);

    if (f->dropped || s->reading.taken < f->rows)
        return; /* there is more */
    if (f->read_to == INT64_MAX)
        end_batch(r, s);
    else if (f->read_to > b->read_id && !window_pass(&s->window, f->read_to))
        s->reading.blocked = s->window.in_flight > 0; /* no room: looked at once more */
}
