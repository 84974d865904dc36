/* Settings of brokers and topics, by the DescribeConfigs request.
 *
 * One request goes to each broker, so that each must answer at the address which it advertises: a
 * bootstrap address may work where the advertised ones do not, and then nothing can be published.
 * All requests are out at a time. A broker that does not answer has its own request fail, by
 * librdkafka's timeout; a refusal (no authorisation) is an answer. */
#include "kafka/inspect_internal.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ANSWER_MS = 3000 };
/* Beyond ANSWER_MS, for the library to tell that time is out. */
enum { PATIENCE_MS = 500 };

/* The request's opaque: a broker's number from 0, or this one. */
#define ABOUT_TOPICS ((void *)(intptr_t)-1)

static void ask(const struct inspection *in, rd_kafka_ConfigResource_t **what, size_t count,
                void *opaque, rd_kafka_queue_t *answers)
{
    char text[256];
    rd_kafka_AdminOptions_t *options =
        rd_kafka_AdminOptions_new(in->rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    /* Fails only for times that are out of range. */
    (void)rd_kafka_AdminOptions_set_request_timeout(options, ANSWER_MS, text, sizeof(text));
    rd_kafka_AdminOptions_set_opaque(options, opaque);
    rd_kafka_DescribeConfigs(in->rk, what, count, options, answers);
    rd_kafka_AdminOptions_destroy(options);
}

static void ask_broker(const struct inspection *in, int broker, rd_kafka_queue_t *answers)
{
    char id[16];
    snprintf(id, sizeof(id), "%d", (int)in->md->brokers[broker].id);
    rd_kafka_ConfigResource_t *what = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_BROKER, id);
    ask(in, &what, 1, (void *)(intptr_t)broker, answers);
    rd_kafka_ConfigResource_destroy(what);
}

static void ask_topics(const struct inspection *in, const char *const *topics, size_t count,
                       rd_kafka_queue_t *answers)
{
    rd_kafka_ConfigResource_t **what = xcalloc(count, sizeof(rd_kafka_ConfigResource_t *));
    for (size_t i = 0; i < count; i++)
        what[i] = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topics[i]);
    ask(in, what, count, ABOUT_TOPICS, answers);
    rd_kafka_ConfigResource_destroy_array(what, count);
    free(what);
}

void inspect_settings_ask(struct inspection *in, const char *const *topics, size_t count)
{
    int brokers = in->md->broker_cnt;
    int expected = brokers + (count > 0);
    rd_kafka_queue_t *answers = rd_kafka_queue_new(in->rk);
    in->from_brokers = xcalloc((size_t)brokers + 1, sizeof(rd_kafka_event_t *));
    for (int i = 0; i < brokers; i++)
        ask_broker(in, i, answers);
    if (count > 0)
        ask_topics(in, topics, count, answers);
    while (expected-- > 0) {
        rd_kafka_event_t *ev = rd_kafka_queue_poll(answers, ANSWER_MS + PATIENCE_MS);
        if (!ev)
            break;
        if (rd_kafka_event_opaque(ev) == ABOUT_TOPICS)
            in->from_topics = ev;
        else
            in->from_brokers[(intptr_t)rd_kafka_event_opaque(ev)] = ev;
    }
    rd_kafka_queue_destroy(answers);
}

void inspect_settings_release(struct inspection *in)
{
    for (int i = 0; in->from_brokers && i < in->md->broker_cnt; i++) {
        if (in->from_brokers[i])
            rd_kafka_event_destroy(in->from_brokers[i]);
    }
    free(in->from_brokers);
    in->from_brokers = NULL;
    if (in->from_topics)
        rd_kafka_event_destroy(in->from_topics);
    in->from_topics = NULL;
}

/* ---- reading the answers --------------------------------------------------------------------- */

/* The answer about `name`; NULL for the first one. */
static const rd_kafka_ConfigResource_t *find(rd_kafka_event_t *ev, const char *name)
{
    size_t count = 0;
    if (!ev || rd_kafka_event_error(ev))
        return NULL;
    const rd_kafka_ConfigResource_t **all = rd_kafka_DescribeConfigs_result_resources(
        rd_kafka_event_DescribeConfigs_result(ev), &count);
    for (size_t i = 0; i < count; i++) {
        if (!name || strcmp(rd_kafka_ConfigResource_name(all[i]), name) == 0)
            return all[i];
    }
    return NULL;
}

const char *inspect_value(const rd_kafka_ConfigResource_t *r, const char *name)
{
    size_t count = 0;
    if (!r || rd_kafka_ConfigResource_error(r))
        return NULL;
    const rd_kafka_ConfigEntry_t **all = rd_kafka_ConfigResource_configs(r, &count);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(rd_kafka_ConfigEntry_name(all[i]), name) == 0)
            return rd_kafka_ConfigEntry_value(all[i]);
    }
    return NULL;
}

const rd_kafka_ConfigResource_t *inspect_topic_settings(const struct inspection *in,
                                                        const char *topic)
{
    return find(in->from_topics, topic);
}

const char *inspect_broker_setting(const struct inspection *in, const char *name)
{
    const char *value = NULL;
    for (int i = 0; i < in->md->broker_cnt && !value; i++)
        value = inspect_value(find(in->from_brokers[i], NULL), name);
    return value;
}

bool inspect_broker_is_silent(const struct inspection *in, int broker, const char **why)
{
    rd_kafka_event_t *ev = in->from_brokers[broker];
    if (!ev) {
        *why = "no answer";
        return true;
    }
    switch (rd_kafka_event_error(ev)) {
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__SSL:
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
        *why = rd_kafka_err2str(rd_kafka_event_error(ev));
        return true;
    default:
        return false;
    }
}
