/* What is done about a refusal: the one recovery path.
 *
 *   refused -> FEED_RECOVER: nothing more is fed; the other reports are awaited (1 s at most)
 *           -> the producer is thrown away, the window rewinds to its settled prefix, and what is
 * unsettled is read and sent again, in order
 *           -> a cause that can pass: FEED_PAUSE with growing pauses; a message that can never
 * pass: found by sending in groups (a bad record fails its whole batch), then FEED_HALT, tried
 * again every 30 s. Where the route parks, what cannot pass becomes a lane instead (split.c), and
 * main goes on. The try of a lane ends with a refusal (try.c), but for the search of a culprit.
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

void trouble_set(struct stream *s, enum refusal cause, const char *text)
{
    struct trouble *t = &s->rec.trouble;
    struct err cut;

    *t = (struct trouble){.attempts = s->rec.attempts};
    (void)snprintf(t->cause, sizeof t->cause, "%s", refusal_name(cause));
    /* by way of err_set, which does not cut a character in two: Postgres would refuse the text */
    (void)err_set(&cut, ERR_NONE, "%.*s", (int)sizeof t->text - 1, text);
    (void)snprintf(t->text, sizeof t->text, "%.*s", (int)sizeof t->text - 1, cut.text);
    s->rec.trouble_dirty = true;
}

void trouble_blame(struct stream *s, const uint8_t event_id[16], int64_t row_id, const char *topic)
{
    struct trouble *t = &s->rec.trouble;

    event_id_text(event_id, t->event_id);
    t->row_id = row_id;
    if (topic != NULL)
        (void)snprintf(t->topic, sizeof t->topic, "%s", topic);
}

void trouble_clear(struct relay *r, struct stream *s)
{
    if (s->rec.trouble.cause[0] == '\0')
        return;
    s->rec.trouble = (struct trouble){0};
    s->rec.trouble_dirty = true;
    s->rec.stalled = false;
    stream_note(r, s, RELAY_NOTE_RECOVERED);
}

