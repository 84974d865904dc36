/* libinbox when something around it is missing or breaks: schema, grants, topics, the database, its
 * session in the middle of a handler, the broker. Nothing is lost, nothing takes effect twice, and
 * the log says what is waited for. */
#include "inbox_case.h"

#include <pthread.h>
#include <unistd.h>

static int calls;
static int kill_at;      /* the call in which the handler's own session is ended; 0: none */
static int forget_at;    /* the call in which the session's statements are deallocated; 0: none */
static unsigned slow_ms; /* of each call */
static char published[INBOX_UUID_SIZE];

static enum inbox_verdict handle(PGconn *conn, struct inbox_event *event, void *arg)
{
    const char *values[] = {inbox_event_id(event), "x"};
    size_t len;
    const char *payload = inbox_event_payload(event, &len);

    (void)arg;
    calls++;
    if (slow_ms > 0)
        test_sleep_ms(slow_ms);
    PQclear(PQexecParams(conn, "INSERT INTO effect (event_id, payload) VALUES ($1::uuid, $2)", 2,
                         NULL, values, NULL, NULL, 0));
    if (calls == kill_at)
        PQclear(PQexec(conn, "SELECT pg_terminate_backend(pg_backend_pid())"));
    if (calls == forget_at)
        PQclear(PQexec(conn, "DEALLOCATE ALL"));
    return len == 6 && memcmp(payload, "reject", 6) == 0 ? INBOX_REJECT : INBOX_OK;
}

static void begin_test(const char *topic, int partitions)
{
    calls = 0;
    kill_at = 0;
    forget_at = 0;
    slow_ms = 0;
    begin_topic(topic, partitions);
}

static void produce_many(const char *topic, int first, int count)
{
    for (int i = first; i < first + count; i++)
        produce_record(&(struct produced){.topic = topic, .id = id_of(i), .value = "x"});
    produce_flush();
}

/* ---- what a person must mend ----------------------------------------------------------------- */

static void ends_with(const struct inbox_params *p, enum inbox_code code, const char *part)
{
    struct inbox *in = open_inbox(p);
    struct inbox_error e;

    assert_int_equal(inbox_run(in, &e), -1);
    CHECK(e.code == code, "%s: %s", inbox_code_name(e.code), e.text);
    assert_contains(e.text, part);
    inbox_free(in);
}

static void schema_and_grants(void **state)
{
    const char *topic = "schema";
    struct inbox_params p = params_for(&topic, handle);
    char bare[256];
    char stranger[256];

    (void)state;
    begin_test(topic, 1);
    produce_many(topic, 1, 1);
    pg_exec(db, "CREATE DATABASE bare");
    pg_exec(db, "CREATE ROLE stranger LOGIN");
    (void)snprintf(bare, sizeof bare, "%s", pg_url(&pg, "consumer", "bare").text);
    (void)snprintf(stranger, sizeof stranger, "%s", pg_url(&pg, "stranger", "postgres").text);
    p.conninfo = bare;
    ends_with(&p, INBOX_E_SCHEMA, "migrate --inbox");
    p.conninfo = stranger;
    ends_with(&p, INBOX_E_GRANTS, "GRANT inbox_consumer");
    assert_int_equal(calls, 0);
    assert_int_equal(committed_offset(topic, topic, 0), -1);
}

/* ---- topics ---------------------------------------------------------------------------------- */

static void topic_that_comes_later(void **state)
{
    static const struct inbox_property often[] = {{"topic.metadata.refresh.interval.ms", "300"}};
    const char *topic = "later";
    struct inbox_params p = params_for(&topic, handle);
    struct inbox *in;

    (void)state;
    begin_test(topic, 0);
    p.properties = often;
    p.property_count = 1;
    in = open_inbox(&p);
    PUMP_UNTIL(in, strstr(lines.text, "later") != NULL && strstr(lines.text, "level=warn") != NULL);
    kafka_create_topic(&kafka, topic, 1, NULL);
    produce_many(topic, 1, 3);
    PUMP_UNTIL(in, effect_count() == 3);
    inbox_free(in);
}

/* The partition of the rejected event waits; the other goes on; the topic comes; nothing is lost.
 */
