#include "consumer.h"

#include "base/str.h"
#include "say.h"

#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ANSWER_MS 5000 /* a broker that takes longer to answer is not there */

/* What librdkafka tells of its connections while we wait for a first answer: the reason, for the
 * error. */
static char last_error[256];
static int all_down;

static void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
    (void)rk, (void)opaque;
    if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
        all_down = 1;
    else
        (void)snprintf(last_error, sizeof last_error, "%s", reason);
}

/* A short fetch.wait.max.ms: the embedded broker answers a waiting fetch when that time is over,
 * not when a message comes. */
static rd_kafka_t *kafka_new(rd_kafka_type_t type, const char *brokers, struct err *err)
{
    static const char *const properties[][2] = {{"log_level", "0"},
                                                {"fetch.wait.max.ms", "2"},
                                                {"socket.nagle.disable", "true"},
                                                {"auto.offset.reset", "error"}};
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char text[512];
    rd_kafka_t *kafka;
    rd_kafka_conf_res_t ok =
        rd_kafka_conf_set(conf, "bootstrap.servers", brokers, text, sizeof text);

    for (size_t i = 0; ok == RD_KAFKA_CONF_OK && i < ARRAY_LEN(properties); i++)
        if (i == 0 || type == RD_KAFKA_CONSUMER) /* the others are a consumer's */
            ok = rd_kafka_conf_set(conf, properties[i][0], properties[i][1], text, sizeof text);
    rd_kafka_conf_set_error_cb(conf, on_error);
    kafka = ok == RD_KAFKA_CONF_OK ? rd_kafka_new(type, conf, text, sizeof text) : NULL;
    if (kafka == NULL) {
        rd_kafka_conf_destroy(conf);
        (void)err_set(err, ERR_CONFIG, "Kafka client: %s", text);
    }
    return kafka;
}

/* ---- the topic ---- */

/* The broker's answer for one topic of a create or delete result. */
static rd_kafka_resp_err_t answer_of(rd_kafka_event_t *event, char text[256])
{
    size_t count = 0;
    const rd_kafka_topic_result_t **results = NULL;
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__TIMED_OUT;

    (void)snprintf(text, 256, "no broker answers");
    if (event == NULL)
        return code;
    code = rd_kafka_event_error(event);
    (void)snprintf(text, 256, "%s", rd_kafka_event_error_string(event));
    if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_CREATETOPICS_RESULT)
        results =
            rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
    else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DELETETOPICS_RESULT)
        results =
            rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &count);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR && count == 1) {
        code = rd_kafka_topic_result_error(results[0]);
        (void)snprintf(text, 256, "%s", rd_kafka_err2str(code));
    }
    rd_kafka_event_destroy(event);
    return code;
}

static rd_kafka_resp_err_t create_topic(rd_kafka_t *kafka, const char *topic, int partitions,
                                        char text[256])
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(kafka);
    /* -1: as many replicas as the cluster's default says */
    rd_kafka_NewTopic_t *new_topic = rd_kafka_NewTopic_new(topic, partitions, -1, text, 256);
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__INVALID_ARG;

    if (new_topic != NULL) {
        rd_kafka_CreateTopics(kafka, &new_topic, 1, NULL, queue);
        code = answer_of(rd_kafka_queue_poll(queue, ANSWER_MS), text);
        rd_kafka_NewTopic_destroy(new_topic);
    }
    rd_kafka_queue_destroy(queue);
    return code;
}

/* True when a broker answers. Does not wait the whole time when every address of the list refuses.
 */
static bool broker_answers(rd_kafka_t *kafka)
{
    const struct rd_kafka_metadata *md = NULL;
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__TRANSPORT;

    all_down = 0;
    last_error[0] = '\0';
    for (int ms = 0; ms < ANSWER_MS && code != RD_KAFKA_RESP_ERR_NO_ERROR; ms += 500) {
        code = rd_kafka_metadata(kafka, 0, NULL, &md, 500);
        (void)rd_kafka_poll(kafka, 0);
        if (all_down && ms >= 1000)
            break;
    }
    if (md != NULL)
        rd_kafka_metadata_destroy(md);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR;
}

