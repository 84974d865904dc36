/* The ops: what the relay hands over is judged here (right bytes, partition opened), then goes to
 * producer.c. */
#include "sink.h"

#include "message/dead.h"
#include "message/murmur2.h"
#include "writers.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORGET_US SECONDS(3700) /* longer than the relay's hour by both clocks */

static struct fake_stream *stream_of(void *ctx, uint32_t number)
{
    struct fake_sink *k = ctx;
    if (number > k->plan->params.lanes_in_parallel)
        world_fail(k->world, "relay %u: stream %u of %u", k->instance, number,
                   k->plan->params.lanes_in_parallel);
    return &k->streams[number];
}

/* ---- metadata ---- */

static void decide(struct fake_stream *s, uint32_t topic)
{
    struct sink_topic *t = &s->topics[topic];
    for (uint32_t i = 0; i < t->undecided_count; i++) {
        struct parcel p = t->undecided[i];
        char key[16];
        int len = snprintf(key, sizeof key, "k%u", s->cluster->oracle->facts[p.fact].key);
        struct producer_queue *q = &t->queues[murmur2_partition(key, (size_t)len, t->known)];
        q->outstanding++;
        producer_enqueue(q, p);
    }
    t->undecided_count = 0;
}

static void learn(void *self, void *arg)
{
    struct fake_stream *s = self;
    uint32_t topic = *(const uint32_t *)arg;
    const struct broker_topic *bt = &s->cluster->topics[topic];
    bool knows = s->cluster->up && bt->exists;
    if (knows) {
        s->topics[topic].known = bt->partitions;
        decide(s, topic);
    } else if (s->plan->troubles > 0 && s->cluster->up && s->topics[topic].undecided_count > 0 &&
               !s->broken && world_chance(s->world, 20)) {
        oracle_excuse(s->cluster->oracle, 0, "the producer gives a missing topic up");
        producer_refuse_undecided(s, topic, REFUSAL_TOPIC_MISSING);
        producer_fail(s, REFUSAL_PRODUCER_FATAL);
    }
    uint32_t *same = xmalloc(sizeof *same);
    *same = topic;
    uint64_t pause = knows ? SECONDS(5) : MS(100);
    world_at(s->world, s->world->now_us + world_delay(s->world, pause), &s->threads, learn, s,
             same);
}

static void ask_metadata(struct fake_stream *s, uint32_t topic)
{
    uint32_t *arg = xmalloc(sizeof *arg);
    *arg = topic;
    world_at(s->world, s->world->now_us + world_delay(s->world, MS(3)), &s->threads, learn, s, arg);
}

/* Topics are called t0-events, t1-events, ... and dead-letters. Returns ALL_TOPICS for another
 * name.
 */
static uint32_t topic_of(const struct plan *plan, const char *name)
{
    if (plan->dead_letters && strcmp(name, "dead-letters") == 0)
        return DEAD_TOPIC;
    if (name[0] != 't' || name[1] < '0' || name[1] > '9' || strcmp(name + 2, "-events") != 0)
        return ALL_TOPICS;
    uint32_t topic = (uint32_t)(name[1] - '0');
    return topic < plan->topics ? topic : ALL_TOPICS;
}

static void op_topic(void *ctx, uint32_t stream, uint32_t number, const char *name)
{
    struct fake_stream *s = stream_of(ctx, stream);
    uint32_t topic = topic_of(s->plan, name);
    if (topic == ALL_TOPICS || number >= ALL_TOPICS || !s->open) {
        world_fail(s->world, "relay %u: topic '%s' as number %u of stream %u", s->sink->instance,
                   name, number, stream);
        return;
    }
    s->numbers[number] = topic;
    if (number >= s->number_count)
        s->number_count = number + 1;
    if (!s->topics[topic].wanted && s->alive)
        ask_metadata(s, topic);
    s->topics[topic].wanted = true;
}

