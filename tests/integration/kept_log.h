/* What the tests of verify and replay share: one Postgres, one broker, a relay that publishes what
 * a test inserts, records written by hand, and the verdict of `outboxd verify --json`. Included by
 * one program each. */
#ifndef OUTBOXD_TESTS_KEPT_LOG_H
#define OUTBOXD_TESTS_KEPT_LOG_H

#include "../support/check.h"

#include "../support/kafka.h"
#include "../support/kafka_admin.h"
#include "../support/load.h"
#include "../support/outboxd.h"
#include "../support/pg.h"
#include "../support/tmp.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define TOPIC      "order-events"
#define PARTITIONS 3

static struct pg_server pg;
static struct kafka kafka;
static struct kafka_client client; /* a producer without our partitioner */
static struct outboxd relay;
static PGconn *db;

static inline void start_servers(void)
{
    pg_create(&pg, NULL);
    pg_apply_schema(&pg);
    load_prepare(&pg);
    kafka_create(&kafka, NULL);
    kafka_create_topic(&kafka, TOPIC, PARTITIONS, NULL);
    kafka_client_open(&client, kafka_brokers(&kafka));
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), NULL, NULL);
    db = pg_open(&pg, NULL);
}

static inline void stop_servers(void)
{
    PQfinish(db);
    kafka_client_close(&client);
    kafka_drop(&kafka);
    pg_drop(&pg);
}

/* Everything that is in the table is published, and the relay is gone again. */
static inline void publish_all(void)
{
    outboxd_start(&relay);
    outboxd_wait_drained(&relay, 30000);
    assert_int_equal(outboxd_stop(&relay), 0);
}

/* An empty table, empty topics, and the relay at the beginning. */
static inline void start_afresh(void)
{
    pg_exec(db, "TRUNCATE outbox.event; DELETE FROM outbox.dead; "
                "SELECT * FROM outbox.rebase('orders', 'beginning')");
    kafka_delete_topic(&kafka, TOPIC);
    kafka_create_topic(&kafka, TOPIC, PARTITIONS, NULL);
}

static inline void insert_events(const char *key, int count)
{
    pg_exec(db,
            "INSERT INTO outbox.event (aggregate_type, aggregate_id, event_type, payload) "
            "SELECT 'order', '%s', 'order.placed', '{}' FROM generate_series(1, %d)",
            key, count);
}

/* Marks everything in the table as published, without publishing it. */
static inline void pretend_all_is_published(void)
{
    pg_exec(db, "SELECT * FROM outbox.rebase('orders', 'now')");
}

/* Writes a record; `event_id` NULL: without our headers. */
struct hand_written {
    const char *topic;
    int32_t partition;
    const char *key;
    const char *event_id;
    const char *event_time;
    bool replay;
};

static inline void write_record(const struct hand_written *w)
{
    static char empty[] = "{}";
    rd_kafka_headers_t *headers = rd_kafka_headers_new(4);
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(client.rk, w->topic, NULL);
    rd_kafka_resp_err_t rc;

    if (w->event_id != NULL) {
        (void)rd_kafka_header_add(headers, "event-id", -1, w->event_id, -1);
        (void)rd_kafka_header_add(headers, "event-type", -1, "by.hand", -1);
        (void)rd_kafka_header_add(headers, "event-time", -1, w->event_time, -1);
    }
    if (w->replay)
        (void)rd_kafka_header_add(headers, "outboxd-replay", -1, "2026-01-31T12:00:00Z", -1);
    rc = rd_kafka_producev(client.rk, RD_KAFKA_V_RKT(rkt), RD_KAFKA_V_PARTITION(w->partition),
                           RD_KAFKA_V_KEY(w->key, strlen(w->key)), RD_KAFKA_V_VALUE(empty, 2),
                           RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_HEADERS(headers),
                           RD_KAFKA_V_END);
    assert_int_equal(rc, RD_KAFKA_RESP_ERR_NO_ERROR);
    assert_int_equal(rd_kafka_flush(client.rk, 20000), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_topic_destroy(rkt);
}

/* The record of the row, as far as verify looks at it. */
static inline void write_record_of(int64_t row_id, int32_t partition, bool replay)
{
    write_record(&(struct hand_written){
        .topic = TOPIC,
        .partition = partition,
        .key = pg_scalar(db, "SELECT aggregate_id FROM outbox.event WHERE id = %lld",
                         (long long)row_id),
        .event_id =
            pg_scalar(db, "SELECT event_id FROM outbox.event WHERE id = %lld", (long long)row_id),
        .event_time = pg_scalar(
            db,
            "SELECT to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') "
            "FROM outbox.event WHERE id = %lld",
            (long long)row_id),
        .replay = replay});
}

/* ---- the verdict ---- */

/* `outboxd verify --json` with up to eight more words; to be released by json_decref. */
static inline json_t *verify(const char *const *more, int expected_exit)
{
    const char *words[10] = {"--json"};
    char out[OUTBOXD_OUT];
    json_error_t error;
    json_t *doc;
    int rc;

    for (size_t n = 0; more != NULL && more[n] != NULL; n++)
        words[n + 1] = more[n];
    rc = outboxd_command(&relay, "verify", words, out);
    CHECK(rc == expected_exit, "verify ended with %d, expected %d: %s", rc, expected_exit, out);
    doc = json_loads(out, JSON_DISABLE_EOF_CHECK, &error);
    CHECK(doc != NULL, "no JSON: %s", out);
    return doc;
}

static inline int64_t number_in(const json_t *doc, const char *group, const char *name)
{
    const json_t *from = group == NULL ? doc : json_object_get(doc, group);
    const json_t *value = json_object_get(from, name);

    CHECK(json_is_integer(value), "no number %s", name);
    return json_integer_value(value);
}

/* The n-th finding of a kind; NULL: there are not so many. */
static inline const json_t *finding(const json_t *doc, const char *kind, size_t n)
{
    const json_t *f;
    size_t i;

    json_array_foreach(json_object_get(doc, "findings"), i, f)
    {
        if (strcmp(json_string_value(json_object_get(f, "kind")), kind) == 0 && n-- == 0)
            return f;
    }
    return NULL;
}

static inline void assert_counts(const json_t *doc, int64_t lost, int64_t ghost, int64_t inverted,
                                 int64_t duplicate)
{
    if (number_in(doc, NULL, "lost") == lost && number_in(doc, NULL, "ghost") == ghost &&
        number_in(doc, NULL, "inverted") == inverted &&
        number_in(doc, NULL, "duplicate") == duplicate)
        return;
    (void)json_dumpf(doc, stderr, JSON_INDENT(2));
    fail_msg("expected %lld lost, %lld ghost, %lld inverted, %lld duplicate", (long long)lost,
             (long long)ghost, (long long)inverted, (long long)duplicate);
}

#endif
