/* Life cycle. OPENING -> STANDBY or LEADING -> (lost, fenced, expired: fall back to OPENING) ... ->
 * DRAINING -> STOPPED.
 *
 * How it can fail: any session of the source breaks: memory is forgotten, because after a crash of
 * Postgres transaction ids are used again and a position kept in memory would lose events
 * (reproduced); the stored row is read anew. */
#include "relay/internal.h"

#include "relay/pacing.h"

#include <assert.h>
#include <stdlib.h>

const char *relay_note_text(enum relay_note note)
{
    switch (note) {
#define X(name, text)                                                                              \
    case RELAY_NOTE_##name:                                                                        \
        return text;
        RELAY_NOTES(X)
#undef X
    }
    return "";
}

const char *relay_state_name(enum relay_state s)
{
    switch (s) {
#define X(name, text)                                                                              \
    case RELAY_##name:                                                                             \
        return text;
        RELAY_STATES(X)
#undef X
    }
    return "";
}

struct relay *relay_new(const struct relay_params *params, const struct relay_world *world)
{
    struct relay *r = xcalloc(1, sizeof *r);

    r->params = *params;
    r->source = world->source;
    r->source_ctx = world->source_ctx;
    r->sink = world->sink;
    r->sink_ctx = world->sink_ctx;
    r->host = world->host;
    r->host_ctx = world->host_ctx;
    r->lease.first_look = true;
    r->rate.per_s = params->max_rate;
    r->counters.published_by_route =
        xcalloc(params->routes->count, sizeof r->counters.published_by_route[0]);
    r->streams[MAIN_STREAM] = &r->main;
    stream_init(&r->main, MAIN_STREAM, params->window_events, params->window_bytes);
    message_init(&r->message);
    return r;
}

void relay_free(struct relay *r)
{
    if (r == NULL)
        return;
    lanes_release(r);
    stream_release(&r->main);
    for (uint32_t n = 1; n < STREAMS_MAX; n++) {
        if (r->streams[n] == NULL)
            continue;
        stream_release(r->streams[n]);
        free(r->streams[n]);
    }
    message_release(&r->message);
    free(r->counters.published_by_route);
    free(r);
}

void relay_enter(struct relay *r)
{
    assert(!r->in_op);
    r->now = r->host->now_ms(r->host_ctx);
}

void relay_due(struct relay *r, uint64_t at_ms)
{
    if (r->wake == 0 || at_ms < r->wake)
        r->wake = at_ms == 0 ? 1 : at_ms;
}

/* Reports come by the thousand: one pump for all of them. */
void relay_want_pump(struct relay *r)
{
    if (r->pump_wanted)
        return;
    r->pump_wanted = true;
    r->host->wake_at(r->host_ctx, relay_now(r));
}

void stream_note(struct relay *r, const struct stream *s, enum relay_note note)
{
    if (s->number != MAIN_STREAM) /* of a lane's try only the end is told */
        return;
    r->host->note(r->host_ctx, note, s->rec.trouble.cause[0] == '\0' ? NULL : &s->rec.trouble);
}

void relay_note(struct relay *r, enum relay_note note)
{
    stream_note(r, &r->main, note);
}

void stream_init(struct stream *s, uint32_t number, uint32_t capacity, size_t window_bytes)
{
    s->number = number;
    s->window_bytes = window_bytes;
    s->reading.mean_bytes = 1000;
    window_init(&s->window, capacity);
    topics_init(&s->topics);
    position_init(&s->storing.position);
}

void stream_release(struct stream *s)
{
    window_release(&s->window);
    topics_release(&s->topics);
    position_release(&s->storing.position);
    str_release(&s->reading.snapshot);
    str_release(&s->rec.culprit.topic);
    str_release(&s->rec.culprit.key);
    free(s->rec.silent);
}

struct stream *relay_stream(struct relay *r, uint32_t number)
{
    assert(number < STREAMS_MAX && r->streams[number] != NULL);
    return r->streams[number];
}

struct stream *relay_next_stream(const struct relay *r, const struct stream *s)
{
    if (s == NULL)
        return r->streams[MAIN_STREAM];
    for (uint32_t n = s->number + 1; n <= r->params.lanes_in_parallel; n++)
        if (r->streams[n] != NULL && r->streams[n]->lane != 0)
            return r->streams[n];
    return NULL;
}

static void begin_open(struct relay *r)
{
    r->state = RELAY_OPENING;
    RELAY_OP(r, r->source->open(r->source_ctx));
}

void relay_start(struct relay *r)
{
    assert(r->state == RELAY_NEW);
    relay_enter(r);
    begin_open(r);
    relay_pump(r);
}

