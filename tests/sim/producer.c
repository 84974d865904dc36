/* The producer behind send: parcels wait in their partition's queue, are grouped into batches with
 * sequence numbers, and up to five batches fly at a time. Lost packets are repaired with the same
 * sequence numbers, unseen by the relay. A batch that is refused for good breaks the producer
 * (gapless): what waits behind it fails, what flies may land or not. */
#include "sink.h"

#include "base/str.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_TIMEOUT_US MS(400)

/* A request in the network, and its answer on the way back. */
struct packet {
    struct fake_stream *stream;
    uint64_t life; /* of the producer */
    uint64_t try;
    struct batch batch;
    enum verdict verdict;
    bool late;
};

struct report {
    struct producer_queue *queue;
    struct parcel parcel;
    enum refusal why;
};

static void transmit(struct producer_queue *q, struct sent_batch *sb);

/* ---- reports ---- */

static void report(void *self, void *arg)
{
    struct fake_stream *s = self;
    const struct report *r = arg;
    struct producer_queue *q = r->queue;
    if (r->parcel.undecided)
        s->topics[q->topic].undecided_out--;
    if (q->partition >= 0)
        q->outstanding--;
    if (r->why == REFUSAL_NONE) {
        q->open = true;
        q->opened_us = s->world->now_us;
        relay_on_acked(s->sink->relay, s->number, r->parcel.seq, q->partition);
        return;
    }
    world_say(s->world, "relay %u: message %" PRIu64 " (event %u) refused: %s", s->sink->instance,
              r->parcel.seq, r->parcel.fact, refusal_name(r->why));
    relay_on_refused(s->sink->relay, s->number, r->parcel.seq, r->why, "the simulation says so");
}

void producer_report(struct producer_queue *q, struct parcel p, enum refusal why)
{
    struct fake_stream *s = q->stream;
    if (p.told) {
        q->outstanding--;
        return;
    }
    struct report *r = xcalloc(1, sizeof *r);
    *r = (struct report){.queue = q, .parcel = p, .why = why};
    uint64_t at = s->world->now_us + world_delay(s->world, 50);
    s->report_us = at > s->report_us ? at : s->report_us;
    world_at(s->world, s->report_us, &s->scope, report, s, r);
}

static void tell_fatal(void *self, void *arg)
{
    struct fake_stream *s = self;
    (void)arg;
    relay_on_sink_error(s->sink->relay, s->number, REFUSAL_PRODUCER_FATAL,
                        "fatal: gapless guarantee");
}

void producer_refuse_undecided(struct fake_stream *s, uint32_t topic, enum refusal why)
{
    struct sink_topic *t = &s->topics[topic];
    for (uint32_t i = 0; i < t->undecided_count; i++) {
        t->queues[0].outstanding++; /* taken back by the report */
        producer_report(&t->queues[0], t->undecided[i], why);
    }
    t->undecided_count = 0;
}

/* Everything that waits fails; what flies is answered, or fails when its time is over. */
void producer_fail(struct fake_stream *s, enum refusal why)
{
    if (s->broken)
        return;
    s->broken = true;
    for (uint32_t t = 0; t < ALL_TOPICS; t++) {
        struct sink_topic *topic = &s->topics[t];
        for (uint32_t i = 0; i < MAX_PARTITIONS; i++) {
            struct producer_queue *q = &topic->queues[i];
            for (uint32_t k = 0; k < q->count; k++)
                producer_report(q, q->waiting[k], why);
            q->count = 0;
        }
        producer_refuse_undecided(s, t, why);
    }
    world_at(s->world, s->world->now_us + world_delay(s->world, 100), &s->scope, tell_fatal, s,
             NULL);
}

/* ---- answers ---- */

static struct sent_batch *find_flying(struct producer_queue *q, uint64_t number, uint32_t *at)
{
    for (uint32_t i = 0; i < q->flying; i++) {
        if (q->in_flight[i]->batch.number == number) {
            *at = i;
            return q->in_flight[i];
        }
    }
    return NULL;
}

static void pump(void *self, void *arg);

