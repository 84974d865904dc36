/* What is in flight stands in a ring, in the order in which it was sent, until everything before it
 * is acknowledged, too. A partition's count is known by the partitioner of kafka/client.h with the
 * first message to its topic; until then one message of the topic is out at a time.
 *
 * Failure: the first one is kept, and told by every call from then on. */
#include "kafka/outlet.h"

#include "base/str.h"
#include "kafka/client.h"
#include "kafka/diagnose.h"
#include "kafka/errors.h"
#include "kafka/record.h"
#include "message/murmur2.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RING = 8192, LIST_MS = 5000, LIST_TRIES = 2, NO_WAKE_FD = -1 };

enum opening { CLOSED, BEING_OPENED, OPEN };

struct outlet_topic {
    char *name;
    uint8_t *openings; /* enum opening, by partition */
    int32_t partitions;
    size_t in_flight;
};

struct flight {
    int64_t row_id;
    uint32_t topic;
    int32_t partition; /* -1: the partitioner chooses */
    bool acked;
};

struct outlet {
    rd_kafka_conf_t *conf;
    struct client *client;
    char *brokers;
    struct outlet_topic *topics;
    size_t topic_count;
    struct flight ring[RING]; /* by sequence number */
    uint64_t oldest;          /* everything before it is acknowledged */
    uint64_t next;
    int64_t acked;
    int64_t settled;
    struct err failure; /* kind ERR_NONE: none */
};

/* ---- beginning and end ----------------------------------------------------------------------- */

struct outlet *outlet_new(const struct kafka_sink_params *params, struct err *err)
{
    struct outlet *o = xcalloc(1, sizeof *o);

    o->brokers = xstrdup(params->brokers);
    o->conf = kafka_conf_new(params, err);
    if (o->conf != NULL)
        o->client = client_new(o->conf, NO_WAKE_FD, err);
    if (o->client != NULL)
        return o;
    outlet_free(o);
    return NULL;
}

void outlet_free(struct outlet *o)
{
    if (o == NULL)
        return;
    if (o->client != NULL)
        client_free(o->client);
    if (o->conf != NULL)
        rd_kafka_conf_destroy(o->conf);
    for (size_t i = 0; i < o->topic_count; i++) {
        free(o->topics[i].name);
        free(o->topics[i].openings);
    }
    free(o->topics);
    free(o->brokers);
    free(o);
}

/* ---- topics ---------------------------------------------------------------------------------- */

static bool has_topic(const struct rd_kafka_metadata *md, const char *name)
{
    for (int i = 0; i < md->topic_cnt; i++)
        if (strcmp(md->topics[i].topic, name) == 0)
            return md->topics[i].err != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    return false;
}

int outlet_require(struct outlet *o, const char *const *topics, size_t count, struct err *err)
{
    const struct rd_kafka_metadata *md;
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__TIMED_OUT;
    int rc = 0;

    for (int tries = 0; tries < LIST_TRIES && code != RD_KAFKA_RESP_ERR_NO_ERROR; tries++)
        code = rd_kafka_metadata(o->client->rk, 1, NULL, &md, LIST_MS);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return err_problem(err, ERR_UNAVAILABLE, PROBLEM_BROKER_UNREACHABLE,
                           "no broker of %s answers: %s", o->brokers, rd_kafka_err2str(code));
    for (size_t i = 0; i < count && rc == 0; i++)
        if (!has_topic(md, topics[i]))
            rc = err_problem(err, ERR_CONFIG, PROBLEM_TOPIC_MISSING,
                             "topic %s does not exist, or may not be seen", topics[i]);
    rd_kafka_metadata_destroy(md);
    return rc;
}

static uint32_t topic_number(struct outlet *o, struct slice name)
{
    for (size_t i = 0; i < o->topic_count; i++)
        if (slice_is(name, o->topics[i].name))
            return (uint32_t)i;
    o->topics = xrealloc(o->topics, (o->topic_count + 1) * sizeof o->topics[0]);
    o->topics[o->topic_count] = (struct outlet_topic){.name = xstrndup(name.ptr, name.len)};
    return (uint32_t)o->topic_count++;
}

/* Takes over a partition count that has changed, which must not happen while messages that were
 * placed by the old one are out. */
static bool settle_partitions(struct outlet_topic *t, int32_t partitions)
{
    if (partitions == t->partitions)
        return true;
    if (t->in_flight > 0)
        return false;
    t->openings = xrealloc(t->openings, (size_t)partitions);
    for (int32_t p = t->partitions; p < partitions; p++)
        t->openings[p] = CLOSED;
    t->partitions = partitions;
    return true;
}

/* Whether the message may go; fills its partition, -1 for the first message of a topic. */
static bool may_go(struct outlet *o, uint32_t topic, const struct message *m, int32_t *partition)
{
    struct outlet_topic *t = &o->topics[topic];
    int32_t partitions = client_partitions(o->client, topic);

    if (partitions == 0) {
        *partition = -1;
        return t->in_flight == 0;
    }
    if (!settle_partitions(t, partitions))
        return false;
    *partition = murmur2_partition(m->key.ptr, m->key.len, partitions);
    return t->openings[*partition] != BEING_OPENED;
}

