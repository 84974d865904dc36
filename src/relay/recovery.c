/* What is done about a refusal: the one recovery path.
 *
 *   refused -> FEED_RECOVER: nothing more is fed; the other reports are awaited (5 s at most)
 *           -> the producer is thrown away, the window rewinds to its settled prefix, and what is
 * unsettled is read and sent again, in order
 *           -> a cause that can pass: FEED_PAUSE with growing pauses; a message that can never
 * pass: found by sending one by one (a bad record fails its whole batch), then FEED_HALT, tried
 * again every 30 s.
 *
 * A message is never timed out and sent again behind others: that is how 1 2 3 becomes 2 3 1 2 3.
 * When nothing comes back at all we wait, ask the brokers why, and say so. */
#include "relay/internal.h"

#include "relay/pacing.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* ---- trouble: what status, log and readiness tell
 * ------------------------------------------------------------------ */

void trouble_set(struct relay *r, enum refusal cause, const char *text)
{
    struct trouble *t = &r->rec.trouble;
    struct err cut;

    *t = (struct trouble){.attempts = r->rec.attempts};
    (void)snprintf(t->cause, sizeof t->cause, "%s", refusal_name(cause));
    /* by way of err_set, which does not cut a character in two: Postgres would refuse the text */
    (void)err_set(&cut, ERR_NONE, "%.*s", (int)sizeof t->text - 1, text);
    (void)snprintf(t->text, sizeof t->text, "%.*s", (int)sizeof t->text - 1, cut.text);
    r->rec.trouble_dirty = true;
}

void trouble_blame(struct relay *r, const uint8_t event_id[16], int64_t row_id, const char *topic)
{
    struct trouble *t = &r->rec.trouble;

    event_id_text(event_id, t->event_id);
    t->row_id = row_id;
    if (topic != NULL)
        (void)snprintf(t->topic, sizeof t->topic, "%s", topic);
}

void trouble_clear(struct relay *r)
{
    if (r->rec.trouble.cause[0] == '\0')
        return;
    r->rec.trouble = (struct trouble){0};
    r->rec.trouble_dirty = true;
    r->rec.stalled = false;
    relay_note(r, RELAY_NOTE_RECOVERED);
}

/* At most once a second, and always the newest. */
static void tell_pump(struct relay *r)
{
    struct recovering *c = &r->rec;
    uint64_t now = relay_now(r);

    if (!c->trouble_dirty)
        return;
    if (now < c->tell_due) {
        relay_due(r, c->tell_due);
        return;
    }
    c->trouble_dirty = false;
    c->tell_due = now + 1000;
    c->trouble.next_try_ms =
        c->feed == FEED_PAUSE || c->feed == FEED_HALT ? (uint32_t)(c->retry_at - now) : 0;
    RELAY_OP(r, r->source->tell(r->source_ctx, r->lease.epoch, &c->trouble));
}

/* ---- refusals
 * ------------------------------------------------------------------------------------------------------
 */

/* The first report is often a neighbour's, or the producer's own, which only says that it ends: a
 * cause that tells why says more, and one that names the message itself most. */
static bool says_more(enum refusal cause, enum refusal than)
{
    if (refusal_class(cause) == REFUSAL_MESSAGE)
        return refusal_class(than) != REFUSAL_MESSAGE;
    return than == REFUSAL_PRODUCER_FATAL && cause != REFUSAL_PRODUCER_FATAL;
}

void count_error(struct relay *r, enum refusal cause)
{
    r->counters.errors[refusal_problem(cause)]++;
}

void recovery_begin(struct relay *r, enum refusal cause, const char *text)
{
    struct recovering *c = &r->rec;

    count_error(r, cause);
    if (c->feed == FEED_RECOVER) {
        if (!says_more(cause, c->cause))
            return;
    } else {
        r->counters.recoveries++;
        r->counters.recoveries_by_cause[cause]++;
        c->attempts++;
        c->culprit_known = false;
    }
    c->feed = FEED_RECOVER;
    c->cause = cause;
    c->deadline = relay_now(r) + DRAIN_REPORTS_MS;
    trouble_set(r, cause, text);
    reading_discard(r);
    relay_want_pump(r);
}

