/* The whole binary in the situations that the README speaks of, one by one. */
#include "relay_case.h"

/* The relay tells the database within a second. */
static void assert_status(const char *part)
{
    uint64_t end = test_now_ms() + 5000;
    char out[OUTBOXD_OUT];

    do {
        assert_int_equal(outboxd_command(&relay, "status", NULL, out), 0);
    } while (strstr(out, part) == NULL && test_now_ms() < end);
    assert_contains(out, part);
}

/* Brokers accept any first sequence number: a fresh producer that sends {1, 2 = too large} and then
 * {3, 4} of one partition would get 3 and 4 into the log before 1. */
static void test_a_refused_event_halts_and_nothing_overtakes(void **state)
{
    static const char *const config[] = {"max.message.bytes", "20000", NULL};
    const char *culprit;

    (void)state;
    kafka_create_topic(&kafka, TOPIC, 1, config);
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), NULL, ROUTES_THAT_HALT);
    for (int i = 1; i <= 40; i++)
        publish_padded("k", i, i == 12 ? 60000 : 10);
    culprit = pg_scalar(owner, "SELECT event_id FROM outbox.event ORDER BY id OFFSET 11 LIMIT 1");
    outboxd_start(&relay);
    outboxd_wait_log(&relay, "halted", 20000);
    assert_true(outboxd_log_has(&relay, culprit));
    assert_true(outboxd_log_has(&relay, "message_too_large"));
    assert_int_equal(kafka_record_count(kafka_brokers(&kafka), TOPIC), 11);
    WAIT_UNTIL(pg_int(owner, "SELECT count(*) FROM outbox.relay WHERE trouble_halted") == 1, 3000);
    assert_status("halted");
    assert_status(culprit);
    assert_status("max.message.bytes");
    /* it keeps its lease, and a try changes nothing */
    outboxd_log_truncate(&relay);
    proc_signal(&relay.proc, SIGHUP);
    outboxd_wait_log(&relay, "configuration reloaded", 5000);
    test_sleep_ms(1000);
    assert_int_equal(kafka_record_count(kafka_brokers(&kafka), TOPIC), 11);
    assert_true(proc_alive(&relay.proc));
    /* the way out */
    kafka_set_topic_config(&kafka, TOPIC, "max.message.bytes", "200000");
    proc_signal(&relay.proc, SIGHUP);
    outboxd_wait_log(&relay, "publishing again", 10000);
    outboxd_wait_drained(&relay, 5000);
    assert_status("ok");
    assert_int_equal(outboxd_stop(&relay), 0);
    assert_oracle(NULL, 0);
}

static void test_the_first_message_of_a_fresh_producer_is_refused(void **state)
{
    static const char *const config[] = {"max.message.bytes", "20000", NULL};

    (void)state;
    kafka_create_topic(&kafka, TOPIC, 1, config);
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), NULL, ROUTES_THAT_HALT);
    publish_padded("k", 1, 60000);
    for (int i = 2; i <= 20; i++)
        publish_padded("k", i, 10);
    outboxd_start(&relay);
    outboxd_wait_log(&relay, "halted", 20000);
    assert_int_equal(kafka_record_count(kafka_brokers(&kafka), TOPIC), 0);
    kafka_set_topic_config(&kafka, TOPIC, "max.message.bytes", "200000");
    proc_signal(&relay.proc, SIGHUP);
    outboxd_wait_drained(&relay, 10000);
    assert_int_equal(outboxd_stop(&relay), 0);
    assert_oracle(NULL, 0);
}

static void test_an_oversize_payload_halts_without_being_fetched(void **state)
{
    (void)state;
    kafka_create_topic(&kafka, TOPIC, 2, NULL);
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), ", max_event_bytes: 100KB",
                      ROUTES_THAT_HALT);
    publish_padded("a", 1, 10);
    publish_padded("b", 1, 300000);
    publish_padded("c", 1, 10);
    outboxd_start(&relay);
    outboxd_wait_log(&relay, "event_oversize", 10000);
    /* what was read before it is published all the same */
    WAIT_UNTIL(kafka_record_count(kafka_brokers(&kafka), TOPIC) == 1, 5000);
    assert_status("max_event_bytes");
    assert_true(outboxd_stop(&relay) == 0);
    /* the way out: another limit */
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), NULL, ROUTES_THAT_HALT);
    outboxd_start(&relay);
    outboxd_wait_drained(&relay, 10000);
    assert_int_equal(outboxd_stop(&relay), 0);
    assert_oracle(NULL, 0);
}

