#include "topics.h"

#include "../../demo/broker.h"
#include "../../demo/say.h"
#include "base/str.h"

#include <search.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ASK_EVERY_MS 400
#define FLUSH_MS     10000

/* ---- the topics themselves ---- */

static void dead_letter_name(enum topic topic, char out[64])
{
    (void)snprintf(out, 64, "%s.dlt", topic_names[topic]);
}

static void make(const char *brokers, const char *name, int partitions)
{
    struct err err = {0};

    if (topic_prepare(brokers, name, partitions, &err) < 0)
        give_up_for((int)err.kind, "%s", err.text);
}

void topics_make(const char *brokers)
{
    char dead[64];

    for (int i = 0; i < TOPICS; i++) {
        dead_letter_name(i, dead);
        make(brokers, topic_names[i], SHOP_PARTITIONS);
        make(brokers, dead, 1);
    }
}

static bool group_exists(rd_kafka_t *client, const char *name)
{
    const struct rd_kafka_group_list *list = NULL;
    bool exists = false;

    if (rd_kafka_list_groups(client, name, &list, 5000) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return false;
    for (int i = 0; i < list->group_cnt; i++)
        exists = exists || (strcmp(list->groups[i].group, name) == 0 &&
                            strcmp(list->groups[i].state, "Dead") != 0);
    rd_kafka_group_list_destroy(list);
    return exists;
}

void topics_check_free(const char *brokers)
{
    struct err err = {0};
    rd_kafka_t *client = broker_client_new(RD_KAFKA_PRODUCER, brokers, &err);
    char dead[64];

    if (client == NULL || broker_answers(client, brokers, &err) != 0)
        give_up_for((int)err.kind, "%s", err.text);
    for (int i = 0; i < TOPICS; i++) {
        dead_letter_name(i, dead);
        if (kafka_partitions(brokers, topic_names[i]) > 0 || kafka_partitions(brokers, dead) > 0)
            give_up_for(
                ERR_CONFIG,
                "the topic %s or its dead-letter topic is there already. The demo makes topics "
                "of its own, and removes them at its end.",
                topic_names[i]);
    }
    for (int i = 0; i < SERVICES; i++)
        if (group_exists(client, services[i].name))
            give_up_for(
                ERR_CONFIG,
                "the consumer group %s is there already. The demo makes groups of its own, and "
                "removes them at its end.",
                services[i].name);
    rd_kafka_destroy(client);
}

/* A static member leaves its group when its session is over: until then the group cannot go. */
static bool group_delete(rd_kafka_t *client, const char *name)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
    rd_kafka_DeleteGroup_t *group = rd_kafka_DeleteGroup_new(name);
    rd_kafka_event_t *event;
    const rd_kafka_group_result_t **groups = NULL;
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__TIMED_OUT;
    size_t count = 0;

    rd_kafka_DeleteGroups(client, &group, 1, NULL, queue);
    event = rd_kafka_queue_poll(queue, 5000);
    if (event != NULL && rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR_NO_ERROR)
        groups =
            rd_kafka_DeleteGroups_result_groups(rd_kafka_event_DeleteGroups_result(event), &count);
    if (groups != NULL && count == 1) {
        const rd_kafka_error_t *error = rd_kafka_group_result_error(groups[0]);
        code = error == NULL ? RD_KAFKA_RESP_ERR_NO_ERROR : rd_kafka_error_code(error);
    }
    if (event != NULL)
        rd_kafka_event_destroy(event);
    rd_kafka_DeleteGroup_destroy(group);
    rd_kafka_queue_destroy(queue);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR || code == RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND;
}