void relay_on_refused(struct relay *r, uint32_t stream, uint64_t seq, enum refusal why,
                      const char *text)
{
    const struct window_entry *e;
    bool alone;

    relay_enter(r);
    assert(stream == MAIN_STREAM);
    if (r->state != RELAY_LEADING && r->state != RELAY_DRAINING)
        return;
    e = window_at(&r->window, seq);
    alone = r->window.settled == seq && r->window.head == seq + 1;
    window_refuse(&r->window, seq);
    recovery_begin(r, why, text);
    if (refusal_class(why) == REFUSAL_MESSAGE && r->rec.trouble.event_id[0] == '\0')
        trouble_blame(r, e->event_id, e->row_id, r->topics.list[e->topic].name);
    else if (r->rec.trouble.topic[0] == '\0')
        (void)snprintf(r->rec.trouble.topic, sizeof r->rec.trouble.topic, "%s",
                       r->topics.list[e->topic].name);
    if (alone && refusal_class(why) == REFUSAL_MESSAGE)
        r->rec.culprit_known = true;
    r->reading.blocked = false;
    relay_want_pump(r);
}

void relay_on_sink_error(struct relay *r, uint32_t stream, enum refusal why, const char *text)
{
    relay_enter(r);
    assert(stream == MAIN_STREAM);
    if (r->state == RELAY_STOPPED)
        return;
    if (why == REFUSAL_PRODUCER_FATAL) {
        if (r->state == RELAY_LEADING)
            recovery_begin(r, why, text);
    } else if (r->rec.feed == FEED_RUN && strcmp(r->rec.trouble.cause, refusal_name(why)) != 0) {
        /* The producer goes on trying by itself; this is for those who look. */
        count_error(r, why);
        trouble_set(r, why, text);
        r->rec.stalled = true;
        r->rec.diagnose_due = relay_now(r) + DIAGNOSE_AGAIN_MS;
        relay_note(r, RELAY_NOTE_STALLED);
    }
    relay_want_pump(r);
}

bool recovery_reset_sink(struct relay *r)
{
    struct err err = {0};
    int rc;

    r->counters.producers++;
    r->counters.duplicates_possible += r->window.head - r->window.settled;
    r->in_op = true;
    rc = r->sink->reset(r->sink_ctx, MAIN_STREAM, &err);
    r->in_op = false;
    relay_enter(r);
    topics_close_all(&r->topics);
    (void)window_rewind(&r->window);
    r->reading.probed = false;
    r->reading.blocked = false;
    r->rec.reset_failed = rc != 0;
    if (rc == 0)
        return true;
    /* Whatever brought us here is found again when there is a producer. */
    r->rec.cause = REFUSAL_PRODUCER_FATAL;
    trouble_set(r, REFUSAL_PRODUCER_FATAL, err.text);
    return false;
}

static void pause_feed(struct relay *r)
{
    struct recovering *c = &r->rec;

    c->feed = FEED_PAUSE;
    c->retry_at = relay_now(r) + pacing_backoff_ms(c->attempts, RETRY_FIRST_MS, RETRY_MAX_MS,
                                                   r->host->random(r->host_ctx));
    c->trouble.attempts = c->attempts;
    c->trouble_dirty = true;
    relay_note(r, RELAY_NOTE_RECOVERING);
}

void recovery_halt(struct relay *r)
{
    struct recovering *c = &r->rec;

    if (c->feed != FEED_RECOVER)
        c->attempts++;
    c->feed = FEED_HALT;
    c->retry_at = relay_now(r) + HALT_RETRY_MS;
    c->trouble.halted = true;
    c->trouble.attempts = c->attempts;
    c->trouble.next_try_ms = HALT_RETRY_MS;
    c->trouble_dirty = true;
    reading_discard(r);
    relay_note(r, RELAY_NOTE_HALTED);
}

/* All reports are in, or we have waited long enough. */
static void replace_producer(struct relay *r)
{
    struct recovering *c = &r->rec;
    uint32_t unsettled = (uint32_t)(r->window.head - r->window.settled);

    if (!recovery_reset_sink(r)) {
        c->attempts++;
        c->deadline = relay_now(r) + pacing_backoff_ms(c->attempts, RETRY_FIRST_MS, RETRY_MAX_MS,
                                                       r->host->random(r->host_ctx));
        relay_note(r, RELAY_NOTE_RECOVERING);
        return;
    }
    if (refusal_class(c->cause) != REFUSAL_MESSAGE) {
        /* The oldest one shows whether it has passed; sent along, those behind it would arrive once
         * more at every attempt. */
        if (c->careful == 0)
            c->careful = 1;
        pause_feed(r);
    } else if (c->culprit_known) {
        recovery_halt(r);
        c->careful = 1;
    } else {
        c->careful = unsettled;
        pause_feed(r);
        c->retry_at = relay_now(r); /* at once: the culprit is among these */
    }
}

