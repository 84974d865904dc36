/* What the tests of Kafka's faults share: a load and a relay that run while Kafka is broken, how
 * long publishing takes to go on after the fault, the oracle, and what must be as it was before.
 * Included by one program each. */
#ifndef OUTBOXD_TESTS_KAFKA_FAULTS_H
#define OUTBOXD_TESTS_KAFKA_FAULTS_H

#include "../support/check.h"

#include "../support/kafka.h"
#include "../support/load.h"
#include "../support/oracle.h"
#include "../support/outboxd.h"
#include "../support/pg.h"
#include "../support/tmp.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define TOPIC      "order-events"
#define PARTITIONS 6
#define WINDOW     1000 /* small, so that the bound on duplicates says something */
#define RESUME_MS  5000 /* the promise */

static struct kafka kafka;
static struct pg_server pg;
static struct outboxd relay;
static struct load *load;
static PGconn *observer;

/* I7: what the relay holds. */
static struct holding {
    int fds, threads;
    int64_t sessions, locks;
    long rss_kib;
} before;

static struct holding look_at_relay(void)
{
    return (struct holding){
        .fds = proc_fd_count(relay.proc.pid),
        .threads = proc_thread_count(relay.proc.pid),
        .sessions = pg_int(observer, "SELECT count(*) FROM pg_stat_activity WHERE usename = "
                                     "'relay'"),
        .locks = pg_int(observer, "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING "
                                  "(pid) WHERE a.usename = 'relay' AND l.locktype = 'advisory'"),
        .rss_kib = proc_rss_kib(relay.proc.pid),
    };
}

/* Starts a relay that uses these brokers, and a load; returns when events flow. `properties`: NULL
 * or YAML for kafka.properties. */
static void begin(const char *brokers, const char *properties, int writers, uint64_t seed)
{
    char text[2048];

    (void)snprintf(text, sizeof text,
                   "postgres: {url: \"%s\"}\n"
                   "kafka: {brokers: \"%s\", properties: {%s}}\n"
                   "relay: {name: orders, instance: test, window_events: %d}\n"
                   "http: {listen: \"\"}\n",
                   pg_url(&pg, "relay", "postgres").text, brokers,
                   properties == NULL ? "" : properties, WINDOW);
    outboxd_configure_text(&relay, text);
    outboxd_start(&relay);
    load = load_start(&(struct load_params){
        .pg = &pg, .writers = writers, .seed = seed, .max_pause_ms = 10, .long_transaction = true});
    WAIT_UNTIL(kafka_record_count(kafka_brokers(&kafka), TOPIC) > 300, 30000);
    WAIT_UNTIL((before = look_at_relay(), before.sessions == OUTBOXD_SESSIONS), 10000);
}

/* The fault is over: waits until more records are acknowledged than that, and tells how long it
 * took. */
static void expect_records(const char *fault, int64_t more_than)
{
    const uint64_t healed = test_now_ms();

    while (kafka_record_count(kafka_brokers(&kafka), TOPIC) <= more_than)
        if (test_now_ms() - healed > RESUME_MS)
            outboxd_fail(&relay, "%s: no acknowledgement after %d ms", fault, RESUME_MS);
    print_message("%s: publishing again after %llu ms\n", fault,
                  (unsigned long long)(test_now_ms() - healed));
    assert_true(proc_alive(&relay.proc));
}

/* More records than rows were committed until now: the backlog is through, and what is written
 * since the fault healed. */
static void expect_publishing(const char *fault)
{
    expect_records(fault, pg_int(observer, "SELECT count(*) FROM outbox.event"));
}

/* What `outboxd status` says is wrong; "" when nothing is. Good until the next call. */
static const char *told_cause(void)
{
    static char cause[64];
    char out[OUTBOXD_OUT];
    const char *word = "";
    json_t *doc;

    assert_int_equal(outboxd_command(&relay, "status", (const char *const[]){"--json", NULL}, out),
                     0);
    doc = json_loads(out, 0, NULL);
    assert_non_null(doc);
    if (json_unpack(doc, "{s:{s:s}}", "trouble", "cause", &word) != 0 || word[0] == '\0')
        (void)json_unpack(doc, "{s:[{s:s}]}", "lanes", "cause", &word);
    (void)snprintf(cause, sizeof cause, "%s", word);
    json_decref(doc);
    return cause;
}

static void wait_for_cause(const char *cause, int timeout_ms)
{
    WAIT_UNTIL(strcmp(told_cause(), cause) == 0, timeout_ms);
}

/* Ends the load, waits until all is published, and checks that the relay holds what it held. */
static void settle(void)
{
    struct holding now;

    load_stop(load);
    outboxd_wait_drained(&relay, 30000);
    assert_true(proc_alive(&relay.proc));
    wait_for_cause("", 10000);
    /* a connection to each broker may have been made since */
    WAIT_UNTIL((now = look_at_relay(), now.fds <= before.fds + 3) &&
                   now.threads <= before.threads && now.sessions <= before.sessions &&
                   now.locks <= 1,
               20000);
    CHECK(now.rss_kib < before.rss_kib + 24 * 1024, "%ld KiB, %ld before the fault", now.rss_kib,
          before.rss_kib);
    assert_int_equal(outboxd_stop(&relay), 0);
    WAIT_UNTIL(look_at_relay().sessions == 0, 5000);
}

static struct oracle_params whole(void)
{
    return (struct oracle_params){
        .pg = &pg, .brokers = kafka_brokers(&kafka), .load = load, .wait_ms = 20000};
}

/* settle(), and the oracle. */
static void finish(int64_t max_duplicates)
{
    struct oracle_params p = whole();
    struct oracle_report r;

    settle();
    r = oracle_assert(&p, max_duplicates);
    print_message("%lld committed, %lld records, %lld duplicates\n", (long long)r.committed,
                  (long long)r.records, (long long)r.duplicates);
}

static int setup_case(void **state)
{
    (void)state;
    load = NULL;
    pg_create(&pg, NULL);
    pg_apply_schema(&pg);
    load_prepare(&pg);
    observer = pg_open(&pg, NULL);
    kafka_create_topic(&kafka, TOPIC, PARTITIONS, NULL);
    return 0;
}

static int teardown_case(void **state)
{
    (void)state;
    outboxd_kill9(&relay); /* harmless when it has ended */
    load_free(load);
    PQfinish(observer);
    kafka_delete_topic(&kafka, TOPIC);
    pg_drop(&pg);
    return 0;
}

#endif
