#include "broker.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

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
rd_kafka_t *broker_client_new(rd_kafka_type_t type, const char *brokers, struct err *err)
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

int broker_answers(rd_kafka_t *kafka, const char *brokers, struct err *err)
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
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return 0;
    return err_set(err, ERR_UNAVAILABLE, "no Kafka broker answers at %s%s%s", brokers,
                   last_error[0] != '\0' ? ": " : "", last_error);
}

int topic_prepare(const char *brokers, const char *topic, int partitions, struct err *err)
{
    char text[256] = "";
    rd_kafka_resp_err_t code;
    rd_kafka_t *kafka = broker_client_new(RD_KAFKA_PRODUCER, brokers, err);
    int result = -1;

    if (kafka == NULL)
        return -1;
    if (broker_answers(kafka, brokers, err) != 0)
        goto out;
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
    rd_kafka_t *kafka = broker_client_new(RD_KAFKA_PRODUCER, brokers, &err);
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
