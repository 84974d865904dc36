#include "kafka_admin.h"

#include "kafka.h"

#include <stdio.h>
#include <string.h>

#define ASK_TIMEOUT_MS   2000
#define ADMIN_TIMEOUT_MS 30000

/* Brokers come and go in tests: their log lines are noise. */
static void ignore_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    (void)rk, (void)level, (void)facility, (void)text;
}

void kafka_client_open(struct kafka_client *c, const char *brokers)
{
    char text[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();

    rd_kafka_conf_set_log_cb(conf, ignore_log);
    if (rd_kafka_conf_set(conf, "bootstrap.servers", brokers, text, sizeof text) !=
            RD_KAFKA_CONF_OK ||
        rd_kafka_conf_set(conf, "reconnect.backoff.max.ms", "200", text, sizeof text) !=
            RD_KAFKA_CONF_OK)
        support_fail("librdkafka: %s", text);
    c->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    if (c->rk == NULL)
        support_fail("librdkafka: %s", text);
}

void kafka_client_close(struct kafka_client *c)
{
    rd_kafka_destroy(c->rk);
    c->rk = NULL;
}

int kafka_client_broker_count(const struct kafka_client *c)
{
    const struct rd_kafka_metadata *md;
    int n;

    if (rd_kafka_metadata(c->rk, 0, NULL, &md, ASK_TIMEOUT_MS) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return 0;
    n = md->broker_cnt;
    rd_kafka_metadata_destroy(md);
    return n;
}

bool kafka_client_sees_broker(const struct kafka_client *c, int port)
{
    const struct rd_kafka_metadata *md;
    bool seen = false;

    if (rd_kafka_metadata(c->rk, 0, NULL, &md, ASK_TIMEOUT_MS) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return false;
    for (int i = 0; i < md->broker_cnt; i++)
        seen |= md->brokers[i].port == port;
    rd_kafka_metadata_destroy(md);
    return seen;
}

/* What the metadata of all topics say about one: asking for one by name could create it. `led`
 * counts the partitions that have a leader. */
static int look_at_topic(const struct kafka_client *c, const char *topic, int *led)
{
    const struct rd_kafka_metadata *md;
    int partitions = 0;

    *led = 0;
    if (rd_kafka_metadata(c->rk, 1, NULL, &md, ASK_TIMEOUT_MS) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return -1;
    for (int i = 0; i < md->topic_cnt; i++) {
        const struct rd_kafka_metadata_topic *t = &md->topics[i];
        if (strcmp(t->topic, topic) != 0)
            continue;
        partitions = t->partition_cnt;
        for (int p = 0; p < t->partition_cnt; p++)
            *led += t->partitions[p].leader >= 0;
    }
    rd_kafka_metadata_destroy(md);
    return partitions;
}

static void wait_for_topic(const struct kafka_client *c, const char *topic, int partitions)
{
    const uint64_t end = test_now_ms() + ADMIN_TIMEOUT_MS;
    int led;

    while (look_at_topic(c, topic, &led) != partitions || led != partitions) {
        if (test_now_ms() >= end)
            support_fail("topic %s has not become %d partitions", topic, partitions);
        test_sleep_ms(10);
    }
}

/* ---- topic work ---- */

/* Takes the one answer of an admin request off the queue and fails the test if it is a failure. */
static void await_answer(rd_kafka_queue_t *queue, const char *what)
{
    rd_kafka_event_t *ev = rd_kafka_queue_poll(queue, ADMIN_TIMEOUT_MS);
    const rd_kafka_topic_result_t **results = NULL;
    size_t n = 0;

    if (ev == NULL)
        support_fail("%s: no answer", what);
    if (rd_kafka_event_error(ev) != RD_KAFKA_RESP_ERR_NO_ERROR)
        support_fail("%s: %s", what, rd_kafka_event_error_string(ev));
    if (rd_kafka_event_type(ev) == RD_KAFKA_EVENT_CREATETOPICS_RESULT)
        results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(ev), &n);
    else if (rd_kafka_event_type(ev) == RD_KAFKA_EVENT_DELETETOPICS_RESULT)
        results = rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(ev), &n);
    else if (rd_kafka_event_type(ev) == RD_KAFKA_EVENT_CREATEPARTITIONS_RESULT)
        results =
            rd_kafka_CreatePartitions_result_topics(rd_kafka_event_CreatePartitions_result(ev), &n);
    for (size_t i = 0; i < n; i++)
        if (rd_kafka_topic_result_error(results[i]) != RD_KAFKA_RESP_ERR_NO_ERROR)
            support_fail("%s: %s", what, rd_kafka_topic_result_error_string(results[i]));
    rd_kafka_event_destroy(ev);
}

void kafka_create_topic(const struct kafka *k, const char *name, int partitions,
                        const char *const *config)
{
    struct kafka_client c;
    rd_kafka_queue_t *queue;
    rd_kafka_NewTopic_t *topic;
    char text[256];

    kafka_client_open(&c, k->brokers);
    queue = rd_kafka_queue_new(c.rk);
    topic = rd_kafka_NewTopic_new(name, partitions, k->nodes, text, sizeof text);
    if (topic == NULL)
        support_fail("topic %s: %s", name, text);
    for (; config != NULL && config[0] != NULL; config += 2)
        if (rd_kafka_NewTopic_set_config(topic, config[0], config[1]) != RD_KAFKA_RESP_ERR_NO_ERROR)
            support_fail("topic %s: cannot set %s", name, config[0]);
    rd_kafka_CreateTopics(c.rk, &topic, 1, NULL, queue);
    await_answer(queue, "create topic");
    wait_for_topic(&c, name, partitions);
    rd_kafka_NewTopic_destroy(topic);
    rd_kafka_queue_destroy(queue);
    kafka_client_close(&c);
}

void kafka_delete_topic(const struct kafka *k, const char *name)
{
    struct kafka_client c;
    rd_kafka_queue_t *queue;
    rd_kafka_DeleteTopic_t *topic = rd_kafka_DeleteTopic_new(name);

    kafka_client_open(&c, k->brokers);
    queue = rd_kafka_queue_new(c.rk);
    rd_kafka_DeleteTopics(c.rk, &topic, 1, NULL, queue);
    await_answer(queue, "delete topic");
    wait_for_topic(&c, name, 0);
    rd_kafka_DeleteTopic_destroy(topic);
    rd_kafka_queue_destroy(queue);
    kafka_client_close(&c);
}

void kafka_grow_topic(const struct kafka *k, const char *name, int partitions)
{
    struct kafka_client c;
    rd_kafka_queue_t *queue;
    rd_kafka_NewPartitions_t *more;
    char text[256];

    kafka_client_open(&c, k->brokers);
    queue = rd_kafka_queue_new(c.rk);
    more = rd_kafka_NewPartitions_new(name, (size_t)partitions, text, sizeof text);
    if (more == NULL)
        support_fail("topic %s: %s", name, text);
    rd_kafka_CreatePartitions(c.rk, &more, 1, NULL, queue);
    await_answer(queue, "grow topic");
    wait_for_topic(&c, name, partitions);
    rd_kafka_NewPartitions_destroy(more);
    rd_kafka_queue_destroy(queue);
    kafka_client_close(&c);
}

/* ---- questions ---- */

void kafka_set_topic_config(const struct kafka *k, const char *name, const char *key,
                            const char *value)
{
    struct kafka_client c;
    rd_kafka_queue_t *queue;
    rd_kafka_ConfigResource_t *topic = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, name);

    kafka_client_open(&c, k->brokers);
    queue = rd_kafka_queue_new(c.rk);
    if (rd_kafka_ConfigResource_set_config(topic, key, value) != RD_KAFKA_RESP_ERR_NO_ERROR)
        support_fail("topic %s: setting %s", name, key);
    rd_kafka_AlterConfigs(c.rk, &topic, 1, NULL, queue);
    await_answer(queue, "set topic config");
    rd_kafka_ConfigResource_destroy(topic);
    rd_kafka_queue_destroy(queue);
    kafka_client_close(&c);
}

int kafka_partitions(const char *brokers, const char *topic)
{
    struct kafka_client c;
    int led;
    int n;

    kafka_client_open(&c, brokers);
    n = look_at_topic(&c, topic, &led);
    kafka_client_close(&c);
    return n;
}

/* The end of one partition's log. Just after a leader moved, or the topic was made, brokers answer
 * with an error for a moment. */
static int64_t log_end(const struct kafka_client *c, const char *topic, int32_t partition)
{
    const uint64_t end = test_now_ms() + 5000;
    int64_t low = 0;
    int64_t high = 0;

    while (rd_kafka_query_watermark_offsets(c->rk, topic, partition, &low, &high, ASK_TIMEOUT_MS) !=
           RD_KAFKA_RESP_ERR_NO_ERROR) {
        if (test_now_ms() >= end)
            return -1;
        test_sleep_ms(10);
    }
    return high;
}

int64_t kafka_record_count(const char *brokers, const char *topic)
{
    struct kafka_client c;
    int64_t sum = 0;
    int led;
    int n;

    kafka_client_open(&c, brokers);
    n = look_at_topic(&c, topic, &led);
    for (int p = 0; p < n && sum >= 0; p++) {
        int64_t high = log_end(&c, topic, p);
        sum = high >= 0 ? sum + high : -1;
    }
    kafka_client_close(&c);
    return n > 0 ? sum : -1;
}
