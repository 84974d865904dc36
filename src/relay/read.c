/* Reading: when to look for events, for how many, and when to sleep.
 *
 * Between batches: a look (one statement) returns what became visible, which is the whole batch; or
 * it says that there is a backlog, which is then probed once and read by pages under one target.
 * After 30 ms without an event the doorbell is armed, one more look begins after that, and only if
 * it finds nothing we sleep: a writer that committed before it is seen by that look, and one that
 * commits later rings.
 *
 * How it can fail: the window is full: nothing is asked for until there is room. A row is held too
 * long (Kafka is away): the rest of the page is dropped, so that the server keeps no snapshot for
 * us, and read again later. */
#include "relay/internal.h"

#include <assert.h>

const char *wakeup_cause_name(enum wakeup_cause c)
{
    switch (c) {
    case WAKEUP_NOTIFY:
        return "notify";
    case WAKEUP_POLLED:
        return "poll";
    case WAKEUP_FALLBACK:
        return "fallback";
    case WAKEUP_BACKLOG:
        return "backlog";
    case WAKEUP_CAUSES:
        break;
    }
    return "";
}

void reading_reset(struct relay *r, struct stream *s)
{
    struct reading *d = &s->reading;

    d->fetch = FETCH_NONE;
    d->discard = false;
    d->held = false;
    d->blocked = false;
    d->probed = false;
    d->bell = BELL_OFF;
    d->cause = WAKEUP_POLLED;
    d->pause_ms = POLL_FIRST_MS;
    d->due = relay_now(r);
    d->last_event = d->due;
    d->arm_due = d->due;
}

void reading_begin_batch(struct relay *r, struct stream *s)
{
    window_begin_batch(&s->window, str_slice(&s->reading.snapshot));
    frontier_set(r, str_slice(&s->reading.snapshot), true);
    /* What an earlier batch's probe found says nothing about this one: lower ids would be passed
     * over. */
    s->reading.probed = false;
}

void reading_discard(struct relay *r, struct stream *s)
{
    struct reading *d = &s->reading;

    if (d->fetch == FETCH_NONE)
        return;
    d->discard = true;
    if (d->held) {
        d->held = false;
        RELAY_OP(r, r->source->drop_rest(r->source_ctx, s->number));
    }
}

/* ---- the doorbell
 * --------------------------------------------------------------------------------------------------
 */

static void bell_off(struct relay *r)
{
    struct stream *s = &r->main;
    struct reading *d = &s->reading;

    if (d->bell == BELL_ARMED || d->bell == BELL_CHECKED || d->bell == BELL_ASLEEP)
        RELAY_OP(r, r->source->disarm(r->source_ctx, r->lease.bell));
    if (d->bell != BELL_ARMING)
        d->bell = BELL_OFF;
}

void relay_on_armed(struct relay *r, bool armed)
{
    struct stream *s = &r->main;
    struct reading *d = &s->reading;

    relay_enter(r);
    if (d->bell != BELL_ARMING)
        return;
    if (armed) {
        d->bell = BELL_ARMED;
        d->due = relay_now(r);
        if (r->paused)
            bell_off(r);
    } else {
        d->bell = BELL_OFF;
        d->arm_due = relay_now(r) + ARM_RETRY_MS;
    }
    relay_pump(r);
}

/* Anybody may notify: the bell counts only while it is armed, and it is armed at most every 30 ms.
 */
void relay_on_bell(struct relay *r)
{
    struct stream *s = &r->main;
    struct reading *d = &s->reading;

    relay_enter(r);
    if (d->bell != BELL_ARMED && d->bell != BELL_CHECKED && d->bell != BELL_ASLEEP)
        return;
    bell_off(r);
    d->cause = WAKEUP_NOTIFY;
    d->due = relay_now(r);
    d->pause_ms = POLL_FIRST_MS;
    d->last_event = d->due;
    relay_pump(r);
}

/* A look found nothing. `still`: no transaction has ended since the last one, which is cheap to
 * find out: while events come, it is asked every POLL_FIRST_MS. */
