/* `outboxd replay` on a real Postgres and a real broker: each filter, where events go and in what
 * order, the mark, the rate, what a refusal and Ctrl-C leave behind and how it goes on. */
#include "kept_log.h"

#include "base/str.h"

#include <signal.h>
#include <unistd.h>

#define AUDIT "audit"

static int start(void **state)
{
    (void)state;
    start_servers();
    kafka_create_topic(&kafka, "payment-events", PARTITIONS, NULL);
    kafka_create_topic(&kafka, AUDIT, 1, NULL);
    kafka_create_topic(&kafka, "small", 1,
                       (const char *const[]){"max.message.bytes", "3000", NULL});
    return 0;
}

static int stop(void **state)
{
    (void)state;
    stop_servers();
    return 0;
}

/* ---- reading a topic back -------------------------------------------------------------------- */

enum { MAX_SEEN = 20000 };

struct seen {
    char event_id[37];
    char mark[32]; /* of the header outboxd-replay; "" none */
    int32_t partition;
};

static struct seen seen[MAX_SEEN];
static size_t seen_count;

static void copy_header(const rd_kafka_headers_t *headers, const char *name, char *out, size_t size)
{
    const void *value;
    size_t len;

    out[0] = '\0';
    if (rd_kafka_header_get(headers, 0, name, &value, &len) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    assert_true(len < size);
    memcpy(out, value, len);
    out[len] = '\0';
}

/* Every record of a topic, partition by partition, in order. */
static void read_topic(const char *topic)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char text[256];
    rd_kafka_t *rk;
    rd_kafka_topic_t *rkt;
    int partitions = kafka_partitions(kafka_brokers(&kafka), topic);

    assert_int_equal(
        rd_kafka_conf_set(conf, "bootstrap.servers", kafka_brokers(&kafka), text, sizeof text),
        RD_KAFKA_CONF_OK);
    rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    assert_non_null(rk);
    rkt = rd_kafka_topic_new(rk, topic, NULL);
    seen_count = 0;
    for (int p = 0; p < partitions; p++) {
        int64_t end = kafka_partition_end(kafka_brokers(&kafka), topic, p);

        if (end == 0)
            continue;
        assert_int_equal(rd_kafka_consume_start(rkt, p, RD_KAFKA_OFFSET_BEGINNING), 0);
        for (int64_t next = 0; next < end;) {
            rd_kafka_message_t *m = rd_kafka_consume(rkt, p, 20000);
            rd_kafka_headers_t *headers;

            assert_non_null(m);
            if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
                assert_true(seen_count < MAX_SEEN);
                assert_int_equal(rd_kafka_message_headers(m, &headers), 0);
                copy_header(headers, "event-id", seen[seen_count].event_id, 37);
                copy_header(headers, "outboxd-replay", seen[seen_count].mark, 32);
                seen[seen_count++].partition = p;
                next = m->offset + 1;
            }
            rd_kafka_message_destroy(m);
        }
        (void)rd_kafka_consume_stop(rkt, p);
    }
    rd_kafka_topic_destroy(rkt);
    rd_kafka_destroy(rk);
}

/* The ids of the rows of the marked records, in the order of read_topic; gives their number. */
static size_t replayed_ids(const char *topic, int64_t *ids)
{
    size_t n = 0;

    read_topic(topic);
    pg_exec(db, "CREATE TEMP TABLE IF NOT EXISTS seen (n int, event_id uuid); TRUNCATE seen");
    for (size_t i = 0; i < seen_count; i++)
        if (seen[i].mark[0] != '\0')
            n++;
    if (n > 0) {
        struct str sql = {0};
        PGresult *rows;
        size_t k = 0;

        str_puts(&sql, "INSERT INTO seen VALUES ");
        for (size_t i = 0; i < seen_count; i++)
            if (seen[i].mark[0] != '\0')
                str_printf(&sql, "%s(%zu, '%s')", k++ == 0 ? "" : ",", i, seen[i].event_id);
        pg_exec(db, "%s", sql.data);
        str_release(&sql);
        rows = pg_query(db, "SELECT e.id FROM seen JOIN outbox.event e USING (event_id) "
                            "ORDER BY seen.n");
        assert_int_equal(PQntuples(rows), n);
        for (size_t i = 0; i < n; i++)
            ids[i] = strtoll(PQgetvalue(rows, (int)i, 0), NULL, 10);
        PQclear(rows);
    }
    return n;
}

/* ---- running it ------------------------------------------------------------------------------ */

static char out[OUTBOXD_OUT];

