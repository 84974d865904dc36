/* Nothing comes back. At all: we wait, ask the brokers why, and say so. From one partition, while
 * others acknowledge what was sent later: where the route parks, that partition becomes a lane. */
#include "relay/internal.h"

#include <stdio.h>
#include <string.h>

static void ask_why(struct relay *r, struct stream *s)
{
    struct recovering *c = &s->rec;
    enum refusal cause = REFUSAL_NONE;
    struct err err = {0};
    struct sending what = {.topic = UINT32_MAX, .partition = -1}; /* any broker's answer will do */
    bool learnt;

    if (s->window.in_flight > 0) {
        what.topic = window_at(&s->window, s->window.settled)->topic;
        what.partition = window_at(&s->window, s->window.settled)->partition;
    }
    r->in_op = true;
    learnt = r->sink->diagnose(r->sink_ctx, s->number, &what, &err, &cause);
    r->in_op = false;
    relay_enter(r);
    if (!learnt && s->window.in_flight == 0) {
        trouble_clear(r, s);
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
    if (what.topic != UINT32_MAX)
        (void)snprintf(c->trouble.topic, sizeof c->trouble.topic, "%s",
                       s->topics.list[what.topic].name);
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

/* Its partition becomes a lane. No report is awaited: none has come for so long. */
static void part_with(struct relay *r, struct stream *s, const struct window_entry *oldest)
{
    char text[96];

    (void)snprintf(text, sizeof text, "partition %d has not acknowledged for %llu s, others have",
                   (int)oldest->partition,
                   (unsigned long long)((relay_now(r) - oldest->sent_ms) / 1000));
    recovery_blame(s, oldest);
    recovery_begin(r, s, REFUSAL_STALLED, text);
    (void)snprintf(s->rec.trouble.topic, sizeof s->rec.trouble.topic, "%s",
                   s->topics.list[oldest->topic].name);
    s->rec.deadline = relay_now(r);
}

/* True: it has begun a recovery. */
static bool part_pump(struct relay *r, struct stream *s)
{
    const struct window_entry *oldest;
    uint64_t due;

    if (s->window.in_flight == 0)
        return false;
    oldest = window_at(&s->window, s->window.settled);
    if (oldest->partition < 0 || !lanes_park(r, oldest->route))
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

void stall_pump(struct relay *r, struct stream *s)
{
    struct recovering *c = &s->rec;
    uint64_t now = relay_now(r);
    uint64_t quiet_until = c->progress_at + DIAGNOSE_MS;

    if (part_pump(r, s)) {
        relay_due(r, now + 1);
        return;
    }
    if (s->window.in_flight == 0 && !c->stalled)
        return;
    if (c->diagnose_due < quiet_until && s->window.in_flight > 0)
        c->diagnose_due = quiet_until;
    if (now >= c->diagnose_due) {
        c->diagnose_due = now + DIAGNOSE_AGAIN_MS;
        ask_why(r, s);
    }
    relay_due(r, c->diagnose_due);
}
