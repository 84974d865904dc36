/* Nothing comes back. At all: we wait, ask the brokers why, and say so. From one partition, while
 * others acknowledge what was sent later, or with a topic or a partition that the brokers say is
 * not there: where the route parks, that becomes a lane, and the try of a lane has failed. */
#include "relay/internal.h"

#include <stdio.h>
#include <string.h>

static const struct window_entry *oldest_of(struct stream *s)
{
    return s->window.in_flight > 0 ? window_at(&s->window, s->window.settled) : NULL;
}

static bool ask(struct relay *r, struct stream *s, const struct window_entry *oldest,
                enum refusal *cause, struct err *err)
{
    struct sending what = {.topic = UINT32_MAX, .partition = -1}; /* any broker's answer will do */
    bool learnt;

    if (oldest != NULL) {
        what.topic = oldest->topic;
        what.partition = oldest->partition;
    }
    r->in_op = true;
    learnt = r->sink->diagnose(r->sink_ctx, s->number, &what, err, cause);
    r->in_op = false;
    relay_enter(r);
    return learnt;
}

/* What the oldest message waits for is not there. */
static void give_in(struct relay *r, struct stream *s, const struct window_entry *oldest,
                    enum refusal cause, const char *text)
{
    recovery_blame(s, oldest);
    recovery_begin(r, s, cause, text);
    (void)snprintf(s->rec.trouble.topic, sizeof s->rec.trouble.topic, "%s",
                   s->topics.list[oldest->topic].name);
}

static void ask_why(struct relay *r, struct stream *s)
{
    struct recovering *c = &s->rec;
    const struct window_entry *oldest = oldest_of(s);
    enum refusal cause = REFUSAL_NONE;
    struct err err = {0};
    bool learnt = ask(r, s, oldest, &cause, &err);

    if (!learnt && oldest == NULL) {
        trouble_clear(r, s);
        return;
    }
    if (learnt && oldest != NULL && refusal_class(cause) == REFUSAL_TOPIC &&
        split_parks(r, oldest->route)) {
        give_in(r, s, oldest, cause, err.text);
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
        recovery_begin(r, s, cause, err.text);
        return;
    }
    if (c->stalled && strcmp(c->trouble.cause, refusal_name(cause)) == 0)
        return; /* said already */
    count_error(r, cause);
    trouble_set(s, cause, err.text);
    if (oldest != NULL)
        (void)snprintf(c->trouble.topic, sizeof c->trouble.topic, "%s",
                       s->topics.list[oldest->topic].name);
    c->stalled = true;
    stream_note(r, s, RELAY_NOTE_STALLED);
}

/* ---- one partition is silent while others are not
 * ---------------------------------------------------------------- */

/* Something for another partition was sent after it, and has been acknowledged. */
static bool is_overtaken(struct stream *s, const struct window_entry *oldest)
{
    for (uint64_t seq = s->window.settled + 1; seq < s->window.head; seq++) {
        const struct window_entry *e = window_at(&s->window, seq);

        if (e->state == ENTRY_ACKED &&
            (e->topic != oldest->topic || e->partition != oldest->partition))
            return true;
    }
    return false;
}

/* Its partition becomes a lane. */
static void part_with(struct relay *r, struct stream *s, const struct window_entry *oldest)
{
    char text[96];

    (void)snprintf(text, sizeof text, "partition %d has not acknowledged for %llu s, others have",
                   (int)oldest->partition,
                   (unsigned long long)((relay_now(r) - oldest->sent_ms) / 1000));
    give_in(r, s, oldest, REFUSAL_STALLED, text);
}

/* True: it has begun a recovery. */
static bool part_pump(struct relay *r, struct stream *s)
{
    const struct window_entry *oldest;
    uint64_t due;

    oldest = oldest_of(s);
    if (oldest == NULL || oldest->partition < 0 || !split_parks(r, oldest->route))
        return false;
    due = oldest->sent_ms + r->params.stall_after_ms;
    if (due < s->rec.overtaken_due)
        due = s->rec.overtaken_due;
    if (relay_now(r) < due) {
        relay_due(r, due);
        return false;
    }
    if (is_overtaken(s, oldest)) {
        part_with(r, s, oldest);
        return true;
    }
    s->rec.overtaken_due = relay_now(r) + OVERTAKEN_AGAIN_MS;
    relay_due(r, s->rec.overtaken_due);
    return false;
}