static void replay(int exit_code, const char *const *more)
{
    int rc = outboxd_command(&relay, "replay", more, out);

    CHECK(rc == exit_code, "exit code %d, expected %d: %s", rc, exit_code, out);
}

#define REPLAY(code, ...) replay(code, (const char *const[]){__VA_ARGS__, NULL})

static void clear_topic(const char *topic, int partitions)
{
    kafka_delete_topic(&kafka, topic);
    kafka_create_topic(&kafka, topic, partitions, NULL);
}

/* 60 published events: keys a and b, two types, two aggregate types, two ages. */
static void publish_a_mixture(void)
{
    start_afresh();
    clear_topic("payment-events", PARTITIONS);
    clear_topic(AUDIT, 1);
    pg_exec(db, "INSERT INTO outbox.event (aggregate_type, aggregate_id, event_type, payload, "
                "partition_key, created_at) SELECT "
                "CASE n %% 3 WHEN 0 THEN 'payment' ELSE 'order' END, "
                "CASE n %% 2 WHEN 0 THEN 'a' ELSE 'b' END, "
                "CASE n %% 5 WHEN 0 THEN 'rare' ELSE 'often' END, json_build_object('n', n), "
                "CASE n WHEN 7 THEN 'own key' END, now() - (60 - n) * interval '1 minute' "
                "FROM generate_series(1, 60) n");
    publish_all();
}

static int64_t expected(const char *condition)
{
    return pg_int(db, "SELECT count(*) FROM outbox.event WHERE %s", condition);
}

static void says_events(int64_t count)
{
    char part[64];

    (void)snprintf(part, sizeof part, "replay of relay orders: %lld events", (long long)count);
    assert_contains(out, part);
    assert_contains(out, count == 0 ? "" : "Nothing was sent (--dry-run)");
}

static void test_filters(void **state)
{
    char first[24];
    char range[64];
    int64_t id;

    (void)state;
    publish_a_mixture();
    id = pg_int(db, "SELECT min(id) FROM outbox.event");
    REPLAY(0, "--dry-run");
    says_events(60);
    assert_contains(out, "to topic order-events: 40");
    assert_contains(out, "to topic payment-events: 20");
    REPLAY(0, "--dry-run", "--type", "rare");
    says_events(expected("event_type = 'rare'"));
    REPLAY(0, "--dry-run", "--aggregate-type", "payment");
    says_events(20);
    REPLAY(0, "--dry-run", "--key", "a");
    says_events(30);
    REPLAY(0, "--dry-run", "--key", "own key");
    says_events(1);
    REPLAY(0, "--dry-run", "--key", "it's \\ none");
    says_events(0);
    (void)snprintf(first, sizeof first, "%lld", (long long)id);
    REPLAY(0, "--dry-run", "--id", first);
    says_events(1);
    (void)snprintf(range, sizeof range, "%lld-%lld", (long long)id + 10, (long long)id + 19);
    REPLAY(0, "--dry-run", "--id", range);
    says_events(10);
    REPLAY(0, "--dry-run", "--id", range, "--key", "b", "--type", "often");
    says_events(4);
    (void)snprintf(first, sizeof first, "%lld", (long long)id + 15);
    REPLAY(0, "--dry-run", "--id", range, "--after", first);
    says_events(4);
    (void)snprintf(range, sizeof range, "%lld-", (long long)id + 50);
    REPLAY(0, "--dry-run", "--id", range);
    says_events(10);
    REPLAY(0, "--dry-run", "--from", "3630s", "--until", "30m");
    says_events(30);
    REPLAY(0, "--dry-run", "--until", "2001-01-01T00:00:00+02:00");
    says_events(0);
    assert_int_equal(kafka_record_count(kafka_brokers(&kafka), TOPIC), 40); /* nothing was sent */
}

static void test_to_their_own_topics(void **state)
{
    static int64_t ids[MAX_SEEN];
    json_t *doc;
    size_t n;

    (void)state;
    publish_a_mixture();
    REPLAY(0, "--key", "a", "--yes");
    assert_contains(out, "30 events acknowledged, marked outboxd-replay: 20");
    n = replayed_ids(TOPIC, ids);
    assert_int_equal(n, expected("aggregate_id = 'a' AND aggregate_type = 'order'"));
    for (size_t i = 1; i < n; i++)
        assert_true(ids[i - 1] < ids[i]); /* one key: one partition */
    for (size_t i = 0; i < seen_count; i++) {
        if (seen[i].mark[0] == '\0')
            continue;
        assert_int_equal(strlen(seen[i].mark), 24);
        assert_int_equal(seen[i].mark[23], 'Z');
        for (size_t first = 0; first < seen_count; first++) /* beside its first occurrence */
            if (strcmp(seen[first].event_id, seen[i].event_id) == 0)
                assert_int_equal(seen[first].partition, seen[i].partition);
    }
    assert_int_equal(replayed_ids("payment-events", ids), 10);
    doc = verify(NULL, 0);
    assert_counts(doc, 0, 0, 0, 0);
    assert_int_equal(number_in(doc, "records", "replayed"), 30);
    json_decref(doc);
}