/* As the number is the stream's own. */
static uint32_t topic_by(const struct fake_stream *s, uint32_t number)
{
    if (number >= s->number_count) {
        world_fail(s->world, "relay %u: stream %u has no topic %u", s->sink->instance, s->number,
                   number);
        return 0;
    }
    return s->numbers[number];
}

static int32_t op_partitions(void *ctx, uint32_t stream, uint32_t number)
{
    const struct fake_stream *s = stream_of(ctx, stream);
    return s->topics[topic_by(s, number)].known;
}

/* ---- send ---- */

static bool header_is(const struct message_header *h, const char *name)
{
    return slice_is(h->name, name);
}

/* The event's number is the tail of its id; then key and payload must be that event's. */
static bool judge_message(struct fake_stream *s, uint32_t topic, const struct message *m,
                          uint32_t *fact)
{
    char expected[64];
    bool buried = false;
    *fact = UINT32_MAX;
    for (size_t i = 0; i < m->header_count; i++) {
        const struct slice v = m->headers[i].value;
        buried |= header_is(&m->headers[i], HEADER_DLT_ERROR_CLASS);
        if (header_is(&m->headers[i], "event-id") && v.len == EVENT_ID_TEXT - 1) {
            memcpy(expected, v.ptr + v.len - 8, 8);
            expected[8] = '\0';
            *fact = (uint32_t)strtoul(expected, NULL, 16);
        }
    }
    if (*fact >= s->cluster->oracle->count) {
        world_fail(s->world, "relay %u: a message without a known event id", s->sink->instance);
        return false;
    }
    const struct fact *f = &s->cluster->oracle->facts[*fact];
    snprintf(expected, sizeof expected, "k%u", f->key);
    bool right = slice_is(m->key, expected);
    if (topic == DEAD_TOPIC)
        return right && buried;
    right = right && !buried && f->key % s->plan->topics == topic;
    int n = snprintf(expected, sizeof expected, "\"payload\":{\"n\":%u,", *fact);
    right = right && m->value.len > writers_payload_bytes(s->plan, *fact) &&
            memmem(m->value.ptr, m->value.len, expected, (size_t)n) != NULL;
    if (!right)
        world_fail(s->world, "relay %u: event %u has the wrong topic, key or value",
                   s->sink->instance, *fact);
    return right;
}

/* Before the first ack of this producer a partition may hold one message, or a later one can
 * overtake it for good. */
static void judge_opening(struct fake_stream *s, const struct sink_topic *t, int32_t partition)
{
    if (partition < 0) {
        if (t->undecided_out > 0)
            world_fail(s->world, "relay %u: two messages while the partitions are unknown",
                       s->sink->instance);
        return;
    }
    const struct producer_queue *q = &t->queues[partition];
    bool open = q->open && s->world->now_us - q->opened_us <= FORGET_US;
    if (!open && q->outstanding > 0)
        world_fail(s->world, "relay %u: partition %d is used before it is open", s->sink->instance,
                   partition);
}

static int refuse_send(struct send_refusal *why, enum refusal cause)
{
    err_set(&why->err, ERR_UNAVAILABLE, "the simulation refuses it: %s", refusal_name(cause));
    why->cause = cause;
    return -EINVAL;
}

/* Returns 0 when the message may be taken. */
static int judge_send(struct fake_stream *s, uint32_t topic, uint32_t fact,
                      struct send_refusal *why)
{
    struct cluster *c = s->cluster;
    if (!s->alive || s->broken)
        return refuse_send(why, REFUSAL_PRODUCER_FATAL);
    if (topic != DEAD_TOPIC && oracle_is_poison(c->oracle, fact) && fact % 2 == 1 &&
        !c->limit_raised) {
        oracle_excuse(c->oracle, 0, "a message is too large to send");
        return refuse_send(why, REFUSAL_MESSAGE_TOO_LARGE);
    }
    if (world_chance(s->world, s->plan->sync_permille)) {
        oracle_excuse(c->oracle, 0, "send refuses");
        return refuse_send(why, REFUSAL_BROKER_ERROR);
    }
    return world_chance(s->world, s->plan->full_permille) ? -EAGAIN : 0;
}

