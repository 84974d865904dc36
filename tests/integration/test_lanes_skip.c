/* Events of lanes that are given up: by an operator, or by the relay where the route says so, with
 * a dead letter or without; and rows of which no message can be made. */
#include "lanes_case.h"

#include <librdkafka/rdkafka.h>
#include <stdio.h>

#define SKIP(more)                                                                                 \
    "routes:\n  - {name: all, match: {aggregate_type: \"*\"}, on_error: skip" more "}\n"

#define NOT_DEAD "NOT EXISTS (SELECT FROM outbox.dead d WHERE d.row_id = e.id)"

/* Once a try has shown which event is next, and why. */
static void give_up_next(const char *reason, const char *const *which)
{
    const char *words[12] = {"skip", "--reason", reason, "--yes"};
    const uint64_t end = test_now_ms() + PATIENCE_MS;
    size_t n = 4;
    int rc;

    while (*which != NULL && n < 11)
        words[n++] = *which++;
    do {
        test_sleep_ms(20);
        rc = outboxd_command(&relay, "parked", words, out);
        CHECK(rc == 0 || rc == 75, "parked skip ended with %d: %s", rc, out);
    } while (strstr(out, "1 event given up") == NULL && test_now_ms() < end);
    assert_contains(out, "1 event given up");
}

static void test_an_operator_gives_it_up(void **state)
{
    int64_t poison;

    (void)state;
    kafka_create_topic(&kafka, TOPIC, 1, NULL);
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), NULL, PARK);
    outboxd_start(&relay);
    publish_around(400, 200);
    poison = poison_row();
    await_lanes(LANES_BY("key"), 1);
    give_up_next("a test", WORDS("--key", "hot"));
    await_merged();
    assert_int_equal(pg_int(owner,
                            "SELECT count(*) FROM outbox.dead WHERE row_id = %lld AND key = 'hot' "
                            "AND topic = '" TOPIC "' AND cause = 'message_too_large' AND reason = "
                            "'a test' AND by_whom LIKE '%%@%%' AND dead_letter_topic IS NULL",
                            (long long)poison),
                     1);
    assert_int_equal(number("SELECT count(*) FROM outbox.dead"), 1);
    assert_all_published(NOT_DEAD);
}

/* The only record of the topic; the header's value is in `value`. */
static void read_header(const char *topic, const char *name, char value[128])
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_headers_t *headers = NULL;
    rd_kafka_message_t *m;
    const void *bytes = NULL;
    size_t size = 0;

    (void)rd_kafka_conf_set(conf, "bootstrap.servers", kafka_brokers(&kafka), text, sizeof text);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    CHECK(rk != NULL, "%s", text);
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(rk, topic, NULL);
    CHECK(rd_kafka_consume_start(rkt, 0, 0) == 0, "cannot read %s", topic);
    m = rd_kafka_consume(rkt, 0, 10000);
    CHECK(m != NULL && m->err == 0, "no record in %s", topic);
    CHECK(rd_kafka_message_headers(m, &headers) == 0 &&
              rd_kafka_header_get_last(headers, name, &bytes, &size) == 0,
          "no header %s", name);
    (void)snprintf(value, 128, "%.*s", (int)size, (const char *)bytes);
    rd_kafka_message_destroy(m);
    (void)rd_kafka_consume_stop(rkt, 0);
    rd_kafka_topic_destroy(rkt);
    rd_kafka_destroy(rk);
}

