/* A sink with a real broker and a listener that remembers: what the tests of the producer share.
 * The core is not involved. Header only: each program has one cluster, and one bench at a time. */
#ifndef OUTBOXD_TESTS_PRODUCER_BENCH_H
#define OUTBOXD_TESTS_PRODUCER_BENCH_H

#include "../support/check.h"

#include "../support/kafka.h"

#include "base/err.h"
#include "kafka/producer.h"

#include <errno.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_SEQ 200000

static struct kafka cluster;

/* ---- a sink with a listener that remembers --------------------------------------------------- */

/* What became of a stream other than main's. */
struct lane_bench {
    uint64_t acked;
    uint64_t refused;
    uint64_t errors;
    uint64_t order[1024]; /* sequence numbers as they were acked */
    enum refusal last_why;
    enum refusal last_error;
    char last_text[768];
    void (*on_report)(uint32_t stream); /* NULL: nothing more */
};

struct bench {
    struct event_base *base;
    struct kafka_sink *sink;
    uint64_t acked;
    uint64_t refused;
    uint64_t errors;
    enum refusal why[MAX_SEQ];  /* NONE: not refused */
    int32_t partition[MAX_SEQ]; /* -1: not acked */
    uint64_t order[MAX_SEQ];    /* sequence numbers as they were acked */
    enum refusal last_why;
    char last_text[768];
    enum refusal last_error;
    char error_text[768];
    bool reset_when_refused;
    struct lane_bench lane[STREAMS_MAX];
};

static struct bench bench;

static inline int reset_stream(uint32_t stream)
{
    struct err err = {0};
    int rc = kafka_sink_ops.reset(bench.sink, stream, &err);
    if (rc)
        snprintf(bench.error_text, sizeof(bench.error_text), "%s", err.text);
    return rc;
}

static inline int reset(void)
{
    return reset_stream(MAIN_STREAM);
}

static inline void lane_acked(struct lane_bench *lane, uint32_t stream, uint64_t seq)
{
    lane->order[lane->acked++ % ARRAY_LEN(lane->order)] = seq;
    if (lane->on_report)
        lane->on_report(stream);
}

static inline void lane_refused(struct lane_bench *lane, uint32_t stream, enum refusal why,
                                const char *text)
{
    lane->refused++;
    lane->last_why = why;
    snprintf(lane->last_text, sizeof(lane->last_text), "%s", text);
    if (lane->on_report)
        lane->on_report(stream);
}

static inline void on_acked(void *ctx, uint32_t stream, uint64_t seq, int32_t partition)
{
    struct bench *b = ctx;
    if (stream != MAIN_STREAM) {
        lane_acked(&b->lane[stream], stream, seq);
        return;
    }
    CHECK(b->partition[seq] == -1 && !b->why[seq], "%lu reported twice", (unsigned long)seq);
    b->partition[seq] = partition;
    b->order[b->acked++] = seq;
}

static inline void on_refused(void *ctx, uint32_t stream, uint64_t seq, enum refusal why,
                              const char *text)
{
    struct bench *b = ctx;
    if (stream != MAIN_STREAM) {
        lane_refused(&b->lane[stream], stream, why, text);
        return;
    }
    CHECK(b->partition[seq] == -1 && !b->why[seq], "%lu reported twice", (unsigned long)seq);
    b->why[seq] = why;
    b->refused++;
    b->last_why = why;
    snprintf(b->last_text, sizeof(b->last_text), "%s", text);
    if (b->reset_when_refused)
        assert_int_equal(reset(), 0);
}

static inline void on_error(void *ctx, uint32_t stream, enum refusal why, const char *text)
{
    struct bench *b = ctx;
    if (stream != MAIN_STREAM) {
        b->lane[stream].errors++;
        b->lane[stream].last_error = why;
        return;
    }
    b->errors++;
    b->last_error = why;
    snprintf(b->error_text, sizeof(b->error_text), "%s", text);
}

static inline void open_bench(const char *brokers, const struct kafka_pair *properties,
                              size_t count, uint32_t window)
{
    struct err err = {0};
    struct kafka_sink_params p = {
        .brokers = brokers,
        .client_id = "test",
        .properties = properties,
        .property_count = count,
        .window_events = window,
        .window_bytes = 32 << 20,
        .max_event_bytes = 10 << 20,
    };
    memset(&bench, 0, sizeof(bench));
    memset(bench.partition, 0xff, sizeof(bench.partition));
    bench.base = event_base_new();
    bench.sink = kafka_sink_new(&p, bench.base, &err);
    CHECK(bench.sink != NULL, "%s", err.text);
    const struct kafka_listener listener = {&bench, on_acked, on_refused, on_error};
    kafka_sink_listen(bench.sink, &listener);
}

static inline void close_bench(void)
{
    kafka_sink_free(bench.sink);
    event_base_free(bench.base);
}

static inline void turn(void)
{
    const struct timeval pause = {.tv_usec = 2000};
    event_base_loopexit(bench.base, &pause);
    event_base_loop(bench.base, EVLOOP_ONCE);
}