static void looked_in_vain(struct relay *r, bool still)
{
    struct stream *s = &r->main;
    struct reading *d = &s->reading;
    uint64_t now = relay_now(r);
    uint32_t longest = r->params.wakeup == WAKEUP_POLL ? r->params.poll_max_ms : POLL_ACTIVE_MS;

    if (d->bell == BELL_CHECKED || d->bell == BELL_ASLEEP) {
        d->bell = BELL_ASLEEP;
        d->cause = WAKEUP_FALLBACK;
        d->due = now + r->params.fallback_ms;
        return;
    }
    d->cause = WAKEUP_POLLED;
    if (still && now - d->last_event < r->params.quiet_ms) {
        d->due = now + POLL_FIRST_MS;
    } else {
        d->due = now + d->pause_ms;
        d->pause_ms = d->pause_ms * 2 < longest ? d->pause_ms * 2 : longest;
    }
    if (r->params.wakeup == WAKEUP_DOORBELL && d->bell == BELL_OFF && now >= d->arm_due &&
        now - d->last_event >= r->params.quiet_ms) {
        d->bell = BELL_ARMING;
        RELAY_OP(r, r->source->arm(r->source_ctx, r->lease.bell));
    }
}

void reading_found(struct relay *r, struct stream *s)
{
    struct reading *d = &s->reading;

    d->last_event = relay_now(r);
    d->pause_ms = POLL_FIRST_MS;
    if (s->number == MAIN_STREAM && !d->cause_counted) {
        d->cause_counted = true;
        r->counters.wakeups[d->cause]++;
    }
}

void reading_hold_still(struct relay *r)
{
    for (struct stream *s = NULL; (s = relay_next_stream(r, s)) != NULL;)
        reading_discard(r, s);
    bell_off(r);
}

void reading_go_on(struct relay *r)
{
    struct stream *s = &r->main;
    struct reading *d = &s->reading;

    d->cause = WAKEUP_POLLED;
    d->due = relay_now(r);
    d->last_event = d->due;
    d->arm_due = d->due;
    d->pause_ms = POLL_FIRST_MS;
}

/* ---- asking
 * --------------------------------------------------------------------------------------------------------
 */

/* Asking for a few rows at a time would waste round trips: wait until a quarter of the window is
 * free. */
static uint32_t rows_that_fit(const struct stream *s, uint32_t most)
{
    uint32_t rows = window_free(&s->window);
    size_t room = s->window_bytes;
    size_t by_bytes;
    uint32_t group;

    if (rows < (s->window.capacity + 3) / 4)
        return 0;
    if (s->rec.careful > 0 && s->lane != 0) { /* the next group is fetched when it may be sent */
        if (s->window.in_flight > 0)
            return 0;
        group = s->window.head < s->rec.group_end ? (uint32_t)(s->rec.group_end - s->window.head)
                                                  : s->rec.group * 2;
        most = group < most ? group : most;
    }
    if (s->window.in_flight > 0) {
        if (s->window.in_flight_bytes >= room - room / 4)
            return 0;
        room -= s->window.in_flight_bytes;
    }
    by_bytes = room / s->reading.mean_bytes + 1;
    if (rows > by_bytes)
        rows = (uint32_t)by_bytes;
    return rows < most ? rows : most;
}

/* A page may have as many bytes as the whole window: rows that find no room are held, and the
 * socket with them, until reports make some. Each page costs Postgres a plan of all partitions, 0.5
 * to 2 ms, which pages of the free part alone would pay for every few hundred large events. */
static uint32_t rows_of_page(const struct stream *s)
{
    size_t by_bytes = s->window_bytes / s->reading.mean_bytes + 1;
    uint32_t fit = rows_that_fit(s, PAGE_ROWS);
    uint32_t rows = PAGE_ROWS;

    if (fit == 0 || (s->rec.careful > 0 && s->lane != 0))
        return fit;
    if (rows > window_free(&s->window))
        rows = window_free(&s->window);
    return rows > by_bytes ? (uint32_t)by_bytes : rows;
}

/* What streams have asked for, and may send. */
static uint32_t promised_rows(const struct relay *r)
{
    uint32_t n = 0;

    for (const struct stream *s = NULL; (s = relay_next_stream(r, s)) != NULL;)
        if (s->reading.fetch == FETCH_POLL || s->reading.fetch == FETCH_PAGE)
            n += s->reading.asked - s->reading.taken;
    return n;
}

