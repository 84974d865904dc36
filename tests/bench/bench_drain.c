/* How fast a backlog drains, told against the floor: a bare loop of COPY and rd_kafka_producev that
 * sends the same number of bytes (key, value, four headers) to the same broker with the same codec
 * and waits for every ack. Floor and relay take turns in one run, because figures move from run to
 * run and machine to machine.
 *
 *   BENCH_EVENTS  events (1000000)      BENCH_ROUNDS  rounds (3)      BENCH_PAYLOAD  bytes of a
 * payload (200) */
#include "../support/kafka.h"
#include "../support/load.h"
#include "../support/outboxd.h"
#include "../support/pg.h"
#include "../support/tmp.h"

#include "outbox/rows.h"

#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define PARTITIONS 6
#define PREFIX                                                                                     \
    "{\"eventId\":\"01a20665-e0ef-7221-90b4-adf14ca35753\",\"eventType\":\"order.placed\","        \
    "\"occurredAt\":\"2026-01-01T00:00:00.123456Z\",\"version\":\"1.0\",\"payload\":"

static struct pg_server pg;
static struct kafka kafka;

static int64_t setting(const char *name, int64_t fallback)
{
    const char *text = getenv(name);

    return text == NULL ? fallback : strtoll(text, NULL, 10);
}

/* What one side took: wall time, and processor time of its process (told beside it, because it
 * hardly depends on what else the machine does). */
struct cost {
    double wall_s;
    double cpu_s;
};

