/* The producer's configuration: what is pinned, what passes, what is refused and how. */
#include "../../support/check.h"

#include "kafka/config.h"

#include <stdlib.h>

static struct kafka_sink_params params_with(const struct kafka_pair *pairs, size_t count)
{
    return (struct kafka_sink_params){
        .brokers = "kafka:9092",
        .client_id = "outboxd",
        .properties = pairs,
        .property_count = count,
        .window_events = 50000,
        .window_bytes = 32 << 20,
        .max_event_bytes = 10 << 20,
    };
}

static void assert_value(rd_kafka_conf_t *conf, const char *name, const char *expected)
{
    char value[128] = "";
    size_t size = sizeof(value);
    rd_kafka_conf_res_t rc = rd_kafka_conf_get(conf, name, value, &size);
    CHECK(rc == RD_KAFKA_CONF_OK && strcmp(value, expected) == 0, "%s is '%s', expected '%s'", name,
          value, expected);
}

static void safety_is_pinned(void **state)
{
    (void)state;
    struct kafka_sink_params p = params_with(NULL, 0);
    struct err err = {0};
    rd_kafka_conf_t *conf = kafka_conf_new(&p, &err);
    CHECK(conf != NULL, "%s", err.text);
    assert_value(conf, "bootstrap.servers", "kafka:9092");
    assert_value(conf, "client.id", "outboxd");
    assert_value(conf, "enable.idempotence", "true");
    assert_value(conf, "enable.gapless.guarantee", "true");
    assert_value(conf, "acks", "-1");
    assert_value(conf, "message.timeout.ms", "0");
    assert_value(conf, "topic.metadata.propagation.max.ms", "2100000");
    assert_value(conf, "topic.metadata.refresh.interval.ms", "60000");
    assert_value(conf, "socket.keepalive.enable", "true");
    assert_value(conf, "sticky.partitioning.linger.ms", "0");
    assert_value(conf, "socket.timeout.ms", "10000");
    assert_value(conf, "socket.connection.setup.timeout.ms", "5000");
    assert_value(conf, "compression.codec", "lz4");
    assert_value(conf, "queue.buffering.max.messages", "50000");
    /* 32 MiB, one message of 10 MiB and its envelope, rounded up */
    assert_value(conf, "queue.buffering.max.kbytes", "44033");
    assert_value(conf, "message.max.bytes", "11534336");
    rd_kafka_conf_destroy(conf);
}

static void huge_sizes_are_cut(void **state)
{
    (void)state;
    struct kafka_sink_params p = params_with(NULL, 0);
    p.max_event_bytes = SIZE_MAX;
    p.window_bytes = SIZE_MAX;
    struct err err = {0};
    rd_kafka_conf_t *conf = kafka_conf_new(&p, &err);
    CHECK(conf != NULL, "%s", err.text);
    assert_value(conf, "message.max.bytes", "1000000000");
    assert_value(conf, "queue.buffering.max.kbytes", "2147483647");
    rd_kafka_conf_destroy(conf);
}

static void harmless_properties_pass(void **state)
{
    (void)state;
    static const struct kafka_pair PAIRS[] = {
        {"linger.ms", "5"},
        {"compression.codec", "zstd"},
        {"acks", "all"},
        {"acks", "-1"},
        {"max.in.flight", "1"},
        {"enable.idempotence", "true"},
        {"retries", "2147483647"},
        {"batch.size", "50000"},
        {"security.protocol", "SASL_SSL"},
        {"sasl.username", "relay"},
        {"sasl.password", "s3cret"},
        {"client.id", "mine"},
        {"message.timeout.ms", "0"},
        {"debug", "broker"},
        {"topic.metadata.refresh.interval.ms", "1000"},
    };
    struct kafka_sink_params p = params_with(PAIRS, sizeof(PAIRS) / sizeof(PAIRS[0]));
    struct err err = {0};
    assert_ok(kafka_properties_check(p.properties, p.property_count, &err), &err);
    rd_kafka_conf_t *conf = kafka_conf_new(&p, &err);
    CHECK(conf != NULL, "%s", err.text);
    assert_value(conf, "linger.ms", "5");
    assert_value(conf, "compression.codec", "zstd");
    assert_value(conf, "client.id", "mine");
    rd_kafka_conf_destroy(conf);
}

