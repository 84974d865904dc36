/* Broken states of the Kafka side, on a real broker whose clients must log in: each is broken for
 * real, held against the documented answer everywhere it shows, and mended without a restart of the
 * relay. */
#include "../support/check.h"

#include "../support/http.h"
#include "../support/kafka.h"
#include "../support/kafka_acl.h"
#include "../support/pg.h"
#include "../support/state.h"
#include "../support/tmp.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define TOPIC "order-events"
#define OTHER "audit" /* the relay may always write there */

static struct kafka kafka;
static struct pg_server pg;
static PGconn *owner;
static struct state relay;
static char clock_file[PATH_SIZE]; /* how far the relay's clock is off */

/* ---- the ground ---- */

static int setup_servers(void **state)
{
    char folder[PATH_SIZE];

    (void)state;
    kafka_create(&kafka, &(struct kafka_params){.secured = true});
    pg_create(&pg, NULL);
    pg_apply_schema(&pg);
    owner = pg_open(&pg, NULL);
    kafka_create_topic(&kafka, OTHER, 1, NULL);
    tmp_folder("clock", folder);
    path_join(clock_file, folder, "offset");
    return 0;
}

static int teardown_servers(void **state)
{
    (void)state;
    PQfinish(owner);
    pg_drop(&pg);
    kafka_drop(&kafka);
    return 0;
}

static void configure(const char *password, const char *relay_extra)
{
    char kafka_section[512];

    (void)snprintf(kafka_section, sizeof kafka_section,
                   "brokers: \"%s\", properties: {security.protocol: SASL_PLAINTEXT, "
                   "sasl.mechanism: PLAIN, sasl.username: " KAFKA_USER ", sasl.password: \"%s\"}",
                   kafka_secured_brokers(&kafka), password);
    state_configure(&relay, pg_url(&pg, "relay", "postgres").text, kafka_section, relay_extra,
                    NULL);
}

static void publish(const char *payload)
{
    pg_exec(owner, "SELECT outbox.publish('order', 'k', 'order.placed', '%s')", payload);
}

/* A topic with three partitions, and a relay that has published one event to it. */
static int setup(void **state)
{
    (void)state;
    file_write(clock_file, "+0\n");
    kafka_create_topic(&kafka, TOPIC, 3, NULL);
    kafka_allow_topic(&kafka, TOPIC);
    kafka_allow_topic(&kafka, OTHER);
    configure(KAFKA_PASSWORD, ", stall_after: 3s");
    publish("{}");
    state_start(&relay);
    outboxd_wait_drained(&relay.relay, 15000);
    return 0;
}

/* What a failed test has left is taken away, too. */
static int teardown(void **state)
{
    (void)state;
    outboxd_kill9(&relay.relay);
    kafka_continue(&kafka, 0);
    if (!proc_alive(&kafka.node[0].proc))
        kafka_start(&kafka, 0);
    if (kafka_partitions(kafka_brokers(&kafka), TOPIC) > 0)
        kafka_delete_topic(&kafka, TOPIC);
    pg_exec(owner, "TRUNCATE outbox.event");
    return 0;
}

/* Nothing was lost: what waited is in the topic. */
static void mended(enum problem p)
{
    state_is_mended(&relay, p);
    outboxd_wait_drained(&relay.relay, 15000);
}

/* ---- nobody answers ---- */

static void test_broker_down(void **state)
{
    (void)state;
    kafka_stop(&kafka, 0);
    publish("{}");
    state_tells(&relay, PROBLEM_BROKER_UNREACHABLE, "");
    kafka_start(&kafka, 0);
    mended(PROBLEM_BROKER_UNREACHABLE);
}

static void test_broker_frozen(void **state)
{
    (void)state;
    kafka_pause(&kafka, 0);
    publish("{}");
    state_tells(&relay, PROBLEM_BROKER_UNREACHABLE, "");
    kafka_continue(&kafka, 0);
    mended(PROBLEM_BROKER_UNREACHABLE);
}

/* ---- the topic ---- */

static void test_topic_gone(void **state)
{
    (void)state;
    kafka_delete_topic(&kafka, TOPIC);
    publish("{}");
    state_tells(&relay, PROBLEM_TOPIC_MISSING, TOPIC);
    kafka_create_topic(&kafka, TOPIC, 3, NULL);
    mended(PROBLEM_TOPIC_MISSING);
}

static void test_topic_forbidden(void **state)
{
    (void)state;
    kafka_forbid_topic(&kafka, TOPIC);
    publish("{}");
    state_tells(&relay, PROBLEM_TOPIC_FORBIDDEN, TOPIC);
    kafka_allow_topic(&kafka, TOPIC);
    mended(PROBLEM_TOPIC_FORBIDDEN);
}

/* Who may see topics and write to none gets no idempotent producer. First while nothing is to be
 * sent, then with an event that waits. */
static void test_cluster_forbidden(void **state)
{
    (void)state;
    outboxd_kill9(&relay.relay);
    kafka_forbid_topic(&kafka, TOPIC);
    kafka_forbid_topic(&kafka, OTHER);
    kafka_show_topic(&kafka, TOPIC);
    outboxd_start(&relay.relay);
    state_tells(&relay, PROBLEM_CLUSTER_FORBIDDEN, "");
    kafka_allow_topic(&kafka, TOPIC);
    mended(PROBLEM_CLUSTER_FORBIDDEN);
    outboxd_kill9(&relay.relay);
    kafka_forbid_topic(&kafka, TOPIC);
    kafka_show_topic(&kafka, TOPIC);
    publish("{}");
    outboxd_start(&relay.relay);
    state_tells(&relay, PROBLEM_CLUSTER_FORBIDDEN, "");
    kafka_allow_topic(&kafka, TOPIC);
    mended(PROBLEM_CLUSTER_FORBIDDEN);
}