static void test_a_missing_topic_is_waited_for(void **state)
{
    (void)state;
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), NULL, ROUTES_THAT_HALT);
    outboxd_start(&relay);
    for (int i = 1; i <= 30; i++)
        publish_padded("k", i, 10);
    outboxd_wait_log(&relay, "topic_missing", 10000);
    WAIT_UNTIL(
        pg_int(owner, "SELECT count(*) FROM outbox.relay WHERE trouble_cause = 'topic_missing'") ==
            1,
        3000);
    assert_status("create the topic");
    assert_true(proc_alive(&relay.proc));
    kafka_create_topic(&kafka, TOPIC, 3, NULL);
    outboxd_wait_drained(&relay, 15000);
    WAIT_UNTIL(pg_int(owner, "SELECT count(*) FROM outbox.relay WHERE trouble_cause IS NOT NULL") ==
                   0,
               3000);
    assert_status("ok");
    assert_int_equal(outboxd_stop(&relay), 0);
    assert_oracle(NULL, 0);
}

static void test_brokers_down_at_the_start(void **state)
{
    (void)state;
    kafka_create_topic(&kafka, TOPIC, 3, NULL);
    kafka_stop(&kafka, 0);
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), NULL, NULL);
    outboxd_start(&relay);
    publish_padded("k", 1, 10);
    outboxd_wait_log(&relay, "broker_unreachable", 10000);
    WAIT_UNTIL(
        pg_int(owner,
               "SELECT count(*) FROM outbox.relay WHERE trouble_cause = 'broker_unreachable'") == 1,
        3000);
    assert_status("kafka.brokers");
    kafka_start(&kafka, 0);
    outboxd_wait_drained(&relay, 15000);
    WAIT_UNTIL(pg_int(owner, "SELECT count(*) FROM outbox.relay WHERE trouble_cause IS NOT NULL") ==
                   0,
               10000);
    assert_int_equal(outboxd_stop(&relay), 0);
    assert_oracle(NULL, 0);
}

static void test_partitions_are_added_under_load(void **state)
{
    struct load *load;
    struct oracle_report report;
    struct oracle_params p = {.pg = &pg, .brokers = kafka_brokers(&kafka), .wait_ms = 10000};

    (void)state;
    kafka_create_topic(&kafka, TOPIC, 2, NULL);
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), NULL,
                      "log: {level: info}"); /* the count is asked for every minute; a new producer
                                                asks at once */
    outboxd_start(&relay);
    load = load_start(&(struct load_params){
        .pg = &pg, .writers = 4, .seed = 8, .duration_ms = 3000, .max_pause_ms = 5});
    test_sleep_ms(1000);
    kafka_grow_topic(&kafka, TOPIC, 5);
    load_wait(load, 20000);
    outboxd_wait_drained(&relay, 20000);
    assert_int_equal(outboxd_stop(&relay), 0);
    load_free(load);
    /* keys may stand in another partition than the new count gives: only loss, ghosts and order are
     * judged */
    oracle_judge(&report, &p);
    assert_int_equal(report.lost, 0);
    assert_int_equal(report.ghosts, 0);
    assert_int_equal(report.inverted, 0);
    assert_int_equal(report.duplicates, 0);
}

static void test_tombstones_headers_topics_and_raw(void **state)
{
    (void)state;
    kafka_create_topic(&kafka, TOPIC, 3, NULL);
    kafka_create_topic(&kafka, "audit", 2, NULL);
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), NULL, NULL);
    outboxd_start(&relay);
    pg_exec(owner, "SELECT outbox.publish('order', 'k', 'order.deleted', NULL)");
    pg_exec(
        owner,
        "SELECT outbox.publish('order', 'k', 'order.placed', '{\"a\": 1.0, \"a\": \"\\u00e9\"}', "
        "headers => '{\"traceparent\": \"00-1-2-03\", \"n\": 5}')");
    pg_exec(owner, "SELECT outbox.publish('order', 'k', 'order.placed', '[]', topic => 'audit', "
                   "partition_key => 'x')");
    pg_exec(
        owner,
        "SELECT outbox.publish('order', 'k', 'order.scanned', NULL, payload_bytes => '\\x00ff10', "
        "content_type => 'avro/binary')");
    outboxd_wait_drained(&relay, 10000);
    assert_int_equal(outboxd_stop(&relay), 0);
    assert_oracle(NULL, 0);
    kafka_delete_topic(&kafka, "audit");
}