static void pump_soon(struct producer_queue *q)
{
    if (q->pumping)
        return;
    q->pumping = true;
    struct world *w = q->stream->world;
    world_at(w, w->now_us + world_between(w, 0, 500), &q->stream->threads, pump, q, NULL);
}

static void settle(struct producer_queue *q, uint32_t at, enum refusal why)
{
    struct sent_batch *sb = q->in_flight[at];
    for (uint32_t i = 0; i < sb->batch.count; i++)
        producer_report(q, sb->parcels[i], why);
    q->flying--;
    for (uint32_t i = at; i < q->flying; i++)
        q->in_flight[i] = q->in_flight[i + 1];
    free(sb);
    if (q->count > 0)
        pump_soon(q);
}

static struct packet *packet_new(struct producer_queue *q, const struct sent_batch *sb)
{
    struct packet *p = xcalloc(1, sizeof *p);
    *p = (struct packet){
        .stream = q->stream, .life = q->stream->scope.life, .try = sb->try, .batch = sb->batch};
    return p;
}

/* Nothing came back in time, or the answer asks for another try. */
static void again(void *self, void *arg)
{
    struct producer_queue *q = self;
    const struct packet *p = arg;
    uint32_t at;
    struct sent_batch *sb = find_flying(q, p->batch.number, &at);
    if (sb == NULL || sb->try != p->try)
        return;
    if (q->stream->broken)
        settle(q, at, REFUSAL_PRODUCER_FATAL);
    else
        transmit(q, sb);
}

static void again_later(struct producer_queue *q, struct sent_batch *sb, uint64_t delay_us)
{
    struct world *w = q->stream->world;
    sb->try++;
    world_at(w, w->now_us + delay_us, &q->stream->threads, again, q, packet_new(q, sb));
}

static void refuse(struct producer_queue *q, uint32_t at, enum refusal why)
{
    settle(q, at, why);
    producer_fail(q->stream, REFUSAL_PRODUCER_FATAL);
}

static void answered(void *self, void *arg)
{
    struct producer_queue *q = self;
    const struct packet *p = arg;
    struct fake_stream *s = q->stream;
    uint32_t at;
    struct sent_batch *sb = find_flying(q, p->batch.number, &at);
    if (sb == NULL || sb->try != p->try)
        return;
    switch (p->verdict) {
    case VERDICT_APPENDED:
        settle(q, at, REFUSAL_NONE);
        return;
    case VERDICT_UNKNOWN_TOPIC:
        if (!s->broken && world_chance(s->world, 50)) {
            oracle_excuse(s->cluster->oracle, 0, "the producer gives a missing topic up");
            refuse(q, at, REFUSAL_TOPIC_MISSING);
        } else {
            again_later(q, sb, MS(100));
        }
        return;
    case VERDICT_OUT_OF_ORDER:
        if (!s->broken && !sb->was_first)
            again_later(q, sb, world_delay(s->world, MS(100)));
        else
            refuse(q, at, REFUSAL_PRODUCER_FATAL);
        return;
    case VERDICT_TOO_LARGE:
        refuse(q, at, REFUSAL_MESSAGE_TOO_LARGE);
        return;
    case VERDICT_FORBIDDEN:
        refuse(q, at, REFUSAL_TOPIC_FORBIDDEN);
        return;
    case VERDICT_REFUSED:
    case VERDICT_REFUSED_APPENDED:
        refuse(q, at, REFUSAL_BROKER_ERROR);
        return;
    case VERDICT_SILENCE:
        return;
    }
}

/* ---- requests ---- */

static void arrives(void *self, void *arg);

/* A request of a producer that is gone may land now, later, or never. */
static bool is_late(const struct packet *p)
{
    struct fake_stream *s = p->stream;
    struct world *w = s->world;
    if (s->scope.life == p->life || p->late)
        return false;
    uint64_t fate = world_random(w) % 10;
    if (fate < 6)
        return fate >= 3;
    world_say(w, "broker: a request of producer %" PRIu64 " will be late", p->batch.producer);
    struct packet *later = xmalloc(sizeof *later);
    *later = *p;
    later->late = true;
    world_at(w, w->now_us + world_between(w, MS(10), SECONDS(10)), NULL, arrives, s, later);
    return true;
}

