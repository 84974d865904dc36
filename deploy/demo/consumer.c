#include "consumer.h"

#include "base/str.h"
#include "broker.h"
#include "say.h"

#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ANSWER_MS 5000 /* a broker that takes longer to answer is not there */

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
    c->kafka = broker_client_new(RD_KAFKA_CONSUMER, brokers, err);
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