/* Commits with random pauses: the bell (or the look before sleep) finds each; the belt behind it
 * finds none. */
static void test_the_doorbell_misses_nothing(void **state)
{
    unsigned chance = 9;

    (void)state;
    kafka_create_topic(&kafka, TOPIC, 3, NULL);
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), NULL, NULL);
    outboxd_start(&relay);
    outboxd_wait_log(&relay, "lease taken", 5000);
    for (int i = 1; i <= 3000; i++) {
        publish_padded("k", i, 10);
        /* mostly around the 30 ms after which the relay goes to sleep */
        test_sleep_ms((unsigned)rand_r(&chance) % (i % 20 == 0 ? 60 : 4));
    }
    outboxd_wait_drained(&relay, 5000);
    assert_int_equal(outboxd_stop(&relay), 0);
    assert_int_equal(outboxd_log_number(&relay, "wakeups_fallback"), 0);
    assert_true(outboxd_log_number(&relay, "wakeups_notify") > 20);
    assert_oracle(NULL, 0);
}

static void test_memory_stays_bounded(void **state)
{
    long idle;

    (void)state;
    kafka_create_topic(&kafka, TOPIC, 3, NULL);
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), NULL, NULL);
    outboxd_start(&relay);
    publish_padded("k", 1, 10);
    outboxd_wait_drained(&relay, 5000);
    test_sleep_ms(1000);
    idle = proc_rss_kib(relay.proc.pid);
    load_bulk(owner, &(struct load_bulk){.prefix = "bulk",
                                         .events = 1000000,
                                         .keys = 10000,
                                         .first_seq = 1,
                                         .payload_bytes = 200});
    outboxd_wait_drained(&relay, 120000);
    print_message("resident: %ld KiB idle, %ld KiB at its peak over a million rows\n", idle,
                  proc_peak_kib(relay.proc.pid));
#if !defined(__SANITIZE_ADDRESS__)
    assert_in_range(idle, 1, 14 * 1024);
    assert_in_range(proc_peak_kib(relay.proc.pid), 1, 64 * 1024);
#endif
    assert_int_equal(outboxd_stop(&relay), 0);
    assert_oracle(NULL, 0);
}

static void test_memory_with_large_payloads(void **state)
{
    static const char *const config[] = {"max.message.bytes", "4000000", NULL};

    (void)state;
    kafka_create_topic(&kafka, TOPIC, 3, config);
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), NULL, NULL);
    pg_exec(owner, "SELECT outbox.publish('order', 'k' || i, 'order.placed', "
                   "json_build_object('seq', 1, 'padding', "
                   "(SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 31250)))) "
                   "FROM generate_series(1, 200) i");
    outboxd_start(&relay);
    outboxd_wait_drained(&relay, 60000);
    print_message("resident: %ld KiB at its peak over 200 payloads of 1 MB\n",
                  proc_peak_kib(relay.proc.pid));
#if !defined(__SANITIZE_ADDRESS__)
    assert_in_range(proc_peak_kib(relay.proc.pid), 1, 64 * 1024);
#endif
    assert_int_equal(outboxd_stop(&relay), 0);
    assert_oracle(NULL, 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_a_refused_event_halts_and_nothing_overtakes),
        CASE(test_the_first_message_of_a_fresh_producer_is_refused),
        CASE(test_an_oversize_payload_halts_without_being_fetched),
        CASE(test_a_missing_topic_is_waited_for),
        CASE(test_brokers_down_at_the_start),
        CASE(test_partitions_are_added_under_load),
        CASE(test_tombstones_headers_topics_and_raw),
        CASE(test_the_doorbell_misses_nothing),
        CASE(test_memory_stays_bounded),
        CASE(test_memory_with_large_payloads),
    };

    cmocka_set_test_filter(getenv("ONLY")); /* a pattern such as *memory*; NULL: all */
    return cmocka_run_group_tests_name("relay cases", tests, setup_kafka, teardown_kafka);
}