/* Each must be refused with a text that holds the property's name and `part`. */
static void weakening_properties_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *value;
        const char *part;
    } CASES[] = {
        {"enable.idempotence", "false", "order"},
        {"enable.gapless.guarantee", "false", "leave it out"},
        {"acks", "1", "replicas"},
        {"request.required.acks", "0", "replicas"},
        {"message.timeout.ms", "300000", "loses its place"},
        {"delivery.timeout.ms", "1", "loses its place"},
        {"retries", "5", "give a message up"},
        {"message.send.max.retries", "0", "give a message up"},
        {"max.in.flight", "6", "1 to 5"},
        {"max.in.flight.requests.per.connection", "1000", "1 to 5"},
        {"max.in.flight", "five", "1 to 5"},
        {"queuing.strategy", "lifo", "no order"},
        {"transactional.id", "x", "transactions"},
        {"topic.metadata.propagation.max.ms", "30000", "unknown for a moment"},
        {"topic.metadata.propagation.max.ms", "3600000", "unknown for a moment"}, /* overflows */
        {"topic.metadata.refresh.interval.ms", "-1", "10 to 60000"},
        {"topic.blacklist", "^x", "kafka.topics"},
        {"socket.keepalive.enable", "false", "silence"},
        {"partitioner", "random", "murmur2"},
        {"queue.buffering.max.messages", "10", "relay.window_events"},
        {"queue.buffering.max.kbytes", "10", "relay.window_bytes"},
        {"bootstrap.servers", "x:1", "kafka.brokers"},
        {"metadata.broker.list", "x:1", "kafka.brokers"},
        {"delivery.report.only.error", "true", "reports"},
        {"enabled_events", "0", "reports"},
        {"log.queue", "false", "logs"},
        {"test.mock.num.brokers", "3", "kafka.brokers"},
        /* not ours, but librdkafka's refusals */
        {"no.such.property", "1", "No such configuration property"},
        {"Acks", "1", "No such configuration property"},
        {"compression.codec", "brotli", "Invalid value"},
        {"linger.ms", "a while", "linger.ms"},
        {"socket.timeout.ms", "-5", "range"},
        {"", "1", "No such configuration property"},
    };
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        const struct kafka_pair pair = {CASES[i].name, CASES[i].value};
        struct err err = {0};
        CHECK(kafka_properties_check(&pair, 1, &err) == -1, "%s=%s passed", pair.name, pair.value);
        assert_int_equal(err.kind, ERR_CONFIG);
        assert_contains(err.text, "kafka.properties: ");
        assert_contains(err.text, pair.name);
        assert_contains(err.text, CASES[i].part);
        struct kafka_sink_params p = params_with(&pair, 1);
        assert_null(kafka_conf_new(&p, &err));
    }
}

/* Every rule must speak of a property that exists, or it guards nothing. */
static void pinned_names_exist(void **state)
{
    (void)state;
    static const char *const HARMLESS[][2] = {
        {"enable.idempotence", "1"},
        {"enable.gapless.guarantee", "t"},
        {"socket.keepalive.enable", "TRUE"},
        {"queuing.strategy", "fifo"},
        {"partitioner", "murmur2"},
        {"sticky.partitioning.linger.ms", "0"},
        {"log.queue", "true"},
        {"delivery.report.only.error", "false"},
        {"topic.metadata.propagation.max.ms", "2100000"},
    };
    for (size_t i = 0; i < sizeof(HARMLESS) / sizeof(HARMLESS[0]); i++) {
        const struct kafka_pair pair = {HARMLESS[i][0], HARMLESS[i][1]};
        struct err err = {0};
        assert_ok(kafka_properties_check(&pair, 1, &err), &err);
    }
}

/* A reader with the relay's own brokers and properties, what they say of producers included. */
static void reading_is_small_and_leaves_no_trace(void **state)
{
    const struct kafka_pair pairs[] = {{"compression.codec", "zstd"},
                                       {"security.protocol", "ssl"},
                                       {"enable.auto.commit", "true"},
                                       {"queued.max.messages.kbytes", "1000000"}};
    struct kafka_sink_params p = params_with(pairs, 4);
    struct err err = {0};
    rd_kafka_conf_t *conf = kafka_scan_conf_new(&p, &err);
    (void)state;
    CHECK(conf != NULL, "%s", err.text);
    assert_value(conf, "bootstrap.servers", "kafka:9092");
    assert_value(conf, "security.protocol", "ssl");
    assert_value(conf, "enable.auto.commit", "false");
    assert_value(conf, "allow.auto.create.topics", "false");
    assert_value(conf, "isolation.level", "read_uncommitted");
    assert_value(conf, "queued.max.messages.kbytes", "4096");
    assert_value(conf, "fetch.max.bytes", "262144");
    rd_kafka_conf_destroy(conf);
    p.properties = &(const struct kafka_pair){"no.such.property", "1"};
    p.property_count = 1;
    assert_null(kafka_scan_conf_new(&p, &err));
    assert_int_equal(err.kind, ERR_CONFIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(safety_is_pinned),
        cmocka_unit_test(huge_sizes_are_cut),
        cmocka_unit_test(harmless_properties_pass),
        cmocka_unit_test(weakening_properties_are_refused),
        cmocka_unit_test(pinned_names_exist),
        cmocka_unit_test(reading_is_small_and_leaves_no_trace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