static void feed_again(struct relay *r)
{
    r->rec.feed = FEED_RUN;
    r->rec.progress_at = relay_now(r);
    r->rec.diagnose_due = r->rec.progress_at + DIAGNOSE_MS;
    r->reading.due = r->rec.progress_at;
}

void recovery_progress(struct relay *r)
{
    struct recovering *c = &r->rec;

    if (c->feed == FEED_RECOVER || c->feed == FEED_HALT)
        return;
    c->attempts = 0;
    if (c->careful == 0)
        trouble_clear(r);
}

/* Nothing waits to be published, so no ack will end a trouble that is over: a producer that could
 * not be made, say. What concerns the brokers is asked again by stall_pump. */
void recovery_idle(struct relay *r)
{
    if (r->window.in_flight == 0 && r->rec.feed == FEED_RUN && !r->rec.stalled) {
        r->rec.attempts = 0;
        r->rec.careful = 0;
        trouble_clear(r);
    }
}

void recovery_leading(struct relay *r)
{
    struct recovering *c = &r->rec;

    /* A producer that could not be made is tried again; else what an earlier life left in the row
     * is overwritten. */
    c->trouble_dirty = true;
    c->tell_due = 0;
    if (c->feed == FEED_RECOVER) {
        c->deadline = relay_now(r);
        return;
    }
    c->attempts = 0;
    c->careful = 0;
    if (!c->stalled)
        c->trouble = (struct trouble){0};
    feed_again(r);
}

/* ---- nothing comes back
 * -------------------------------------------------------------------------------------------- */

static void ask_why(struct relay *r)
{
    struct recovering *c = &r->rec;
    enum refusal cause = REFUSAL_NONE;
    struct err err = {0};
    struct sending what = {.topic = UINT32_MAX, .partition = -1}; /* any broker's answer will do */
    bool learnt;

    if (r->window.in_flight > 0) {
        what.topic = window_at(&r->window, r->window.settled)->topic;
        what.partition = window_at(&r->window, r->window.settled)->partition;
    }
    r->in_op = true;
    learnt = r->sink->diagnose(r->sink_ctx, MAIN_STREAM, &what, &err, &cause);
    r->in_op = false;
    relay_enter(r);
    if (!learnt && r->window.in_flight == 0) {
        trouble_clear(r);
        return;
    }
    if (!learnt && relay_now(r) - c->progress_at < r->params.stall_after_ms)
        return;
    if (!learnt) {
        cause = REFUSAL_STALLED;
        (void)err_set(&err, ERR_UNAVAILABLE, "no acknowledgement for %llu s",
                      (unsigned long long)((relay_now(r) - c->progress_at) / 1000));
    }
    if (learnt && (cause == REFUSAL_CLUSTER_FORBIDDEN || cause == REFUSAL_PRODUCER_FATAL)) {
        /* It can do nothing more, whether or not there is something to send. */
        recovery_begin(r, cause, err.text);
        return;
    }
    if (c->stalled && strcmp(c->trouble.cause, refusal_name(cause)) == 0)
        return; /* said already */
    count_error(r, cause);
    trouble_set(r, cause, err.text);
    if (what.topic != UINT32_MAX)
        (void)snprintf(c->trouble.topic, sizeof c->trouble.topic, "%s",
                       r->topics.list[what.topic].name);
    c->stalled = true;
    relay_note(r, RELAY_NOTE_STALLED);
}

static void stall_pump(struct relay *r)
{
    struct recovering *c = &r->rec;
    uint64_t now = relay_now(r);
    uint64_t quiet_until = c->progress_at + DIAGNOSE_MS;

    if (r->window.in_flight == 0 && !c->stalled)
        return;
    if (c->diagnose_due < quiet_until && r->window.in_flight > 0)
        c->diagnose_due = quiet_until;
    if (now >= c->diagnose_due) {
        c->diagnose_due = now + DIAGNOSE_AGAIN_MS;
        ask_why(r);
    }
    relay_due(r, c->diagnose_due);
}

void recovery_pump(struct relay *r)
{
    struct recovering *c = &r->rec;
    uint64_t now = relay_now(r);

    switch (c->feed) {
    case FEED_RUN:
        stall_pump(r);
        break;
    case FEED_RECOVER:
        if (now < c->deadline && (r->window.in_flight > 0 || c->reset_failed)) {
            relay_due(r, c->deadline);
            break;
        }
        replace_producer(r);
        relay_due(r, now + 1);
        break;
    case FEED_PAUSE:
    case FEED_HALT:
        if (now >= c->retry_at)
            feed_again(r);
        else
            relay_due(r, c->retry_at);
        break;
    }
    tell_pump(r);
}
