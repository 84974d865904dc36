/* libinbox's consumer on a real Postgres and a real Kafka: effects once, failures in company and
 * alone, dead letters, handlers that misbehave, groups, stops. */
#include "inbox_case.h"
#include "inbox_script.h"

#include "base/str.h"

#include <pthread.h>

static void begin_test(const char *topic, int partitions)
{
    calls = 0;
    begin_topic(topic, partitions);
}

static void create_dlt(const char *topic)
{
    char name[64];

    (void)snprintf(name, sizeof name, "%s.dlt", topic);
    kafka_create_topic(&kafka, name, 1, NULL);
}

/* ---- once ------------------------------------------------------------------------------------ */

static void each_event_once(void **state)
{
    const char *topic = "once";
    struct inbox_params p = params_for(&topic, handle);
    struct inbox *in;

    (void)state;
    begin_test(topic, 1);
    for (int i = 1; i <= 5; i++)
        produce(topic, 0, i, i == 1 ? "a" : i == 2 ? "b" : i == 3 ? "c" : i == 4 ? "d" : "e");
    produce(topic, 0, 2, "b");
    produce(topic, 0, 5, "e");
    in = open_inbox(&p);
    PUMP_UNTIL(in, counters_of(in).handled + counters_of(in).duplicates == 7);
    assert_string_equal(effects(""), "a b c d e");
    assert_int_equal(counters_of(in).duplicates, 2);
    assert_int_equal(counters_of(in).partitions, 1);
    inbox_free(in);
    assert_int_equal(committed_offset(topic, topic, 0), 7);

    /* The offsets are lost, the claims are not. */
    p.consumer = topic;
    produce(topic, 0, 6, "f");
    in = open_inbox(&p);
    PUMP_UNTIL(in, counters_of(in).handled == 1);
    assert_int_equal(counters_of(in).received, 1);
    inbox_free(in);
    assert_string_equal(effects(""), "a b c d e f");
}

/* Another group with the same name of claims cannot be; but the same events from another topic. */
static void duplicates_across_topics(void **state)
{
    static const char *const topics[] = {"left", "right"};
    struct inbox_params p = params_for(&topics[0], handle);
    struct inbox *in;

    (void)state;
    begin_test("left", 1);
    begin_test("right", 2);
    p.topics = topics;
    p.topic_count = 2;
    for (int i = 1; i <= 20; i++) {
        produce("left", 0, i, "x");
        produce("right", i % 2, i, "x");
    }
    in = open_inbox(&p);
    PUMP_UNTIL(in, counters_of(in).handled + counters_of(in).duplicates == 40);
    inbox_free(in);
    assert_once(20);
}

static void patterns_pass_dead_letters_by(void **state)
{
    const char *topic = "^pattern-.*";
    struct inbox_params p = params_for(&topic, handle);
    struct inbox *in;

    (void)state;
    begin_test("pattern-a", 1);
    begin_test("pattern-b", 1);
    create_dlt("pattern-a");
    kafka_create_topic(&kafka, "pattern-dead", 1, NULL);
    p.consumer = "pattern";
    p.dead_letter_topic = "pattern-dead";
    produce("pattern-a.dlt", 0, 1, "no");
    produce("pattern-dead", 0, 2, "no");
    produce("pattern-a", 0, 3, "reject");
    produce("pattern-b", 0, 4, "b");
    in = open_inbox(&p);
    PUMP_UNTIL(in, counters_of(in).handled == 1 && counters_of(in).dead_lettered == 1);
    assert_int_equal(counters_of(in).partitions, 2);
    assert_string_equal(effects(""), "b");
    inbox_free(in);
    assert_int_equal(kafka_partition_end(kafka_brokers(&kafka), "pattern-dead", 0), 2);
}

/* ---- failures -------------------------------------------------------------------------------- */

