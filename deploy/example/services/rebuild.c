/* Event sourcing: builds the orders' states from nothing but their events, and holds them against
 * the order service's table.
 *
 *   rebuild --from table|topic [ORDER_ID]
 *
 * From the table outbox.event, which keeps the events for as long as retention lets it, or from the
 * topic order-events. With an ORDER_ID only that order, with its history. Orders may be placed and
 * moved on meanwhile: the comparison is with one snapshot of the table, and events that are newer
 * are left out. All orders are held in memory.
 *
 * DATABASE_URL names a role that may read the schemas shop and outbox; KAFKA_BROKERS is for the
 * topic. Exit code 0: equal; 1: differences, or orders whose events are not complete; 64: wrong
 * usage; 69: the database or Kafka does not answer. */
#include "fold.h"
#include "service.h"

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TOPIC "order-events"

enum { SILENCE_MS = 30000, DIFFERENCES_SHOWN = 20, PAGE_ROWS = 1000 };

static int away(const char *what, const char *why)
{
    (void)fprintf(stderr, "rebuild: %s: %s\n", what, why);
    return SERVICE_UNAVAILABLE;
}

/* ---- the table ------------------------------------------------------------------------------- */

static const char orders_sql[] =
    "SELECT order_id, json_build_object('customerId', customer_id, 'items', items,"
    "   'totalAmount', total_amount, 'state', state, 'reason', reason, 'revision', revision)"
    " FROM shop.orders WHERE $1::bigint IS NULL OR order_id = $1::bigint";

static const char events_sql[] =
    "DECLARE events NO SCROLL CURSOR FOR SELECT event_type, payload FROM outbox.event"
    " WHERE aggregate_type = 'order' ORDER BY id";

static PGresult *query(PGconn *db, const char *sql, int count, const char *const *values)
{
    PGresult *r = PQexecParams(db, sql, count, NULL, values, NULL, NULL, 0);

    if (PQresultStatus(r) == PGRES_COMMAND_OK || PQresultStatus(r) == PGRES_TUPLES_OK)
        return r;
    (void)away("database", PQerrorMessage(db));
    PQclear(r);
    return NULL;
}

/* The orders as they are in the snapshot that this begins. */
static int read_orders(PGconn *db, const char *order_id, struct fold *f)
{
    PGresult *r = query(db, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", 0, NULL);

    PQclear(r);
    if (r == NULL)
        return SERVICE_UNAVAILABLE;
    r = query(db, orders_sql, 1, &order_id);
    if (r == NULL)
        return SERVICE_UNAVAILABLE;
    for (int i = 0; i < PQntuples(r); i++)
        fold_expect(f, PQgetvalue(r, i, 0), PQgetvalue(r, i, 1));
    PQclear(r);
    return 0;
}

static int read_table(PGconn *db, struct fold *f)
{
    char fetch[40];
    PGresult *r = query(db, events_sql, 0, NULL);
    int rows = PAGE_ROWS;

    PQclear(r);
    (void)snprintf(fetch, sizeof fetch, "FETCH %d FROM events", PAGE_ROWS);
    while (r != NULL && rows == PAGE_ROWS) {
        r = query(db, fetch, 0, NULL);
        rows = PQntuples(r);
        for (int i = 0; i < rows; i++) {
            json_t *payload = json_loads(PQgetvalue(r, i, 1), 0, NULL);

            fold_event(f, PQgetvalue(r, i, 0), payload);
            json_decref(payload);
        }
        PQclear(r);
    }
    return r == NULL ? SERVICE_UNAVAILABLE : 0;
}

/* ---- the topic ------------------------------------------------------------------------------- */

static rd_kafka_t *open_topic(const char *brokers)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char text[300];
    rd_kafka_t *kafka;

    if (rd_kafka_conf_set(conf, "bootstrap.servers", brokers, text, sizeof text) !=
            RD_KAFKA_CONF_OK ||
        rd_kafka_conf_set(conf, "group.id", "rebuild", text, sizeof text) != RD_KAFKA_CONF_OK ||
        rd_kafka_conf_set(conf, "enable.auto.commit", "false", text, sizeof text) !=
            RD_KAFKA_CONF_OK ||
        rd_kafka_conf_set(conf, "enable.partition.eof", "true", text, sizeof text) !=
            RD_KAFKA_CONF_OK) {
        (void)away("Kafka", text);
        rd_kafka_conf_destroy(conf);
        return NULL;
    }
    kafka = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    if (kafka == NULL) {
        (void)away("Kafka", text);
        rd_kafka_conf_destroy(conf);
    }
    return kafka;
}

