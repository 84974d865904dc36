/* The tests' own tools, tested: servers come back from a crash with what they had, the load keeps
 * its promises, and the oracle finds each kind of wrong that is planted in a real topic. */
#include "../support/check.h"
#include "../support/kafka.h"
#include "../support/load.h"
#include "../support/oracle.h"
#include "../support/pg.h"
#include "base/str.h"

#include <errno.h>
#include <librdkafka/rdkafka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PARTITIONS 4
#define KEY        "order-7"

static struct pg_server pg;
static struct kafka kafka;
static rd_kafka_t *producer;

/* ---- a row, and the record that it asks for, both written by hand ---- */

struct planted {
    int number;           /* 1 to 9: the writers' order */
    const char *value;    /* of the record; NULL: the right one */
    const char *key;      /* NULL: the right one */
    const char *type;     /* header event-type; NULL: the right one */
    bool drop_time;       /* no header event-time */
    int partition_offset; /* added to the right partition */
};

/* Topics are numbered, so that event ids do not repeat among them. */
static unsigned topic_number(const char *topic)
{
    unsigned n = 5381;

    for (; *topic != '\0'; topic++)
        n = n * 33 + (unsigned char)*topic;
    return n;
}

static void event_id_of(const char *topic, int number, char id[40])
{
    (void)snprintf(id, 40, "00000000-0000-4000-8000-%08x%04x", topic_number(topic),
                   (unsigned)number & 0xffffU);
}

static void insert_row(const char *topic, int number)
{
    PGconn *conn = pg_open(&pg, NULL);
    char id[40];

    event_id_of(topic, number, id);
    pg_exec(
        conn,
        "INSERT INTO outbox.event (event_id, aggregate_type, aggregate_id, event_type, payload, "
        "headers,"
        " occurred_at, created_at, topic) VALUES ('%s', 'order', '" KEY "', 'order.placed',"
        " '{\"seq\":  %d, \"a\":1, \"a\":2}', '{\"traceparent\": \"00-\\u00e4\", \"none\": null}',"
        " '2026-01-31 12:00:00+00', '2026-01-31 13:00:00.120+01', '%s')",
        id, number, topic);
    PQfinish(conn);
}

