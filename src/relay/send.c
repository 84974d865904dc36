/* A row becomes a message, the message goes to the sink, the ack settles it.
 *
 * How it can fail: no room, a partition that is being opened, or a full producer queue: the row is
 * held and offered again. The row cannot become a message: halt (nothing is skipped). The producer
 * refuses it: recovery. */
#include "relay/internal.h"

#include "message/dead.h"
#include "message/murmur2.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

const double relay_latency_bounds[RELAY_LATENCY_BUCKETS] = {
    0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.035, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300,
};

bool send_has_room(const struct stream *s)
{
    const struct window *w = &s->window;

    if (w->in_flight == 0)
        return window_free(w) > 0;
    if (s->rec.careful > 0 && w->head >= s->rec.group_end)
        return false;
    return window_free(w) > 0 && w->in_flight_bytes < s->window_bytes;
}

static enum row_verdict hold(struct relay *r, struct stream *s)
{
    struct reading *d = &s->reading;

    d->held = true;
    d->held_since = relay_now(r);
    if (d->first_held == 0)
        d->first_held = d->held_since;
    /* No op may be called from here: let the next turn decide. */
    r->host->wake_at(r->host_ctx, d->held_since + 1);
    return ROW_HOLD;
}

/* With nothing in flight no report will come: then time alone must do. */
static enum row_verdict hold_until_report(struct relay *r, struct stream *s)
{
    s->reading.blocked = s->window.in_flight > 0;
    return hold(r, s);
}

/* Without a place in the window it waits, as any other row. */
static enum row_verdict pass_row(struct relay *r, struct stream *s, const struct event *e)
{
    if (s->reading.fetch == FETCH_POLL && window_open_batch(&s->window) == NULL)
        reading_begin_batch(r, s);
    if (!window_pass(&s->window, e->id))
        return hold_until_report(r, s);
    s->reading.taken++;
    if (s->number == MAIN_STREAM) {
        r->counters.events_passed++;
        reading_found(r, s);
    }
    return ROW_TAKEN;
}

/* Never sent, so the producer is as good as it was: the reports of what it has are awaited. */
static enum row_verdict park_row(struct relay *r, struct stream *s, const struct event *e,
                                 enum refusal why, const char *text)
{
    recovery_begin(r, s, why, text);
    s->rec.sound = true;
    s->rec.culprit_known = true;
    split_blame(r, s, s->window.head);
    trouble_blame(s, e->event_id, e->id, r->message.topic.ptr);
    return hold(r, s);
}

/* The row can never become a message, or not with this configuration. */
static enum row_verdict refuse_row(struct relay *r, struct stream *s, const struct event *e,
                                   enum refusal why, const char *text)
{
    message_address(&r->message, r->params.routes, e);
    if (s->lane != 0 || split_parks(r, r->message.route))
        return park_row(r, s, e, why, text);
    count_error(r, why);
    trouble_set(s, why, text);
    trouble_blame(s, e->event_id, e->id, NULL);
    recovery_halt(r, s);
    return hold(r, s);
}

/* The producer said no at once: the message never entered its queue. */
static enum row_verdict refuse_send(struct relay *r, struct stream *s, const struct event *e,
                                    enum refusal why, const char *text)
{
    recovery_begin(r, s, why, text);
    if (refusal_class(why) == REFUSAL_MESSAGE) {
        s->rec.culprit_known = true;
        split_blame(r, s, s->window.head);
        trouble_blame(s, e->event_id, e->id, r->message.topic.ptr);
    }
    return hold(r, s);
}

static enum permit ask_permit(struct relay *r, struct stream *s, uint32_t topic, int32_t *partition)
{
    int32_t known = r->sink->partitions(r->sink_ctx, s->number, topic);
    enum permit p =
        topics_permit(&s->topics, topic, known, r->message.key, relay_now(r), partition);

    if (p != PERMIT_GREW)
        return p;
    /* Another count sends keys elsewhere: what is out by the old one must be acknowledged first. */
    if (s->topics.list[topic].count > 0) {
        if (s->window.in_flight > 0)
            return PERMIT_WAIT;
        stream_note(r, s, RELAY_NOTE_PARTITIONS_GREW);
    }
    topics_set_count(&s->topics, topic, known);
    return topics_permit(&s->topics, topic, known, r->message.key, relay_now(r), partition);
}

static uint32_t find_topic(struct relay *r, struct stream *s)
{
    bool added;
    uint32_t topic = topics_find(&s->topics, r->message.topic, &added);

    if (added)
        r->sink->topic(r->sink_ctx, s->number, topic, s->topics.list[topic].name);
    return topic;
}

/* The first row of a look opens its batch: an empty one would only be retargeted. */
static void push(struct relay *r, struct stream *s, const struct event *e, uint32_t topic,
                 int32_t partition)
{
    struct window *w = &s->window;
    struct window_entry entry = {
        .row_id = e->id,
        .created_at_us = e->created_at_us,
        .sent_ms = relay_now(r),
        .bytes = (uint32_t)r->message.bytes,
        .topic = topic,
        .route = (uint32_t)r->message.route,
        .partition = partition,
    };

    if (partition < 0)
        entry.key_hash = murmur2(r->message.key.ptr, r->message.key.len);
    memcpy(entry.event_id, e->event_id, sizeof entry.event_id);
    if (w->head == w->settled)
        split_blame(r, s, w->head); /* should it be refused */
    if (w->in_flight == 0) {
        s->rec.progress_at = relay_now(r);
        if (s->rec.careful > 0 && w->head >= s->rec.group_end)
            recovery_careful(s, s->rec.careful, s->rec.group * 2); /* that one was taken */
    }
    topics_sent(&s->topics, topic, partition, window_push(w, &entry));
    rate_take(&r->rate, relay_now(r));
    s->reading.taken++;
    s->trying.owned++;
    s->reading.mean_bytes = (s->reading.mean_bytes * 15 + entry.bytes) / 16 + 1;
    r->counters.events_read++;
    reading_found(r, s);
}