/* All partitions, from their beginning; their number, -1: Kafka does not answer. */
static int assign_all(rd_kafka_t *kafka)
{
    rd_kafka_topic_t *topic = rd_kafka_topic_new(kafka, TOPIC, NULL);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_resp_err_t error = rd_kafka_metadata(kafka, 0, topic, &metadata, SILENCE_MS);
    int partitions = 0;

    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
        for (int i = 0; i < metadata->topics[0].partition_cnt; i++)
            rd_kafka_topic_partition_list_add(list, TOPIC, metadata->topics[0].partitions[i].id)
                ->offset = RD_KAFKA_OFFSET_BEGINNING;
        partitions = list->cnt;
        error = partitions == 0 ? metadata->topics[0].err : rd_kafka_assign(kafka, list);
        rd_kafka_metadata_destroy(metadata);
    }
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_topic_destroy(topic);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR)
        return partitions;
    (void)away("Kafka", rd_kafka_err2str(error));
    return -1;
}

static int64_t now_ms(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Until every order is as new as the snapshot. The relay may be behind: at the topic's end, events
 * are waited for as long as some come that are needed. */
static int read_records(rd_kafka_t *kafka, int partitions, struct fold *f)
{
    int64_t progress_ms = now_ms();

    while (fold_is_waiting(f) && now_ms() - progress_ms < SILENCE_MS) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(kafka, 200);
        const size_t applied = f->applied;

        if (m == NULL)
            continue;
        if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            json_t *envelope = json_loadb(m->payload, m->len, 0, NULL);

            fold_event(f, json_string_value(json_object_get(envelope, "eventType")),
                       json_object_get(envelope, "payload"));
            json_decref(envelope);
            if (partitions > 0 || f->applied != applied)
                progress_ms = now_ms();
        } else if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            partitions--; /* at 0 all that was there has been read */
        }
        rd_kafka_message_destroy(m);
    }
    return 0;
}

static int read_topic(const char *brokers, struct fold *f)
{
    rd_kafka_t *kafka = open_topic(brokers);
    int partitions = kafka == NULL ? -1 : assign_all(kafka);
    int rc = partitions < 0 ? SERVICE_UNAVAILABLE : read_records(kafka, partitions, f);

    if (kafka != NULL) {
        (void)rd_kafka_consumer_close(kafka);
        rd_kafka_destroy(kafka);
    }
    return rc;
}

/* ---- main ------------------------------------------------------------------------------------ */

/* 0 or 1. */
static int compare(const struct fold *f)
{
    const char *order_id;
    json_t *expected;
    size_t differ = 0;

    json_object_foreach(f->expected, order_id, expected)
    {
        json_t *rebuilt = json_object_get(f->rebuilt, order_id);
        char *one;
        char *other;

        if (rebuilt != NULL && json_equal(rebuilt, expected))
            continue;
        if (differ++ >= DIFFERENCES_SHOWN)
            continue;
        one = json_dumps(expected, JSON_COMPACT | JSON_SORT_KEYS);
        other = rebuilt == NULL ? NULL : json_dumps(rebuilt, JSON_COMPACT | JSON_SORT_KEYS);
        (void)printf("order %s differs\n  the table says  %s\n  its events say  %s\n", order_id,
                     one, other == NULL ? "nothing" : other);
        free(one);
        free(other);
    }
    (void)printf("%zu orders rebuilt from %zu events: %zu differ (%zu events came more than once, "
                 "%zu are newer, %zu are no such events or have none before them)\n",
                 json_object_size(f->expected), f->applied, differ, f->seen, f->newer, f->bad);
    return differ == 0 ? 0 : 1;
}

static int rebuild(bool from_topic, const char *order_id)
{
    const char *conninfo = service_env("DATABASE_URL");
    const char *brokers = from_topic ? service_env("KAFKA_BROKERS") : NULL;
    struct fold f;
    PGconn *db;
    int rc;

    if (conninfo == NULL || (from_topic && brokers == NULL))
        return SERVICE_USAGE;
    fold_init(&f, order_id != NULL);
    db = PQconnectdb(conninfo);
    rc = PQstatus(db) == CONNECTION_OK ? 0 : away("database", PQerrorMessage(db));
    if (rc == 0)
        rc = read_orders(db, order_id, &f);
    if (rc == 0 && order_id != NULL && json_object_size(f.expected) == 0) {
        (void)printf("there is no order %s\n", order_id);
        rc = 1;
    }
    if (rc == 0)
        rc = from_topic ? read_topic(brokers, &f) : read_table(db, &f);
    if (rc == 0)
        rc = compare(&f);
    PQfinish(db);
    fold_release(&f);
    return rc;
}

int main(int argc, char **argv)
{
    const char *from = argc >= 3 && strcmp(argv[1], "--from") == 0 ? argv[2] : "";
    const char *order_id = argc == 4 ? argv[3] : NULL;

    if (argc > 4 || (strcmp(from, "table") != 0 && strcmp(from, "topic") != 0) ||
        (order_id != NULL && (order_id[0] == '\0' || strlen(order_id) > 18 ||
                              order_id[strspn(order_id, "0123456789")] != '\0'))) {
        (void)fprintf(stderr, "usage: %s --from table|topic [ORDER_ID]\n", argv[0]);
        return SERVICE_USAGE;
    }
    return rebuild(strcmp(from, "topic") == 0, order_id);
}
