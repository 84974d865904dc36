#include "floor.h"

#include "kafka/config.h"
#include "message/event.h"
#include "outbox/rows.h"

#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define POLL_EVERY 256 /* messages; a look at the reports costs a lock */

struct floor {
    rd_kafka_t *rk;
    rd_kafka_topic_t *topic;
    int64_t sent;
    int64_t acked;
    char *value; /* grows with the longest */
    size_t room;
};

static void on_report(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    struct floor *f = opaque;

    (void)rk;
    if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR)
        support_fail("the floor's producer: %s", rd_kafka_err2str(m->err));
    f->acked++;
}

/* The relay's own settings, but callbacks where it takes events from a queue, and librdkafka's
 * partitioner, which places as ours does. */
static void open_producer(struct floor *f, const struct floor_params *p)
{
    const struct kafka_pair codec = {"compression.codec", p->codec};
    const struct kafka_sink_params params = {.brokers = p->brokers,
                                             .client_id = "floor",
                                             .properties = &codec,
                                             .property_count = 1,
                                             .window_events = 50000,
                                             .window_bytes = 32U << 20,
                                             .max_event_bytes = 10U << 20};
    struct err err;
    char text[256];
    rd_kafka_conf_t *conf = kafka_conf_new(&params, &err);

    if (conf == NULL)
        support_fail("%s", err.text);
    if (rd_kafka_conf_set(conf, "log.queue", "false", text, sizeof text) != RD_KAFKA_CONF_OK ||
        rd_kafka_conf_set(conf, "partitioner", "murmur2_random", text, sizeof text) !=
            RD_KAFKA_CONF_OK)
        support_fail("%s", text);
    (void)rd_kafka_conf_set(conf, "log_level", "3", text, sizeof text);
    rd_kafka_conf_set_events(conf, 0);
    rd_kafka_conf_set_dr_msg_cb(conf, on_report);
    rd_kafka_conf_set_opaque(conf, f);
    f->rk = kafka_handle_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    if (f->rk == NULL)
        support_fail("%s", text);
    f->topic = rd_kafka_topic_new(f->rk, p->topic, NULL);
}

/* ---- one message ---- */

static char *put(char *at, const char *text, size_t len)
{
    memcpy(at, text, len);
    return at + len;
}

static char *put_slice(char *at, struct slice s)
{
    return put(at, s.ptr, s.len);
}

#define PUT(at, literal) put(at, literal, sizeof(literal) - 1)

static char *put_id(char *at, const uint8_t id[16])
{
    event_id_text(id, at);
    return at + EVENT_ID_TEXT - 1;
}

