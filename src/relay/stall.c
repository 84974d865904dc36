/* Nothing comes back. At all: we wait, ask the brokers why, and say so. From one partition, while
 * others acknowledge what was sent later, or with a topic or a partition that the brokers say is
 * not there: where the route parks, that becomes a lane, and the try of a lane has failed. */
#include "relay/internal.h"

#include "message/murmur2.h"

#include <stdio.h>
#include <string.h>

#define SILENT_MAX 32U /* found in one go; what is beyond is found in the next */

static int32_t partitions_of(struct relay *r, struct stream *s, uint32_t topic)
{
    int32_t count;

    r->in_op = true;
    count = r->sink->partitions(r->sink_ctx, s->number, topic);
    r->in_op = false;
    return count;
}

/* It was perhaps sent before anybody knew how many partitions there are. */
static const struct window_entry *oldest_of(struct relay *r, struct stream *s)
{
    struct window_entry *e;
    int32_t count;

    if (s->window.in_flight == 0)
        return NULL;
    e = window_at(&s->window, s->window.settled);
    if (e->partition < 0 && (count = partitions_of(r, s, e->topic)) > 0)
        e->partition = murmur2_place(e->key_hash, count);
    return e;
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

/* ---- what else is silent ---- */

static bool is_whole_topic(enum refusal cause)
{
    return refusal_class(cause) == REFUSAL_TOPIC && cause != REFUSAL_PARTITION_GONE;
}

/* Found already, or the culprit itself. */
static bool is_known(const struct recovering *c, const struct window_entry *culprit,
                     const struct window_entry *e)
{
    if (e->topic == culprit->topic &&
        (e->partition == culprit->partition || is_whole_topic(c->cause)))
        return true;
    for (uint32_t i = 0; i < c->silent_count; i++)
        if (e->topic == c->silent[i].topic &&
            (e->partition == c->silent[i].partition || is_whole_topic(c->silent[i].cause)))
            return true;
    return false;
}

/* A broker that is down silences partitions, a deleted topic may not be the only one: each would
 * cost main its patience anew. What is as old as the culprit's patience, and of which nothing has
 * come, is looked at together with it. */
static void gather(struct relay *r, struct stream *s, const struct window_entry *culprit)
{
    struct recovering *c = &s->rec;
    uint32_t patience = c->cause == REFUSAL_STALLED ? r->params.stall_after_ms : DIAGNOSE_MS;
    struct err err = {0};

    if (c->silent == NULL)
        c->silent = xcalloc(SILENT_MAX, sizeof c->silent[0]);
    for (uint64_t seq = s->window.settled + 1; seq < s->window.head; seq++) {
        const struct window_entry *e = window_at(&s->window, seq);
        enum refusal cause = c->cause;

        if (c->silent_count == SILENT_MAX)
            return;
        if (e->state != ENTRY_SENT || e->partition < 0 || !split_parks(r, e->route) ||
            relay_now(r) - e->sent_ms < patience || is_known(c, culprit, e))
            continue;
        if (cause != REFUSAL_STALLED &&
            (!ask(r, s, e, &cause, &err) || refusal_class(cause) != REFUSAL_TOPIC))
            cause = REFUSAL_NONE;
        c->silent[c->silent_count++] = (struct silent){
            .topic = e->topic,
            .partition = e->partition,
            .partitions = s->topics.list[e->topic].count,
            .route = e->route,
            .cause = cause,
        };
    }
}

bool stall_next(struct relay *r, struct stream *s)
{
    struct recovering *c = &s->rec;

    while (c->silent_count > 0) {
        const struct silent *x = &c->silent[--c->silent_count];
        const char *name = s->topics.list[x->topic].name;

        if (x->cause == REFUSAL_NONE)
            continue;
        c->cause = x->cause;
        c->culprit.route = x->route;
        c->culprit.partition = x->partition;
        c->culprit.partitions = x->partitions;
        c->culprit.is_next = false;
        str_set(&c->culprit.topic, name);
        if (!split_wanted(r, s))
            continue;
        trouble_set(s, x->cause, "silent with another one that became a lane");
        (void)snprintf(c->trouble.topic, sizeof c->trouble.topic, "%s", name);
        change_want(s, CHANGE_SPLIT);
        return true;
    }
    return false;
}

/* What the oldest message waits for is not there. */
static void give_in(struct relay *r, struct stream *s, const struct window_entry *oldest,
                    enum refusal cause, const char *text)
{
    recovery_blame(s, oldest);
    if (s->rec.culprit.partitions == 0)
        s->rec.culprit.partitions = partitions_of(r, s, oldest->topic);
    recovery_begin(r, s, cause, text);
    (void)snprintf(s->rec.trouble.topic, sizeof s->rec.trouble.topic, "%s",
                   s->topics.list[oldest->topic].name);
    if (split_wanted(r, s))
        gather(r, s, oldest);
}

/* A new leader is found within seconds, as a rule: no lane is made for that. */
static bool may_pass(const struct relay *r, const struct window_entry *oldest, enum refusal cause)
{
    return cause == REFUSAL_PARTITION_GONE &&
           relay_now(r) - oldest->sent_ms < r->params.stall_after_ms;
}

static void ask_why(struct relay *r, struct stream *s)
{
    struct recovering *c = &s->rec;
    const struct window_entry *oldest = oldest_of(r, s);
    enum refusal cause = REFUSAL_NONE;
    struct err err = {0};
    bool learnt = ask(r, s, oldest, &cause, &err);

    if (!learnt && oldest == NULL) {
        trouble_clear(r, s);
        return;
    }
    if (learnt && oldest != NULL && refusal_class(cause) == REFUSAL_TOPIC &&
        split_parks(r, oldest->route) && !may_pass(r, oldest, cause)) {
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

/* How long it has been so: after an outage of all, partitions answer one after another. */
static bool is_overtaken_for_long(struct relay *r, struct stream *s,
                                  const struct window_entry *oldest)
{
    struct recovering *c = &s->rec;

    if (!is_overtaken(s, oldest)) {
        c->overtaken_since = 0;
        return false;
    }
    if (c->overtaken_since == 0 || c->overtaken_seq != s->window.settled) {
        c->overtaken_seq = s->window.settled;
        c->overtaken_since = relay_now(r);
    }
    return relay_now(r) - c->overtaken_since >= r->params.stall_after_ms;
}

/* An outage of all may have begun when others had just acknowledged. */
static bool others_are_well(struct relay *r, struct stream *s, const struct window_entry *oldest)
{
    enum refusal cause = REFUSAL_NONE;
    struct err err = {0};

    return !ask(r, s, oldest, &cause, &err) || refusal_class(cause) == REFUSAL_TOPIC;
}

/* True: it has begun a recovery. */
static bool part_pump(struct relay *r, struct stream *s)
{
    struct recovering *c = &s->rec;
    const struct window_entry *oldest = oldest_of(r, s);
    uint64_t due;

    if (oldest == NULL || oldest->partition < 0 || !split_parks(r, oldest->route))
        return false;
    due = oldest->sent_ms + OVERTAKEN_AGAIN_MS;
    if (due < c->overtaken_due)
        due = c->overtaken_due;
    if (relay_now(r) < due) {
        relay_due(r, due);
        return false;
    }
    c->overtaken_due = relay_now(r) + OVERTAKEN_AGAIN_MS;
    relay_due(r, c->overtaken_due);
    if (!is_overtaken_for_long(r, s, oldest))
        return false;
    if (!others_are_well(r, s, oldest)) {
        c->overtaken_since = relay_now(r);
        return false;
    }
    part_with(r, s, oldest);
    return true;
}

/* Of a topic that was deleted each partition is gone: one lane for all of them, and not one each.
 */
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
    count_error(r, cause);
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
        ask_at = s->rec.diagnose_due = relay_now(r) + DIAGNOSE_MS;
        if (ask(r, s, oldest, &cause, &err) && refusal_class(cause) == REFUSAL_TOPIC) {
            give_in(r, s, oldest, cause, err.text);
            return;
        }
    }
    relay_due(r, ask_at < end_at ? ask_at : end_at);
}

/* ---- all of it ---- */

/* Where it parks, one message's silence is enough to ask; else that of all. */
static uint64_t silent_since(struct relay *r, struct stream *s)
{
    const struct window_entry *oldest = oldest_of(r, s);

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
            lane_pump(r, s, oldest_of(r, s));
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