/* At most once a second, and always the newest. */
static void tell_pump(struct relay *r, struct stream *s)
{
    struct recovering *c = &s->rec;
    uint64_t now = relay_now(r);
    struct trouble told;

    if (s->number != MAIN_STREAM || !c->trouble_dirty ||
        c->feed == FEED_CHANGE) /* then it becomes the lane's */
        return;
    if (now < c->tell_due) {
        relay_due(r, c->tell_due);
        return;
    }
    /* The event that halts us may be given up by a command, and then main passes it: so what is
     * before it must be on disk first, else a second one could be given up for it. */
    told = c->trouble;
    told.halted = c->trouble.halted && s->window.head == s->window.settled &&
                  !window_is_dirty(&s->window) && !s->storing.out;
    c->trouble_dirty = told.halted != c->trouble.halted;
    c->tell_due = now + 1000;
    told.next_try_ms =
        c->feed == FEED_PAUSE || c->feed == FEED_HALT ? (uint32_t)(c->retry_at - now) : 0;
    c->trouble.next_try_ms = told.next_try_ms;
    RELAY_OP(r, r->source->tell(r->source_ctx, r->lease.epoch, &told));
    if (c->trouble_dirty)
        relay_due(r, c->tell_due);
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

void recovery_begin(struct relay *r, struct stream *s, enum refusal cause, const char *text)
{
    struct recovering *c = &s->rec;

    count_error(r, cause);
    if (c->feed == FEED_RECOVER) {
        if (!says_more(cause, c->cause))
            return;
    } else {
        if (s->number == MAIN_STREAM) { /* lanes have their tries */
            r->counters.recoveries++;
            r->counters.recoveries_by_cause[cause]++;
        }
        c->attempts++;
        c->culprit_known = false;
        c->sound = false;
        c->suspect = s->window.settled;
        c->silent_count = 0;
        c->overtaken_since = 0;
        c->deadline = relay_now(r) + DRAIN_REPORTS_MS;
        c->quiet = relay_now(r) + DRAIN_QUIET_MS;
    }
    c->feed = FEED_RECOVER;
    c->cause = cause;
    trouble_set(s, cause, text);
    reading_discard(r, s);
    relay_want_pump(r);
}

/* The first that is refused decides which topic, and whose route. */
void recovery_blame(struct stream *s, const struct window_entry *e)
{
    struct culprit *c = &s->rec.culprit;

    if (s->rec.feed == FEED_RECOVER)
        return;
    c->route = e->route;
    c->partition = e->partition;
    c->partitions = s->topics.list[e->topic].count;
    str_set(&c->topic, s->topics.list[e->topic].name);
}

void relay_on_refused(struct relay *r, uint32_t stream, uint64_t seq, enum refusal why,
                      const char *text)
{
    struct stream *s = relay_stream(r, stream);
    const struct window_entry *e;
    bool alone;

    relay_enter(r);
    if (r->state != RELAY_LEADING && r->state != RELAY_DRAINING)
        return;
    e = window_at(&s->window, seq);
    alone = window_is_alone(&s->window, seq);
    window_refuse(&s->window, seq);
    s->rec.sound = false;
    recovery_blame(s, e);
    recovery_begin(r, s, why, text);
    if (refusal_class(why) == REFUSAL_MESSAGE && s->rec.trouble.event_id[0] == '\0')
        trouble_blame(s, e->event_id, e->row_id, s->topics.list[e->topic].name);
    else if (s->rec.trouble.topic[0] == '\0')
        (void)snprintf(s->rec.trouble.topic, sizeof s->rec.trouble.topic, "%s",
                       s->topics.list[e->topic].name);
    if (refusal_class(why) == REFUSAL_MESSAGE) {
        if (seq > s->rec.suspect)
            s->rec.suspect = seq;
        /* Without the key no lane can be made: then it is sent alone once more. */
        if (alone)
            s->rec.culprit_known = !split_parks(r, e->route) || s->rec.culprit.seq == seq;
    }
    s->rec.quiet = relay_now(r) + DRAIN_QUIET_MS;
    s->reading.blocked = false;
    relay_want_pump(r);
}

void relay_on_sink_error(struct relay *r, uint32_t stream, enum refusal why, const char *text)
{
    struct stream *s = relay_stream(r, stream);

    relay_enter(r);
    if (r->state == RELAY_STOPPED)
        return;
    if (stream != MAIN_STREAM && s->lane == 0)
        return;
    if (why == REFUSAL_PRODUCER_FATAL) {
        s->rec.sound = false;
        if (r->state == RELAY_LEADING)
            recovery_begin(r, s, why, text);
    } else if (stream == MAIN_STREAM && s->rec.feed == FEED_RUN &&
               strcmp(s->rec.trouble.cause, refusal_name(why)) != 0) {
        /* The producer goes on trying by itself; this is for those who look. */
        count_error(r, why);
        trouble_set(s, why, text);
        s->rec.stalled = true;
        s->rec.diagnose_due = relay_now(r) + DIAGNOSE_AGAIN_MS;
        stream_note(r, s, RELAY_NOTE_STALLED);
    }
    relay_want_pump(r);
}

bool recovery_reset_sink(struct relay *r, struct stream *s)
{
    struct err err = {0};
    int rc;

    r->counters.producers++;
    r->counters.duplicates_possible += s->window.head - s->window.settled;
    r->in_op = true;
    s->rec.sound = false;
    rc = r->sink->reset(r->sink_ctx, s->number, &err);
    r->in_op = false;
    relay_enter(r);
    topics_close_all(&s->topics);
    (void)window_rewind(&s->window);
    s->reading.probed = false;
    s->reading.blocked = false;
    s->rec.reset_failed = rc != 0;
    if (rc == 0)
        return true;
    /* Whatever brought us here is found again when there is a producer. */
    s->rec.cause = REFUSAL_PRODUCER_FATAL;
    trouble_set(s, REFUSAL_PRODUCER_FATAL, err.text);
    return false;
}

static void pause_feed(struct relay *r, struct stream *s)
{
    struct recovering *c = &s->rec;

    c->feed = FEED_PAUSE;
    c->retry_at = relay_now(r) + pacing_backoff_ms(c->attempts, RETRY_FIRST_MS, RETRY_MAX_MS,
                                                   r->host->random(r->host_ctx));
    c->trouble.attempts = c->attempts;
    c->trouble_dirty = true;
    stream_note(r, s, RELAY_NOTE_RECOVERING);
}

void recovery_halt(struct relay *r, struct stream *s)
{
    struct recovering *c = &s->rec;

    if (c->feed != FEED_RECOVER)
        c->attempts++;
    c->feed = FEED_HALT;
    c->retry_at = relay_now(r) + HALT_RETRY_MS;
    c->trouble.halted = true;
    c->trouble.attempts = c->attempts;
    c->trouble.next_try_ms = HALT_RETRY_MS;
    c->trouble_dirty = true;
    reading_discard(r, s);
    stream_note(r, s, RELAY_NOTE_HALTED);
}

void recovery_careful(struct stream *s, uint32_t entries, uint32_t group)
{
    s->rec.careful = entries;
    s->rec.group = group;
    s->rec.group_end = s->window.head + group;
}

/* A batch was refused as a whole: the culprit is among its entries. They go in groups, the first of
 * half of them; the group that is refused is searched in the same way, and at last one is alone. */
static void search(struct relay *r, struct stream *s, uint32_t suspects)
{
    struct recovering *c = &s->rec;

    recovery_careful(s, suspects > 0 ? suspects : 1, suspects > 1 ? suspects / 2 : 1);
    pause_feed(r, s);
    c->retry_at = relay_now(r); /* at once */
}

static bool is_searched(const struct recovering *c)
{
    return refusal_class(c->cause) == REFUSAL_MESSAGE && !c->culprit_known;
}

static void retry_later(struct relay *r, struct stream *s)
{
    struct recovering *c = &s->rec;

    c->attempts++;
    c->deadline = relay_now(r) + pacing_backoff_ms(c->attempts, RETRY_FIRST_MS, RETRY_MAX_MS,
                                                   r->host->random(r->host_ctx));
    stream_note(r, s, RELAY_NOTE_RECOVERING);
}

/* All reports are in, or we have waited long enough. */
static void replace_producer(struct relay *r, struct stream *s)
{
    struct recovering *c = &s->rec;
    uint32_t unsettled = (uint32_t)(s->window.head - s->window.settled);
    uint32_t suspects = unsettled;

    if (c->cause == REFUSAL_PARTITION_GONE)
        stall_look_wider(r, s);
    if (c->suspect >= s->window.settled && c->suspect - s->window.settled < unsettled)
        suspects = (uint32_t)(c->suspect - s->window.settled) + 1;
    /* Anything else that is unsettled may be the lane's, and then it comes before. */
    c->culprit.is_next = c->culprit.seq == s->window.settled &&
                         (unsettled == 0 || window_is_alone(&s->window, s->window.settled));
    if (s->lane != 0 && !is_searched(c) && !split_wanted(r, s)) {
        try_fail(r, s);
        return;
    }
    if ((!c->sound || s->window.in_flight > 0) && !recovery_reset_sink(r, s)) {
        if (s->lane != 0)
            try_fail(r, s);
        else
            retry_later(r, s);
        return;
    }
    c->sound = false;
    if (split_wanted(r, s)) {
        change_want(s, CHANGE_SPLIT);
    } else if (refusal_class(c->cause) != REFUSAL_MESSAGE) {
        /* The oldest one shows whether it has passed; sent along, those behind it would arrive once
         * more at every attempt. */
        if (c->careful == 0)
            recovery_careful(s, 1, 1);
        pause_feed(r, s);
    } else if (c->culprit_known) {
        recovery_halt(r, s);
        recovery_careful(s, 1, 1);
    } else {
        search(r, s, suspects);
    }
}

void recovery_again(struct relay *r, struct stream *s)
{
    s->rec.feed = FEED_RUN;
    s->rec.progress_at = relay_now(r);
    s->rec.diagnose_due = s->rec.progress_at + DIAGNOSE_MS;
    s->reading.due = s->rec.progress_at;
}

/* The trouble is the lane's from now on. What else was refused with it is found again. */
void recovery_parked(struct relay *r, struct stream *s)
{
    struct recovering *c = &s->rec;

    c->trouble = (struct trouble){0};
    c->trouble_dirty = true;
    c->stalled = false;
    c->attempts = 0;
    c->careful = 0;
    if (r->state == RELAY_LEADING && !stall_next(r, s))
        recovery_again(r, s);
}

void recovery_progress(struct relay *r, struct stream *s)
{
    struct recovering *c = &s->rec;

    if (c->feed == FEED_RECOVER || c->feed == FEED_HALT)
        return;
    c->attempts = 0;
    if (c->careful == 0)
        trouble_clear(r, s);
}

/* Nothing waits to be published, so no ack will end a trouble that is over: a producer that could
 * not be made, say. What concerns the brokers is asked again by stall_pump. */
void recovery_idle(struct relay *r, struct stream *s)
{
    if (s->window.in_flight == 0 && s->rec.feed == FEED_RUN && !s->rec.stalled) {
        s->rec.attempts = 0;
        s->rec.careful = 0;
        trouble_clear(r, s);
    }
}

void recovery_leading(struct relay *r, struct stream *s)
{
    struct recovering *c = &s->rec;

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
    recovery_again(r, s);
}

void recovery_pump(struct relay *r, struct stream *s)
{
    struct recovering *c = &s->rec;
    uint64_t now = relay_now(r);
    uint64_t due;

    switch (c->feed) {
    case FEED_RUN:
        stall_pump(r, s);
        break;
    case FEED_RECOVER:
        due = c->quiet < c->deadline && !c->reset_failed ? c->quiet : c->deadline;
        if (now < due && (s->window.in_flight > 0 || c->reset_failed)) {
            relay_due(r, due);
            break;
        }
        replace_producer(r, s);
        relay_due(r, now + 1);
        break;
    case FEED_CHANGE: /* see change.c */
        break;
    case FEED_PAUSE:
    case FEED_HALT:
        if (now >= c->retry_at)
            recovery_again(r, s);
        else
            relay_due(r, c->retry_at);
        break;
    }
    tell_pump(r, s);
}