static enum row_verdict send_message(struct relay *r, struct stream *s, const struct event *e)
{
    uint32_t topic = find_topic(r, s);
    struct sending to = {.topic = topic, .seq = s->window.head};
    struct send_refusal no;
    int rc;

    if (ask_permit(r, s, topic, &to.partition) != PERMIT_SEND)
        return hold_until_report(r, s);
    if (s->reading.fetch == FETCH_POLL && window_open_batch(&s->window) == NULL)
        reading_begin_batch(r, s);
    rc = r->sink->send(r->sink_ctx, s->number, &to, &r->message, &no);
    if (rc == -EAGAIN)
        return hold_until_report(r, s);
    if (rc != 0)
        return refuse_send(r, s, e, no.cause, no.err.text);
    push(r, s, e, topic, to.partition);
    return ROW_TAKEN;
}

/* The dead letter goes in place of the event; without a topic for it there is nothing to wait for.
 */
static enum row_verdict bury_row(struct relay *r, struct stream *s, const struct event *e)
{
    const struct trouble *t = &lanes_find(r, s->lane)->trouble;
    struct dead_letter letter = {
        .topic = r->params.routes->routes[r->message.route].dead_letter_topic,
        .error_class = t->cause,
        .error_text = t->text,
        .attempts = t->attempts,
    };
    enum row_verdict verdict;

    if (letter.topic == NULL) {
        split_blame(r, s, s->window.head);
        if (!window_pass(&s->window, e->id))
            return hold(r, s);
        s->reading.taken++;
        change_want(s, CHANGE_SKIP);
        relay_want_pump(r);
        return ROW_TAKEN;
    }
    r->in_op = true;
    message_bury(&r->message, r->params.routes, e, &letter);
    verdict = send_message(r, s, e);
    r->in_op = false;
    s->trying.burying = verdict == ROW_TAKEN;
    return verdict;
}

enum row_verdict relay_on_row(struct relay *r, uint32_t stream, const struct event *e)
{
    struct stream *s = relay_stream(r, stream);
    struct err err = {0};
    enum row_verdict verdict;

    relay_enter(r);
    assert(s->reading.fetch == FETCH_POLL || s->reading.fetch == FETCH_PAGE);
    if (s->reading.discard)
        return ROW_TAKEN;
    /* A process that slept may find rows before it finds that its lease is over. */
    if (s->rec.feed != FEED_RUN || !send_has_room(s) || relay_now(r) >= r->lease.deadline)
        return hold(r, s);
    if (lanes_pass(r, s, e))
        return pass_row(r, s, e);
    if (try_buries(r, s, e))
        return bury_row(r, s, e);
    r->in_op = true;
    if (message_build(&r->message, r->params.routes, e, &err) != 0)
        verdict = refuse_row(r, s, e,
                             e->oversize_bytes > 0 ? REFUSAL_EVENT_OVERSIZE : REFUSAL_EVENT_INVALID,
                             err.text);
    else
        verdict = send_message(r, s, e);
    r->in_op = false;
    return verdict;
}

/* ---- acks
 * ----------------------------------------------------------------------------------------------------------
 */

static void count_latency(struct relay *r, const struct window_entry *e)
{
    double seconds;
    size_t i = 0;

    if (r->wall_of != r->now) {
        r->wall_of = r->now;
        r->wall_us = r->host->wall_us(r->host_ctx);
    }
    /* as doubles: created_at may be infinity, which is the largest integer */
    seconds = ((double)r->wall_us - (double)e->created_at_us) / 1e6;
    if (seconds < 0) /* the database's clock is ahead of ours */
        seconds = 0;
    while (i < RELAY_LATENCY_BUCKETS && seconds > relay_latency_bounds[i])
        i++;
    r->counters.latency_buckets[i]++;
    r->counters.latency_sum_s += seconds;
}

void relay_on_acked(struct relay *r, uint32_t stream, uint64_t seq, int32_t partition)
{
    struct stream *s = relay_stream(r, stream);
    uint64_t settled = s->window.settled;
    const struct window_entry *e;
    int32_t known;

    relay_enter(r);
    if (r->state != RELAY_LEADING && r->state != RELAY_DRAINING)
        return;
    e = window_at(&s->window, seq);
    known = r->sink->partitions(r->sink_ctx, s->number, e->topic);
    if (s->topics.list[e->topic].count == 0 && known > 0)
        topics_set_count(&s->topics, e->topic, known);
    topics_acked(&s->topics, e->topic, partition, seq, relay_now(r));
    if (!s->trying.burying) {
        r->counters.events_published++;
        r->counters.bytes_published += e->bytes;
        r->counters.published_by_route[e->route]++;
        count_latency(r, e);
    }
    s->rec.progress_at = relay_now(r);
    s->rec.quiet = relay_now(r) + DRAIN_QUIET_MS;
    s->reading.blocked = false;
    window_ack(&s->window, seq);
    if (s->window.settled != settled) {
        uint64_t moved = s->window.settled - settled;

        s->rec.careful -= moved < s->rec.careful ? (uint32_t)moved : s->rec.careful;
        recovery_progress(r, s);
    }
    if (s->lane != 0)
        try_acked(r, s);
    relay_want_pump(r);
}
