/* Changes of lanes: each is one transaction that is on disk before its answer, and one is out at a
 * time. A stream that wants one feeds nothing until then (FEED_CHANGE). The order: what lets others
 * go on comes first.
 *
 * How it can fail: the epoch is not ours any more: nothing was changed, everything is forgotten. No
 * answer comes: the session is lost, and the next takeover reads which of both happened. */
#include "relay/internal.h"

#include <assert.h>

void change_want(struct stream *s, enum lane_change_kind kind)
{
    s->rec.feed = FEED_CHANGE;
    s->rec.change = kind;
}

static unsigned rank_of(enum lane_change_kind kind)
{
    switch (kind) {
    case CHANGE_SPLIT:
        return 0;
    case CHANGE_MERGE:
        return 1;
    case CHANGE_SKIP:
        return 2;
    case CHANGE_FAIL:
        break;
    }
    return 3;
}

/* A store of the same position must have been answered: it is older. A merge that waits behind a
 * split is wanted no longer. */
static bool is_ready(struct relay *r, struct stream *s)
{
    if (s->rec.feed != FEED_CHANGE || s->storing.out)
        return false;
    if (s->rec.change != CHANGE_MERGE)
        return true;
    if (merge_is_ready(r, s))
        return !r->main.storing.out;
    merge_let_go(r);
    recovery_again(r, s);
    return false;
}

static struct stream *most_urgent(struct relay *r)
{
    struct stream *urgent = NULL;

    for (struct stream *s = NULL; (s = relay_next_stream(r, s)) != NULL;)
        if (is_ready(r, s) &&
            (urgent == NULL || rank_of(s->rec.change) < rank_of(urgent->rec.change)))
            urgent = s;
    return urgent;
}

/* Whose position the change stores. */
static struct stream *moved_by(struct relay *r, struct stream *s)
{
    return r->lanes.change == CHANGE_MERGE ? &r->main : s;
}

static void prepare(struct relay *r, struct stream *s, struct lane_change *c)
{
    switch (c->kind) {
    case CHANGE_SPLIT:
        split_prepare(r, s, c);
        break;
    case CHANGE_FAIL:
        try_fail_prepare(r, s, c);
        break;
    case CHANGE_SKIP:
        try_skip_prepare(r, s, c);
        break;
    case CHANGE_MERGE:
        merge_prepare(r, s, c);
        break;
    }
}

void changes_pump(struct relay *r)
{
    struct lanes *t = &r->lanes;
    struct stream *s = t->changing ? NULL : most_urgent(r);
    struct lane_filter filter;
    struct lane_change c;
    struct stream *moved;

    if (s == NULL)
        return;
    t->changing = true;
    t->change = s->rec.change;
    t->stream = s->number;
    moved = moved_by(r, s);
    moved->storing.settled = moved->window.settled;
    moved->storing.version = moved->window.version;
    c = (struct lane_change){
        .kind = t->change, .lane = s->lane, .events = window_published(&s->window)};
    prepare(r, s, &c);
    if (c.kind == CHANGE_SPLIT) {
        filter = lane_filter_of(&t->fresh);
        c.filter = &filter;
    }
    RELAY_OP(r, r->source->change(r->source_ctx, r->lease.epoch, &c));
}

static void done(struct relay *r, struct stream *s)
{
    struct stream *moved = moved_by(r, s);

    window_mark_stored(&moved->window, moved->storing.settled, moved->storing.version);
    moved->storing.dirty_since = 0;
    switch (r->lanes.change) {
    case CHANGE_SPLIT:
        split_done(r, s);
        break;
    case CHANGE_FAIL:
        try_failed(r, s);
        break;
    case CHANGE_SKIP:
        try_skipped(r, s);
        break;
    case CHANGE_MERGE:
        merge_done(r, s);
        break;
    }
    lane_release(&r->lanes.fresh);
    r->lanes.fresh = (struct lane){0};
}

void relay_on_changed(struct relay *r, enum lease_answer answer)
{
    relay_enter(r);
    assert(r->lanes.changing);
    r->lanes.changing = false;
    if (answer != LEASE_LOST) {
        done(r, relay_stream(r, r->lanes.stream));
        pause_heed(r, answer == LEASE_PAUSED);
    } else {
        lease_lost(r);
    }
    relay_pump(r);
}