void relay_finish(struct relay *r)
{
    if (r->state == RELAY_STOPPED)
        return;
    RELAY_OP(r, r->source->close(r->source_ctx));
    r->state = RELAY_STOPPED;
    relay_note(r, RELAY_NOTE_STOPPED);
}

/* Stopping without a session: a lease that is still ours would keep a standby waiting for its ttl.
 * One attempt to release it, and no more: a database that is down must not hold up the end. */
static void release_once_more(struct relay *r)
{
    if (!r->lease.was_ours || r->stop_reopened || relay_now(r) >= r->lease.deadline) {
        relay_finish(r);
        return;
    }
    r->stop_reopened = true;
    begin_open(r);
}

void relay_fall_back(struct relay *r, uint32_t delay_ms)
{
    struct stream *s = &r->main;
    bool led = r->state == RELAY_LEADING || r->state == RELAY_DRAINING;

    RELAY_OP(r, r->source->close(r->source_ctx));
    if (led)
        r->lease.was_ours = true;
    /* What is in flight will be read and sent again; without this, memory could hold two windows.
     */
    if (s->window.in_flight > 0 || s->rec.feed == FEED_RECOVER)
        s->rec.feed = recovery_reset_sink(r, s) ? FEED_RUN : FEED_RECOVER;
    (void)window_rewind(&s->window);
    tries_close(r);
    lanes_forget(r);
    reading_reset(r, s);
    r->lease.request_out = false;
    r->lease.renew_out = false;
    r->lease.seen = false;
    s->storing.out = false;
    r->release_out = false;
    if (r->stopping) {
        release_once_more(r);
        return;
    }
    r->state = RELAY_BACKOFF;
    r->open_due = relay_now(r) + delay_ms;
}

void relay_on_opened(struct relay *r)
{
    relay_enter(r);
    assert(r->state == RELAY_OPENING);
    relay_note(r, RELAY_NOTE_CONNECTED);
    r->state = RELAY_STANDBY;
    r->opened_at = relay_now(r);
    r->lease.standby_noted = false;
    r->lease.look_due = relay_now(r);
    relay_pump(r);
}

void relay_on_lost(struct relay *r, const struct err *why)
{
    relay_enter(r);
    if (r->state == RELAY_STOPPED)
        return;
    if (why->kind == ERR_CONFIG || why->kind == ERR_SOFTWARE) {
        r->failure = *why;
        relay_note(r, RELAY_NOTE_FATAL);
        relay_finish(r);
        return;
    }
    if (r->state != RELAY_OPENING && relay_now(r) - r->opened_at >= REOPEN_CALM_MS)
        r->open_attempts = 0;
    r->open_attempts++;
    r->counters.reconnects++;
    r->counters.errors[why->problem]++;
    r->failure = *why; /* for the note; cleared when the sessions are open again */
    relay_note(r, RELAY_NOTE_LOST);
    err_clear(&r->failure);
    relay_fall_back(r, pacing_backoff_ms(r->open_attempts, REOPEN_FIRST_MS, REOPEN_MAX_MS,
                                         r->host->random(r->host_ctx)));
    relay_pump(r);
}

void relay_stop(struct relay *r)
{
    relay_enter(r);
    if (r->stopping) {
        relay_finish(r);
        return;
    }
    r->stopping = true;
    r->stop_deadline = relay_now(r) + r->params.shutdown_timeout_ms;
    switch (r->state) {
    case RELAY_LEADING:
        r->state = RELAY_DRAINING;
        for (struct stream *s = NULL; (s = relay_next_stream(r, s)) != NULL;)
            reading_discard(r, s);
        relay_note(r, RELAY_NOTE_DRAINING);
        break;
    case RELAY_TAKING: /* the answer tells whether there is something to release */
    case RELAY_DRAINING:
        break;
    case RELAY_OPENING: /* the attempt that is under way is the one */
        if (!r->lease.was_ours)
            relay_finish(r);
        r->stop_reopened = true;
        break;
    case RELAY_BACKOFF:
        release_once_more(r);
        break;
    case RELAY_STANDBY:
        if (!r->lease.was_ours)
            relay_finish(r);
        break;
    case RELAY_NEW:
        relay_finish(r);
        break;
    case RELAY_STOPPED:
        break;
    }
    relay_pump(r);
}

static void stop_pump(struct relay *r)
{
    if (!r->stopping || r->state == RELAY_STOPPED)
        return;
    /* Half of the time may go into waiting for acks, the rest into the last store and the release.
     */
    if (relay_now(r) >= r->stop_deadline) {
        relay_finish(r);
        return;
    }
    relay_due(r, r->stop_deadline);
    if (r->state == RELAY_DRAINING)
        lease_drain(r);
}

