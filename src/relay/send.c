/* A row becomes a message, the message goes to the sink, the ack settles it.
 *
 * How it can fail: no room, a partition that is being opened, or a full producer queue: the row is
 * held and offered again. The row cannot become a message: halt (nothing is skipped). The producer
 * refuses it: recovery. */
#include "relay/internal.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

const double relay_latency_bounds[RELAY_LATENCY_BUCKETS] = {
    0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.035, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300,
};

bool send_has_room(const struct relay *r)
{
    const struct window *w = &r->window;

    if (w->in_flight == 0)
        return window_free(w) > 0;
    if (r->rec.careful > 0)
        return false; /* one by one */
    return window_free(w) > 0 && w->in_flight_bytes < r->params.window_bytes;
}

static enum row_verdict hold(struct relay *r)
{
    struct reading *d = &r->reading;

    d->held = true;
    d->held_since = relay_now(r);
    if (d->first_held == 0)
        d->first_held = d->held_since;
    /* No op may be called from here: let the next turn decide. */
    r->host->wake_at(r->host_ctx, d->held_since + 1);
    return ROW_HOLD;
}

/* With nothing in flight no report will come: then time alone must do. */
static enum row_verdict hold_until_report(struct relay *r)
{
    r->reading.blocked = r->window.in_flight > 0;
    return hold(r);
}

/* The row can never become a message, or not with this configuration. */
static enum row_verdict refuse_row(struct relay *r, const struct event *e, enum refusal why,
                                   const char *text)
{
    count_error(r, why);
    trouble_set(r, why, text);
    trouble_blame(r, e->event_id, e->id, NULL);
    recovery_halt(r);
    return hold(r);
}

/* The producer said no at once: the message never entered its queue. */
static enum row_verdict refuse_send(struct relay *r, const struct event *e, enum refusal why,
                                    const char *text)
{
    recovery_begin(r, why, text);
    if (refusal_class(why) == REFUSAL_MESSAGE) {
        r->rec.culprit_known = true;
        trouble_blame(r, e->event_id, e->id, r->message.topic.ptr);
    }
    return hold(r);
}

static enum permit ask_permit(struct relay *r, uint32_t topic, int32_t *partition)
{
    int32_t known = r->sink->partitions(r->sink_ctx, MAIN_STREAM, topic);
    enum permit p =
        topics_permit(&r->topics, topic, known, r->message.key, relay_now(r), partition);

    if (p != PERMIT_GREW)
        return p;
    /* Another count sends keys elsewhere: what is out by the old one must be acknowledged first. */
    if (r->topics.list[topic].count > 0) {
        if (r->window.in_flight > 0)
            return PERMIT_WAIT;
        relay_note(r, RELAY_NOTE_PARTITIONS_GREW);
    }
    topics_set_count(&r->topics, topic, known);
    return topics_permit(&r->topics, topic, known, r->message.key, relay_now(r), partition);
}

static uint32_t find_topic(struct relay *r)
{
    bool added;
    uint32_t topic = topics_find(&r->topics, r->message.topic, &added);

    if (added)
        r->sink->topic(r->sink_ctx, MAIN_STREAM, topic, r->topics.list[topic].name);
    return topic;
}

/* The first row of a look opens its batch: an empty one would only be retargeted. */
static void push(struct relay *r, const struct event *e, uint32_t topic, int32_t partition)
{
    struct window *w = &r->window;
    struct window_entry entry = {
        .row_id = e->id,
        .created_at_us = e->created_at_us,
        .bytes = (uint32_t)r->message.bytes,
        .topic = topic,
        .route = (uint32_t)r->message.route,
        .partition = partition,
    };

    memcpy(entry.event_id, e->event_id, sizeof entry.event_id);
    if (w->in_flight == 0)
        r->rec.progress_at = relay_now(r);
    topics_sent(&r->topics, topic, partition, window_push(w, &entry));
    rate_take(&r->rate, relay_now(r));
    r->reading.taken++;
    r->reading.mean_bytes = (r->reading.mean_bytes * 15 + entry.bytes) / 16 + 1;
    r->counters.events_read++;
    reading_found(r);
}

static enum row_verdict send_message(struct relay *r, const struct event *e)
{
    uint32_t topic = find_topic(r);
    struct sending to = {.topic = topic, .seq = r->window.head};
    struct send_refusal no;
    int rc;

    if (ask_permit(r, topic, &to.partition) != PERMIT_SEND)
        return hold_until_report(r);
    if (r->reading.fetch == FETCH_POLL && window_open_batch(&r->window) == NULL)
        reading_begin_batch(r);
    rc = r->sink->send(r->sink_ctx, MAIN_STREAM, &to, &r->message, &no);
    if (rc == -EAGAIN)
        return hold_until_report(r);
    if (rc != 0)
        return refuse_send(r, e, no.cause, no.err.text);
    push(r, e, topic, to.partition);
    return ROW_TAKEN;
}

enum row_verdict relay_on_row(struct relay *r, uint32_t stream, const struct event *e)
{
    struct err err = {0};
    enum row_verdict verdict;

    relay_enter(r);
    assert(stream == MAIN_STREAM);
    assert(r->reading.fetch == FETCH_POLL || r->reading.fetch == FETCH_PAGE);
    if (r->reading.discard)
        return ROW_TAKEN;
    /* A process that slept may find rows before it finds that its lease is over. */
    if (r->rec.feed != FEED_RUN || !send_has_room(r) || relay_now(r) >= r->lease.deadline)
        return hold(r);
    r->in_op = true;
    if (message_build(&r->message, r->params.routes, e, &err) != 0)
        verdict = refuse_row(
            r, e, e->oversize_bytes > 0 ? REFUSAL_EVENT_OVERSIZE : REFUSAL_EVENT_INVALID, err.text);
    else
        verdict = send_message(r, e);
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
    uint64_t settled = r->window.settled;
    const struct window_entry *e;
    int32_t known;

    relay_enter(r);
    assert(stream == MAIN_STREAM);
    if (r->state != RELAY_LEADING && r->state != RELAY_DRAINING)
        return;
    e = window_at(&r->window, seq);
    known = r->sink->partitions(r->sink_ctx, MAIN_STREAM, e->topic);
    if (r->topics.list[e->topic].count == 0 && known > 0)
        topics_set_count(&r->topics, e->topic, known);
    topics_acked(&r->topics, e->topic, partition, seq, relay_now(r));
    r->counters.events_published++;
    r->counters.bytes_published += e->bytes;
    r->counters.published_by_route[e->route]++;
    count_latency(r, e);
    r->rec.progress_at = relay_now(r);
    r->reading.blocked = false;
    window_ack(&r->window, seq);
    if (r->window.settled != settled) {
        uint64_t moved = r->window.settled - settled;

        r->rec.careful -= moved < r->rec.careful ? (uint32_t)moved : r->rec.careful;
        recovery_progress(r);
    }
    relay_want_pump(r);
}
