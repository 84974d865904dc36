/* What the tests of libinbox share: a database with the schema, a broker, records to produce and to
 * read back, a handler whose behaviour stands in the payload, and the consumer pumped by its
 * descriptor. Included by one program at a time. */
#ifndef OUTBOXD_TESTS_INBOX_CASE_H
#define OUTBOXD_TESTS_INBOX_CASE_H

#include "../support/check.h"
#include "../support/kafka.h"
#include "../support/pg.h"

#include <inbox.h>
#include <librdkafka/rdkafka.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

static struct pg_server pg;
static struct kafka kafka;
static PGconn *db; /* superuser */
static rd_kafka_t *producer;

#define WAIT_MS 30000 /* for what should take a moment */

/* ---- servers --------------------------------------------------------------------------------- */

static inline void start_database(void)
{
    pg_create(&pg, NULL);
    pg_apply_schema(&pg);
    pg_apply_inbox(&pg);
    db = pg_open(&pg, NULL);
    pg_exec(db, "GRANT outbox_writer TO consumer");
}

static inline int start_servers(void **state)
{
    static const char *const settings[] = {"group.min.session.timeout.ms=500", NULL};
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();

    (void)state;
    start_database();
    pg_exec(db, "CREATE TABLE effect (n bigserial, event_id uuid, key text, payload text, "
                "part int, pos bigint);"
                "CREATE TABLE other (id int UNIQUE DEFERRABLE INITIALLY DEFERRED);"
                "INSERT INTO other VALUES (1);"
                "GRANT ALL ON effect, other, effect_n_seq TO consumer");
    kafka_create(&kafka, &(struct kafka_params){.settings = settings});
    (void)rd_kafka_conf_set(conf, "bootstrap.servers", kafka_brokers(&kafka), text, sizeof text);
    (void)rd_kafka_conf_set(conf, "linger.ms", "0", text, sizeof text);
    (void)rd_kafka_conf_set(conf, "log_level", "0", text, sizeof text);
    producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    CHECK(producer != NULL, "%s", text);
    return 0;
}

static inline int end_servers(void **state)
{
    (void)state;
    rd_kafka_destroy(producer);
    PQfinish(db);
    kafka_drop(&kafka);
    pg_drop(&pg);
    return 0;
}

/* `partitions` 0: the topic comes later. */
static inline void begin_topic(const char *topic, int partitions)
{
    if (partitions > 0)
        kafka_create_topic(&kafka, topic, partitions, NULL);
    pg_exec(db, "TRUNCATE effect");
}

/* ---- records --------------------------------------------------------------------------------- */

/* UUIDs that tell their number. */
static inline const char *id_of(int number)
{
    static char text[8][40];
    static unsigned next;
    char *out = text[next++ % 8];

    (void)snprintf(out, 40, "%08d-0000-7000-8000-000000000000", number);
    return out;
}

struct produced {
    const char *topic;
    int32_t partition;
    const char *key;
    const char *id;   /* header event-id; NULL: none */
    const char *type; /* header event-type; NULL: none */
    const char *time; /* header event-time; NULL: none */
    const char *extra_name;
    const char *extra_value;
    const char *value; /* NULL: a tombstone */
};

static inline void produce_record(const struct produced *p)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(4);
    const size_t key_len = p->key == NULL ? 0 : strlen(p->key);
    const size_t value_len = p->value == NULL ? 0 : strlen(p->value);
    rd_kafka_resp_err_t code;

    if (p->id != NULL)
        (void)rd_kafka_header_add(headers, "event-id", -1, p->id, -1);
    if (p->type != NULL)
        (void)rd_kafka_header_add(headers, "event-type", -1, p->type, -1);
    if (p->time != NULL)
        (void)rd_kafka_header_add(headers, "event-time", -1, p->time, -1);
    if (p->extra_name != NULL)
        (void)rd_kafka_header_add(headers, p->extra_name, -1, p->extra_value, -1);
    code =
        rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(p->topic), RD_KAFKA_V_PARTITION(p->partition),
                          RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(p->key, key_len),
                          RD_KAFKA_V_VALUE((void *)(uintptr_t)p->value, value_len),
                          RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
    CHECK(code == RD_KAFKA_RESP_ERR_NO_ERROR, "%s", rd_kafka_err2str(code));
}

static inline void produce_flush(void)
{
    assert_int_equal(rd_kafka_flush(producer, WAIT_MS), RD_KAFKA_RESP_ERR_NO_ERROR);
}

/* A raw event: its value tells the handler what to do. */
static inline void produce(const char *topic, int32_t partition, int number, const char *value)
{
    produce_record(&(struct produced){.topic = topic,
                                      .partition = partition,
                                      .key = "k",
                                      .id = id_of(number),
                                      .type = "order.paid",
                                      .value = value});
    produce_flush();
}

static inline rd_kafka_t *open_reader(const char *group)
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_t *rk;

    (void)rd_kafka_conf_set(conf, "bootstrap.servers", kafka_brokers(&kafka), text, sizeof text);
    (void)rd_kafka_conf_set(conf, "group.id", group, text, sizeof text);
    rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    CHECK(rk != NULL, "%s", text);
    return rk;
}

/* The record at `offset` of partition 0, for drop_record; fails when it does not come. One at a
 * time: librdkafka ends a client only when its records are gone. */