static void produce(const char *topic, const struct planted *p)
{
    char id[40];
    char value[256];
    rd_kafka_resp_err_t err;
    rd_kafka_headers_t *headers = rd_kafka_headers_new(8);
    const char *key = p->key != NULL ? p->key : KEY;
    /* murmur2("order-7") & 0x7fffffff is 323129857, by the Java client */
    const int partition = (323129857 % PARTITIONS + p->partition_offset) % PARTITIONS;

    event_id_of(topic, p->number, id);
    (void)snprintf(value, sizeof value,
                   "{\"eventId\":\"%s\",\"eventType\":\"order.placed\",\"occurredAt\":\"2026-01-"
                   "31T12:00:00Z\","
                   "\"version\":\"1.0\",\"payload\":{\"seq\":  %d, \"a\":1, \"a\":2}}",
                   id, p->number);
    if (p->value != NULL)
        (void)snprintf(value, sizeof value, "%s", p->value);
    (void)rd_kafka_header_add(headers, "event-id", -1, id, -1);
    (void)rd_kafka_header_add(headers, "event-type", -1, p->type != NULL ? p->type : "order.placed",
                              -1);
    if (!p->drop_time)
        (void)rd_kafka_header_add(headers, "event-time", -1, "2026-01-31T12:00:00.120Z", -1);
    (void)rd_kafka_header_add(headers, "content-type", -1, "application/json", -1);
    (void)rd_kafka_header_add(headers, "traceparent", -1, "00-\xc3\xa4", -1);
    (void)rd_kafka_header_add(headers, "none", -1, NULL, 0);
    err = rd_kafka_producev(
        producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(key, strlen(key)),
        RD_KAFKA_V_VALUE(value, strlen(value)), RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
    CHECK(err == RD_KAFKA_RESP_ERR_NO_ERROR, "%s", rd_kafka_err2str(err));
    assert_int_equal(rd_kafka_flush(producer, 30000), 0);
}

/* Rows 1 to `rows` in a new topic, and the records of the right form in the order of `order`. */
static void plant(const char *topic, int rows, const char *order)
{
    kafka_create_topic(&kafka, topic, PARTITIONS, NULL);
    for (int i = 1; i <= rows; i++)
        insert_row(topic, i);
    for (; *order != '\0'; order++)
        produce(topic, &(struct planted){.number = *order - '0'});
}

static struct oracle_report judge(const char *topic)
{
    struct oracle_report r;
    char where[64];

    (void)snprintf(where, sizeof where, "e.topic = '%s'", topic);
    oracle_judge(&r, &(struct oracle_params){.pg = &pg,
                                             .brokers = kafka_brokers(&kafka),
                                             .where = where,
                                             .topics = (const char *const[]){topic, NULL}});
    return r;
}

static void expect(const struct oracle_report *r, const struct oracle_report *want)
{
    if (r->lost == want->lost && r->ghosts == want->ghosts && r->inverted == want->inverted &&
        r->duplicates == want->duplicates && r->wrong == want->wrong &&
        r->missing_topics == want->missing_topics)
        return;
    oracle_print(r, stderr);
    oracle_print(want, stderr);
    fail_msg("the first report is the oracle's, the second what was planted");
}

/* ---- the oracle ---- */

static void oracle_accepts_what_is_right(void **state)
{
    struct oracle_report r;

    (void)state;
    plant("right", 4, "1234");
    r = judge("right");
    expect(&r, &(struct oracle_report){0});
    assert_int_equal(r.committed, 4);
    assert_int_equal(r.records, 4);
    assert_true(oracle_is_content(&r, 0));
}

static void oracle_finds_a_lost_event(void **state)
{
    struct oracle_report r;

    (void)state;
    plant("lost", 4, "124");
    r = judge("lost");
    expect(&r, &(struct oracle_report){.lost = 1});
    assert_contains(r.example[0], "lost: row");
    assert_contains(r.example[0], "number 3");
    assert_false(oracle_is_content(&r, 100));
}

static void oracle_finds_a_ghost(void **state)
{
    struct oracle_report r;

    (void)state;
    plant("ghost", 2, "132");
    r = judge("ghost");
    expect(&r, &(struct oracle_report){.ghosts = 1});
    assert_contains(r.example[0], "ghost: event-id \"00000000");
    assert_false(oracle_is_content(&r, 100));
}

static void oracle_finds_an_inversion(void **state)
{
    struct oracle_report r;

    (void)state;
    plant("inverted", 4, "1324");
    r = judge("inverted");
    expect(&r, &(struct oracle_report){.inverted = 1});
    assert_contains(r.example[0], "number 2 after 3");
    assert_false(oracle_is_content(&r, 100));
}

/* 1 2 3 2 is legal: a resend repeats, but first occurrences stand in order. */
static void oracle_counts_duplicates_and_does_not_call_them_inverted(void **state)
{
    struct oracle_report r;

    (void)state;
    plant("duplicate", 3, "12323");
    r = judge("duplicate");
    expect(&r, &(struct oracle_report){.duplicates = 2});
    assert_true(oracle_is_content(&r, 2));
    assert_false(oracle_is_content(&r, 1));
}

static void oracle_sees_every_byte(void **state)
{
    struct oracle_report r;

    (void)state;
    plant("wrong", 6, "");
    produce("wrong", &(struct planted){.number = 1, .type = "order.paid"});
    produce("wrong", &(struct planted){.number = 2, .drop_time = true});
    produce("wrong", &(struct planted){.number = 3, .value = "{\"seq\": 3}"});
    produce("wrong", &(struct planted){.number = 4, .key = "order-8"});
    produce("wrong", &(struct planted){.number = 5, .partition_offset = 1});
    produce("wrong", &(struct planted){.number = 6});
    r = judge("wrong");
    expect(&r, &(struct oracle_report){.wrong = 5});
    assert_contains(r.example[0], "got      ...");
    assert_false(oracle_is_content(&r, 100));
}

static void oracle_tells_a_missing_topic(void **state)
{
    struct oracle_report r;

    (void)state;
    insert_row("nowhere", 1);
    r = judge("nowhere");
    expect(&r, &(struct oracle_report){.lost = 1, .missing_topics = 1});
}

/* Tombstone, bytes, partition key: other columns than the envelope's. */
static void oracle_knows_tombstones_and_bytes(void **state)
{
    PGconn *conn = pg_open(&pg, NULL);
    struct oracle_report r;

    (void)state;
    kafka_create_topic(&kafka, "special", 1, NULL);
    pg_exec(conn, "INSERT INTO outbox.event (event_id, aggregate_type, aggregate_id, event_type, "
                  "created_at, topic,"
                  " payload_bytes, partition_key) VALUES"
                  " ('00000000-0000-4000-8000-000000000001', 'o', 'k', 't', '2026-01-01 "
                  "00:00:00.000001+00', 'special', NULL, NULL),"
                  " ('00000000-0000-4000-8000-000000000002', 'o', 'k', 't', '2026-01-01 "
                  "00:00:00+00', 'special', '\\x0001ff', 'p')");
    PQfinish(conn);
    for (int i = 1; i <= 2; i++) {
        rd_kafka_headers_t *headers = rd_kafka_headers_new(4);
        const bool bytes = i == 2;
        char value[3] = {0, 1, (char)0xff};
        (void)rd_kafka_header_add(headers, "event-id", -1,
                                  bytes ? "00000000-0000-4000-8000-000000000002"
                                        : "00000000-0000-4000-8000-000000000001",
                                  -1);
        (void)rd_kafka_header_add(headers, "event-type", -1, "t", -1);
        (void)rd_kafka_header_add(headers, "event-time", -1,
                                  bytes ? "2026-01-01T00:00:00Z" : "2026-01-01T00:00:00.000001Z",
                                  -1);
        (void)rd_kafka_header_add(headers, "content-type", -1,
                                  bytes ? "application/octet-stream" : "application/json", -1);
        assert_int_equal(
            rd_kafka_producev(producer, RD_KAFKA_V_TOPIC("special"), RD_KAFKA_V_PARTITION(0),
                              RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                              RD_KAFKA_V_KEY(bytes ? "p" : "k", 1),
                              RD_KAFKA_V_VALUE(bytes ? value : NULL, bytes ? sizeof value : 0),
                              RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END),
            RD_KAFKA_RESP_ERR_NO_ERROR);
    }
    assert_int_equal(rd_kafka_flush(producer, 30000), 0);
    r = judge("special");
    expect(&r, &(struct oracle_report){0});
    assert_int_equal(r.records, 2);
}

/* ---- the load ---- */

/* Per key, the numbers must rise by one in id order: else the load itself would be out of order. */
#define GAPS                                                                                       \
    "SELECT count(*) FROM (SELECT coalesce(headers->>'seq', payload->>'seq')::bigint AS seq,"      \
    " row_number() OVER (PARTITION BY aggregate_id ORDER BY id) AS n FROM outbox.event"            \
    " WHERE topic IS NULL) e WHERE seq <> n"

static void load_survives_crashes_and_keeps_its_log(void **state)
{
    PGconn *conn = pg_open(&pg, NULL);
    struct load *load;
    struct load_totals totals;
    struct oracle_report r;

    (void)state;
    pg_exec(conn, "DELETE FROM outbox.event WHERE topic IS NULL");
    PQfinish(conn);
    load = load_start(&(struct load_params){.pg = &pg,
                                            .writers = 6,
                                            .seed = 11,
                                            .async_commit = true,
                                            .long_transaction = true,
                                            .survive = true});
    for (int i = 1; i <= 2; i++) {
        const int64_t before = load_committed(load);
        WAIT_UNTIL(load_committed(load) > before + 300, 30000);
        pg_crash(&pg);
        pg_start(&pg);
    }
    WAIT_UNTIL(load_committed(load) > 1500, 30000);
    load_stop(load);
    totals = load_totals(load);
    assert_int_equal(totals.unknown, 0);
    assert_true(totals.rolled_back > 0);
    assert_true(totals.reconnects >= 12);

    conn = pg_open(&pg, NULL);
    assert_int_equal(pg_int(conn, "SELECT count(*) FROM outbox.event WHERE topic IS NULL"),
                     totals.committed);
    assert_int_equal(pg_int(conn, GAPS), 0);
    assert_true(
        pg_int(conn, "SELECT count(*) FROM outbox.event WHERE topic IS NULL AND payload IS NULL") >
        0);
    /* Nobody published: all are lost, and the writers' log agrees with the table. */
    oracle_judge(&r, &(struct oracle_params){.pg = &pg,
                                             .brokers = kafka_brokers(&kafka),
                                             .load = load,
                                             .where = "e.topic IS NULL"});
    assert_int_equal(r.lost, totals.committed);
    assert_int_equal(r.vanished, 0);
    assert_int_equal(r.undead, 0);
    /* A row that goes behind the writers' back is told. */
    pg_exec(conn, "DELETE FROM outbox.event WHERE id = (SELECT min(id) FROM outbox.event WHERE "
                  "topic IS NULL)");
    oracle_judge(&r, &(struct oracle_params){.pg = &pg,
                                             .brokers = kafka_brokers(&kafka),
                                             .load = load,
                                             .where = "e.topic IS NULL"});
    assert_int_equal(r.vanished, 1);
    PQfinish(conn);
    load_free(load);
}

/* ---- servers and processes ---- */

static void postgres_comes_back(void **state)
{
    PGconn *conn = pg_open(&pg, NULL);

    (void)state;
    pg_exec(conn, "CREATE TABLE kept (n int)");
    pg_exec(conn, "INSERT INTO kept VALUES (1)");
    PQfinish(conn);
    pg_crash(&pg);
    assert_false(pg_is_ready(&pg));
    assert_null(pg_try_open(&pg, NULL, 1));
    pg_start(&pg);
    pg_kill9(&pg);
    pg_start(&pg);
    pg_restart(&pg);
    conn = pg_open(&pg, NULL);
    assert_int_equal(pg_int(conn, "SELECT count(*) FROM kept"), 1);
    assert_string_equal(pg_expect_error(conn, NULL, "SELECT 1/0"), "22012");
    PQfinish(conn);
}

static void kafka_comes_back(void **state)
{
    (void)state;
    kafka_create_topic(&kafka, "kept", PARTITIONS, NULL);
    produce("kept", &(struct planted){.number = 1});
    kafka_kill9(&kafka, 0);
    assert_int_equal(kafka_partitions(kafka_brokers(&kafka), "kept"), -1);
    kafka_start(&kafka, 0);
    assert_int_equal(kafka_partitions(kafka_brokers(&kafka), "kept"), PARTITIONS);
    assert_int_equal(kafka_record_count(kafka_brokers(&kafka), "kept"), 1);
    kafka_grow_topic(&kafka, "kept", PARTITIONS + 2);
    assert_int_equal(kafka_partitions(kafka_brokers(&kafka), "kept"), PARTITIONS + 2);
    kafka_delete_topic(&kafka, "kept");
    assert_int_equal(kafka_partitions(kafka_brokers(&kafka), "kept"), 0);
}

static void processes_are_watched(void **state)
{
    struct proc p;
    char dir[PATH_SIZE];
    char out[PATH_SIZE];
    char *text;

    (void)state;
    tmp_folder("proc", dir);
    path_join(out, dir, "out");
    assert_int_equal(proc_run((const char *const[]){"sh", "-c", "exit 7", NULL}, NULL, 5000), 7);
    proc_start(
        &p, &(struct proc_params){
                .argv = (const char *const[]){"sh", "-c", "echo $WORD$GONE; exec sleep 60", NULL},
                .env = (const char *const[]){"WORD=heard", "GONE", NULL},
                .out_path = out});
    assert_true(proc_alive(&p));
    assert_false(proc_wait(&p, 20));
    WAIT_UNTIL(file_holds(out, "heard\n"), 5000);
    text = file_read(out);
    assert_string_equal(text, "heard\n");
    free(text);
    assert_true(proc_rss_kib(p.pid) > 100);
    assert_int_equal(proc_fd_count(p.pid), 3);
    proc_stop(&p, SIGTERM, 5000);
    assert_int_equal(proc_exit_code(&p), 128 + SIGTERM);
    assert_int_equal(kill(p.pid, 0), -1);
    assert_int_equal(errno, ESRCH);
    assert_int_not_equal(port_free(), port_free());
}

/* ---- */

static int setup(void **state)
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();

    (void)state;
    pg_create(&pg, NULL);
    pg_apply_schema(&pg);
    load_prepare(&pg);
    kafka_create(&kafka, NULL);
    if (rd_kafka_conf_set(conf, "bootstrap.servers", kafka_brokers(&kafka), text, sizeof text) !=
        RD_KAFKA_CONF_OK)
        return -1;
    (void)rd_kafka_conf_set(conf, "log_level", "2", text, sizeof text);
    producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    return producer != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    rd_kafka_destroy(producer);
    kafka_drop(&kafka);
    pg_drop(&pg);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(processes_are_watched),
        cmocka_unit_test(oracle_accepts_what_is_right),
        cmocka_unit_test(oracle_finds_a_lost_event),
        cmocka_unit_test(oracle_finds_a_ghost),
        cmocka_unit_test(oracle_finds_an_inversion),
        cmocka_unit_test(oracle_counts_duplicates_and_does_not_call_them_inverted),
        cmocka_unit_test(oracle_sees_every_byte),
        cmocka_unit_test(oracle_tells_a_missing_topic),
        cmocka_unit_test(oracle_knows_tombstones_and_bytes),
        cmocka_unit_test(load_survives_crashes_and_keeps_its_log),
        cmocka_unit_test(postgres_comes_back),
        cmocka_unit_test(kafka_comes_back),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