static void one_fails_in_company_only(void **state)
{
    const char *topic = "company";
    const struct inbox_params p = params_for(&topic, handle);
    struct inbox *in;

    (void)state;
    begin_test(topic, 1);
    for (int i = 1; i <= 3; i++)
        produce_record(&(struct produced){.topic = topic,
                                          .id = id_of(i),
                                          .value = i == 1   ? "a"
                                                   : i == 2 ? "company"
                                                            : "c"});
    produce_flush();
    in = open_inbox(&p);
    PUMP_UNTIL(in, counters_of(in).handled == 3);
    assert_string_equal(effects(""), "a company c");
    assert_int_equal(counters_of(in).batches_failed, 1);
    assert_int_equal(counters_of(in).retries, 0);
    inbox_free(in);
    assert_int_equal(committed_offset(topic, topic, 0), 3);
}

/* Order is kept by waiting; another partition goes on. */
static void retries_in_order(void **state)
{
    const char *topic = "retry";
    const struct inbox_params p = params_for(&topic, handle);
    struct inbox *in;

    (void)state;
    begin_test(topic, 2);
    produce(topic, 0, 1, "a");
    produce(topic, 0, 2, "fail2");
    produce(topic, 0, 3, "c");
    produce(topic, 1, 4, "savepoint");
    in = open_inbox(&p);
    PUMP_UNTIL(in, counters_of(in).handled == 4);
    assert_string_equal(effects("WHERE part = 0"), "a fail2 c");
    assert_string_equal(effects("WHERE part IS DISTINCT FROM 0"), "savepoint");
    assert_int_equal(counters_of(in).retries, 2);
    assert_int_equal(counters_of(in).dead_lettered, 0);
    /* Its failures were recorded, and the record went with its success. */
    assert_int_equal(pg_int(db, "SELECT count(*) FROM inbox.failure WHERE consumer = 'retry'"), 0);
    inbox_free(in);
}

static void gives_up_and_goes_on(void **state)
{
    const char *topic = "giveup";
    struct inbox_params p = params_for(&topic, handle);
    struct inbox *in;
    rd_kafka_message_t *m;

    (void)state;
    begin_test(topic, 1);
    create_dlt(topic);
    p.max_attempts = 3;
    produce(topic, 0, 1, "a");
    produce_record(&(struct produced){.topic = topic,
                                      .key = "the-key",
                                      .id = id_of(2),
                                      .type = "order.paid",
                                      .extra_name = "traceparent",
                                      .extra_value = "00-1-2-3",
                                      .value = "fail"});
    produce(topic, 0, 3, "reject");
    produce(topic, 0, 4, "d");
    in = open_inbox(&p);
    PUMP_UNTIL(in, counters_of(in).dead_lettered == 2 && counters_of(in).handled == 2);
    inbox_free(in);
    assert_string_equal(effects(""), "a d");
    assert_int_equal(committed_offset(topic, topic, 0), 4);
    m = read_back("giveup.dlt", 0);
    assert_memory_equal(m->payload, "fail", 4);
    assert_int_equal(m->len, 4);
    assert_memory_equal(m->key, "the-key", 7);
    assert_string_equal(header_of(m, "traceparent"), "00-1-2-3");
    assert_string_equal(header_of(m, "event-id"), id_of(2));
    assert_string_equal(header_of(m, "dlt-topic"), "giveup");
    assert_string_equal(header_of(m, "dlt-partition"), "0");
    assert_string_equal(header_of(m, "dlt-offset"), "1");
    assert_contains(header_of(m, "dlt-timestamp"), "T");
    assert_string_equal(header_of(m, "dlt-error-class"), "handler");
    assert_string_equal(header_of(m, "dlt-error-text"), "attempt 3 of fail");
    assert_string_equal(header_of(m, "dlt-attempts"), "3");
    drop_record(m);
    m = read_back("giveup.dlt", 1);
    assert_string_equal(header_of(m, "dlt-error-class"), "rejected");
    assert_string_equal(header_of(m, "dlt-error-text"), "no such order");
    assert_string_equal(header_of(m, "dlt-attempts"), "1");
    drop_record(m);
    assert_string_equal(pg_scalar(db,
                                  "SELECT string_agg(concat_ws(',', state, attempts, error_class, "
                                  "topic_offset, dead_letter_topic), ' ' ORDER BY topic_offset) "
                                  "FROM inbox.state WHERE consumer = 'giveup' AND "
                                  "state <> 'completed'"),
                        "failed,3,handler,1,giveup.dlt failed,1,rejected,2,giveup.dlt");
}