/* Of `rows`, as many as relay.max_rate lets go now; 0: none, and the tick is asked for. */
static uint32_t rows_by_rate(struct relay *r, uint32_t rows)
{
    uint32_t may_go = rows > 0 ? rate_events(&r->rate, relay_now(r)) : UINT32_MAX;
    uint32_t promised;

    if (may_go == 0) {
        relay_due(r, rate_due(&r->rate));
    } else if (may_go !=
               UINT32_MAX) { /* without any left, the answer of who has them comes first */
        promised = promised_rows(r);
        may_go = may_go > promised ? may_go - promised : 0;
    }
    return rows < may_go ? rows : may_go;
}

uint32_t reading_page_rows(struct relay *r, struct stream *s)
{
    return rows_by_rate(r, rows_of_page(s));
}

static void begin_fetch(struct relay *r, struct stream *s, enum fetch kind, uint32_t rows)
{
    struct reading *d = &s->reading;

    d->fetch = kind;
    d->asked = rows;
    d->discard = false;
    d->held = false;
    d->first_held = 0;
    d->complete = false;
    d->taken = 0;
    d->cause_counted = false;
    if (kind == FETCH_PAGE)
        d->cause = WAKEUP_BACKLOG;
    if (s->number != MAIN_STREAM)
        r->lanes.reader = r->lanes.last_reader = s->number;
}

static void ask_poll(struct relay *r, struct stream *s, uint32_t rows)
{
    struct reading *d = &s->reading;
    size_t bytes = r->params.window_bytes < POLL_BYTES ? r->params.window_bytes : POLL_BYTES;

    begin_fetch(r, s, FETCH_POLL, rows);
    if (d->bell == BELL_ARMED)
        d->bell = BELL_CHECKED; /* this look begins after the bell was armed */
    r->counters.polls++;
    RELAY_OP(r, r->source->poll(r->source_ctx, window_read_base(&s->window), rows, bytes));
}

/* The open batch as a position: where its next row is read from. */
static void reading_position(struct stream *s, struct position *out)
{
    const struct window_batch *b = window_open_batch(&s->window);
    uint32_t last;

    /* the base of the open batch is the target of the one before it */
    last = s->window.batch_count - 1;
    if (last == 0)
        out->base = s->window.base;
    else
        out->base = s->window.batches[(s->window.first_batch + last - 1) % WINDOW_BATCHES].target;
    out->target = b->target;
    out->last_id = b->read_id;
}

void reading_ask(struct relay *r, struct stream *s, uint32_t rows)
{
    struct reading *d = &s->reading;
    struct position at; /* borrows the window's strings */
    struct page_request request;
    struct lane_filter filter;

    reading_position(s, &at);
    if (!d->probed) {
        begin_fetch(r, s, FETCH_PROBE, 0);
        RELAY_OP(r, r->source->probe(r->source_ctx, s->number, &at, POLL_ROWS));
        return;
    }
    request = (struct page_request){
        .position = &at, .new_from = d->new_from, .many_new = d->many_new, .max_rows = rows};
    if (s->lane != 0) {
        filter = lane_filter_of(lanes_find(r, s->lane));
        request.filter = &filter;
        request.scan_rows = LANE_SCAN_ROWS;
    }
    begin_fetch(r, s, FETCH_PAGE, rows);
    r->counters.pages++;
    RELAY_OP(r, r->source->page(r->source_ctx, s->number, &request));
}

static void held_pump(struct relay *r, struct stream *s)
{
    struct reading *d = &s->reading;

    if (s->rec.feed != FEED_RUN || relay_now(r) - d->held_since >= HOLD_MS ||
        relay_now(r) - d->first_held >= PAGE_HELD_MS) {
        d->held = false;
        RELAY_OP(r, r->source->drop_rest(r->source_ctx, s->number));
    } else if (!d->blocked && send_has_room(s)) {
        d->held = false;
        RELAY_OP(r, r->source->resume(r->source_ctx, s->number));
    } else {
        relay_due(r, d->held_since + HOLD_MS);
    }
}