static bool is_told(const struct fake_stream *s, const struct producer_queue *q)
{
    return s->plan->defect == DEFECT_EARLY_ACK ||
           (s->plan->defect == DEFECT_OPENING_FAKED && !q->open);
}

static void take(struct fake_stream *s, uint32_t topic, int32_t partition, struct parcel p)
{
    struct sink_topic *t = &s->topics[topic];
    if (partition < 0) {
        p.undecided = true;
        t->undecided_out++;
        if (t->undecided_count < BATCH_MAX)
            t->undecided[t->undecided_count++] = p;
        if (t->known > 0)
            decide(s, topic);
        return;
    }
    struct producer_queue *q = &t->queues[partition];
    q->outstanding++;
    if (is_told(s, q)) {
        q->outstanding++;
        producer_report(q, p, REFUSAL_NONE);
        p.told = true;
    }
    producer_enqueue(q, p);
}

/* Never more than a second's worth at once, and evenly beyond that; the process's clock may be half
 * a per cent fast. */
static void judge_rate(struct fake_sink *k)
{
    double rate = k->plan->params.max_rate;
    double most = rate + 1;
    if (k->plan->params.max_rate == 0)
        return;
    k->allowance += (double)(k->world->now_us - k->allowance_us) / 1e6 * rate * 1.006;
    k->allowance_us = k->world->now_us;
    if (k->allowance > most)
        k->allowance = most;
    k->allowance -= 1;
    k->world->sights[SIGHT_LIMITED] += k->allowance < most / 2;
    if (k->allowance < -1)
        world_fail(k->world, "relay %u: sends faster than %.0f events a second", k->instance, rate);
}

static int op_send(void *ctx, uint32_t stream, const struct sending *to, const struct message *m,
                   struct send_refusal *why)
{
    struct fake_stream *s = stream_of(ctx, stream);
    struct fake_sink *k = ctx;
    uint32_t topic = topic_by(s, to->topic);
    int32_t partition = to->partition;
    struct parcel p = {.seq = to->seq};
    if (!s->open)
        world_fail(s->world, "relay %u: sends in stream %u, which is closed", k->instance, stream);
    if (!judge_message(s, topic, m, &p.fact))
        return refuse_send(why, REFUSAL_MESSAGE_INVALID);
    if (partition >= s->topics[topic].known) {
        world_fail(s->world, "relay %u: partition %d of %d", k->instance, partition,
                   s->topics[topic].known);
        return refuse_send(why, REFUSAL_PARTITION_GONE);
    }
    int rc = judge_send(s, topic, p.fact, why);
    if (rc != 0)
        return rc;
    if (s->world->now_us > k->lease_until_us)
        world_fail(s->world, "relay %u: sends %" PRIu64 " ms after its lease is over", k->instance,
                   (s->world->now_us - k->lease_until_us) / 1000);
    judge_opening(s, &s->topics[topic], partition);
    judge_rate(k);
    world_say(s->world, "relay %u: stream %u: send %" PRIu64 " (event %u) to topic %u partition %d",
              k->instance, stream, to->seq, p.fact, topic, partition);
    take(s, topic, partition, p);
    return 0;
}

/* ---- life ---- */

static int op_reset(void *ctx, uint32_t stream, struct err *err)
{
    struct fake_stream *s = stream_of(ctx, stream);
    producer_throw_away(s);
    s->open = true;
    if (world_chance(s->world, s->plan->no_reset_permille)) {
        s->world->sights[SIGHT_NO_PRODUCER]++;
        if (s->plan->troubles > 0) /* and why it was replaced is forgotten with that: no lane */
            oracle_excuse(s->cluster->oracle, 0, "no producer");
        world_say(s->world, "relay %u: no new producer", s->sink->instance);
        return err_set(err, ERR_UNAVAILABLE, "no producer can be made now");
    }
    producer_new(s);
    world_say(s->world, "relay %u: stream %u: new producer %" PRIu64, s->sink->instance, stream,
              s->producer);
    for (uint32_t t = 0; t < ALL_TOPICS; t++) {
        if (s->topics[t].wanted)
            ask_metadata(s, t);
    }
    return 0;
}