static double cpu_of(int who)
{
    struct rusage used;

    (void)getrusage(who, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

/* ---- the floor
 * -----------------------------------------------------------------------------------------------------
 */

static int64_t acked;

static void on_report(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    (void)rk, (void)opaque;
    if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR)
        support_fail("the floor's producer: %s", rd_kafka_err2str(m->err));
    acked++;
}

static rd_kafka_t *floor_producer(void)
{
    static const char *const settings[][2] = {
        {"enable.idempotence", "true"},
        {"compression.codec", "lz4"},
        {"linger.ms", "0"},
        {"queue.buffering.max.messages", "1000000"},
        {"message.max.bytes", "10000000"},
    };
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char text[256];
    rd_kafka_t *rk;

    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        if (rd_kafka_conf_set(conf, settings[i][0], settings[i][1], text, sizeof text) !=
            RD_KAFKA_CONF_OK)
            support_fail("%s", text);
    if (rd_kafka_conf_set(conf, "bootstrap.servers", kafka_brokers(&kafka), text, sizeof text) !=
        RD_KAFKA_CONF_OK)
        support_fail("%s", text);
    rd_kafka_conf_set_dr_msg_cb(conf, on_report);
    rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    if (rk == NULL)
        support_fail("%s", text);
    return rk;
}

static void floor_send(rd_kafka_t *rk, rd_kafka_topic_t *topic, const struct event *e)
{
    static char value[1 << 20];
    static const char id[] = "01a20665-e0ef-7221-90b4-adf14ca35753";
    size_t len = sizeof PREFIX - 1;
    rd_kafka_resp_err_t rc;

    memcpy(value, PREFIX, len);
    memcpy(value + len, e->payload.ptr, e->payload.len);
    len += e->payload.len;
    value[len++] = '}';
    do {
        rc = rd_kafka_producev(
            rk, RD_KAFKA_V_RKT(topic), RD_KAFKA_V_PARTITION(RD_KAFKA_PARTITION_UA),
            RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
            RD_KAFKA_V_KEY(e->aggregate_id.ptr, e->aggregate_id.len), RD_KAFKA_V_VALUE(value, len),
            RD_KAFKA_V_HEADER("event-id", id, 36),
            RD_KAFKA_V_HEADER("event-type", e->event_type.ptr, (ssize_t)e->event_type.len),
            RD_KAFKA_V_HEADER("event-time", "2026-01-01T00:00:00.123456Z", 27),
            RD_KAFKA_V_HEADER("content-type", "application/json", 16), RD_KAFKA_V_END);
        (void)rd_kafka_poll(rk, rc == RD_KAFKA_RESP_ERR__QUEUE_FULL ? 10 : 0);
    } while (rc == RD_KAFKA_RESP_ERR__QUEUE_FULL);
    if (rc != RD_KAFKA_RESP_ERR_NO_ERROR)
        support_fail("the floor's producer: %s", rd_kafka_err2str(rc));
}

static struct cost run_floor(int64_t events)
{
    PGconn *conn = pg_open(&pg, NULL);
    rd_kafka_t *rk = floor_producer();
    rd_kafka_topic_t *topic;
    struct copy_stream stream;
    struct err err = {0};
    struct event e;
    struct cost cost = {.cpu_s = -cpu_of(RUSAGE_SELF)};
    uint64_t start;
    char *row;
    int len;

    kafka_create_topic(&kafka, "floor", PARTITIONS, NULL);
    topic = rd_kafka_topic_new(rk, "floor", NULL);
    acked = 0;
    copy_stream_init(&stream);
    start = test_now_us();
    PQclear(PQexec(conn, "COPY (SELECT id, event_id, aggregate_type, aggregate_id, event_type, "
                         "event_version, payload, "
                         "payload_bytes, content_type, headers, topic, partition_key, occurred_at, "
                         "created_at, 0::bigint "
                         "FROM outbox.event ORDER BY id) TO STDOUT (FORMAT binary)"));
    while ((len = PQgetCopyData(conn, &row, 0)) > 0) {
        struct slice piece = {.ptr = row, .len = (size_t)len};
        int rc;

        while ((rc = copy_stream_next(&stream, &piece, &e, &err)) > 0)
            floor_send(rk, topic, &e);
        if (rc < 0)
            support_fail("%s", err.text);
        PQfreemem(row);
    }
    while (acked < events)
        (void)rd_kafka_poll(rk, 100);
    cost.wall_s = (double)(test_now_us() - start) / 1e6;
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(rk);
    PQfinish(conn);
    cost.cpu_s += cpu_of(RUSAGE_SELF);
    kafka_delete_topic(&kafka, "floor");
    return cost;
}

/* ---- the relay
 * -----------------------------------------------------------------------------------------------------
 */

static struct cost run_relay(const struct outboxd *config)
{
    struct outboxd relay = *config;
    PGconn *conn = pg_open(&pg, NULL);
    struct cost cost = {.cpu_s = -cpu_of(RUSAGE_CHILDREN)};
    uint64_t start;

    kafka_create_topic(&kafka, LOAD_TYPE "-events", PARTITIONS, NULL);
    pg_exec(conn, "SELECT outbox.rebase('orders', 'beginning')");
    start = test_now_us();
    outboxd_start(&relay);
    /* drained: no batch is open, and the newest row is visible in the stored base */
    WAIT_UNTIL(
        pg_int(
            conn,
            "SELECT count(*) FROM outbox.lane l WHERE l.target IS NULL AND pg_visible_in_snapshot("
            "(SELECT xid FROM outbox.event ORDER BY id DESC LIMIT 1), l.base)") == 1,
        300000);
    cost.wall_s = (double)(test_now_us() - start) / 1e6;
    (void)printf("    relay: peak memory %ld KiB\n", proc_peak_kib(relay.proc.pid));
    if (outboxd_stop(&relay) != 0)
        support_fail("the relay did not stop well: %s", relay.log);
    cost.cpu_s += cpu_of(RUSAGE_CHILDREN);
    PQfinish(conn);
    kafka_delete_topic(&kafka, LOAD_TYPE "-events");
    return cost;
}

int main(void)
{
    int64_t events = setting("BENCH_EVENTS", 1000000);
    int64_t rounds = setting("BENCH_ROUNDS", 3);
    int payload = (int)setting("BENCH_PAYLOAD", 200);
    double best_floor = 1e9;
    double best_relay = 1e9;
    struct outboxd relay;
    PGconn *conn;

    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    kafka_create(&kafka, NULL);
    pg_create(&pg, NULL);
    pg_apply_schema(&pg);
    conn = pg_open(&pg, NULL);
    load_bulk(conn, &(struct load_bulk){.prefix = "bulk",
                                        .events = events,
                                        .keys = 10000,
                                        .first_seq = 1,
                                        .payload_bytes = payload});
    pg_exec(conn, "ANALYZE outbox.event");
    PQfinish(conn);
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), NULL, NULL);
    (void)printf("drain of %lld events, payload %d bytes, lz4, %d partitions, one broker\n",
                 (long long)events, payload, PARTITIONS);
    for (int64_t i = 0; i < rounds; i++) {
        struct cost floor = run_floor(events);
        struct cost ours = run_relay(&relay);

        best_floor = floor.wall_s < best_floor ? floor.wall_s : best_floor;
        best_relay = ours.wall_s < best_relay ? ours.wall_s : best_relay;
        (void)printf("  round %lld: floor %8.0f events/s, %4.2f us of processor each   relay %8.0f "
                     "events/s, %4.2f us   %3.0f %%\n",
                     (long long)i + 1, (double)events / floor.wall_s,
                     floor.cpu_s / (double)events * 1e6, (double)events / ours.wall_s,
                     ours.cpu_s / (double)events * 1e6, 100 * floor.wall_s / ours.wall_s);
    }
    (void)printf("  best:    floor %8.0f events/s   relay %8.0f events/s   %3.0f %% of the floor\n",
                 (double)events / best_floor, (double)events / best_relay,
                 100 * best_floor / best_relay);
    pg_drop(&pg);
    kafka_drop(&kafka);
    return 0;
}