static void dead_letter_topic_that_comes_later(void **state)
{
    const char *topic = "nodlt";
    const struct inbox_params p = params_for(&topic, handle);
    struct inbox *in;
    rd_kafka_message_t *m;

    (void)state;
    begin_test(topic, 2);
    produce(topic, 0, 1, "reject");
    produce(topic, 0, 2, "x");
    produce(topic, 1, 3, "x");
    in = open_inbox(&p);
    PUMP_UNTIL(in, effect_count() == 1 && strstr(lines.text, "create it") != NULL);
    assert_contains(lines.text, "waits for the dead-letter topic nodlt.dlt");
    assert_int_equal(counters_of(in).partitions_waiting, 1);
    assert_string_equal(pg_scalar(db, "SELECT state || ': ' || error_text FROM inbox.state WHERE "
                                      "consumer = 'nodlt' AND state <> 'completed'"),
                        "retrying: waits for the dead-letter topic nodlt.dlt: the topic does not "
                        "exist: create it");
    produce(topic, 1, 4, "x");
    PUMP_UNTIL(in, effect_count() == 2);
    assert_int_equal(committed_offset(topic, topic, 0), -1);
    kafka_create_topic(&kafka, "nodlt.dlt", 1, NULL);
    PUMP_UNTIL(in, effect_count() == 3);
    assert_int_equal(counters_of(in).dead_lettered, 1);
    inbox_free(in);
    assert_int_equal(committed_offset(topic, topic, 0), 2);
    m = read_back("nodlt.dlt", 0);
    assert_string_equal(header_of(m, "dlt-error-class"), "rejected");
    drop_record(m);
}

/* ---- the database ---------------------------------------------------------------------------- */

static void session_that_dies_in_the_handler(void **state)
{
    const char *topic = "session";
    struct inbox_params p = params_for(&topic, handle);
    struct inbox *in;

    (void)state;
    begin_test(topic, 1);
    p.max_attempts = 1; /* it counts as none */
    kill_at = 3;
    produce_many(topic, 1, 5);
    in = open_inbox(&p);
    PUMP_UNTIL(in, effect_count() == 5);
    assert_once(5);
    assert_int_equal(counters_of(in).reconnects, 1);
    assert_int_equal(counters_of(in).retries, 0);
    assert_int_equal(counters_of(in).broken_contracts, 0);
    inbox_free(in);
}

/* The library's own statements go with the handler's: it does without them from then on. */
static void session_that_forgets_its_statements(void **state)
{
    const char *topic = "forgets";
    struct inbox_params p = params_for(&topic, handle);
    struct inbox *in;

    (void)state;
    begin_test(topic, 1);
    p.max_attempts = 1; /* it counts as none */
    forget_at = 2;
    produce_many(topic, 1, 5);
    in = open_inbox(&p);
    PUMP_UNTIL(in, effect_count() == 5);
    forget_at = calls + 1;
    produce_many(topic, 6, 5);
    PUMP_UNTIL(in, effect_count() == 10);
    assert_once(10);
    /* the second time nothing of it is missed */
    assert_int_equal(counters_of(in).batches_failed + counters_of(in).conflicts, 1);
    assert_int_equal(counters_of(in).retries, 0);
    inbox_free(in);
}

static void database_that_is_away(void **state)
{
    const char *topic = "away";
    struct inbox_params p = params_for(&topic, handle);
    struct inbox *in;

    (void)state;
    begin_test(topic, 2);
    p.batch_size = 10;
    produce_many(topic, 1, 20);
    in = open_inbox(&p);
    PUMP_UNTIL(in, effect_count() == 20);
    PQfinish(db);
    pg_crash(&pg);
    produce_many(topic, 21, 200); /* more than is held: the partition is paused */
    PUMP_UNTIL(in, strstr(lines.text, "waiting for it") != NULL);
    assert_true(counters_of(in).events_held <= 60);
    pg_start(&pg);
    db = pg_open(&pg, NULL);
    PUMP_UNTIL(in, effect_count() == 220);
    assert_contains(lines.text, "the database is back");
    assert_once(220);
    assert_int_equal(counters_of(in).dead_lettered, 0);
    assert_int_equal(pg_int(db, "SELECT count(*) FROM (SELECT event_id, lag(event_id) OVER (ORDER "
                                "BY n) AS before FROM effect) s WHERE event_id < before"),
                     0);
    inbox_free(in);
    assert_int_equal(committed_offset(topic, topic, 0), 220);
}