int topic_prepare(const char *brokers, const char *topic, int partitions, struct err *err)
{
    char text[256] = "";
    rd_kafka_resp_err_t code;
    rd_kafka_t *kafka = kafka_new(RD_KAFKA_PRODUCER, brokers, err);
    int result = -1;

    if (kafka == NULL)
        return -1;
    if (!broker_answers(kafka)) {
        (void)err_set(err, ERR_UNAVAILABLE, "no Kafka broker answers at %s%s%s", brokers,
                      last_error[0] != '\0' ? ": " : "", last_error);
        goto out;
    }
    code = create_topic(kafka, topic, partitions, text);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        result = 1;
    else if (code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
        result = 0;
    else
        (void)err_set(err, ERR_UNAVAILABLE, "topic %s cannot be created: %s", topic, text);
out:
    rd_kafka_destroy(kafka);
    return result;
}

void topic_delete(const char *brokers, const char *topic)
{
    char text[256];
    struct err err = {0};
    rd_kafka_t *kafka = kafka_new(RD_KAFKA_PRODUCER, brokers, &err);
    rd_kafka_queue_t *queue;
    rd_kafka_DeleteTopic_t *old_topic;

    if (kafka == NULL)
        return;
    queue = rd_kafka_queue_new(kafka);
    old_topic = rd_kafka_DeleteTopic_new(topic);
    rd_kafka_DeleteTopics(kafka, &old_topic, 1, NULL, queue);
    if (answer_of(rd_kafka_queue_poll(queue, ANSWER_MS), text) != RD_KAFKA_RESP_ERR_NO_ERROR)
        (void)fprintf(stderr, "demo: the topic %s is left behind: %s\n", topic, text);
    rd_kafka_DeleteTopic_destroy(old_topic);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(kafka);
}

/* ---- reading ---- */

/* A new topic's partitions get their leaders a moment after its creation. */
static int32_t count_partitions(struct consumer *c)
{
    for (int tries = 0; tries < 50; tries++) {
        const struct rd_kafka_metadata *md;
        int32_t count = 0;
        if (rd_kafka_metadata(c->kafka, 0, c->topic, &md, ANSWER_MS) ==
            RD_KAFKA_RESP_ERR_NO_ERROR) {
            if (md->topic_cnt == 1 && md->topics[0].err == RD_KAFKA_RESP_ERR_NO_ERROR)
                count = md->topics[0].partition_cnt;
            for (int32_t p = 0; p < count; p++)
                if (md->topics[0].partitions[p].leader < 0)
                    count = 0;
            rd_kafka_metadata_destroy(md);
        }
        if (count > 0)
            return count;
        (void)nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
    return 0;
}

/* The offset behind the last message. A broker that has just made the topic may not know yet that
 * it leads it. */
static rd_kafka_resp_err_t partition_end(struct consumer *c, int32_t partition, int64_t *end)
{
    const char *topic = rd_kafka_topic_name(c->topic);
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
    int64_t low;

    for (int tries = 0; tries < 50; tries++) {
        code = rd_kafka_query_watermark_offsets(c->kafka, topic, partition, &low, end, ANSWER_MS);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
            return code;
        (void)nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    }
    return code;
}

int consumer_init(struct consumer *c, const char *brokers, const char *topic, struct err *err)
{
    memset(c, 0, sizeof *c);
    c->kafka = kafka_new(RD_KAFKA_CONSUMER, brokers, err);
    if (c->kafka == NULL)
        return -1;
    c->queue = rd_kafka_queue_new(c->kafka);
    c->topic = rd_kafka_topic_new(c->kafka, topic, NULL);
    c->partitions = c->topic != NULL ? count_partitions(c) : 0;
    if (c->partitions == 0)
        return err_set(err, ERR_UNAVAILABLE, "topic %s has no partitions with a leader", topic);
    for (int32_t p = 0; p < c->partitions; p++) {
        int64_t end = 0;
        rd_kafka_resp_err_t code = partition_end(c, p, &end);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR &&
            rd_kafka_consume_start_queue(c->topic, p, end, c->queue) != 0)
            code = rd_kafka_last_error();
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
            return err_set(err, ERR_UNAVAILABLE, "reading %s [%d]: %s", topic, (int)p,
                           rd_kafka_err2str(code));
    }
    return 0;
}

void consumer_release(struct consumer *c)
{
    for (int32_t p = 0; p < c->partitions; p++)
        (void)rd_kafka_consume_stop(c->topic, p);
    if (c->queue != NULL)
        rd_kafka_queue_destroy(c->queue);
    if (c->topic != NULL)
        rd_kafka_topic_destroy(c->topic);
    if (c->kafka != NULL)
        rd_kafka_destroy(c->kafka);
    free(c->seen);
    memset(c, 0, sizeof *c);
}

/* Copies a header's last value as text; "" when the message has none of that name. */
static void header_text(const rd_kafka_message_t *m, const char *name, char out[CONSUMER_TEXT])
{
    rd_kafka_headers_t *headers;
    const void *value;
    size_t len;

    out[0] = '\0';
    if (rd_kafka_message_headers(m, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR &&
        rd_kafka_header_get_last(headers, name, &value, &len) == RD_KAFKA_RESP_ERR_NO_ERROR &&
        value != NULL && len < CONSUMER_TEXT) {
        memcpy(out, value, len);
        out[len] = '\0';
    }
}

static void show(const rd_kafka_message_t *m)
{
    rd_kafka_headers_t *headers;
    const char *name;
    const void *value;
    size_t len;
    struct str text = {0};

    str_printf(&text, "%s, partition %d, offset %lld\n", rd_kafka_topic_name(m->rkt),
               (int)m->partition, (long long)m->offset);
    str_printf(&text, "key      %.*s\n", (int)m->key_len, (const char *)m->key);
    if (rd_kafka_message_headers(m, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR)
        for (size_t i = 0;
             rd_kafka_header_get_all(headers, i, &name, &value, &len) == RD_KAFKA_RESP_ERR_NO_ERROR;
             i++)
            str_printf(&text, "%-7s  %s: %.*s\n", i == 0 ? "headers" : "", name, (int)len,
                       value != NULL ? (const char *)value : "");
    str_printf(&text, "value    %.*s\n", (int)m->len, (const char *)m->payload);
    say_block(str_text(&text));
    say_gap();
    str_release(&text);
}

/* Prints the first message of each event type. */
static void show_if_new(struct consumer *c, const rd_kafka_message_t *m)
{
    char type[CONSUMER_TEXT];

    header_text(m, "event-type", type);
    for (size_t i = 0; i < c->shown_count; i++)
        if (strcmp(c->shown[i], type) == 0)
            return;
    if (c->shown_count == ARRAY_LEN(c->shown))
        return;
    memcpy(c->shown[c->shown_count++], type, sizeof type);
    show(m);
}

static void note(struct consumer *c, const rd_kafka_message_t *m, int64_t now_us)
{
    struct seen *s;

    if (c->count == c->room) {
        c->room = c->room == 0 ? 4096 : 2 * c->room;
        c->seen = xrealloc(c->seen, c->room * sizeof *c->seen);
    }
    s = &c->seen[c->count++];
    memset(s, 0, sizeof *s);
    header_text(m, "event-id", s->event_id);
    (void)snprintf(s->key, sizeof s->key, "%.*s", (int)m->key_len, (const char *)m->key);
    s->partition = m->partition;
    s->offset = m->offset;
    s->at_us = now_us;
    show_if_new(c, m);
}

size_t consumer_poll(struct consumer *c, int timeout_ms)
{
    size_t count = 0;
    rd_kafka_message_t *m;

    while (count < 1000 &&
           (m = rd_kafka_consume_queue(c->queue, count == 0 ? timeout_ms : 0)) != NULL) {
        if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            struct timespec ts;
            (void)clock_gettime(CLOCK_REALTIME, &ts);
            note(c, m, (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000);
            count++;
        }
        rd_kafka_message_destroy(m);
    }
    (void)rd_kafka_poll(c->kafka, 0);
    return count;
}