/* By itself: the dead letter first, then its key goes on. */
static void test_skip_with_a_dead_letter_topic(void **state)
{
    char value[128];
    int64_t poison;

    (void)state;
    kafka_create_topic(&kafka, TOPIC, 1, NULL);
    kafka_create_topic(&kafka, "order.dlt", 1, TAKES_POISON);
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), NULL,
                      SKIP(", dead_letter_topic: order.dlt"));
    outboxd_start(&relay);
    publish_around(400, 200);
    poison = poison_row();
    WAIT_UNTIL(number("SELECT count(*) FROM outbox.dead") == 1, PATIENCE_MS);
    await_merged();
    assert_int_equal(
        pg_int(owner,
               "SELECT count(*) FROM outbox.dead WHERE row_id = %lld AND key = 'hot' AND cause = "
               "'message_too_large' AND by_whom IS NULL AND dead_letter_topic = 'order.dlt'",
               (long long)poison),
        1);
    assert_int_equal(metric(&relay, "outboxd_events_skipped_total"), 1);
    assert_int_equal(kafka_record_count(kafka_brokers(&kafka), "order.dlt"), 1);
    read_header("order.dlt", "event-id", value);
    assert_string_equal(value, pg_scalar(owner, "SELECT event_id FROM outbox.dead"));
    read_header("order.dlt", "dlt-error-class", value);
    assert_string_equal(value, "message_too_large");
    read_header("order.dlt", "dlt-topic", value);
    assert_string_equal(value, TOPIC);
    assert_all_published(NOT_DEAD);
    drop_topic("order.dlt");
}

static void test_skip_without_one(void **state)
{
    (void)state;
    kafka_create_topic(&kafka, TOPIC, 1, NULL);
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), NULL, SKIP(""));
    outboxd_start(&relay);
    publish_around(400, 200);
    WAIT_UNTIL(number("SELECT count(*) FROM outbox.dead WHERE dead_letter_topic IS NULL") == 1,
               PATIENCE_MS);
    await_merged();
    assert_all_published(NOT_DEAD);
}

/* As long as its dead letter cannot be sent, it is not given up, and its key waits. */
static void test_skip_waits_for_its_dead_letter(void **state)
{
    (void)state;
    kafka_create_topic(&kafka, TOPIC, 1, NULL);
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), NULL,
                      SKIP(", dead_letter_topic: order.dlt"));
    outboxd_start(&relay);
    publish_around(400, 200);
    await_lanes(LANES_BY("key"), 1);
    WAIT_UNTIL(main_is_done(), PATIENCE_MS);
    WAIT_UNTIL(number("SELECT attempts FROM outbox.lane WHERE id > 0") >= 2, PATIENCE_MS);
    assert_int_equal(number("SELECT count(*) FROM outbox.dead"), 0);
    assert_only_its_key_waits(poison_row(), twice());
    kafka_create_topic(&kafka, "order.dlt", 1, TAKES_POISON);
    await_merged();
    assert_int_equal(number("SELECT count(*) FROM outbox.dead"), 1);
    assert_int_equal(kafka_record_count(kafka_brokers(&kafka), "order.dlt"), 1);
    assert_all_published(NOT_DEAD);
    drop_topic("order.dlt");
}

/* ---- no message, no topic ----------------------------------------------------------------------
 */

/* A row of which no message can be made waits by its key, one whose topic is not allowed by that.
 */
static void test_rows_that_can_be_no_message(void **state)
{
    static const char routes[] = PARK "http: {listen: \"\"}\n";

    (void)state;
    kafka_create_topic(&kafka, TOPIC, 1, NULL);
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), NULL, routes);
    outboxd_start(&relay);
    publish("a bad name", "x", "'{}'"); /* "a bad name-events" is no topic */
    publish("a bad name", "x", "'{}'");
    publish("order", "x", "'{}'");
    publish("order", "k", "'{}'");
    await_lanes(LANES_BY("key"), 1);
    WAIT_UNTIL(main_is_done(), PATIENCE_MS);
    assert_published("e.aggregate_type = 'order'", 0);
    parked(0, WORDS("list"));
    assert_contains(out, "a topic that is no legal name");
    assert_contains(out, "event_invalid");
    for (int i = 1; i <= 2; i++)
        give_up_next("no topic", WORDS("--error", "event_invalid"));
    await_merged();
    assert_int_equal(number("SELECT count(*) FROM outbox.dead"), 2);
    assert_all_published(NOT_DEAD);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_an_operator_gives_it_up),
        CASE(test_skip_with_a_dead_letter_topic),
        CASE(test_skip_without_one),
        CASE(test_skip_waits_for_its_dead_letter),
        CASE(test_rows_that_can_be_no_message),
    };

    cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests_name("lanes given up", tests, setup_kafka, teardown_kafka);
}
