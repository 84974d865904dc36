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

struct topic_look {
    int partitions; /* 0: no such topic, -1: nobody answers */
    int led;        /* partitions that have a leader */
    int preferred;  /* and whose leader is the first replica */
    int in_sync;    /* replicas in sync, of the partition that has the fewest */
};

static void look_at_partition(const struct rd_kafka_metadata_partition *p, struct topic_look *look)
{
    look->led += p->leader >= 0;
    look->preferred += p->leader >= 0 && p->replica_cnt > 0 && p->leader == p->replicas[0];
    if (p->isr_cnt < look->in_sync)
        look->in_sync = p->isr_cnt;
}

/* What the metadata of all topics say about one: asking for one by name could create it. */
static struct topic_look look_at_topic(const struct kafka_client *c, const char *topic)
{
    const struct rd_kafka_metadata *md;
    struct topic_look look = {.in_sync = KAFKA_MAX_NODES};

    if (rd_kafka_metadata(c->rk, 1, NULL, &md, ASK_TIMEOUT_MS) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return (struct topic_look){.partitions = -1};
    for (int i = 0; i < md->topic_cnt; i++) {
        const struct rd_kafka_metadata_topic *t = &md->topics[i];
        if (strcmp(t->topic, topic) != 0)
            continue;
        look.partitions = t->partition_cnt;
        for (int p = 0; p < t->partition_cnt; p++)
            look_at_partition(&t->partitions[p], &look);
    }
    rd_kafka_metadata_destroy(md);
    return look;
}

static void wait_for_topic(const struct kafka_client *c, const char *topic, int partitions)
{
    const uint64_t end = test_now_ms() + ADMIN_TIMEOUT_MS;
    struct topic_look look;

    while ((look = look_at_topic(c, topic)).partitions != partitions || look.led != partitions) {
        if (test_now_ms() >= end)
            support_fail("topic %s has not become %d partitions", topic, partitions);
        test_sleep_ms(10);
    }
}

void kafka_wait_in_sync(const struct kafka *k, const char *topic, int replicas, int timeout_ms)
{
    const uint64_t end = test_now_ms() + (uint64_t)timeout_ms;
    struct kafka_client c;

    kafka_client_open(&c, k->brokers);
    while (look_at_topic(&c, topic).in_sync < replicas) {
        if (test_now_ms() >= end)
            support_fail("topic %s: fewer than %d replicas in sync after %d ms", topic, replicas,
                         timeout_ms);
        test_sleep_ms(10);
    }
    kafka_client_close(&c);
}

void kafka_wait_preferred(const struct kafka *k, const char *topic, int timeout_ms)
{
    const uint64_t end = test_now_ms() + (uint64_t)timeout_ms;
    struct kafka_client c;
    struct topic_look look;

    kafka_client_open(&c, k->brokers);
    while ((look = look_at_topic(&c, topic)).partitions <= 0 || look.preferred != look.partitions) {
        if (test_now_ms() >= end)
            support_fail("topic %s: preferred leaders do not lead after %d ms", topic, timeout_ms);
        test_sleep_ms(10);
    }
    kafka_client_close(&c);
}

/* ---- topic work ---- */

/* The first of an answer's topics or ACLs that failed, as text; NULL: none has. */
static const char *failed_result(rd_kafka_event_t *ev)
{
    const rd_kafka_topic_result_t **topics = NULL;
    const rd_kafka_acl_result_t **acls = NULL;
    size_t topic_count = 0;
    size_t acl_count = 0;

    if (rd_kafka_event_type(ev) == RD_KAFKA_EVENT_CREATETOPICS_RESULT)
        topics = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(ev),
                                                     &topic_count);
    else if (rd_kafka_event_type(ev) == RD_KAFKA_EVENT_DELETETOPICS_RESULT)
        topics = rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(ev),
                                                     &topic_count);
    else if (rd_kafka_event_type(ev) == RD_KAFKA_EVENT_CREATEPARTITIONS_RESULT)
        topics = rd_kafka_CreatePartitions_result_topics(rd_kafka_event_CreatePartitions_result(ev),
                                                         &topic_count);
    else if (rd_kafka_event_type(ev) == RD_KAFKA_EVENT_CREATEACLS_RESULT)
        acls = rd_kafka_CreateAcls_result_acls(rd_kafka_event_CreateAcls_result(ev), &acl_count);
    for (size_t i = 0; i < topic_count; i++)
        if (rd_kafka_topic_result_error(topics[i]) != RD_KAFKA_RESP_ERR_NO_ERROR)
            return rd_kafka_topic_result_error_string(topics[i]);
    if (rd_kafka_event_type(ev) == RD_KAFKA_EVENT_CREATEACLS_RESULT && acl_count == 0)
        return "nothing came of it";
    for (size_t i = 0; i < acl_count; i++)
        if (rd_kafka_acl_result_error(acls[i]) != NULL)
            return rd_kafka_error_string(rd_kafka_acl_result_error(acls[i]));
    return NULL;
}