static void test_to_another_topic(void **state)
{
    static int64_t ids[MAX_SEEN];
    size_t n;

    (void)state;
    publish_a_mixture();
    REPLAY(0, "--topic", AUDIT, "--yes", "--rate", "0");
    n = replayed_ids(AUDIT, ids);
    assert_int_equal(n, 60);
    for (size_t i = 1; i < n; i++)
        assert_int_equal(ids[i], ids[i - 1] + 1);
    assert_int_equal(replayed_ids(TOPIC, ids), 0);
}

static void test_what_is_not_published_is_left_to_the_relay(void **state)
{
    static int64_t ids[MAX_SEEN];

    (void)state;
    publish_a_mixture();
    insert_events("a", 5);
    REPLAY(0, "--topic", AUDIT, "--yes", "--key", "a");
    assert_contains(out, "5 more match, but are not published yet");
    assert_int_equal(replayed_ids(AUDIT, ids), 30);
}

/* The limit holds; how much slower it is on a busy machine is not our business. */
static void test_rate(void **state)
{
    uint64_t begun;

    (void)state;
    publish_a_mixture();
    begun = test_now_ms();
    REPLAY(0, "--topic", AUDIT, "--yes", "--rate", "40");
    assert_true(test_now_ms() - begun >= 1450); /* 59 pauses of 25 ms */
}

/* ---- ends that come early -------------------------------------------------------------------- */

/* The command that the output tells, with this test's binary in the place of the word. */
static void run_told_command(int exit_code)
{
    const char *at = strstr(out, "  outboxd replay");
    char path[PATH_SIZE];
    struct str line = {0};
    char *text;
    int rc;

    assert_non_null(at);
    at += strlen("  outboxd");
    path_join(path, tmp_root(), "rest");
    file_write(path, "%s", "");
    str_printf(&line, "%s%.*s", outboxd_binary(), (int)strcspn(at, "\n"), at);
    rc = proc_run((const char *const[]){"sh", "-c", line.data, NULL}, path, 60000);
    text = file_read(path);
    (void)snprintf(out, sizeof out, "%s", text);
    free(text);
    CHECK(rc == exit_code, "%s ended with %d: %s", line.data, rc, out);
    str_release(&line);
}

static void test_interrupted_and_resumed(void **state)
{
    static int64_t ids[MAX_SEEN];
    static bool arrived[MAX_SEEN];
    char path[PATH_SIZE];
    struct proc p;
    int64_t first;
    int64_t last = 0;
    char *text;
    size_t n;

    (void)state;
    start_afresh();
    clear_topic(AUDIT, 1);
    insert_events("it''s a key", 1500);
    publish_all();
    first = pg_int(db, "SELECT min(id) FROM outbox.event");
    path_join(path, tmp_root(), "interrupted");
    file_write(path, "%s", "");
    proc_start(&p,
               &(struct proc_params){
                   .argv = (const char *const[]){outboxd_binary(), "replay", "-c", relay.config,
                                                 "--topic", AUDIT, "--key", "it's a key", "--until",
                                                 "0s", "--yes", "--rate", "400", NULL},
                   .out_path = path,
                   .err_path = path});
    WAIT_UNTIL(kafka_record_count(kafka_brokers(&kafka), AUDIT) > 100, 30000);
    proc_stop(&p, SIGINT, 15000);
    text = file_read(path);
    (void)snprintf(out, sizeof out, "%s", text);
    free(text);
    CHECK(proc_exit_code(&p) == 75, "exit code %d: %s", proc_exit_code(&p), out);
    assert_contains(out, "interrupted");
    assert_contains(out, "acknowledged up to id ");
    n = replayed_ids(AUDIT, ids);
    assert_true(n > 100 && n < 1500);
    run_told_command(0);
    n = replayed_ids(AUDIT, ids);
    assert_true(n >= 1500 && n < 1500 + 400); /* what was in flight may come twice */
    for (size_t i = 0; i < n; i++) {
        size_t at = (size_t)(ids[i] - first);

        if (!arrived[at]) {
            assert_true(ids[i] > last);
            last = ids[i];
        }
        arrived[at] = true;
    }
    for (size_t i = 0; i < 1500; i++)
        assert_true(arrived[i]);
}