/* Commits for somebody else, as soon as the consumer waits for it. */
static void *commit_when_waited_for(void *arg)
{
    PGconn *watch = pg_try_open(&pg, NULL, 10);
    const uint64_t end = test_now_ms() + WAIT_MS;
    bool waits = false;

    while (watch != NULL && !waits && test_now_ms() < end) {
        PGresult *r = PQexec(watch, "SELECT FROM pg_locks WHERE NOT granted");

        waits = PQntuples(r) > 0;
        PQclear(r);
    }
    PQfinish(watch);
    PQclear(PQexec(arg, waits ? "COMMIT" : "ROLLBACK"));
    return NULL;
}

/* Another transaction has the claim: the batch waits for its end, and takes its word. */
static void claim_that_somebody_holds(void **state)
{
    const char *topic = "held";
    const struct inbox_params p = params_for(&topic, handle);
    PGconn *other = pg_open(&pg, "consumer");
    struct inbox *in;
    pthread_t thread;
    struct inbox_error e;

    (void)state;
    begin_test(topic, 1);
    produce_many(topic, 1, 3);
    pg_exec(other, "BEGIN");
    assert_int_equal(inbox_claim(other, topic, id_of(2), NULL, 0, &e), 1);
    assert_int_equal(pthread_create(&thread, NULL, commit_when_waited_for, other), 0);
    in = open_inbox(&p);
    PUMP_UNTIL(in, counters_of(in).handled == 2);
    assert_int_equal(counters_of(in).duplicates, 1);
    assert_int_equal(pthread_join(thread, NULL), 0);
    inbox_free(in);
    PQfinish(other);
    assert_once(2);
}

/* ---- stop ------------------------------------------------------------------------------------ */

static void *stop_soon(void *in)
{
    test_sleep_ms(1500);
    inbox_stop(in);
    return NULL;
}

