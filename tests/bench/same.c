#include "same.h"

#include "../support/tmp.h"

#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <string.h>

#define PARTITIONS 32
#define READ_MS    30000

struct digest {
    uint64_t of[PARTITIONS]; /* FNV-1a over all records of the partition */
    int64_t count[PARTITIONS];
    int64_t records;
};

/* The length goes first, so that bytes cannot wander from one field into the next. */
static uint64_t mix(uint64_t h, const void *data, size_t len)
{
    const unsigned char *p = data;

    h = (h ^ len) * UINT64_C(0x100000001b3);
    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * UINT64_C(0x100000001b3);
    return h;
}

static void add(struct digest *d, const rd_kafka_message_t *m)
{
    rd_kafka_headers_t *headers;
    uint64_t h = d->of[m->partition];
    const char *name;
    const void *value;
    size_t size;

    h = mix(h, m->key, m->key_len);
    h = mix(h, m->payload, m->len);
    if (rd_kafka_message_headers(m, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        for (size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value, &size) ==
                           RD_KAFKA_RESP_ERR_NO_ERROR;
             i++)
            h = mix(mix(h, name, strlen(name)), value, size);
    }
    d->of[m->partition] = h;
    d->count[m->partition]++;
    d->records++;
}

static rd_kafka_t *open_consumer(const char *brokers, const char *topic)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_topic_partition_list_t *all = rd_kafka_topic_partition_list_new(PARTITIONS);
    const struct rd_kafka_metadata *known;
    rd_kafka_topic_t *t;
    rd_kafka_t *rk;
    char text[256];

    (void)rd_kafka_conf_set(conf, "bootstrap.servers", brokers, text, sizeof text);
    (void)rd_kafka_conf_set(conf, "group.id", "same", text, sizeof text);
    (void)rd_kafka_conf_set(conf, "enable.auto.commit", "false", text, sizeof text);
    rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    if (rk == NULL)
        support_fail("%s", text);
    (void)rd_kafka_poll_set_consumer(rk);
    t = rd_kafka_topic_new(rk, topic, NULL);
    if (rd_kafka_metadata(rk, 0, t, &known, READ_MS) != RD_KAFKA_RESP_ERR_NO_ERROR ||
        known->topics[0].partition_cnt > PARTITIONS)
        support_fail("no metadata of %s", topic);
    for (int i = 0; i < known->topics[0].partition_cnt; i++)
        rd_kafka_topic_partition_list_add(all, topic, i)->offset = 0;
    rd_kafka_metadata_destroy(known);
    rd_kafka_topic_destroy(t);
    (void)rd_kafka_assign(rk, all);
    rd_kafka_topic_partition_list_destroy(all);
    return rk;
}

static void read_topic(const char *brokers, const char *topic, int64_t records, struct digest *d)
{
    rd_kafka_t *rk = open_consumer(brokers, topic);
    uint64_t end = test_now_ms() + READ_MS;

    *d = (struct digest){0};
    while (d->records < records) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, 100);

        if (m != NULL && m->err == RD_KAFKA_RESP_ERR_NO_ERROR)
            add(d, m);
        if (m != NULL)
            rd_kafka_message_destroy(m);
        else if (test_now_ms() > end)
            support_fail("topic %s: %" PRId64 " records, not %" PRId64, topic, d->records, records);
    }
    (void)rd_kafka_consumer_close(rk);
    rd_kafka_destroy(rk);
}

void same_records(const char *brokers, const char *one, const char *other, int64_t records)
{
    struct digest a;
    struct digest b;

    read_topic(brokers, one, records, &a);
    read_topic(brokers, other, records, &b);
    for (int i = 0; i < PARTITIONS; i++)
        if (a.count[i] != b.count[i] || a.of[i] != b.of[i])
            support_fail("%s and %s differ in partition %d: %" PRId64 " and %" PRId64 " records",
                         one, other, i, a.count[i], b.count[i]);
}