/* A large event among small ones, which the broker may refuse together with it. */
static void test_a_refusal_ends_it(void **state)
{
    static int64_t ids[MAX_SEEN];
    int64_t large;
    char part[128];

    (void)state;
    start_afresh();
    insert_events("k", 20);
    pg_exec(db, "INSERT INTO outbox.event (aggregate_type, aggregate_id, event_type, payload) "
                "SELECT 'order', 'k', 'large', json_build_object('x', "
                "(SELECT string_agg(md5(n::text), '') FROM generate_series(1, 300) n))");
    large = pg_int(db, "SELECT max(id) FROM outbox.event");
    insert_events("k", 20);
    publish_all();
    REPLAY(78, "--topic", "small", "--yes", "--rate", "0");
    (void)snprintf(part, sizeof part, "the event with id %lld was refused by topic small",
                   (long long)large);
    assert_contains(out, part);
    assert_contains(out, "message_too_large");
    (void)snprintf(part, sizeof part, "--after %lld ", (long long)large - 1);
    assert_contains(out, part);
    for (size_t n = replayed_ids("small", ids); n > 0; n--)
        assert_true(ids[n - 1] < large);
    run_told_command(78); /* again */
    kafka_set_topic_config(&kafka, "small", "max.message.bytes", "100000");
    REPLAY(78, "--topic", "never-made", "--yes");
    assert_contains(out, "topic never-made does not exist");
    (void)snprintf(part, sizeof part, "%lld", (long long)large - 1);
    REPLAY(0, "--topic", "small", "--yes", "--after", part);
    assert_contains(out, "21 events acknowledged");
}

static void test_a_broker_that_is_away(void **state)
{
    struct outboxd good = relay;

    (void)state;
    publish_a_mixture();
    outboxd_configure(&relay, &pg, "127.0.0.1:1", NULL, NULL);
    REPLAY(69, "--yes");
    assert_contains(out, "127.0.0.1:1");
    relay = good;
}

/* ---- bad input ------------------------------------------------------------------------------- */

static void test_bad_input(void **state)
{
    struct outboxd good = relay;

    (void)state;
    publish_a_mixture();
    REPLAY(64, "--id", "x");
    assert_contains(out, "--id takes 5, 5-9 or 5-");
    REPLAY(64, "--id", "9-5");
    REPLAY(64, "--id", "5-9-10");
    REPLAY(64, "--id", "-5");
    REPLAY(64, "--after", "five");
    REPLAY(64, "--from", "tomorrow");
    assert_contains(out, "--from takes a time");
    REPLAY(64, "--from", "2026-02-30");
    REPLAY(64, "--from", "2026-02-02", "--until", "2026-02-01");
    REPLAY(64, "--rate", "-1");
    REPLAY(64, "--topic", "no/topic");
    REPLAY(64, "--json");
    assert_contains(out, "replay takes no --json");
    REPLAY(64, "--key", "a"); /* nobody says yes */
    assert_contains(out, "nothing was sent");
    assert_contains(out, "30 events");
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), NULL, NULL);
    {
        char text[1024];

        (void)snprintf(text, sizeof text,
                       "postgres: {url: \"%s\"}\nkafka: {brokers: \"%s\", topics: [\"order-*\"]}\n"
                       "relay: {name: orders}\n",
                       pg_url(&pg, "relay", "postgres").text, kafka_brokers(&kafka));
        outboxd_configure_text(&relay, text);
    }
    REPLAY(78, "--topic", AUDIT, "--yes");
    assert_contains(out, "kafka.topics");
    relay = good;
    assert_int_equal(kafka_record_count(kafka_brokers(&kafka), TOPIC), 40); /* nothing was sent */
    assert_int_equal(kafka_record_count(kafka_brokers(&kafka), AUDIT), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_to_their_own_topics),
        cmocka_unit_test(test_to_another_topic),
        cmocka_unit_test(test_what_is_not_published_is_left_to_the_relay),
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_interrupted_and_resumed),
        cmocka_unit_test(test_a_refusal_ends_it),
        cmocka_unit_test(test_a_broker_that_is_away),
        cmocka_unit_test(test_bad_input),
    };

    if (getenv("ONLY") != NULL)
        cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests(tests, start, stop);
}