/* ---- what comes back ------------------------------------------------------------------------- */

/* The first refusal is the cause; what follows it was swept out with it. */
static void fail(struct outlet *o, const struct flight *f, rd_kafka_resp_err_t code)
{
    enum refusal why = kafka_refusal(code);
    bool person = refusal_class(why) == REFUSAL_TOPIC || refusal_class(why) == REFUSAL_MESSAGE;
    char text[256];

    if (o->failure.kind != ERR_NONE)
        return;
    (void)snprintf(text, sizeof text, "%s", rd_kafka_err2str(code));
    if (why == REFUSAL_PRODUCER_FATAL)
        (void)rd_kafka_fatal_error(o->client->rk, text, sizeof text);
    (void)err_problem(&o->failure, person ? ERR_CONFIG : ERR_UNAVAILABLE, refusal_problem(why),
                      "the event with id %lld was refused by topic %s: %s", (long long)f->row_id,
                      o->topics[f->topic].name, text);
}

static void take_report(struct outlet *o, const rd_kafka_message_t *m)
{
    uint64_t seq = client_opaque_seq(m->_private, o->next);
    struct flight *f = &o->ring[seq % RING];
    struct outlet_topic *t = &o->topics[f->topic];

    t->in_flight--;
    if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        fail(o, f, m->err);
        return;
    }
    o->acked++;
    f->acked = true;
    if (f->partition >= 0)
        t->openings[f->partition] = OPEN;
    for (; o->oldest < o->next && o->ring[o->oldest % RING].acked; o->oldest++)
        o->settled = o->ring[o->oldest % RING].row_id;
}

static void take_event(struct outlet *o, rd_kafka_event_t *ev)
{
    const rd_kafka_message_t *m;

    if (rd_kafka_event_type(ev) == RD_KAFKA_EVENT_DR)
        while ((m = rd_kafka_event_message_next(ev)) != NULL)
            take_report(o, m);
    else if (rd_kafka_event_type(ev) == RD_KAFKA_EVENT_ERROR &&
             kafka_refusal(rd_kafka_event_error(ev)) == REFUSAL_AUTHENTICATION &&
             o->failure.kind == ERR_NONE)
        (void)err_problem(&o->failure, ERR_CONFIG, PROBLEM_AUTHENTICATION, "brokers %s: %s",
                          o->brokers, rd_kafka_event_error_string(ev));
    rd_kafka_event_destroy(ev);
}

static int failed(const struct outlet *o, struct err *err)
{
    if (o->failure.kind == ERR_NONE)
        return 0;
    *err = o->failure;
    return -1;
}

int outlet_poll(struct outlet *o, uint32_t wait_ms, struct err *err)
{
    rd_kafka_event_t *ev;

    for (int wait = (int)wait_ms; (ev = rd_kafka_queue_poll(o->client->queue, wait)) != NULL;
         wait = 0)
        take_event(o, ev);
    return failed(o, err);
}

/* ---- sending --------------------------------------------------------------------------------- */

int outlet_send(struct outlet *o, const struct message *m, const struct message_header *extra,
                int64_t row_id, struct err *err)
{
    uint32_t topic = topic_number(o, m->topic);
    rd_kafka_resp_err_t code;
    struct flight *f = &o->ring[o->next % RING];
    int32_t partition;
    rd_kafka_topic_t *rkt;

    if (failed(o, err) != 0)
        return -1;
    rkt = client_topic(o->client, topic, o->topics[topic].name, err);
    if (rkt == NULL)
        return -1;
    if (o->next - o->oldest == RING || !may_go(o, topic, m, &partition))
        return 0;
    code = record_produce(o->client->rk, rkt, m, extra, client_opaque(o->next, partition));
    if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL)
        return 0;
    *f = (struct flight){.row_id = row_id, .topic = topic, .partition = partition};
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        fail(o, f, code);
        return failed(o, err);
    }
    o->next++;
    o->topics[topic].in_flight++;
    if (partition >= 0 && o->topics[topic].openings[partition] == CLOSED)
        o->topics[topic].openings[partition] = BEING_OPENED;
    return 1;
}

size_t outlet_in_flight(const struct outlet *o)
{
    size_t sum = 0;

    for (size_t i = 0; i < o->topic_count; i++)
        sum += o->topics[i].in_flight;
    return sum;
}

int64_t outlet_acked(const struct outlet *o)
{
    return o->acked;
}

int64_t outlet_settled(const struct outlet *o)
{
    return o->settled;
}

void outlet_diagnose(struct outlet *o, struct err *err)
{
    uint32_t topic = o->ring[o->oldest % RING].topic;
    rd_kafka_topic_t *rkt = NULL;
    enum refusal cause;
    struct err ignored;

    if (topic < o->topic_count)
        rkt = client_topic(o->client, topic, o->topics[topic].name, &ignored);
    if (diagnose(o->client->rk, rkt, o->brokers, err, &cause)) {
        err->problem = refusal_problem(cause);
        return;
    }
    (void)err_problem(err, ERR_UNAVAILABLE, PROBLEM_STALLED,
                      "the brokers answer, but do not acknowledge");
}