/* The lanes take turns in reading. */
static void lanes_read(struct relay *r)
{
    uint32_t n = r->params.lanes_in_parallel;
    uint32_t last = r->lanes.last_reader;

    for (uint32_t i = 0; i < n; i++) {
        struct stream *s = r->streams[(last + i) % n + 1];

        if (s != NULL && s->lane != 0)
            reading_pump(r, s);
    }
}

static void leader_pump(struct relay *r)
{
    struct stream *s = NULL;

    tries_pump(r);
    while ((s = relay_next_stream(r, s)) != NULL && r->state == RELAY_LEADING)
        recovery_pump(r, s);
    merge_pump(r);
    changes_pump(r);
    while ((s = relay_next_stream(r, s)) != NULL)
        store_pump(r, s);
    reading_pump(r, &r->main);
    lanes_read(r);
}

void relay_pump(struct relay *r)
{
    r->wake = 0;
    r->pump_wanted = false;
    if (r->state == RELAY_BACKOFF) {
        if (relay_now(r) >= r->open_due)
            begin_open(r);
        else
            relay_due(r, r->open_due);
    }
    lease_pump(r);
    if (r->state == RELAY_LEADING)
        leader_pump(r);
    stop_pump(r);
    r->host->wake_at(r->host_ctx, r->state == RELAY_STOPPED ? 0 : r->wake);
}

void relay_tick(struct relay *r)
{
    relay_enter(r);
    if (r->state != RELAY_NEW)
        relay_pump(r);
}

void relay_adjust(struct relay *r, const struct relay_params *params)
{
    r->params.stall_after_ms = params->stall_after_ms;
    r->params.poll_max_ms = params->poll_max_ms;
    relay_enter(r);
    rate_set(&r->rate, params->max_rate, relay_now(r));
    if (!r->stopping)
        r->params.shutdown_timeout_ms = params->shutdown_timeout_ms;
}

void relay_retry_now(struct relay *r)
{
    struct stream *s = &r->main;
    relay_enter(r);
    s->rec.retry_at = relay_now(r);
    for (uint32_t i = 0; i < r->lanes.count; i++)
        if (r->lanes.list[i].retry_at != UINT64_MAX)
            r->lanes.list[i].retry_at = relay_now(r);
    r->lanes.due = 0;
    if (r->state == RELAY_BACKOFF)
        r->open_due = relay_now(r);
    relay_tick(r);
}

enum relay_state relay_state(const struct relay *r)
{
    return r->state;
}

int64_t relay_epoch(const struct relay *r)
{
    return r->lease.epoch;
}

const struct relay_counters *relay_counters(const struct relay *r)
{
    return &r->counters;
}

const struct trouble *relay_trouble(const struct relay *r)
{
    const struct stream *s = &r->main;
    return &s->rec.trouble;
}

const struct err *relay_failure(const struct relay *r)
{
    return &r->failure;
}

int64_t relay_next_try_ms(const struct relay *r, uint64_t now_ms)
{
    const struct stream *s = &r->main;
    uint64_t due;

    if (r->state == RELAY_BACKOFF)
        due = r->open_due;
    else if (r->state == RELAY_LEADING && (s->rec.feed == FEED_PAUSE || s->rec.feed == FEED_HALT))
        due = s->rec.retry_at;
    else
        return -1;
    return due > now_ms ? (int64_t)(due - now_ms) : 0;
}

uint32_t relay_window_events(const struct relay *r)
{
    uint32_t n = 0;

    for (struct stream *s = NULL; (s = relay_next_stream(r, s)) != NULL;)
        n += (uint32_t)(s->window.head - s->window.stored);
    return n;
}

size_t relay_window_bytes(const struct relay *r)
{
    size_t n = 0;

    for (struct stream *s = NULL; (s = relay_next_stream(r, s)) != NULL;)
        n += s->window.in_flight_bytes;
    return n;
}

void relay_check(const struct relay *r)
{
    unsigned stores = 0; /* of lanes */

    assert(!r->in_op);
    for (struct stream *s = NULL; (s = relay_next_stream(r, s)) != NULL;) {
        bool main = s->number == MAIN_STREAM;
        const struct lane *l = main ? NULL : lanes_find(r, s->lane);

        if (r->state == RELAY_LEADING || r->state == RELAY_DRAINING)
            window_check(&s->window);
        assert(s->rec.feed != FEED_PAUSE || s->window.in_flight == 0);
        assert(s->rec.feed != FEED_CHANGE || s->window.in_flight == 0 || r->lanes.held_for != 0);
        assert(!s->reading.held || s->reading.fetch == FETCH_POLL ||
               s->reading.fetch == FETCH_PAGE);
        assert(main || (l != NULL && l->stream == s->number));
        stores += !main && s->storing.out;
    }
    assert(stores <= 1);
}