static void close_stream(struct fake_stream *s)
{
    producer_throw_away(s);
    s->open = false;
    s->number_count = 0;
    for (uint32_t t = 0; t < ALL_TOPICS; t++)
        s->topics[t].wanted = false;
}

static void op_close(void *ctx, uint32_t stream)
{
    struct fake_stream *s = stream_of(ctx, stream);
    if (stream == MAIN_STREAM)
        world_fail(s->world, "relay %u: closes main's stream", s->sink->instance);
    if (s->open)
        world_say(s->world, "relay %u: stream %u is closed", s->sink->instance, stream);
    close_stream(s);
}

/* Forbidden to write is not forbidden to see: the brokers do not tell. */
static bool op_diagnose(void *ctx, uint32_t stream, const struct sending *what, struct err *err,
                        enum refusal *cause)
{
    const struct fake_stream *s = stream_of(ctx, stream);
    const struct broker_topic *t =
        what->topic == UINT32_MAX ? NULL : &s->cluster->topics[topic_by(s, what->topic)];
    if (!s->cluster->up)
        *cause = REFUSAL_BROKER_UNREACHABLE;
    else if (t != NULL && !t->exists)
        *cause = REFUSAL_TOPIC_MISSING;
    else if (t != NULL && what->partition >= 0 && t->logs[what->partition].leaderless)
        *cause = REFUSAL_PARTITION_GONE;
    else
        return false;
    err_set(err, ERR_UNAVAILABLE, "the simulation knows: %s", refusal_name(*cause));
    return true;
}

static void tell_down(void *self, void *arg)
{
    struct fake_stream *s = self;
    (void)arg;
    relay_on_sink_error(s->sink->relay, s->number, REFUSAL_BROKER_UNREACHABLE,
                        "all brokers are down");
}

void sink_brokers_down(struct fake_sink *k)
{
    for (uint32_t i = 0; k->relay != NULL && i < STREAMS_MAX; i++) {
        struct fake_stream *s = &k->streams[i];
        if (s->alive)
            world_at(k->world, k->world->now_us + world_delay(k->world, MS(100)), &s->scope,
                     tell_down, s, NULL);
    }
}

void sink_init(struct fake_sink *k, struct world *w, const struct plan *plan,
               struct cluster *cluster, const struct scope *process, const struct scope *threads)
{
    memset(k, 0, sizeof *k);
    k->world = w;
    k->plan = plan;
    k->cluster = cluster;
    for (uint32_t i = 0; i < STREAMS_MAX; i++) {
        struct fake_stream *s = &k->streams[i];
        *s = (struct fake_stream){
            .sink = k, .number = i, .world = w, .plan = plan, .cluster = cluster};
        s->scope.process = process;
        s->threads.process = threads;
        producer_throw_away(s);
    }
}

void sink_attach(struct fake_sink *k, struct relay *relay, uint32_t instance)
{
    struct fake_stream *s = &k->streams[MAIN_STREAM];
    k->relay = relay;
    k->instance = instance;
    close_stream(s);
    s->open = true;
    k->allowance = k->plan->params.max_rate;
    k->allowance_us = k->world->now_us;
    producer_new(s);
}

void sink_release(struct fake_sink *k)
{
    for (uint32_t i = 0; i < STREAMS_MAX; i++)
        close_stream(&k->streams[i]);
}

void sink_detach(struct fake_sink *k)
{
    sink_release(k);
    k->relay = NULL;
}

const struct sink_ops fake_sink_ops = {
    .topic = op_topic,
    .partitions = op_partitions,
    .send = op_send,
    .reset = op_reset,
    .close = op_close,
    .diagnose = op_diagnose,
};