/* ---- the event ---- */

/* SIGHUP: what waits is tried at once, not in half a minute. */
static void try_now(void)
{
    proc_signal(&relay.relay.proc, SIGHUP);
}

static const char *last_event(void)
{
    return pg_scalar(owner, "SELECT event_id FROM outbox.event ORDER BY id DESC LIMIT 1");
}

static void test_message_too_large(void **state)
{
    (void)state;
    kafka_set_topic_config(&kafka, TOPIC, "max.message.bytes", "2000");
    pg_exec(owner, "SELECT outbox.publish('order', 'k', 'order.placed', json_build_object('x', "
                   "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 200) i)))");
    state_tells(&relay, PROBLEM_MESSAGE_TOO_LARGE, "");
    state_names_event(&relay, last_event());
    kafka_set_topic_config(&kafka, TOPIC, "max.message.bytes", "1000000");
    try_now();
    mended(PROBLEM_MESSAGE_TOO_LARGE);
}

static void test_event_invalid(void **state)
{
    (void)state;
    pg_exec(owner, "SELECT outbox.publish('order', 'k', 'order.placed', '{}', topic => 'a b')");
    state_tells(&relay, PROBLEM_EVENT_INVALID, "a b");
    state_names_event(&relay, last_event());
    pg_exec(owner, "UPDATE outbox.event SET topic = '" OTHER "' WHERE topic = 'a b'");
    try_now();
    mended(PROBLEM_EVENT_INVALID);
}

static void test_event_oversize(void **state)
{
    (void)state;
    outboxd_kill9(&relay.relay);
    configure(KAFKA_PASSWORD, ", max_event_bytes: 1KiB");
    outboxd_start(&relay.relay);
    pg_exec(owner, "SELECT outbox.publish('order', 'k', 'order.placed', "
                   "json_build_object('x', repeat('x', 5000)))");
    state_tells(&relay, PROBLEM_EVENT_OVERSIZE, "");
    state_names_event(&relay, last_event());
    pg_exec(owner,
            "UPDATE outbox.event SET payload = '{}' WHERE octet_length(payload::text) > 1000");
    try_now();
    mended(PROBLEM_EVENT_OVERSIZE);
}

/* ---- the clock ---- */

/* A number that /readyz tells; -1: none. */
static double told_number(const char *key)
{
    struct http_answer a = http_get(relay.port, "/readyz", 5000);
    json_t *doc = json_loads(a.body == NULL ? "" : a.body, 0, NULL);
    const json_t *number = json_object_get(doc, key);
    double value = json_is_number(number) ? json_number_value(number) : -1;

    json_decref(doc);
    http_answer_release(&a);
    return value;
}

static void test_clock_off(void **state)
{
    (void)state;
    outboxd_kill9(&relay.relay);
    (void)setenv("LD_PRELOAD", "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", 1);
    (void)setenv("FAKETIME_TIMESTAMP_FILE", clock_file, 1);
    (void)setenv("FAKETIME_NO_CACHE", "1", 1);
    (void)setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1", 1);
    outboxd_start(&relay.relay);
    (void)unsetenv("LD_PRELOAD");
    state_is_well(&relay);
    outboxd_log_truncate(&relay.relay);
    file_write(clock_file, "+86400\n");
    publish("{}");
    state_tells(&relay, PROBLEM_CLOCK_WRONG, TOPIC);
    /* librdkafka waits by the wall clock, and a producer that is ending when the clock is set back
     * goes on ending until tomorrow: set it towards the end of a long pause, when none is */
    WAIT_UNTIL(told_number("attempts") >= 7 && told_number("next_try_seconds") > 0.2 &&
                   told_number("next_try_seconds") < 0.7,
               30000);
    file_write(clock_file, "+0\n");
    mended(PROBLEM_CLOCK_WRONG);
}

/* ---- the password ---- */

/* The last one: from now on the brokers know another password. */
static void test_wrong_password(void **state)
{
    (void)state;
    outboxd_kill9(&relay.relay);
    configure("something-else", NULL);
    publish("{}");
    outboxd_start(&relay.relay);
    state_tells(&relay, PROBLEM_AUTHENTICATION, "");
    kafka_set_password(&kafka, "something-else"); /* they start anew for it */
    mended(PROBLEM_NONE);
    assert_false(outboxd_log_has(&relay.relay, "something-else"));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_broker_down),     CASE(test_broker_frozen),     CASE(test_topic_gone),
        CASE(test_topic_forbidden), CASE(test_cluster_forbidden), CASE(test_message_too_large),
        CASE(test_event_invalid),   CASE(test_event_oversize),    CASE(test_clock_off),
        CASE(test_wrong_password),
    };

    cmocka_set_test_filter(getenv("ONLY")); /* a pattern such as *topic*; NULL: all */
    return cmocka_run_group_tests_name("states of Kafka", tests, setup_servers, teardown_servers);
}
