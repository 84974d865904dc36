#include "arrival.h"

#include "percentile.h"

#include "base/str.h"

#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MARK        "\"arrival\":"
#define ARRIVE_MS   20000
#define MAX_RECORDS 100000
#define KEYS        100U

struct arrival {
    char topic[128];
    rd_kafka_t *producer;
    rd_kafka_topic_t *producer_topic;
    rd_kafka_t *consumer;
    pthread_t thread;
    atomic_bool stop;
    atomic_uint count;                     /* of took_us, which the consumer's thread fills */
    _Atomic uint64_t sent_us[MAX_RECORDS]; /* by number */
    uint32_t took_us[MAX_RECORDS];
};

/* ---- the consumer ---- */

static void take(struct arrival *a, const rd_kafka_message_t *m)
{
    uint64_t now = test_now_us();
    unsigned n = atomic_load(&a->count);
    unsigned long number;
    char value[512];
    const char *at;

    if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR || m->len >= sizeof value || n == MAX_RECORDS)
        return;
    memcpy(value, m->payload, m->len);
    value[m->len] = '\0';
    at = strstr(value, MARK);
    number = at == NULL ? MAX_RECORDS : strtoul(at + strlen(MARK), NULL, 10);
    if (number >= MAX_RECORDS)
        return;
    a->took_us[n] = (uint32_t)(now - atomic_load(&a->sent_us[number]));
    atomic_store(&a->count, n + 1);
}

static void *consume(void *ctx)
{
    struct arrival *a = ctx;
    rd_kafka_message_t *m;

    while (!atomic_load(&a->stop)) {
        m = rd_kafka_consumer_poll(a->consumer, 100);
        if (m == NULL)
            continue;
        take(a, m);
        rd_kafka_message_destroy(m);
    }
    return NULL;
}

static rd_kafka_t *make_client(rd_kafka_type_t type, const char *brokers)
{
    static const char *const settings[][2] = {
        {"group.id", "arrival"}, {"enable.auto.commit", "false"}, {"enable.idempotence", "true"},
        {"linger.ms", "0"},      {"compression.codec", "lz4"},    {"fetch.error.backoff.ms", "1"},
        {"log_level", "3"},
    };
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char text[256];
    rd_kafka_t *rk;

    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        if (rd_kafka_conf_set(conf, settings[i][0], settings[i][1], text, sizeof text) !=
            RD_KAFKA_CONF_OK)
            support_fail("%s", text);
    if (rd_kafka_conf_set(conf, "bootstrap.servers", brokers, text, sizeof text) !=
        RD_KAFKA_CONF_OK)
        support_fail("%s", text);
    rk = rd_kafka_new(type, conf, text, sizeof text);
    if (rk == NULL)
        support_fail("%s", text);
    return rk;
}

static void assign_ends(struct arrival *a)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(a->consumer, a->topic, NULL);
    rd_kafka_topic_partition_list_t *all = rd_kafka_topic_partition_list_new(8);

    if (rd_kafka_metadata(a->consumer, 0, topic, &metadata, 10000) != RD_KAFKA_RESP_ERR_NO_ERROR)
        support_fail("no metadata of %s", a->topic);
    for (int i = 0; i < metadata->topics[0].partition_cnt; i++)
        rd_kafka_topic_partition_list_add(all, a->topic, i)->offset = RD_KAFKA_OFFSET_END;
    rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(topic);
    if (rd_kafka_assign(a->consumer, all) != RD_KAFKA_RESP_ERR_NO_ERROR)
        support_fail("assign of %s failed", a->topic);
    rd_kafka_topic_partition_list_destroy(all);
}

/* ---- the two ways ---- */

static void produce(struct arrival *a, unsigned number)
{
    char value[64];
    char key[16];
    int key_len = snprintf(key, sizeof key, "%u", number % KEYS);
    int len = snprintf(value, sizeof value, "{" MARK "%u}", number);
    rd_kafka_resp_err_t rc;

    atomic_store(&a->sent_us[number], test_now_us());
    rc = rd_kafka_producev(
        a->producer, RD_KAFKA_V_RKT(a->producer_topic), RD_KAFKA_V_PARTITION(RD_KAFKA_PARTITION_UA),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(key, (size_t)key_len),
        RD_KAFKA_V_VALUE(value, (size_t)len), RD_KAFKA_V_END);
    if (rc != RD_KAFKA_RESP_ERR_NO_ERROR)
        support_fail("produce: %s", rd_kafka_err2str(rc));
    (void)rd_kafka_poll(a->producer, 0);
}