#define TURN_UNTIL(expr, timeout_ms)                                                               \
    do {                                                                                           \
        uint64_t end_ = test_now_ms() + (timeout_ms);                                              \
        while (!(expr)) {                                                                          \
            CHECK(test_now_ms() < end_, "not within %d ms: %s (acked %lu, refused %lu, %s; %s)",   \
                  (int)(timeout_ms), #expr, (unsigned long)bench.acked,                            \
                  (unsigned long)bench.refused, bench.last_text, bench.error_text);                \
            turn();                                                                                \
        }                                                                                          \
    } while (0)

static inline void use_topic(const char *name)
{
    kafka_sink_ops.topic(bench.sink, MAIN_STREAM, 0, name);
    kafka_sink_ops.topic(bench.sink, MAIN_STREAM, 0, name); /* harmless twice */
}

static inline int32_t partitions(void)
{
    return kafka_sink_ops.partitions(bench.sink, MAIN_STREAM, 0);
}

static inline bool diagnosed(struct err *err, enum refusal *cause)
{
    const struct sending what = {.topic = 0, .partition = -1};
    return kafka_sink_ops.diagnose(bench.sink, MAIN_STREAM, &what, err, cause);
}

static inline struct message text_message(const char *key, const char *value)
{
    struct message m = {0};
    m.key = slice_of(key);
    m.value = slice_of(value);
    return m;
}

static inline int try_send_on(uint32_t stream, const struct message *m, int32_t partition,
                              uint64_t seq)
{
    struct send_refusal no = {.cause = REFUSAL_NONE};
    int rc = kafka_sink_ops.send(bench.sink, stream,
                                 &(struct sending){.partition = partition, .seq = seq}, m, &no);
    bench.last_why = no.cause;
    if (rc && rc != -EAGAIN)
        snprintf(bench.last_text, sizeof(bench.last_text), "%s", no.err.text);
    return rc;
}

static inline int try_send(const struct message *m, int32_t partition, uint64_t seq)
{
    return try_send_on(MAIN_STREAM, m, partition, seq);
}

static inline void send_text_on(uint32_t stream, const char *key, const char *value, uint64_t seq)
{
    struct message m = text_message(key, value);
    CHECK(try_send_on(stream, &m, -1, seq) == 0, "%s", bench.last_text);
}

static inline void send_text(const char *key, const char *value, int32_t partition, uint64_t seq)
{
    struct message m = text_message(key, value);
    CHECK(try_send(&m, partition, seq) == 0, "%s", bench.last_text);
}

/* Bytes that no codec makes smaller. */
static inline void send_noise_on(uint32_t stream, size_t len, uint64_t seq)
{
    char *noise = malloc(len);
    assert_non_null(noise);
    srand((unsigned)seq);
    for (size_t i = 0; i < len; i++)
        noise[i] = (char)rand();
    struct message m = {.key = slice_of("k"), .value = {noise, len}};
    CHECK(try_send_on(stream, &m, -1, seq) == 0, "%s", bench.last_text);
    free(noise);
}

static inline void send_noise(size_t len, uint64_t seq)
{
    send_noise_on(MAIN_STREAM, len, seq);
}

/* ---- what is in a topic ---------------------------------------------------------------------- */

typedef void read_fn(const rd_kafka_message_t *m, void *ctx);

/* Reads one partition from its start to its end. Returns the number of messages. */
static inline int read_partition(const char *topic, int32_t partition, read_fn *each, void *ctx)
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", kafka_brokers(&cluster), text, sizeof(text));
    rd_kafka_conf_set(conf, "group.id", "reader", text, sizeof(text));
    rd_kafka_conf_set(conf, "enable.auto.commit", "false", text, sizeof(text));
    rd_kafka_conf_set(conf, "enable.partition.eof", "true", text, sizeof(text));
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof(text));
    CHECK(rk != NULL, "%s", text);
    rd_kafka_poll_set_consumer(rk);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, partition)->offset = RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_assign(rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    int count = 0;
    bool end = false;
    uint64_t deadline = test_now_ms() + 20000;
    while (!end) {
        CHECK(test_now_ms() < deadline, "the end of %s [%d] does not come", topic, (int)partition);
        rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, 100);
        if (!m)
            continue;
        end = m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
        if (!m->err) {
            count++;
            each(m, ctx);
        }
        rd_kafka_message_destroy(m);
    }
    rd_kafka_destroy(rk);
    return count;
}

/* The first letters of the values, in the log's order. */
static inline void append_letter(const rd_kafka_message_t *m, void *ctx)
{
    char *letters = ctx;
    size_t n = strlen(letters);
    if (n + 1 < 64)
        letters[n] = m->len > 100 ? '#' : *(const char *)m->payload;
}

static inline int start_cluster(void **state)
{
    (void)state;
    kafka_create(&cluster, NULL);
    return 0;
}

static inline int end_cluster(void **state)
{
    (void)state;
    kafka_drop(&cluster);
    return 0;
}

#endif