static void conflicts_are_no_attempts(void **state)
{
    const char *topic = "conflict";
    struct inbox_params p = params_for(&topic, handle);
    struct inbox *in;

    (void)state;
    begin_test(topic, 1);
    p.max_attempts = 1;
    produce(topic, 0, 1, "conflict");
    produce(topic, 0, 2, "b");
    in = open_inbox(&p);
    PUMP_UNTIL(in, counters_of(in).handled == 2);
    assert_string_equal(effects(""), "conflict b");
    assert_true(counters_of(in).conflicts >= 3);
    assert_int_equal(counters_of(in).retries, 0);
    inbox_free(in);
}

static enum inbox_verdict always_conflict(PGconn *conn, struct inbox_event *event, void *arg)
{
    (void)event;
    (void)arg;
    sql(conn, "DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$");
    return INBOX_REJECT; /* what it makes of it does not matter */
}

static void conflicts_without_end_stop_it(void **state)
{
    const char *topic = "budget";
    struct inbox_params p = params_for(&topic, always_conflict);
    struct inbox_error e;
    struct inbox *in;

    (void)state;
    begin_test(topic, 1);
    p.budget_ms = 300;
    produce(topic, 0, 1, "a");
    in = open_inbox(&p);
    assert_int_equal(inbox_run(in, &e), -1);
    assert_int_equal(e.code, INBOX_E_BUDGET);
    assert_contains(e.text, id_of(1));
    assert_contains(e.text, "40P01");
    assert_int_equal(inbox_process(in, &e), -1); /* and stays so */
    inbox_free(in);
    assert_int_equal(committed_offset(topic, topic, 0), -1);
}

/* ---- what is no event, or not for us --------------------------------------------------------- */

static void malformed_goes_to_the_dead_letters(void **state)
{
    const char *topic = "malformed";
    const struct inbox_params p = params_for(&topic, handle);
    struct inbox *in;
    rd_kafka_message_t *m;

    (void)state;
    begin_test(topic, 1);
    create_dlt(topic);
    produce_record(&(struct produced){.topic = topic, .value = "\x01\xff not JSON"});
    produce_record(&(struct produced){.topic = topic, .value = NULL});
    produce_record(&(struct produced){.topic = topic, .id = "", .value = "x"});
    produce(topic, 0, 1, "a");
    in = open_inbox(&p);
    PUMP_UNTIL(in, counters_of(in).malformed == 3 && counters_of(in).handled == 1);
    inbox_free(in);
    m = read_back("malformed.dlt", 0);
    assert_memory_equal(m->payload, "\x01\xff not JSON", 11);
    assert_string_equal(header_of(m, "dlt-error-class"), "malformed");
    assert_contains(header_of(m, "dlt-error-text"), "no event id");
    drop_record(m);
    m = read_back("malformed.dlt", 1);
    assert_null(m->payload);
    drop_record(m);
    assert_int_equal(committed_offset(topic, topic, 0), 4);
    assert_int_equal(pg_int(db, "SELECT count(*) FROM inbox.state WHERE consumer = 'malformed' AND "
                                "state = 'failed' AND event_id IS NULL"),
                     3);
}

