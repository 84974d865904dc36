/* What is in flight stands in a ring, in the order in which it was sent, until everything before it
 * is acknowledged, too. Which message may go is said by relay/opening.h, with the partition counts
 * that the partitioner of kafka/client.h sees.
 *
 * Failure: the first one is kept, and told by every call from then on. */
#include "kafka/outlet.h"

#include "base/str.h"
#include "kafka/client.h"
#include "kafka/diagnose.h"
#include "kafka/errors.h"
#include "kafka/record.h"
#include "relay/opening.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RING = 8192, LIST_MS = 5000, LIST_TRIES = 2 };

#define NO_CLOCK 0U /* no hour passes: a partition that is open stays open */

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
    struct topics topics;
    size_t *in_flight;        /* by topic */
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

    topics_init(&o->topics);
    o->brokers = xstrdup(params->brokers);
    o->conf = kafka_conf_new(params, err);
    if (o->conf != NULL)
        o->client = client_new(o->conf, CLIENT_NO_WAKE, err);
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
    topics_release(&o->topics);
    free(o->in_flight);
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
    bool added;
    uint32_t topic = topics_find(&o->topics, name, &added);

    if (added) {
        o->in_flight = xrealloc(o->in_flight, o->topics.count * sizeof o->in_flight[0]);
        o->in_flight[topic] = 0;
    }
    return topic;
}

/* Whether the message may go; fills its partition, -1 for the first message of a topic. A partition
 * count that has changed is taken over when no message that was placed by the old one is out. */
static bool may_go(struct outlet *o, uint32_t topic, const struct message *m, int32_t *partition)
{
    int32_t known = client_partitions(o->client, topic);
    enum permit permit = topics_permit(&o->topics, topic, known, m->key, NO_CLOCK, partition);

    if (permit == PERMIT_GREW && o->in_flight[topic] == 0) {
        topics_set_count(&o->topics, topic, known);
        permit = topics_permit(&o->topics, topic, known, m->key, NO_CLOCK, partition);
    }
    return permit == PERMIT_SEND;
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
                      o->topics.list[f->topic].name, text);
}

static void take_report(struct outlet *o, const rd_kafka_message_t *m)
{
    uint64_t seq = client_opaque_seq(m->_private, o->next);
    struct flight *f = &o->ring[seq % RING];

    o->in_flight[f->topic]--;
    if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        fail(o, f, m->err);
        return;
    }
    o->acked++;
    f->acked = true;
    topics_acked(&o->topics, f->topic, f->partition, seq, NO_CLOCK);
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
    rkt = client_topic(o->client, topic, o->topics.list[topic].name, err);
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
    topics_sent(&o->topics, topic, partition, o->next++);
    o->in_flight[topic]++;
    return 1;
}

size_t outlet_in_flight(const struct outlet *o)
{
    size_t sum = 0;

    for (uint32_t i = 0; i < o->topics.count; i++)
        sum += o->in_flight[i];
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

    if (topic < o->topics.count)
        rkt = client_topic(o->client, topic, o->topics.list[topic].name, &ignored);
    if (diagnose(o->client->rk, rkt, -1, o->brokers, err, &cause)) {
        err->problem = refusal_problem(cause);
        return;
    }
    (void)err_problem(err, ERR_UNAVAILABLE, PROBLEM_STALLED,
                      "the brokers answer, but do not acknowledge");
}