static void arrives(void *self, void *arg)
{
    struct fake_stream *s = self;
    struct packet *p = arg;
    struct world *w = s->world;
    if (is_late(p))
        return;
    p->verdict = cluster_produce(s->cluster, &p->batch);
    if (s->scope.life != p->life && p->verdict == VERDICT_APPENDED)
        w->sights[SIGHT_LATE_REQUEST]++;
    if (s->scope.life != p->life || p->verdict == VERDICT_SILENCE ||
        world_chance(w, s->plan->packet_permille))
        return;
    struct packet *back = xmalloc(sizeof *back);
    *back = *p;
    struct producer_queue *q = &s->topics[p->batch.topic].queues[p->batch.partition];
    world_at(w, w->now_us + world_delay(w, 300), &s->threads, answered, q, back);
}

static void transmit(struct producer_queue *q, struct sent_batch *sb)
{
    struct world *w = q->stream->world;
    const struct plan *plan = q->stream->plan;
    sb->try++;
    sb->was_first = q->in_flight[0] == sb;
    world_at(w, w->now_us + ANSWER_TIMEOUT_US, &q->stream->threads, again, q, packet_new(q, sb));
    if (world_chance(w, plan->packet_permille))
        return;
    uint64_t delay = world_delay(w, 300);
    if (world_chance(w, plan->packet_permille))
        delay += world_between(w, 0, MS(1000)); /* may come after its own repetition */
    world_at(w, w->now_us + delay, NULL, arrives, q->stream, packet_new(q, sb));
}

static void pump(void *self, void *arg)
{
    struct producer_queue *q = self;
    struct fake_stream *s = q->stream;
    (void)arg;
    q->pumping = false;
    while (q->count > 0 && q->flying < IN_FLIGHT_MAX && !s->broken) {
        uint32_t n = (uint32_t)world_between(s->world, 1, BATCH_MAX);
        n = n < q->count ? n : q->count;
        struct sent_batch *sb = xcalloc(1, sizeof *sb);
        sb->batch = (struct batch){.producer = s->producer,
                                   .number = s->next_batch++,
                                   .stream = s->number,
                                   .topic = q->topic,
                                   .partition = q->partition,
                                   .first = q->next_sequence,
                                   .count = n};
        for (uint32_t i = 0; i < n; i++) {
            sb->parcels[i] = q->waiting[i];
            sb->batch.facts[i] = q->waiting[i].fact;
        }
        q->next_sequence += n;
        q->count -= n;
        memmove(q->waiting, q->waiting + n, q->count * sizeof *q->waiting);
        q->in_flight[q->flying++] = sb;
        transmit(q, sb);
    }
}

void producer_enqueue(struct producer_queue *q, struct parcel p)
{
    if (q->count == q->cap) {
        q->cap = q->cap ? q->cap * 2 : 16;
        q->waiting = xrealloc(q->waiting, q->cap * sizeof *q->waiting);
    }
    q->waiting[q->count++] = p;
    pump_soon(q);
}

/* ---- life ---- */

void producer_throw_away(struct fake_stream *s)
{
    s->scope.life++;
    s->threads.life++;
    s->alive = false;
    for (uint32_t t = 0; t < ALL_TOPICS; t++) {
        for (uint32_t i = 0; i < MAX_PARTITIONS; i++) {
            struct producer_queue *q = &s->topics[t].queues[i];
            for (uint32_t k = 0; k < q->flying; k++)
                free(q->in_flight[k]);
            free(q->waiting);
            *q = (struct producer_queue){.stream = s, .topic = t, .partition = (int32_t)i};
        }
        s->topics[t].known = 0;
        s->topics[t].undecided_count = 0;
        s->topics[t].undecided_out = 0;
    }
}

void producer_new(struct fake_stream *s)
{
    s->alive = true;
    s->broken = false;
    s->producer = s->cluster->next_producer++;
    s->report_us = 0;
}