void topics_remove(const char *brokers)
{
    const uint64_t end = test_now_ms() + 15000;
    struct err err = {0};
    rd_kafka_t *client = broker_client_new(RD_KAFKA_PRODUCER, brokers, &err);
    char dead[64];

    for (int i = 0; i < TOPICS; i++) {
        dead_letter_name(i, dead);
        topic_delete(brokers, topic_names[i]);
        topic_delete(brokers, dead);
    }
    if (client == NULL)
        return;
    for (int i = 0; i < SERVICES; i++) {
        while (!group_delete(client, services[i].name) && test_now_ms() < end)
            test_sleep_ms(300);
        if (test_now_ms() >= end)
            (void)fprintf(stderr, "demo: the consumer group %s may be left behind\n",
                          services[i].name);
    }
    rd_kafka_destroy(client);
}

/* ---- clients ---- */

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    struct topics *t = opaque;

    (void)rk;
    if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR)
        give_up(NULL, "a duplicate was not taken: %s", rd_kafka_err2str(m->err));
    t->injected++;
}

static rd_kafka_t *client_new(struct topics *t, rd_kafka_type_t type, const char *brokers,
                              const char *const (*properties)[2])
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char text[512] = "";
    rd_kafka_t *client;
    bool ok = rd_kafka_conf_set(conf, "bootstrap.servers", brokers, text, sizeof text) ==
              RD_KAFKA_CONF_OK;

    for (; ok && (*properties)[0] != NULL; properties++)
        ok = rd_kafka_conf_set(conf, (*properties)[0], (*properties)[1], text, sizeof text) ==
             RD_KAFKA_CONF_OK;
    rd_kafka_conf_set_opaque(conf, t);
    if (type == RD_KAFKA_PRODUCER)
        rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    client = ok ? rd_kafka_new(type, conf, text, sizeof text) : NULL;
    if (client == NULL)
        give_up(NULL, "Kafka client: %s", text);
    return client;
}

static void read_everything(struct topics *t)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(0);
    rd_kafka_resp_err_t code;
    char dead[64];

    for (int i = 0; i < TOPICS; i++) {
        for (int p = 0; p < SHOP_PARTITIONS; p++)
            rd_kafka_topic_partition_list_add(list, topic_names[i], p)->offset = 0;
        dead_letter_name(i, dead);
        rd_kafka_topic_partition_list_add(list, dead, 0)->offset = 0;
    }
    code = rd_kafka_assign(t->reader, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        give_up(NULL, "reading the topics: %s", rd_kafka_err2str(code));
}

void topics_open(struct topics *t, const char *brokers)
{
    /* It commits nothing, so that the brokers never hear of its group. */
    static const char *const reader[][2] = {
        {"group.id", "demo"},           {"enable.auto.commit", "false"}, {"log_level", "0"},
        {"auto.offset.reset", "error"}, {"fetch.wait.max.ms", "100"},    {NULL, NULL}};
    static const char *const producer[][2] = {
        {"enable.idempotence", "true"}, {"log_level", "0"}, {NULL, NULL}};

    memset(t, 0, sizeof *t);
    for (int i = 0; i < SERVICES; i++)
        t->waiting[i] = -1;
    t->reader = client_new(t, RD_KAFKA_CONSUMER, brokers, reader);
    t->producer = client_new(t, RD_KAFKA_PRODUCER, brokers, producer);
    t->answers = rd_kafka_queue_new(t->reader);
    (void)rd_kafka_poll_set_consumer(t->reader);
    read_everything(t);
}

static void free_nothing(void *node)
{
    (void)node; /* ids lie within the messages */
}

void topics_close(struct topics *t)
{
    if (t->reader == NULL)
        return;
    tdestroy(t->ids, free_nothing);
    for (size_t i = 0; i < t->count; i++)
        rd_kafka_message_destroy(t->all[i]);
    free(t->all);
    rd_kafka_queue_destroy(t->answers);
    (void)rd_kafka_consumer_close(t->reader);
    rd_kafka_destroy(t->reader);
    rd_kafka_destroy(t->producer);
    memset(t, 0, sizeof *t);
}

/* ---- reading ---- */

/* The value of a header as a slice of the message; its ptr is NULL when there is none. */
static struct slice header(const rd_kafka_message_t *m, const char *name)
{
    rd_kafka_headers_t *headers;
    const void *value = NULL;
    size_t len = 0;