/* The last second that was asked for is kept as text: rows of one bulk share it. */
static char *put_time(char *at, int64_t us)
{
    static int64_t known = -1;
    static char text[20];
    int64_t second = us / 1000000;
    unsigned fraction = (unsigned)(us % 1000000);

    if (second != known) {
        time_t t = (time_t)second;
        struct tm tm;

        (void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", gmtime_r(&t, &tm));
        known = second;
    }
    at = put(at, text, sizeof text - 1);
    if (fraction != 0) {
        int digits = fraction % 1000 == 0 ? 3 : 6;

        fraction /= digits == 3 ? 1000 : 1;
        *at++ = '.';
        for (int i = digits - 1; i >= 0; i--, fraction /= 10)
            at[i] = (char)('0' + fraction % 10);
        at += digits;
    }
    *at++ = 'Z';
    return at;
}

static size_t write_value(struct floor *f, const struct event *e, const char *id)
{
    size_t most = e->payload.len + 512;
    char *at;

    if (f->room < most) {
        free(f->value);
        f->value = xmalloc(most);
        f->room = most;
    }
    at = PUT(f->value, "{\"eventId\":\"");
    at = put(at, id, EVENT_ID_TEXT - 1);
    at = PUT(at, "\",\"eventType\":\"");
    at = put_slice(at, e->event_type);
    at = PUT(at, "\",\"occurredAt\":\"");
    at = put_time(at, e->occurred_at_us);
    at = PUT(at, "\",\"version\":\"");
    at = put_slice(at, e->event_version);
    at = PUT(at, "\",\"payload\":");
    at = put_slice(at, e->payload);
    *at++ = '}';
    return (size_t)(at - f->value);
}

static void send_event(struct floor *f, const struct event *e)
{
    char id[EVENT_ID_TEXT];
    char created[48];
    ssize_t created_len;
    size_t len;
    rd_kafka_resp_err_t rc;

    (void)put_id(id, e->event_id);
    created_len = put_time(created, e->created_at_us) - created;
    len = write_value(f, e, id);
    do {
        rc = rd_kafka_producev(
            f->rk, RD_KAFKA_V_RKT(f->topic), RD_KAFKA_V_PARTITION(RD_KAFKA_PARTITION_UA),
            RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
            RD_KAFKA_V_KEY(e->aggregate_id.ptr, e->aggregate_id.len),
            RD_KAFKA_V_VALUE(f->value, len), RD_KAFKA_V_HEADER("event-id", id, EVENT_ID_TEXT - 1),
            RD_KAFKA_V_HEADER("event-type", e->event_type.ptr, (ssize_t)e->event_type.len),
            RD_KAFKA_V_HEADER("event-time", created, created_len),
            RD_KAFKA_V_HEADER("content-type", "application/json", 16), RD_KAFKA_V_END);
        if (rc == RD_KAFKA_RESP_ERR__QUEUE_FULL)
            (void)rd_kafka_poll(f->rk, 10);
    } while (rc == RD_KAFKA_RESP_ERR__QUEUE_FULL);
    if (rc != RD_KAFKA_RESP_ERR_NO_ERROR)
        support_fail("the floor's producer: %s", rd_kafka_err2str(rc));
    if (++f->sent % POLL_EVERY == 0)
        (void)rd_kafka_poll(f->rk, 0);
}

/* ---- the loop ---- */

static void begin_copy(PGconn *conn, const struct floor_params *p)
{
    char text[512];
    PGresult *r;

    pg_exec(conn, "SET jit = off; SET enable_seqscan = off; SET enable_bitmapscan = off; "
                  "SET max_parallel_workers_per_gather = 0");
    (void)snprintf(text, sizeof text,
                   "COPY (SELECT id, event_id, aggregate_type, aggregate_id, event_type, "
                   "event_version, payload, payload_bytes, content_type, headers, topic, "
                   "partition_key, occurred_at, created_at, 0::bigint FROM outbox.event "
                   "WHERE id > %" PRId64 " ORDER BY id) TO STDOUT (FORMAT binary)",
                   p->above_id);
    r = PQexec(conn, text);
    if (PQresultStatus(r) != PGRES_COPY_OUT)
        support_fail("%s", PQerrorMessage(conn));
    PQclear(r);
}

static void send_all(struct floor *f, PGconn *conn)
{
    struct copy_stream stream;
    struct err err = {0};
    struct event e;
    char *row;
    int len;

    copy_stream_init(&stream);
    while ((len = PQgetCopyData(conn, &row, 0)) > 0) {
        struct slice piece = {.ptr = row, .len = (size_t)len};
        int rc;

        while ((rc = copy_stream_next(&stream, &piece, &e, &err)) > 0)
            send_event(f, &e);
        if (rc < 0)
            support_fail("%s", err.text);
        PQfreemem(row);
    }
    if (!stream.ended)
        support_fail("the floor's COPY: %s", PQerrorMessage(conn));
}

double floor_run(const struct floor_params *p)
{
    uint64_t start = test_now_us();
    struct floor f = {0};
    PGconn *conn = pg_open(p->pg, "relay");
    double took_s;

    open_producer(&f, p);
    begin_copy(conn, p);
    send_all(&f, conn);
    if (f.sent != p->events)
        support_fail("the floor found %" PRId64 " events, not %" PRId64, f.sent, p->events);
    while (f.acked < f.sent)
        (void)rd_kafka_poll(f.rk, 100);
    took_s = (double)(test_now_us() - start) / 1e6;
    rd_kafka_topic_destroy(f.topic);
    rd_kafka_destroy(f.rk);
    PQfinish(conn);
    free(f.value);
    return took_s;
}
