/* The oracle's side of Kafka: how far the group has come, and what lies in the dead-letter topics.
 */
#include "effects.h"

#include <librdkafka/rdkafka.h>

#define ASK_MS     5000
#define SILENCE_MS 30000

static rd_kafka_t *open_client(const char *brokers, const char *group)
{
    const char *const settings[][2] = {
        {"bootstrap.servers", brokers},  {"group.id", group},
        {"enable.auto.commit", "false"}, {"enable.partition.eof", "true"},
        {"fetch.wait.max.ms", "50"},     {"log_level", "0"}};
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char text[256] = "";
    rd_kafka_t *rk;

    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        if (rd_kafka_conf_set(conf, settings[i][0], settings[i][1], text, sizeof text) !=
            RD_KAFKA_CONF_OK)
            support_fail("effects: %s", text);
    rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    if (rk == NULL)
        support_fail("effects: %s", text);
    return rk;
}

/* Every partition of the topic, at the log's beginning. */
static void add_partitions(rd_kafka_t *rk, rd_kafka_topic_partition_list_t *list, const char *topic)
{
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(rk, topic, NULL);
    const struct rd_kafka_metadata *md = NULL;

    if (rd_kafka_metadata(rk, 0, rkt, &md, ASK_MS) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        for (int i = 0; i < md->topics[0].partition_cnt; i++)
            rd_kafka_topic_partition_list_add(list, topic, i)->offset = 0;
        rd_kafka_metadata_destroy(md);
    }
    rd_kafka_topic_destroy(rkt);
}

static rd_kafka_topic_partition_list_t *partitions_of(rd_kafka_t *rk, const char *const *topics)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);

    while (*topics != NULL)
        add_partitions(rk, list, *topics++);
    return list;
}

int64_t effects_lag(const struct effects_params *p)
{
    rd_kafka_t *rk = open_client(p->brokers, p->consumer);
    rd_kafka_topic_partition_list_t *list = partitions_of(rk, p->topics);
    const bool known =
        list->cnt > 0 && rd_kafka_committed(rk, list, ASK_MS) == RD_KAFKA_RESP_ERR_NO_ERROR;
    int64_t lag = known ? 0 : INT64_MAX;

    for (int i = 0; known && i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *at = &list->elems[i];
        int64_t low;
        int64_t high;

        if (rd_kafka_query_watermark_offsets(rk, at->topic, at->partition, &low, &high, ASK_MS) !=
            RD_KAFKA_RESP_ERR_NO_ERROR) {
            lag = INT64_MAX;
            break;
        }
        lag += high - (at->offset < 0 ? low : at->offset);
    }
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(rk);
    return lag;
}

void effects_rewind(const char *brokers, const char *consumer, const char *const *topics)
{
    rd_kafka_t *rk = open_client(brokers, consumer);
    rd_kafka_topic_partition_list_t *list = partitions_of(rk, topics);
    rd_kafka_resp_err_t code = rd_kafka_commit(rk, list, 0);
    const uint64_t end = test_now_ms() + SILENCE_MS;

    /* the coordinator may still be waiting for a member that has died */
    while (code != RD_KAFKA_RESP_ERR_NO_ERROR && test_now_ms() < end) {
        test_sleep_ms(100);
        code = rd_kafka_commit(rk, list, 0);
    }
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(rk);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        support_fail("effects: offsets cannot be put back: %s", rd_kafka_err2str(code));
}

/* ---- dead letters ---------------------------------------------------------------------------- */

/* NULL when it is not there; good until the record is destroyed. */
static const char *header_of(const rd_kafka_message_t *m, const char *name, char *out, size_t size)
{
    rd_kafka_headers_t *headers;
    const void *value;
    size_t len;

    if (rd_kafka_message_headers(m, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR ||
        rd_kafka_header_get_last(headers, name, &value, &len) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return NULL;
    (void)snprintf(out, size, "%.*s", (int)len, (const char *)value);
    return out;
}

static void note_letter(PGconn *conn, const rd_kafka_message_t *m)
{
    char text[3][128];
    const char *values[3] = {header_of(m, "event-id", text[0], sizeof text[0]),
                             header_of(m, "mark", text[1], sizeof text[1]),
                             header_of(m, "dlt-error-class", text[2], sizeof text[2])};
    PGresult *r = PQexecParams(conn, "INSERT INTO dead VALUES ($1::uuid, $2, $3)", 3, NULL, values,
                               NULL, NULL, 0);

    if (PQresultStatus(r) != PGRES_COMMAND_OK)
        support_fail("effects: a dead letter: %s", PQerrorMessage(conn));
    PQclear(r);
}

void effects_read_letters(const struct effects_params *p)
{
    rd_kafka_t *rk = open_client(p->brokers, "oracle");
    rd_kafka_topic_partition_list_t *list = partitions_of(rk, p->dead_letters);
    uint64_t end = test_now_ms() + SILENCE_MS;
    int left = list->cnt;

    pg_exec(p->conn, "TRUNCATE dead");
    (void)rd_kafka_assign(rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    while (left > 0) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, 100);

        if (test_now_ms() > end)
            support_fail("effects: the dead-letter topics do not answer");
        if (m == NULL)
            continue;
        if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            note_letter(p->conn, m);
            end = test_now_ms() + SILENCE_MS;
        } else if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            left--;
        }
        rd_kafka_message_destroy(m);
    }
    (void)rd_kafka_consumer_close(rk);
    rd_kafka_destroy(rk);
}