void reading_pump(struct relay *r, struct stream *s)
{
    struct reading *d = &s->reading;
    uint32_t rows;

    if (r->state != RELAY_LEADING)
        return;
    if (d->held) {
        held_pump(r, s);
        return;
    }
    if (d->fetch != FETCH_NONE || s->rec.feed != FEED_RUN || d->blocked || r->paused)
        return;
    if (s->lane != 0) {
        lane_reading_pump(r, s);
        return;
    }
    if (window_open_batch(&s->window) != NULL) {
        rows = reading_page_rows(r, s);
        if (rows > 0)
            reading_ask(r, s, rows);
        return; /* without room: an ack or a store will make some */
    }
    rows = rows_that_fit(s, POLL_ROWS);
    if (rows == 0 || merge_holds(r, s) || !window_has_batch_room(&s->window))
        return;
    if (relay_now(r) < d->due) {
        relay_due(r, d->due);
        return;
    }
    rows = rows_by_rate(r, rows);
    if (rows > 0)
        ask_poll(r, s, rows);
}

/* ---- answers
 * -------------------------------------------------------------------------------------------------------
 */

void relay_on_batch(struct relay *r, struct slice snapshot, bool complete)
{
    struct stream *s = &r->main;
    struct reading *d = &s->reading;

    relay_enter(r);
    assert(d->fetch == FETCH_POLL);
    d->complete = complete;
    str_reset(&d->snapshot);
    str_put_slice(&d->snapshot, snapshot);
}

/* Another may read now; and when this answer was of a try that is over, its stream may be used. */
static void lane_read(struct relay *r, const struct stream *s)
{
    if (s->number == MAIN_STREAM)
        return;
    r->lanes.reader = 0;
    if (s->lane == 0)
        r->lanes.due = 0;
}

void relay_on_probed(struct relay *r, uint32_t stream, bool many_new, int64_t min_new_id)
{
    struct stream *s = relay_stream(r, stream);
    struct reading *d = &s->reading;

    relay_enter(r);
    assert(d->fetch == FETCH_PROBE);
    d->fetch = FETCH_NONE;
    lane_read(r, s);
    if (!d->discard) {
        d->probed = true;
        d->many_new = many_new;
        d->new_from = min_new_id > 0 ? min_new_id - 1 : 0;
    }
    relay_pump(r);
}

static void poll_fetched(struct relay *r, struct stream *s, uint32_t rows, bool dropped)
{
    struct reading *d = &s->reading;

    if (!d->complete) { /* a backlog: bound it by this look's snapshot, then probe and page */
        reading_found(r, s);
        bell_off(r);
        reading_begin_batch(r, s);
        return;
    }
    if (rows == 0 && !dropped) {
        struct slice snapshot = str_slice(&d->snapshot);
        bool still = slice_eq(snapshot, str_slice(window_read_base(&s->window)));

        window_retarget(&s->window, snapshot);
        frontier_set(r, snapshot, true);
        looked_in_vain(r, still);
        recovery_idle(r, s);
        return;
    }
    bell_off(r);
    d->cause = WAKEUP_POLLED;
    d->due = relay_now(r) + POLL_FIRST_MS;
    if (d->taken == rows && !dropped)
        window_complete_batch(&s->window);
    /* else: what was not taken is read by pages, or (the batch was not begun) looked for again */
}

static void page_fetched(struct relay *r, struct stream *s, uint32_t rows, bool dropped)
{
    struct reading *d = &s->reading;

    if (dropped || d->taken < rows || rows >= d->asked)
        return; /* there is more */
    window_complete_batch(&s->window);
    d->cause = WAKEUP_POLLED;
    d->due = relay_now(r);
    d->pause_ms = POLL_FIRST_MS;
    d->last_event = d->due;
}

void relay_on_fetched(struct relay *r, uint32_t stream, const struct fetched *f)
{
    struct stream *s = relay_stream(r, stream);
    struct reading *d = &s->reading;
    enum fetch kind = d->fetch;

    relay_enter(r);
    assert(kind == FETCH_POLL || kind == FETCH_PAGE);
    d->fetch = FETCH_NONE;
    d->held = false;
    lane_read(r, s);
    if (d->discard)
        d->due = relay_now(r);
    else if (s->lane != 0)
        lane_page_fetched(r, s, f);
    else if (kind == FETCH_POLL)
        poll_fetched(r, s, f->rows, f->dropped);
    else
        page_fetched(r, s, f->rows, f->dropped);
    relay_pump(r);
}