    if (rd_kafka_message_headers(m, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR)
        (void)rd_kafka_header_get_last(headers, name, &value, &len);
    return (struct slice){.ptr = value, .len = len};
}

static int compare_ids(const void *a, const void *b)
{
    const struct slice x = header(a, "event-id");
    const struct slice y = header(b, "event-id");
    int order;

    if (x.ptr == NULL || y.ptr == NULL) /* no such record is in the tree */
        return (x.ptr != NULL) - (y.ptr != NULL);
    order = memcmp(x.ptr, y.ptr, x.len < y.len ? x.len : y.len);
    return order != 0 ? order : (x.len > y.len) - (x.len < y.len);
}

static struct type_count *find_type(struct topics *t, struct slice name)
{
    for (int i = 0; i < t->type_count; i++)
        if (slice_is(name, t->type[i].name))
            return &t->type[i];
    if (t->type_count == TYPES_MAX || name.ptr == NULL || name.len >= sizeof t->type[0].name)
        return NULL;
    memcpy(t->type[t->type_count].name, name.ptr, name.len);
    return &t->type[t->type_count++];
}

static void note(struct topics *t, enum topic topic, rd_kafka_message_t *m)
{
    struct type_count *type = find_type(t, header(m, "event-type"));
    void *node;

    if (t->count == t->room) {
        t->room = t->room == 0 ? 4096 : 2 * t->room;
        t->all = xrealloc(t->all, t->room * sizeof(rd_kafka_message_t *));
    }
    t->all[t->count++] = m;
    t->records[topic]++;
    t->next[topic][m->partition] = (long)m->offset + 1;
    if (type == NULL || header(m, "event-id").ptr == NULL) {
        t->strangers++;
        return;
    }
    node = tsearch(m, &t->ids, compare_ids);
    if (node == NULL)
        give_up(NULL, "out of memory");
    type->records++;
    if (*(rd_kafka_message_t **)node != m)
        return;
    type->events++;
    t->events[topic]++;
}

static void take(struct topics *t, rd_kafka_message_t *m)
{
    const char *name = rd_kafka_topic_name(m->rkt);

    for (int i = 0; i < TOPICS; i++)
        if (strcmp(name, topic_names[i]) == 0 && m->partition < SHOP_PARTITIONS) {
            note(t, i, m);
            return;
        }
    t->dead++;
    rd_kafka_message_destroy(m);
}

/* ---- how far the services have got ---- */

static void ask_offsets(struct topics *t, enum service i)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(0);
    rd_kafka_ListConsumerGroupOffsets_t *request;

    for (int topic = 0; topic < TOPICS; topic++)
        for (int p = 0; services[i].reads[topic] && p < SHOP_PARTITIONS; p++)
            (void)rd_kafka_topic_partition_list_add(list, topic_names[topic], p);
    request = rd_kafka_ListConsumerGroupOffsets_new(services[i].name, list);
    rd_kafka_ListConsumerGroupOffsets(t->reader, &request, 1, NULL, t->answers);
    rd_kafka_ListConsumerGroupOffsets_destroy(request);
    rd_kafka_topic_partition_list_destroy(list);
    t->asked[i] = true;
}

static long count_waiting(const struct topics *t, const rd_kafka_topic_partition_list_t *list)
{
    long waiting = 0;

    for (int k = 0; k < list->cnt; k++) {
        const rd_kafka_topic_partition_t *at = &list->elems[k];
        const long done = at->offset > 0 ? (long)at->offset : 0;
        for (int topic = 0; topic < TOPICS; topic++)
            if (strcmp(at->topic, topic_names[topic]) == 0 && at->partition < SHOP_PARTITIONS &&
                t->next[topic][at->partition] > done)
                waiting += t->next[topic][at->partition] - done;
    }
    return waiting;
}