static void other_types_pass(void **state)
{
    static const char *const types[] = {"order.paid", "order.shipped"};
    const char *topic = "types";
    struct inbox_params p = params_for(&topic, handle);
    struct inbox *in;

    (void)state;
    begin_test(topic, 1);
    p.event_types = types;
    p.event_type_count = 2;
    produce_record(
        &(struct produced){.topic = topic, .id = id_of(1), .type = "order.noise", .value = "no"});
    produce_record(
        &(struct produced){.topic = topic, .id = id_of(2), .type = "order.shipped", .value = "a"});
    produce_record(&(struct produced){.topic = topic, .id = id_of(3), .value = "no"});
    produce(topic, 0, 4, "b");
    produce_record(
        &(struct produced){.topic = topic, .id = id_of(5), .type = "order.noise", .value = "no"});
    produce_flush();
    in = open_inbox(&p);
    PUMP_UNTIL(in, counters_of(in).filtered == 3 && counters_of(in).handled == 2);
    inbox_free(in);
    assert_string_equal(effects(""), "a b");
    assert_int_equal(pg_int(db, "SELECT count(*) FROM inbox.claimed WHERE consumer = 'types'"), 2);
    assert_int_equal(committed_offset(topic, topic, 0), 5);
}

static void old_events(void **state)
{
    const char *topic = "old";
    struct inbox_params p = params_for(&topic, handle);
    struct inbox *in;
    rd_kafka_message_t *m;

    (void)state;
    begin_test(topic, 1);
    create_dlt(topic);
    produce(topic, 0, 1, "a");
    produce_record(&(struct produced){.topic = topic,
                                      .id = id_of(2),
                                      .time = "2020-01-01T00:00:00Z",
                                      .extra_name = "outboxd-replay",
                                      .extra_value = "1",
                                      .value = "old"});
    produce(topic, 0, 3, "c");
    in = open_inbox(&p);
    PUMP_UNTIL(in, counters_of(in).too_old == 1 && counters_of(in).handled == 2);
    inbox_free(in);
    assert_string_equal(effects(""), "a c");
    m = read_back("old.dlt", 0);
    assert_string_equal(header_of(m, "dlt-error-class"), "too_old");
    drop_record(m);

    p.consumer = "old-again";
    p.accept_old = 1;
    in = open_inbox(&p);
    PUMP_UNTIL(in, counters_of(in).handled == 3);
    inbox_free(in);
    assert_string_equal(effects(""), "a c a old c");
}

/* ---- handlers that misbehave ----------------------------------------------------------------- */

/* Each in a batch with two others, two attempts, then dead-lettered; the others take effect once.
 */
static void misbehaving_handlers(void **state)
{
    static const char *const ways[] = {"commit", "commit-write", "commit-begin", "rollback",
                                       "chain",  "close",        "reset",        "busy",
                                       "abort",  "late"};
    enum { BROKEN = 8, COUNT = ARRAY_LEN(ways) };
    const char *topic = "misbehave";
    struct inbox_params p = params_for(&topic, handle);
    struct str wanted = {0};
    struct inbox *in;
    rd_kafka_message_t *m;

    (void)state;
    begin_test(topic, 1);
    create_dlt(topic);
    p.max_attempts = 2;
    p.backoff_ms = 1;
    p.batch_size = 3;
    for (int i = 0; i < 3 * COUNT; i++) {
        produce_record(&(struct produced){.topic = topic,
                                          .id = id_of(i),
                                          .value = i % 3 == 0   ? "a"
                                                   : i % 3 == 1 ? ways[i / 3]
                                                                : "c"});
        if (i % 3 == 0)
            str_puts(&wanted, i == 0 ? "a c" : " a c");
    }
    produce_flush();
    in = open_inbox(&p);
    PUMP_UNTIL(in, counters_of(in).dead_lettered == COUNT && counters_of(in).handled == 2 * COUNT);
    assert_string_equal(effects(""), str_text(&wanted));
    str_release(&wanted);
    /* in the batch and in each attempt */
    assert_int_equal(counters_of(in).broken_contracts, 3 * BROKEN);
    assert_int_equal(counters_of(in).batches_failed, COUNT);
    assert_contains(lines.text, "the handler broke its contract");
    inbox_free(in);
    for (int i = 0; i < COUNT; i += COUNT - 1) {
        m = read_back("misbehave.dlt", i);
        assert_memory_equal(m->payload, ways[i], strlen(ways[i]));
        assert_string_equal(header_of(m, "dlt-attempts"), "2");
        drop_record(m);
    }
}