/* Of a topic that was deleted each partition is gone: one lane for all of them, and not one each. */
void stall_look_wider(struct relay *r, struct stream *s)
{
    struct recovering *c = &s->rec;
    struct window_entry gone = {.partition = c->culprit.partition};
    enum refusal cause = REFUSAL_NONE;
    struct err err = {0};
    bool added;

    gone.topic = topics_find(&s->topics, str_slice(&c->culprit.topic), &added);
    if (added || !ask(r, s, &gone, &cause, &err) || refusal_class(cause) != REFUSAL_TOPIC ||
        cause == REFUSAL_PARTITION_GONE)
        return;
    c->cause = cause;
    trouble_set(s, cause, err.text);
    (void)snprintf(c->trouble.topic, sizeof c->trouble.topic, "%s", str_text(&c->culprit.topic));
}

/* ---- a lane ---- */

/* Its try has failed when what it waits for is not there, or when nothing came for so long. */
static void lane_pump(struct relay *r, struct stream *s, const struct window_entry *oldest)
{
    uint64_t ask_at = oldest->sent_ms + (s->trying.flowing ? DIAGNOSE_MS : TRY_ASK_MS);
    uint64_t end_at = s->rec.progress_at + r->params.stall_after_ms;
    enum refusal cause = REFUSAL_NONE;
    struct err err = {0};
    char text[64];

    if (relay_now(r) >= end_at) {
        (void)snprintf(text, sizeof text, "no acknowledgement for %u s",
                       r->params.stall_after_ms / 1000);
        give_in(r, s, oldest, REFUSAL_STALLED, text);
        s->rec.culprit.partition = -1; /* nobody overtook it: the lane is no narrower one's */
        return;
    }
    if (ask_at < s->rec.diagnose_due)
        ask_at = s->rec.diagnose_due;
    if (relay_now(r) >= ask_at) {
        ask_at = s->rec.diagnose_due = relay_now(r) + DIAGNOSE_AGAIN_MS;
        if (ask(r, s, oldest, &cause, &err) && refusal_class(cause) == REFUSAL_TOPIC) {
            give_in(r, s, oldest, cause, err.text);
            return;
        }
    }
    relay_due(r, ask_at < end_at ? ask_at : end_at);
}

/* ---- all of it ---- */

/* Where it parks, one message's silence is enough to ask; else that of all. */
static uint64_t silent_since(const struct relay *r, struct stream *s)
{
    const struct window_entry *oldest = oldest_of(s);

    return oldest != NULL && split_parks(r, oldest->route) ? oldest->sent_ms : s->rec.progress_at;
}

void stall_pump(struct relay *r, struct stream *s)
{
    struct recovering *c = &s->rec;
    uint64_t now = relay_now(r);
    uint64_t quiet_until;

    if (part_pump(r, s)) {
        relay_due(r, now + 1);
        return;
    }
    if (s->lane != 0) {
        if (s->window.in_flight > 0)
            lane_pump(r, s, oldest_of(s));
        if (c->feed != FEED_RUN)
            relay_due(r, relay_now(r) + 1);
        return;
    }
    if (s->window.in_flight == 0 && !c->stalled)
        return;
    quiet_until = silent_since(r, s) + DIAGNOSE_MS;
    if (c->diagnose_due < quiet_until && s->window.in_flight > 0)
        c->diagnose_due = quiet_until;
    if (now >= c->diagnose_due) {
        c->diagnose_due = now + DIAGNOSE_AGAIN_MS;
        ask_why(r, s);
    }
    relay_due(r, c->feed == FEED_RUN ? c->diagnose_due : relay_now(r) + 1);
}