static void take_offsets(struct topics *t, rd_kafka_event_t *event)
{
    const rd_kafka_ListConsumerGroupOffsets_result_t *result =
        rd_kafka_event_ListConsumerGroupOffsets_result(event);
    size_t count = 0;
    const rd_kafka_group_result_t **groups =
        result == NULL ? NULL : rd_kafka_ListConsumerGroupOffsets_result_groups(result, &count);

    if (count == 0) /* the request failed, and does not say whose it was */
        memset(t->asked, 0, sizeof t->asked);
    for (int i = 0; i < SERVICES && count == 1; i++) {
        const rd_kafka_topic_partition_list_t *list = rd_kafka_group_result_partitions(groups[0]);
        if (strcmp(rd_kafka_group_result_name(groups[0]), services[i].name) != 0)
            continue;
        t->asked[i] = false;
        if (rd_kafka_group_result_error(groups[0]) == NULL && list != NULL)
            t->waiting[i] = count_waiting(t, list);
    }
    rd_kafka_event_destroy(event);
}

static void follow_groups(struct topics *t)
{
    rd_kafka_event_t *event;

    while ((event = rd_kafka_queue_poll(t->answers, 0)) != NULL)
        take_offsets(t, event);
    if (test_now_ms() < t->ask_ms)
        return;
    t->ask_ms = test_now_ms() + ASK_EVERY_MS;
    for (int i = 0; i < SERVICES; i++)
        if (!t->asked[i])
            ask_offsets(t, i);
}

size_t topics_turn(struct topics *t, int timeout_ms)
{
    size_t count = 0;
    rd_kafka_message_t *m;

    while (count < 1000 &&
           (m = rd_kafka_consumer_poll(t->reader, count == 0 ? timeout_ms : 0)) != NULL) {
        if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            take(t, m);
            count++;
        } else {
            rd_kafka_message_destroy(m);
        }
    }
    (void)rd_kafka_poll(t->producer, 0);
    follow_groups(t);
    return count;
}

/* ---- duplicates ---- */

static void send_again(struct topics *t, const rd_kafka_message_t *m)
{
    rd_kafka_headers_t *headers = NULL;
    rd_kafka_headers_t *copy = NULL;
    rd_kafka_resp_err_t code;

    if (rd_kafka_message_headers(m, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR)
        copy = rd_kafka_headers_copy(headers);
    code = rd_kafka_producev(
        t->producer, RD_KAFKA_V_TOPIC(rd_kafka_topic_name(m->rkt)),
        RD_KAFKA_V_PARTITION(m->partition), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_KEY(m->key, m->key_len), RD_KAFKA_V_VALUE(m->payload, m->len),
        RD_KAFKA_V_TIMESTAMP(rd_kafka_message_timestamp(m, NULL)), RD_KAFKA_V_HEADERS(copy),
        RD_KAFKA_V_END);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        give_up(NULL, "sending a duplicate: %s", rd_kafka_err2str(code));
}

size_t topics_inject(struct topics *t, size_t count, struct chance *chance)
{
    const uint32_t all = (uint32_t)t->count;

    if (all == 0)
        return 0;
    for (size_t i = 0; i < count; i++)
        send_again(t, t->all[chance_below(chance, all)]);
    if (rd_kafka_flush(t->producer, FLUSH_MS) != RD_KAFKA_RESP_ERR_NO_ERROR)
        give_up(NULL, "Kafka does not acknowledge duplicates within %d s", FLUSH_MS / 1000);
    return count;
}

/* ---- what concerns a service ---- */

static long sum_for(const struct topics *t, const struct service_facts *service, bool repeats)
{
    long sum = 0;

    for (int i = 0; i < t->type_count; i++)
        for (const char *const *type = service->takes; *type != NULL; type++)
            if (strcmp(t->type[i].name, *type) == 0)
                sum += repeats ? t->type[i].records - t->type[i].events : t->type[i].events;
    return sum;
}

long topics_events_for(const struct topics *t, const struct service_facts *service)
{
    return sum_for(t, service, false);
}

long topics_repeats_for(const struct topics *t, const struct service_facts *service)
{
    return sum_for(t, service, true);
}