/* ---- stop, loops, groups --------------------------------------------------------------------- */

static void *stop_soon(void *in)
{
    const uint64_t end = test_now_ms() + WAIT_MS;
    PGconn *conn = pg_try_open(&pg, NULL, 10);
    bool there = false;

    while (conn != NULL && !there && test_now_ms() < end) {
        PGresult *r = PQexec(conn, "SELECT FROM effect");

        there = PQntuples(r) == 2;
        PQclear(r);
    }
    PQfinish(conn);
    inbox_stop(in);
    return NULL;
}

static void run_until_stop(void **state)
{
    const char *topic = "run";
    const struct inbox_params p = params_for(&topic, handle);
    struct inbox_error e;
    struct inbox *in;
    pthread_t thread;

    (void)state;
    begin_test(topic, 1);
    produce(topic, 0, 1, "a");
    produce(topic, 0, 2, "b");
    in = open_inbox(&p);
    assert_int_equal(pthread_create(&thread, NULL, stop_soon, in), 0);
    assert_int_equal(inbox_run(in, &e), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(inbox_process(in, &e), 1);
    assert_int_equal(committed_offset(topic, topic, 0), 2);
    inbox_free(in);
}

static void produce_numbers(const char *topic, int count)
{
    for (int i = 0; i < count; i++)
        produce_record(
            &(struct produced){.topic = topic, .partition = i % 4, .id = id_of(i), .value = "x"});
}

static void two_members(void **state)
{
    enum { EVENTS = 400 };
    static const struct inbox_property lively = {"heartbeat.interval.ms", "300"};
    const char *topic = "group";
    struct inbox_params p = params_for(&topic, handle);
    struct inbox *a;
    struct inbox *b;

    (void)state;
    begin_test(topic, 4);
    p.batch_size = 7;
    p.properties = &lively;
    p.property_count = 1;
    a = open_inbox(&p);
    produce_numbers(topic, EVENTS / 2);
    PUMP_UNTIL(a, counters_of(a).handled > 20);
    b = open_inbox(&p);
    produce_numbers(topic, EVENTS); /* the first half a second time */
    PUMP_UNTIL(a, (pump(b), counters_of(b).partitions == 2 && counters_of(a).partitions == 2));
    PUMP_UNTIL(a, (pump(b), effect_count() == EVENTS));
    inbox_free(b);
    PUMP_UNTIL(a, counters_of(a).partitions == 4);
    produce(topic, 3, EVENTS, "last");
    PUMP_UNTIL(a, strstr(effects(""), "last") != NULL);
    inbox_free(a);
    assert_once(EVENTS + 1);
    /* in the order of offsets within each partition, but for what came a second time */
    assert_int_equal(pg_int(db, "SELECT count(*) FROM (SELECT pos - lag(pos) OVER (PARTITION BY "
                                "part ORDER BY n) AS step FROM effect) s WHERE step <= 0"),
                     0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_event_once),
        cmocka_unit_test(duplicates_across_topics),
        cmocka_unit_test(patterns_pass_dead_letters_by),
        cmocka_unit_test(one_fails_in_company_only),
        cmocka_unit_test(retries_in_order),
        cmocka_unit_test(gives_up_and_goes_on),
        cmocka_unit_test(conflicts_are_no_attempts),
        cmocka_unit_test(conflicts_without_end_stop_it),
        cmocka_unit_test(malformed_goes_to_the_dead_letters),
        cmocka_unit_test(other_types_pass),
        cmocka_unit_test(old_events),
        cmocka_unit_test(misbehaving_handlers),
        cmocka_unit_test(run_until_stop),
        cmocka_unit_test(two_members),
    };

    cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests(tests, start_servers, end_servers);
}
