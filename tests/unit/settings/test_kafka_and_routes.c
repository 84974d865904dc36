/* What is wrong in the lists: Kafka's topics and properties, and routes. */
#include "parsing.h"

#define TOPICS "kafka:\n  brokers: b:1\n  topics: "

static void test_bad_kafka(void **state)
{
    static const struct bad cases[] = {
        {TOPICS "orders\n", "t.yaml:3:11: kafka.topics: is a single value", "write a list"},
        {TOPICS "[]\n", "t.yaml:3:11: kafka.topics: names no topic", "[\"*\"]"},
        {TOPICS "\n", "t.yaml:3:10: kafka.topics: names no topic", "[\"*\"]"},
        {TOPICS "[a, b c]\n", "t.yaml:3:15: kafka.topics[1]: \"b c\" is no pattern", "wildcards"},
        {TOPICS "[[a]]\n", "t.yaml:3:12: kafka.topics[0]: is a list", "a topic's name"},
        {TOPICS "[a]\n  properties: [a]\n", "t.yaml:4:15: kafka.properties: is a list", "mapping"},
        {TOPICS "[a]\n  properties: {client.id: [a]}\n",
         "t.yaml:4:27: kafka.properties.client.id: is a list", "a text or number"},
        {TOPICS "[a]\n  properties: {client.id: }\n",
         "t.yaml:4:27: kafka.properties.client.id: has no value", "remove"},
        {TOPICS "[a]\n  properties: {client.id: a, client.id: b}\n",
         "t.yaml:4:30: kafka.properties: the key \"client.id\" stands here twice", "line 4"},
        {TOPICS "[a]\n  properties: {client.id: a, client.id_file: b}\n",
         "t.yaml:4:30: kafka.properties.client.id_file: client.id is given already", "remove one"},
        {TOPICS "[a]\n  properties: {sasl.password_file: /nonexistent/x}\n",
         "t.yaml:4:36: kafka.properties.sasl.password_file: /nonexistent/x: does not exist",
         "path"},
        {TOPICS "[a]\n  properties: {\"\": a}\n", "t.yaml:4:16: kafka.properties.: has no name",
         "property: value"},
        {TOPICS "[a]\n  properties: {sasl.pasword: s3cret}\n",
         "t.yaml:4:16: kafka.properties.sasl.pasword: ", "No such configuration property"},
        {TOPICS "[a]\n  properties: {linger.ms: soon}\n",
         "t.yaml:4:16: kafka.properties.linger.ms: ", "Invalid value"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_bad(&cases[i]);
}

/* The promises rest on these: no way to change one through the file. Each is refused with its place
 * and a reason. */
static void test_guarded_properties(void **state)
{
    static const char *const lines[] = {
        "enable.idempotence: false",
        "enable.gapless.guarantee: false",
        "acks: 1",
        "request.required.acks: 0",
        "message.timeout.ms: 30000",
        "delivery.timeout.ms: 30000",
        "partitioner: random",
        "max.in.flight: 6",
        "max.in.flight.requests.per.connection: 1000000",
        "retries: 5",
        "message.send.max.retries: 5",
        "transactional.id: x",
        "topic.metadata.propagation.max.ms: 0",
        "queue.buffering.max.messages: 1",
        "queue.buffering.max.kbytes: 1",
        "queuing.strategy: lifo",
        "bootstrap.servers: x:1",
        "metadata.broker.list: x:1",
        "delivery.report.only.error: true",
        "enabled_events: 1",
        "dr_msg_cb: 1",
        "partitioner_cb: 1",
        "opaque: 1",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        char yaml[256];
        char place[256];
        struct bad b = {.yaml = yaml, .place = place, .part = ""};

        (void)snprintf(yaml, sizeof yaml, "kafka:\n  brokers: b\n  properties:\n    %s\n",
                       lines[i]);
        (void)snprintf(place, sizeof place,
                       "t.yaml:4:5: kafka.properties.%.*s: ", (int)strcspn(lines[i], ":"),
                       lines[i]);
        expect_bad(&b);
    }
}

/* What is safe already may be written down. */
static void test_harmless_properties(void **state)
{
    struct settings s;

    (void)state;
    load(&s, "kafka:\n  brokers: b\n  properties:\n    enable.idempotence: true\n    acks: all\n"
             "    max.in.flight: 5\n    compression.codec: zstd\n    security.protocol: ssl\n");
    assert_int_equal(s.kafka.property_count, 5);
    settings_release(&s);
}

#define ROUTE BROKERS "routes:\n  - name: a\n    match: {event_type: x}\n"

static void test_bad_routes(void **state)
{
    static const struct bad cases[] = {
        {BROKERS "routes: {a: b}\n", "t.yaml:2:9: routes: is a mapping", "write a list"},
        {BROKERS "routes: [a]\n", "t.yaml:2:10: routes[0]: is a single value", "write a mapping"},
        {BROKERS "routes:\n  -\n", "t.yaml:3:4: routes[0]: says nothing", "name and match"},
        {BROKERS "routes: [{match: {event_type: x}}]\n", "t.yaml:2:10: routes[0]: has no name",
         "add name"},
        {BROKERS "routes: [{name: a}]\n", "t.yaml:2:10: routes[0]: does not say what it matches",
         "add match"},
        {BROKERS "routes: [{name: a, match: {}}]\n", "t.yaml:2:27: routes[0].match: is empty",
         "aggregate_type"},
        {BROKERS "routes: [{name: a, match: {event_type: \"\"}}]\n",
         "t.yaml:2:40: routes[0].match.event_type: is empty", "\"*\" for any"},
        {BROKERS "routes: [{name: a, match: {aggregatetype: x}}]\n",
         "t.yaml:2:28: routes[0].match.aggregatetype: unknown key",
         "did you mean \"aggregate_type\"?"},
        {BROKERS "routes: [{name: a b, match: {event_type: x}}]\n",
         "t.yaml:2:17: routes[0].name: \"a b\"", "no name"},
        {BROKERS "routes: [{name: default, match: {event_type: x}}]\n",
         "t.yaml:2:17: routes[0].name: \"default\" is the name of the built-in route", "another"},
        {ROUTE "  - name: a\n    match: {event_type: y}\n",
         "t.yaml:5:11: routes[1].name: \"a\" is the name of an earlier route already",
         "choose another"},
        {ROUTE "    topik: x\n", "t.yaml:5:5: routes[0].topik: unknown key",
         "did you mean \"topic\"?"},
        {ROUTE "    retention: x\n", "t.yaml:5:5: routes[0].retention: unknown key",
         "known here: name, match, topic, format, fields, on_error, dead_letter_topic"},
        {ROUTE "    topic: a b\n", "t.yaml:5:12: routes[0].topic: ", "a b"},
        {ROUTE "    topic: \"{agregate_type}\"\n",
         "t.yaml:5:12: routes[0].topic: ", "{aggregate_type}"},
        {ROUTE "    format: debezium\n", "t.yaml:5:13: routes[0].format: \"debezium\" is no format",
         "envelope or raw"},
        {ROUTE "    fields: {eventtype: x}\n",
         "t.yaml:5:14: routes[0].fields.eventtype: unknown key", "\"eventType\""},
        {ROUTE "    fields: {eventId: \"\"}\n", "t.yaml:5:23: routes[0].fields.eventId: is empty",
         "name"},
        {ROUTE "    fields: {eventId: version}\n",
         "t.yaml:5:13: routes[0].fields: eventId and version would both be called \"version\"",
         "rename one"},
        {ROUTE "    fields: {eventId: x, payload: x}\n",
         "t.yaml:5:13: routes[0].fields: eventId and payload would both be called \"x\"",
         "rename one"},
        {ROUTE "    on_error: ignore\n", "t.yaml:5:15: routes[0].on_error: \"ignore\" is not known",
         "write halt, park or skip"},
        {ROUTE "    on_error: skip\n    dead_letter_topic: a b\n",
         "t.yaml:6:24: routes[0].dead_letter_topic: \"a b\" is no name", "1 to 249"},
        {ROUTE "    on_error: park\n    dead_letter_topic: a.dlt\n",
         "t.yaml:6:5: routes[0]: dead_letter_topic belongs to on_error: skip", "remove it"},
        {ROUTE "    dead_letter_topic: a.dlt\n",
         "t.yaml:5:5: routes[0]: dead_letter_topic belongs to on_error: skip", "remove it"},
        {ROUTE "    name: b\n", "t.yaml:5:5: routes[0]: the key \"name\" stands here twice",
         "line 3"},
        {"kafka: {brokers: b, topics: [x]}\nroutes:\n  - {name: a, match: {event_type: e}, topic: "
         "y}\n",
         "t.yaml:3:46: routes[0].topic: kafka.topics does not allow \"y\"", "add it there"},
        {"kafka: {brokers: b, topics: [x]}\nroutes:\n  - {name: a, match: {event_type: e}, topic: "
         "x, "
         "on_error: skip, dead_letter_topic: y}\n",
         "t.yaml:3:84: routes[0].dead_letter_topic: kafka.topics does not allow \"y\"",
         "add it there"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_bad(&cases[i]);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_kafka),
        cmocka_unit_test(test_guarded_properties),
        cmocka_unit_test(test_harmless_properties),
        cmocka_unit_test(test_bad_routes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