/* A batch that would take a minute is rolled back some seconds after the stop. */
static void stop_in_a_slow_batch(void **state)
{
    const char *topic = "slow";
    const struct inbox_params p = params_for(&topic, handle);
    struct inbox_error e;
    struct inbox *in;
    pthread_t thread;

    (void)state;
    begin_test(topic, 1);
    slow_ms = 300;
    produce_many(topic, 1, 200);
    in = open_inbox(&p);
    assert_int_equal(pthread_create(&thread, NULL, stop_soon, in), 0);
    assert_int_equal(inbox_run(in, &e), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    inbox_free(in);
    assert_true(calls < 100);
    assert_int_equal(effect_count(), 0);
    assert_int_equal(committed_offset(topic, topic, 0), -1);
}

/* ---- the broker ------------------------------------------------------------------------------ */

static void broker_that_restarts(void **state)
{
    const char *topic = "broker";
    struct inbox_params p = params_for(&topic, handle);
    struct inbox *in;

    (void)state;
    begin_test(topic, 1);
    p.batch_size = 5;
    produce_many(topic, 1, 50);
    in = open_inbox(&p);
    PUMP_UNTIL(in, effect_count() >= 20);
    kafka_kill9(&kafka, 0);
    for (int i = 0; i < 20; i++)
        pump(in);
    kafka_start(&kafka, 0);
    produce_many(topic, 25, 76); /* some of them a second time */
    PUMP_UNTIL(in, effect_count() == 100);
    assert_once(100);
    inbox_free(in);
    assert_int_equal(committed_offset(topic, topic, 0), 126);
}

/* The group has given it up while its handler was at work: the transaction commits, the offset does
 * not, and the event that comes again finds its claim. */
static void handler_slower_than_the_group_allows(void **state)
{
    static const struct inbox_property hasty[] = {{"session.timeout.ms", "1500"},
                                                  {"heartbeat.interval.ms", "300"},
                                                  {"max.poll.interval.ms", "1500"}};
    const char *topic = "hasty";
    struct inbox_params p = params_for(&topic, handle);
    struct inbox *in;

    (void)state;
    begin_test(topic, 1);
    p.properties = hasty;
    p.property_count = ARRAY_LEN(hasty);
    p.batch_size = 1;
    produce_many(topic, 1, 2);
    in = open_inbox(&p);
    slow_ms = 2500;
    PUMP_UNTIL(in, calls == 1);
    slow_ms = 0;
    PUMP_UNTIL(in, effect_count() == 2 && counters_of(in).duplicates > 0);
    assert_once(2);
    assert_true(counters_of(in).rebalances >= 3);
    inbox_free(in);
    assert_int_equal(committed_offset(topic, topic, 0), 2);
}

/* No broker to say goodbye to: it ends nevertheless. The last test that needs one. */
static void stop_without_a_broker(void **state)
{
    const char *topic = "lonely";
    const struct inbox_params p = params_for(&topic, handle);
    struct inbox_error e;
    struct inbox *in;

    (void)state;
    begin_test(topic, 1);
    produce_many(topic, 1, 5);
    in = open_inbox(&p);
    PUMP_UNTIL(in, effect_count() == 5);
    kafka_kill9(&kafka, 0);
    inbox_stop(in);
    assert_int_equal(inbox_run(in, &e), 0);
    inbox_free(in);
}

/* ---- publishing ------------------------------------------------------------------------------ */

/* Before the database is asked, so that the transaction goes on. */
static void expect_refusal(PGconn *conn, const struct inbox_event *event,
                           struct inbox_message message)
{
    struct inbox_error e;

    assert_int_equal(inbox_publish(conn, event, &message, NULL, &e), -1);
    assert_int_equal(e.code, INBOX_E_ARGUMENT);
}

static enum inbox_verdict publish(PGconn *conn, struct inbox_event *event, void *arg)
{
    const struct inbox_message message = {.aggregate_type = "invoice",
                                          .aggregate_id = "i-1",
                                          .event_type = "invoice.sent",
                                          .payload = "{\"a\":1}",
                                          .headers = arg};
    struct inbox_error e;

    calls++;
    CHECK(inbox_publish(conn, event, &message, published, &e) == 0, "%s", e.text);
    expect_refusal(conn, event, (struct inbox_message){.aggregate_type = "x"});
    expect_refusal(conn, event,
                   (struct inbox_message){.aggregate_type = "x",
                                          .aggregate_id = "1",
                                          .event_type = "t",
                                          .headers = "[\"no object\"]"});
    expect_refusal(
        conn, event,
        (struct inbox_message){
            .aggregate_type = "x", .aggregate_id = "1", .event_type = "t", .headers = "{\"a\": }"});
    return INBOX_OK;
}

static void publishes_in_the_same_transaction(void **state)
{
    const char *topic = "publish";
    struct inbox_params p = params_for(&topic, publish);
    static char headers[] = "{\"causation-id\": \"not this\", \"traceparent\": \"00-1\"}";
    struct inbox *in;

    (void)state;
    begin_test(topic, 1);
    p.arg = headers;
    produce_record(&(struct produced){.topic = topic,
                                      .id = id_of(1),
                                      .extra_name = "correlation-id",
                                      .extra_value = "c \"7\"",
                                      .value = "x"});
    produce_many(topic, 2, 1);
    in = open_inbox(&p);
    PUMP_UNTIL(in, counters_of(in).handled == 2);
    inbox_free(in);
    assert_string_equal(
        pg_scalar(db, "SELECT string_agg(headers::text, ' ' ORDER BY id) FROM outbox.event WHERE "
                      "aggregate_type = 'invoice'"),
        "{\"traceparent\":\"00-1\",\"correlation-id\":\"c \\\"7\\\"\",\"causation-id\":"
        "\"00000001-0000-7000-8000-000000000000\"} {\"traceparent\":\"00-1\",\"correlation-id\":"
        "\"00000002-0000-7000-8000-000000000000\",\"causation-id\":"
        "\"00000002-0000-7000-8000-000000000000\"}");
    assert_string_equal(pg_scalar(db, "SELECT event_id FROM outbox.event WHERE aggregate_type = "
                                      "'invoice' ORDER BY id DESC LIMIT 1"),
                        published);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(schema_and_grants),
        cmocka_unit_test(topic_that_comes_later),
        cmocka_unit_test(dead_letter_topic_that_comes_later),
        cmocka_unit_test(session_that_dies_in_the_handler),
        cmocka_unit_test(session_that_forgets_its_statements),
        cmocka_unit_test(database_that_is_away),
        cmocka_unit_test(claim_that_somebody_holds),
        cmocka_unit_test(stop_in_a_slow_batch),
        cmocka_unit_test(broker_that_restarts),
        cmocka_unit_test(handler_slower_than_the_group_allows),
        cmocka_unit_test(publishes_in_the_same_transaction),
        cmocka_unit_test(stop_without_a_broker),
    };

    cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests(tests, start_servers, end_servers);
}