void kafka_client_await(rd_kafka_queue_t *answers, const char *what)
{
    rd_kafka_event_t *ev = rd_kafka_queue_poll(answers, ADMIN_TIMEOUT_MS);

    if (ev == NULL)
        support_fail("%s: no answer", what);
    if (rd_kafka_event_error(ev) != RD_KAFKA_RESP_ERR_NO_ERROR)
        support_fail("%s: %s", what, rd_kafka_event_error_string(ev));
    if (failed_result(ev) != NULL)
        support_fail("%s: %s", what, failed_result(ev));
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
    kafka_client_await(queue, "create topic");
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
    kafka_client_await(queue, "delete topic");
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
    kafka_client_await(queue, "grow topic");
    wait_for_topic(&c, name, partitions);
    rd_kafka_NewPartitions_destroy(more);
    rd_kafka_queue_destroy(queue);
    kafka_client_close(&c);
}

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
    kafka_client_await(queue, "set topic config");
    rd_kafka_ConfigResource_destroy(topic);
    rd_kafka_queue_destroy(queue);
    kafka_client_close(&c);
}

/* ---- questions ---- */

int kafka_partitions(const char *brokers, const char *topic)
{
    struct kafka_client c;
    int n;

    kafka_client_open(&c, brokers);
    n = look_at_topic(&c, topic).partitions;
    kafka_client_close(&c);
    return n;
}

/* The sum of the log ends of some partitions; -1: somebody does not answer. Asked as "the offset at
 * the end of time", because rd_kafka_query_watermark_offsets (2.0.2) waits for ever for a leader
 * that has died. Just after a leader moved, or the topic was made, brokers answer with an error for
 * a moment. */
static int64_t log_ends(const struct kafka_client *c, const char *topic, int first, int count)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(count);
    int64_t sum = 0;

    for (int p = first; p < first + count; p++)
        rd_kafka_topic_partition_list_add(list, topic, p)->offset = RD_KAFKA_OFFSET_END;
    if (rd_kafka_offsets_for_times(c->rk, list, ASK_TIMEOUT_MS) != RD_KAFKA_RESP_ERR_NO_ERROR)
        sum = -1;
    for (int i = 0; i < list->cnt && sum >= 0; i++)
        sum = list->elems[i].err == RD_KAFKA_RESP_ERR_NO_ERROR && list->elems[i].offset >= 0
                  ? sum + list->elems[i].offset
                  : -1;
    rd_kafka_topic_partition_list_destroy(list);
    return sum;
}

/* As log_ends, tried for a while. */
static int64_t await_log_ends(const struct kafka_client *c, const char *topic, int first, int count)
{
    const uint64_t end = test_now_ms() + 5000;
    int64_t sum;

    while ((sum = log_ends(c, topic, first, count)) < 0 && test_now_ms() < end)
        test_sleep_ms(10);
    return sum;
}

int64_t kafka_record_count(const char *brokers, const char *topic)
{
    struct kafka_client c;
    int64_t sum = -1;
    int n;

    kafka_client_open(&c, brokers);
    n = look_at_topic(&c, topic).partitions;
    if (n > 0)
        sum = await_log_ends(&c, topic, 0, n);
    kafka_client_close(&c);
    return sum;
}

int64_t kafka_partition_end(const char *brokers, const char *topic, int partition)
{
    struct kafka_client c;
    int64_t end;

    kafka_client_open(&c, brokers);
    end = await_log_ends(&c, topic, partition, 1);
    kafka_client_close(&c);
    return end;
}