static rd_kafka_t *record_owner;

static inline rd_kafka_message_t *read_back(const char *topic, int64_t offset)
{
    rd_kafka_t *rk = open_reader("reader");
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_message_t *m = NULL;
    const uint64_t end = test_now_ms() + WAIT_MS;

    rd_kafka_topic_partition_list_add(list, topic, 0)->offset = offset;
    (void)rd_kafka_assign(rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    while (m == NULL && test_now_ms() < end) {
        m = rd_kafka_consumer_poll(rk, 100);
        if (m != NULL && m->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            rd_kafka_message_destroy(m);
            m = NULL;
        }
    }
    (void)rd_kafka_consumer_close(rk);
    CHECK(m != NULL, "no record at %s offset %d", topic, (int)offset);
    record_owner = rk;
    return m;
}

static inline void drop_record(rd_kafka_message_t *m)
{
    rd_kafka_message_destroy(m);
    rd_kafka_destroy(record_owner);
}

/* The header's text, good until the sixteenth call after this one; "(none)". */
static inline const char *header_of(const rd_kafka_message_t *m, const char *name)
{
    static char text[16][512];
    static unsigned next;
    char *out = text[next++ % 16];
    rd_kafka_headers_t *headers;
    const void *value;
    size_t len;

    (void)snprintf(out, 512, "(none)");
    if (rd_kafka_message_headers(m, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR &&
        rd_kafka_header_get_last(headers, name, &value, &len) == RD_KAFKA_RESP_ERR_NO_ERROR)
        (void)snprintf(out, 512, "%.*s", (int)len, (const char *)value);
    return out;
}

/* ---- the consumer ---------------------------------------------------------------------------- */

struct log_lines {
    char text[65536];
    size_t len;
};

static struct log_lines lines; /* of all consumers since the test began */

static inline void keep_line(enum inbox_log_level level, const char *line, void *arg)
{
    const size_t len = strlen(line);

    (void)arg;
    if (getenv("SHOW") != NULL)
        (void)fprintf(stderr, "%s\n", line);
    if (level < INBOX_LOG_INFO || lines.len + len + 2 > sizeof lines.text)
        return;
    memcpy(lines.text + lines.len, line, len);
    lines.len += len;
    lines.text[lines.len++] = '\n';
    lines.text[lines.len] = '\0';
}

static inline struct inbox_params params_for(const char *const *topic, inbox_handler_fn *handler)
{
    static char url[256];

    (void)snprintf(url, sizeof url, "%s", pg_url(&pg, "consumer", "postgres").text);
    lines.len = 0;
    lines.text[0] = '\0';
    return (struct inbox_params){.size = sizeof(struct inbox_params),
                                 .brokers = kafka_brokers(&kafka),
                                 .consumer = *topic,
                                 .topics = topic,
                                 .topic_count = 1,
                                 .conninfo = url,
                                 .handler = handler,
                                 .backoff_ms = 20,
                                 .log_level = INBOX_LOG_DEBUG,
                                 .log = keep_line};
}

static inline struct inbox *open_inbox(const struct inbox_params *p)
{
    struct inbox_error e;
    struct inbox *in = inbox_new(p, &e);

    CHECK(in != NULL, "%s: %s", inbox_code_name(e.code), e.text);
    return in;
}

/* One wait and one turn, as an application's loop does it. */
static inline void pump(struct inbox *in)
{
    struct pollfd fd = {.fd = inbox_fd(in), .events = POLLIN};
    struct inbox_error e;

    if (poll(&fd, 1, 20) == 1)
        CHECK(inbox_process(in, &e) >= 0, "%s: %s\n%s", inbox_code_name(e.code), e.text,
              lines.text);
}

#define PUMP_UNTIL(in, cond)                                                                       \
    do {                                                                                           \
        const uint64_t end_ = test_now_ms() + WAIT_MS;                                             \
        while (!(cond)) {                                                                          \
            CHECK(test_now_ms() < end_, "not within %d ms: %s\n%s", WAIT_MS, #cond, lines.text);   \
            pump(in);                                                                              \
        }                                                                                          \
    } while (0)

static inline struct inbox_counters counters_of(const struct inbox *in)
{
    struct inbox_counters c;

    inbox_counters(in, &c, sizeof c);
    return c;
}

/* What the group has committed for this partition; -1: nothing. */
static inline int64_t committed_offset(const char *group, const char *topic, int32_t partition)
{
    rd_kafka_t *rk = open_reader(group);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    int64_t offset;

    (void)rd_kafka_topic_partition_list_add(list, topic, partition);
    assert_int_equal(rd_kafka_committed(rk, list, WAIT_MS), RD_KAFKA_RESP_ERR_NO_ERROR);
    offset = list->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(rk);
    return offset < 0 ? -1 : offset;
}

static inline int64_t effect_count(void)
{
    return pg_int(db, "SELECT count(*) FROM effect");
}

static inline void assert_once(int events)
{
    assert_int_equal(effect_count(), events);
    assert_int_equal(pg_int(db, "SELECT count(DISTINCT event_id) FROM effect"), events);
}

/* The payloads of the effects of these events, in the order in which they were written. */
static inline const char *effects(const char *where)
{
    return pg_scalar(db, "SELECT coalesce(string_agg(payload, ' ' ORDER BY n), '') FROM effect %s",
                     where);
}

#endif