static void commit(struct arrival *a, PGconn *writer, unsigned number)
{
    pg_exec(writer, "BEGIN");
    pg_exec(writer, "SELECT outbox.publish('order', '%u', 'order.paid', '{" MARK "%u}')",
            number % KEYS, number);
    atomic_store(&a->sent_us[number], test_now_us());
    pg_exec(writer, "COMMIT");
}

/* Sleeps until its turn, so that the pauses do not add up with what the sends take. */
static void await_turn(uint64_t *turn_us, const struct arrival_load *load, unsigned *chance)
{
    uint64_t now = test_now_us();
    uint64_t mean = 1000000 / load->rate;

    *turn_us += (uint64_t)rand_r(chance) % (2 * mean);
    if (*turn_us > now) {
        struct timespec pause = {.tv_sec = (time_t)((*turn_us - now) / 1000000),
                                 .tv_nsec = (long)((*turn_us - now) % 1000000 * 1000)};
        (void)nanosleep(&pause, NULL);
    }
}

static void drive(struct arrival *a, PGconn *writer, const struct arrival_load *load,
                  struct arrival_figures *out)
{
    unsigned chance = load->seed;
    uint64_t turn_us = test_now_us();

    if (load->count > MAX_RECORDS)
        support_fail("at most %d records", MAX_RECORDS);
    atomic_store(&a->count, 0);
    for (unsigned i = 0; i < load->count; i++) {
        await_turn(&turn_us, load, &chance);
        if (writer == NULL)
            produce(a, i);
        else
            commit(a, writer, i);
    }
    WAIT_UNTIL(atomic_load(&a->count) >= load->count, ARRIVE_MS);
    *out = (struct arrival_figures){
        .count = load->count,
        .p50_ms = percentile_ms(a->took_us, load->count, 50),
        .p99_ms = percentile_ms(a->took_us, load->count, 99),
        .p999_ms = percentile_ms(a->took_us, load->count, 99.9),
        .max_ms = percentile_ms(a->took_us, load->count, 100),
    };
}

void arrival_of_produce(struct arrival *a, const struct arrival_load *load,
                        struct arrival_figures *out)
{
    drive(a, NULL, load, out);
}

void arrival_of_commit(struct arrival *a, PGconn *writer, const struct arrival_load *load,
                       struct arrival_figures *out)
{
    drive(a, writer, load, out);
}

void arrival_leave_open(PGconn *open, PGconn *other)
{
    static const char insert[] = "SELECT outbox.publish('order', 'open', 'order.paid', '{}')";
    uint64_t end = test_now_ms() + ARRIVE_MS;

    for (;;) {
        pg_exec(other, insert);
        test_sleep_ms(5); /* awake for the next 30 ms */
        pg_exec(open, "BEGIN");
        pg_exec(open, insert);
        if (pg_int(open, "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() "
                         "AND locktype = 'advisory' AND classid = 1868722040") > 0)
            return;
        pg_exec(open, "ROLLBACK");
        if (test_now_ms() > end)
            support_fail("the relay does not stay awake");
    }
}

/* ---- life ---- */

struct arrival *arrival_start(const char *brokers, const char *topic)
{
    struct arrival *a = xcalloc(1, sizeof *a);
    uint64_t end = test_now_ms() + ARRIVE_MS;

    (void)snprintf(a->topic, sizeof a->topic, "%s", topic);
    a->consumer = make_client(RD_KAFKA_CONSUMER, brokers);
    (void)rd_kafka_poll_set_consumer(a->consumer);
    assign_ends(a);
    if (pthread_create(&a->thread, NULL, consume, a) != 0)
        support_fail("no thread");
    a->producer = make_client(RD_KAFKA_PRODUCER, brokers);
    a->producer_topic = rd_kafka_topic_new(a->producer, topic, NULL);
    /* until every partition has been heard of: the keys meet them all */
    for (unsigned i = 0; atomic_load(&a->count) < 1000; i++) {
        if (test_now_ms() > end)
            support_fail("the consumer of %s does not begin", topic);
        produce(a, i % MAX_RECORDS);
        test_sleep_ms(1);
    }
    (void)rd_kafka_flush(a->producer, ARRIVE_MS);
    test_sleep_ms(100); /* the last of them arrive */
    return a;
}

void arrival_free(struct arrival *a)
{
    atomic_store(&a->stop, true);
    (void)pthread_join(a->thread, NULL);
    rd_kafka_topic_destroy(a->producer_topic);
    rd_kafka_destroy(a->producer);
    (void)rd_kafka_consumer_close(a->consumer);
    rd_kafka_destroy(a->consumer);
    free(a);
}
