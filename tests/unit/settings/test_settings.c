/* Loading: what the file says arrives in the struct, and everything that is wrong is told with its
 * place. */
#include "settings/settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define BROKERS "kafka: {brokers: \"b:9092\"}\n"

static int parse(struct settings *s, const char *yaml, struct settings_problems *p, struct err *err)
{
    return settings_parse(s, slice_of(yaml), "t.yaml", p, err);
}

/* Loads or fails the test with the problem's text. */
static void load(struct settings *s, const char *yaml)
{
    struct err err = {0};

    if (parse(s, yaml, NULL, &err) != 0)
        fail_msg("%s\n%s", err.text, yaml);
}

/* ---- the good ------------------------------------------------------------------------------- */

static void test_defaults(void **state)
{
    struct settings s;
    char host[256] = "";

    (void)state;
    (void)unsetenv("HOSTNAME");
    assert_int_equal(gethostname(host, sizeof host - 1), 0);
    load(&s, BROKERS);
    assert_string_equal(s.postgres.url, "");
    assert_string_equal(s.postgres.password, "");
    assert_int_equal(s.postgres.connect_timeout_ms, 5000);
    assert_int_equal(s.postgres.statement_timeout_ms, 10000);
    assert_string_equal(s.kafka.brokers, "b:9092");
    assert_int_equal(s.kafka.property_count, 0);
    assert_string_equal(s.relay.name, "outbox");
    assert_string_equal(s.relay.instance, host);
    assert_int_equal(s.relay.start, START_UNSET);
    assert_int_equal(s.relay.window_events, 50000);
    assert_int_equal(s.relay.window_bytes, 32 * 1024 * 1024);
    assert_int_equal(s.relay.max_event_bytes, 10 * 1024 * 1024);
    assert_int_equal(s.relay.lease_ttl_ms, 10000);
    assert_int_equal(s.relay.wakeup, WAKEUP_DOORBELL);
    assert_int_equal(s.relay.poll_interval_ms, 20);
    assert_int_equal(s.relay.stall_after_ms, 5000);
    assert_int_equal(s.relay.shutdown_timeout_ms, 10000);
    assert_int_equal(s.log.level, LOG_INFO);
    assert_int_equal(s.log.format, LOG_LOGFMT);
    assert_int_equal(s.routes.count, 1);
    assert_int_equal(s.routes.topic_count, 0);
    settings_release(&s);
}

static void test_everything_set(void **state)
{
    struct settings s;

    (void)state;
    load(&s, "postgres:\n"
             "  url: postgres://relay@db/orders\n"
             "  password: 'pa$$word'\n"
             "  connect_timeout: 1500ms\n"
             "  statement_timeout: 1m\n"
             "kafka:\n"
             "  brokers: kafka-1:9092, [::1]:9093,SASL_SSL://h\n"
             "  topics: [orders, 'x-*']\n"
             "  properties: {linger.ms: 1, sasl.password: \"s\"}\n"
             "relay:\n"
             "  name: orders-1\n"
             "  instance: \"a host\"\n"
             "  start: beginning\n"
             "  window_events: 1\n"
             "  window_bytes: 65536\n"
             "  max_event_bytes: 2MB\n"
             "  lease_ttl: 1s\n"
             "  wakeup: poll\n"
             "  poll_interval: 5ms\n"
             "  stall_after: 1h\n"
             "  shutdown_timeout: 0\n"
             "log: {level: debug, format: json}\n");
    assert_string_equal(s.postgres.url, "postgres://relay@db/orders");
    assert_string_equal(s.postgres.password, "pa$word");
    assert_int_equal(s.postgres.connect_timeout_ms, 1500);
    assert_int_equal(s.postgres.statement_timeout_ms, 60000);
    assert_string_equal(s.kafka.brokers, "kafka-1:9092, [::1]:9093,SASL_SSL://h");
    assert_int_equal(s.routes.topic_count, 2);
    assert_string_equal(s.routes.topics[1], "x-*");
    assert_int_equal(s.kafka.property_count, 2);
    assert_string_equal(s.kafka.properties[0].name, "linger.ms");
    assert_string_equal(s.kafka.properties[0].value, "1");
    assert_false(s.kafka.properties[0].secret);
    assert_true(s.kafka.properties[1].secret);
    assert_string_equal(s.relay.name, "orders-1");
    assert_string_equal(s.relay.instance, "a host");
    assert_int_equal(s.relay.start, START_BEGINNING);
    assert_string_equal(start_at_name(s.relay.start), "beginning");
    assert_int_equal(s.relay.window_events, 1);
    assert_int_equal(s.relay.window_bytes, 65536);
    assert_int_equal(s.relay.max_event_bytes, 2000000);
    assert_int_equal(s.relay.lease_ttl_ms, 1000);
    assert_int_equal(s.relay.wakeup, WAKEUP_POLL);
    assert_int_equal(s.relay.poll_interval_ms, 5);
    assert_int_equal(s.relay.stall_after_ms, 3600000);
    assert_int_equal(s.relay.shutdown_timeout_ms, 0);
    assert_int_equal(s.log.level, LOG_DEBUG);
    assert_int_equal(s.log.format, LOG_JSON);
    settings_release(&s);
}

static void test_routes(void **state)
{
    struct settings s;
    const struct route *r;

    (void)state;
    load(&s, BROKERS "routes:\n"
                     "  - name: orders\n"
                     "    match: {aggregate_type: order, event_type: \"order.*\"}\n"
                     "    topic: \"{aggregate_type}-x\"\n"
                     "    format: raw\n"
                     "    fields: {eventType: type, payload: data}\n"
                     "    on_error: halt\n"
                     "  - {name: rest, match: {event_type: \"*\"}}\n");
    assert_int_equal(s.routes.count, 3);
    r = &s.routes.routes[1];
    assert_string_equal(r->name, "orders");
    assert_string_equal(r->match_aggregate_type, "order");
    assert_string_equal(r->match_event_type, "order.*");
    assert_string_equal(r->topic, "{aggregate_type}-x");
    assert_int_equal(r->format, FORMAT_RAW);
    assert_int_equal(r->on_error, ON_ERROR_HALT);
    assert_string_equal(r->fields.event_id, "eventId");
    assert_string_equal(r->fields.event_type, "type");
    assert_string_equal(r->fields.payload, "data");
    r = &s.routes.routes[2];
    assert_string_equal(r->name, "rest");
    assert_null(r->match_aggregate_type);
    assert_null(r->topic);
    assert_int_equal(r->format, FORMAT_ENVELOPE);
    settings_release(&s);
}

static void test_empty_sections_are_fine(void **state)
{
    struct settings s;

    (void)state;
    load(&s,
         "\xef\xbb\xbf# a byte order mark and a comment\n" BROKERS "relay:\nlog: {}\nroutes:\n");
    assert_string_equal(s.relay.name, "outbox");
    settings_release(&s);
    load(&s, "kafka:\n  brokers: b\n  properties: ~\nroutes: []\n");
    settings_release(&s);
}

static void test_environment(void **state)
{
    struct settings s;

    (void)state;
    assert_int_equal(setenv("OBX_NAME", "from${OBX_EMPTY}$env", 1), 0);
    assert_int_equal(setenv("OBX_EMPTY", "", 1), 0);
    assert_int_equal(setenv("OBX_TTL", "7", 1), 0);
    assert_int_equal(setenv("HOSTNAME", "pod-7", 1), 0);
    (void)unsetenv("OBX_UNSET");
    load(&s, "kafka: {brokers: \"${OBX_UNSET:-b:1,c:2}\"}\n"
             "postgres:\n"
             "  password: a${OBX_NAME}b$$${OBX_EMPTY}c\n"
             "relay:\n"
             "  lease_ttl: ${OBX_TTL}s\n"
             "  name: ${OBX_EMPTY:-fallback}\n");
    assert_string_equal(s.kafka.brokers, "b:1,c:2");
    assert_string_equal(s.postgres.password,
                        "afrom${OBX_EMPTY}$envb$c"); /* values are taken as they are */
    assert_int_equal(s.relay.lease_ttl_ms, 7000);
    assert_string_equal(s.relay.name, "fallback");
    assert_string_equal(s.relay.instance, "pod-7");
    settings_release(&s);
    (void)unsetenv("HOSTNAME");
}

/* ---- the bad -------------------------------------------------------------------------------- */

struct bad {
    const char *yaml;
    const char *place; /* what the problem starts with */
    const char *part;  /* what else is in it */
};

static void expect_bad(const struct bad *b)
{
    struct settings s;
    struct settings_problems p;
    struct err err = {0};

    if (parse(&s, b->yaml, &p, &err) == 0)
        fail_msg("accepted:\n%s", b->yaml);
    if (strncmp(err.text, b->place, strlen(b->place)) != 0 || strstr(err.text, b->part) == NULL)
        fail_msg("expected %s ... %s\n     got %s\n%s", b->place, b->part, err.text, b->yaml);
    assert_int_equal(err.kind, ERR_CONFIG);
    assert_int_equal(p.count, 1);
    assert_string_equal(p.text[0], err.text);
    assert_string_equal(s.relay.name, "outbox"); /* the defaults again */
    settings_problems_release(&p);
    settings_release(&s);
}

static void test_not_yaml(void **state)
{
    static const struct bad cases[] = {
        {"", "t.yaml: is empty", "kafka.brokers"},
        {"# nothing\n", "t.yaml: is empty", "kafka.brokers"},
        {"---\n", "t.yaml: is empty", "kafka.brokers"},
        {"just a text\n", "t.yaml:1:1: is a single value", "write a mapping"},
        {"- a\n- b\n", "t.yaml:1:1: is a list", "write a mapping"},
        {"relay: {name: a\n", "t.yaml:2:1: is not YAML", "check indentation"},
        {"relay: name: a\n", "t.yaml:1:12: is not YAML", "mapping values are not allowed"},
        {"relay:\n  name: \"a\n", "t.yaml:3:1: is not YAML", "quoted scalar"},
        {"relay:\n\tname: a\n", "t.yaml:2:1: a tab", "spaces"},
        {"relay:\n  name: a\n \tstart: now\n", "t.yaml:3:2: a tab", "spaces"},
        {"relay:\n  name: \"\xff\"\n", "t.yaml:2:10: is no UTF-8 text", "save the file as UTF-8"},
        {"relay:\n  name: a\x01\n", "t.yaml:2:10: is no UTF-8 text", "control characters"},
        {BROKERS "---\nrelay: {}\n", "t.yaml:2:1: a second document", "one per file"},
        {BROKERS "relay: &r {name: a}\n", "t.yaml:2:8: anchors", "write the value out"},
        {BROKERS "relay: *r\n", "t.yaml:2:8: anchors", "write the value out"},
        {BROKERS "relay: {name: !!str a}\n", "t.yaml:2:15: tags", "quote"},
        {BROKERS "relay: {name: \"a\\0b\"}\n", "t.yaml:2:15: holds a NUL", "remove"},
        {BROKERS "? [a]\n: b\n", "t.yaml:2:3: a key must be a single word", "brackets"},
        {BROKERS "relay: [[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]\n", "t.yaml:2:24: is too large",
         "nested"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_bad(&cases[i]);
}

static void test_bad_keys(void **state)
{
    static const struct bad cases[] = {
        {BROKERS "relya: {}\n", "t.yaml:2:1: relya: unknown key", "did you mean \"relay\"?"},
        {BROKERS "relay:\n  widnow_events: 5\n", "t.yaml:3:3: relay.widnow_events: unknown key",
         "did you mean \"window_events\"?"},
        {BROKERS "relay: {leasettl: 1s}\n", "t.yaml:2:9: relay.leasettl: unknown key",
         "\"lease_ttl\""},
        {BROKERS "window_bytes: 1MiB\n", "t.yaml:2:1: window_bytes: unknown key",
         "did you mean relay.window_bytes?"},
        {BROKERS "log: {brokers: a}\n", "t.yaml:2:7: log.brokers: unknown key",
         "did you mean kafka.brokers?"},
        {BROKERS "xyzzy: 1\n", "t.yaml:2:1: xyzzy: unknown key",
         "known here: postgres, kafka, relay, routes, retention, log"},
        {BROKERS "log: {xyzzy: 1}\n", "t.yaml:2:7: log.xyzzy: unknown key",
         "known here: level, format"},
        {BROKERS "archive: {keep: 7d}\n", "t.yaml:2:1: archive: unknown key", "known here"},
        {BROKERS "relay: {name_file: /x}\n", "t.yaml:2:9: relay.name_file: unknown key",
         "known here: name, instance"},
        {BROKERS "relay: {\"a\\eb\": 1}\n", "t.yaml:2:9: relay.a?b: unknown key", "known here"},
        {BROKERS "relay.name: a\n", "t.yaml:2:1: relay.name: unknown key", "section"},
        {BROKERS "relay: {name: a}\nrelay: {}\n", "t.yaml:3:1: the key \"relay\" stands here twice",
         "first in line 2"},
        {BROKERS "log:\n  level: info\n  format: json\n  level: info\n",
         "t.yaml:5:3: log: the key \"level\" stands here twice", "first in line 3"},
        {"kafka: {brokers: b, topics: [a], topics: [b]}\n",
         "t.yaml:1:34: kafka: the key \"topics\" stands here twice", "first in line 1"},
        {"relay: {name: a}\n", "t.yaml: kafka.brokers: is required",
         "write kafka: {brokers: \"127.0.0.1:9092\"}"},
        {"relay: {}\nkafka: {topics: [a]}\n", "t.yaml:2:1: kafka.brokers: is required", "write"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_bad(&cases[i]);
}

static void test_bad_values(void **state)
{
    static const struct bad cases[] = {
        {BROKERS "relay: a\n", "t.yaml:2:8: relay: is a single value", "write a mapping"},
        {BROKERS "relay: []\n", "t.yaml:2:8: relay: is a list", "write a mapping"},
        {BROKERS "relay:\n  name:\n", "t.yaml:3:8: relay.name: has no value", "remove the key"},
        {BROKERS "relay: {name: ~}\n", "t.yaml:2:15: relay.name: has no value", "a text"},
        {BROKERS "relay: {name: [a]}\n", "t.yaml:2:15: relay.name: is a list", "write a text"},
        {BROKERS "relay: {lease_ttl: {s: 1}}\n", "t.yaml:2:20: relay.lease_ttl: is a mapping",
         "a duration such as 10s"},
        {BROKERS "relay: {name: \"\"}\n", "t.yaml:2:15: relay.name: \"\" is no name", "1 to 63"},
        {BROKERS "relay: {name: a b}\n", "t.yaml:2:15: relay.name: \"a b\" is no name", "letters"},
        {BROKERS "relay: {instance: \"\"}\n", "t.yaml:2:19: relay.instance: has 0 bytes",
         "1 to 255"},
        {BROKERS "relay: {instance: \"a\\nb\"}\n", "t.yaml:2:19: relay.instance: holds a control",
         "plain"},
        {BROKERS "relay: {window_events: many}\n",
         "t.yaml:2:24: relay.window_events: \"many\" is no number", "without a unit"},
        {BROKERS "relay: {window_events: 10k}\n",
         "t.yaml:2:24: relay.window_events: \"10k\" is not understood from "
         "\"k\" on",
         "without a unit"},
        {BROKERS "relay: {window_events: 1.5}\n", "t.yaml:2:24: relay.window_events: \"1.5\"",
         "whole number"},
        {BROKERS "relay: {window_events: 0}\n",
         "t.yaml:2:24: relay.window_events: 0 is out of range", "from 1 to 1000000"},
        {BROKERS "relay: {window_events: -3}\n",
         "t.yaml:2:24: relay.window_events: -3 is out of range", "from 1 to 1000000"},
        {BROKERS "relay: {window_events: 1000001}\n",
         "t.yaml:2:24: relay.window_events: 1000001 is out of range", "from 1 to 1000000"},
        {BROKERS "relay: {window_events: 99999999999999999999999}\n",
         "t.yaml:2:24: relay.window_events: 9999", "out of range"},
        {BROKERS "relay: {window_events: 0x10}\n", "t.yaml:2:24: relay.window_events: \"0x10\"",
         "whole number"},
        {BROKERS "relay: {window_events: 010}\n",
         "t.yaml:2:24: relay.window_events: \"010\" is no number", "write"},
        {BROKERS "relay: {window_bytes: 32Mib}\n",
         "t.yaml:2:23: relay.window_bytes: \"32Mib\" is not understood",
         "KB, MB, GB, KiB, MiB, GiB"},
        {BROKERS "relay: {window_bytes: 1KiB}\n",
         "t.yaml:2:23: relay.window_bytes: 1KiB is out of range", "from 64KiB to 4GiB"},
        {BROKERS "relay: {window_bytes: 18446744073709551615GiB}\n",
         "t.yaml:2:23: relay.window_bytes: 1844674", "out of range"},
        {BROKERS "relay: {window_bytes: 5GiB}\n",
         "t.yaml:2:23: relay.window_bytes: 5GiB is out of range", "4GiB"},
        {BROKERS "relay: {lease_ttl: 10}\n", "t.yaml:2:20: relay.lease_ttl: 10 has no unit",
         "ms, s, m, h, d"},
        {BROKERS "relay: {lease_ttl: 10 s}\n",
         "t.yaml:2:20: relay.lease_ttl: \"10 s\" is not understood", "10s"},
        {BROKERS "relay: {lease_ttl: 999ms}\n",
         "t.yaml:2:20: relay.lease_ttl: 999ms is out of range", "from 1s to 10m"},
        {BROKERS "relay: {lease_ttl: 0}\n", "t.yaml:2:20: relay.lease_ttl: 0 is out of range",
         "from 1s to 10m"},
        {BROKERS "relay: {wakeup: bell}\n", "t.yaml:2:17: relay.wakeup: \"bell\" is not known here",
         "one of doorbell, poll"},
        {BROKERS "relay: {start: end}\n", "t.yaml:2:16: relay.start: \"end\" is not known here",
         "one of \"\", beginning, now"},
        {BROKERS "log: {level: silent}\n", "t.yaml:2:14: log.level: \"silent\" is not known here",
         "one of debug, info, warn, error"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_bad(&cases[i]);
}

static void test_bad_environment(void **state)
{
    static const struct bad cases[] = {
        {BROKERS "relay: {name: \"a${OBX_UNSET}\"}\n",
         "t.yaml:2:15: relay.name: the environment variable OBX_UNSET is not set",
         "${OBX_UNSET:-default}"},
        {BROKERS "relay:\n  name: a$b\n", "t.yaml:3:9: relay.name: has a lone dollar", "$$"},
        {BROKERS "relay:\n  name: a$\n", "t.yaml:3:9: relay.name: has a lone dollar", "$$"},
        {BROKERS "relay:\n  name: ${OBX\n", "t.yaml:3:9: relay.name: has \"${\" without", "brace"},
        {BROKERS "relay:\n  name: ${}\n", "t.yaml:3:9: relay.name: \"${}\" names no variable",
         "${NAME}"},
        {BROKERS "relay:\n  name: ${1A}\n", "t.yaml:3:9: relay.name: \"${1A}\" names no variable",
         "${NAME}"},
        {BROKERS "relay:\n  name: ${A:b}\n", "t.yaml:3:9: relay.name: \"${A:b}\" names no variable",
         ":-default"},
        {BROKERS "relay:\n  name: ${OBX_BYTES}\n",
         "t.yaml:3:9: relay.name: the environment variable OBX_BYTES is no UTF-8", "set it anew"},
        {BROKERS "relay:\n  lease_ttl: ${OBX_BAD_TTL}\n",
         "t.yaml:3:14: relay.lease_ttl: \"soon\" is no number", "10s"},
    };

    (void)state;
    (void)unsetenv("OBX_UNSET");
    assert_int_equal(setenv("OBX_BYTES", "a\xc3", 1), 0);
    assert_int_equal(setenv("OBX_BAD_TTL", "soon", 1), 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_bad(&cases[i]);
}

static void test_bad_connections(void **state)
{
    static const struct bad cases[] = {
        {"kafka: {brokers: \"\"}\n", "t.yaml:1:18: kafka.brokers: \"\" is no broker", "host:port"},
        {"kafka: {brokers: \"a:1,\"}\n", "t.yaml:1:18: kafka.brokers: \"\" is no broker",
         "host:port"},
        {"kafka: {brokers: \"a:0\"}\n", "t.yaml:1:18: kafka.brokers: \"a:0\"", "no broker"},
        {"kafka: {brokers: \"a:1, b:65536\"}\n", "t.yaml:1:18: kafka.brokers: \"b:65536\"",
         "no broker"},
        {"kafka: {brokers: \"a:x\"}\n", "t.yaml:1:18: kafka.brokers: \"a:x\"", "no broker"},
        {"kafka: {brokers: \"[::1:9092\"}\n", "t.yaml:1:18: kafka.brokers: \"[::1:9092\"",
         "no broker"},
        {"kafka: {brokers: \"http://a/b\"}\n", "t.yaml:1:18: kafka.brokers: \"http://a/b\"",
         "no broker"},
        {"kafka: {brokers: [a, b]}\n", "t.yaml:1:18: kafka.brokers: is a list", "write a text"},
        {BROKERS "postgres: {url: orders}\n", "t.yaml:2:17: postgres.url: is no connection string",
         "postgres://user@host/database"},
        {BROKERS "postgres: {url: host=h password}\n",
         "t.yaml:2:17: postgres.url: is no connection string", "key"},
        {BROKERS "postgres: {url: \"password='s3cret\"}\n",
         "t.yaml:2:17: postgres.url: is no connection string", "key"},
        {BROKERS "postgres: {url: mysql://s3cret@h}\n",
         "t.yaml:2:17: postgres.url: is no connection string", "key"},
        {BROKERS "postgres:\n  url: postgres://u:p@h/d\n  password: x\n",
         "t.yaml:4:3: postgres.password: the url holds a password already", "remove one"},
        {BROKERS "postgres:\n  url: host=h password=p\n  password: x\n",
         "t.yaml:4:3: postgres.password: the url holds a password already", "remove one"},
        {BROKERS "postgres:\n  password: a\n  password_file: b\n",
         "t.yaml:4:3: postgres.password_file: postgres.password is given in line 3 already",
         "remove one"},
        {BROKERS "postgres: {password_file: /nonexistent/pw}\n",
         "t.yaml:2:27: postgres.password_file: /nonexistent/pw: does not exist", "check the path"},
        {BROKERS "postgres: {password_file: /}\n",
         "t.yaml:2:27: postgres.password_file: /: is a directory", "name a file"},
        {BROKERS "postgres: {password_file: /dev/null}\n",
         "t.yaml:2:27: postgres.password_file: /dev/null: is empty", "write the secret"},
        {BROKERS "postgres: {password_file: /dev/zero}\n",
         "t.yaml:2:27: postgres.password_file: /dev/zero: has more than 65536 bytes", "right file"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_bad(&cases[i]);
}

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
        {ROUTE "    on_error: park\n", "t.yaml:5:15: routes[0].on_error: park is not available",
         "write halt"},
        {ROUTE "    on_error: skip\n", "t.yaml:5:15: routes[0].on_error: skip is not available",
         "write halt"},
        {ROUTE "    on_error: ignore\n", "t.yaml:5:15: routes[0].on_error: \"ignore\" is not known",
         "write halt"},
        {ROUTE "    dead_letter_topic: a.dlt\n",
         "t.yaml:5:5: routes[0]: dead_letter_topic belongs to on_error: skip", "remove it"},
        {ROUTE "    name: b\n", "t.yaml:5:5: routes[0]: the key \"name\" stands here twice",
         "line 3"},
        {"kafka: {brokers: b, topics: [x]}\nroutes:\n  - {name: a, match: {event_type: e}, topic: "
         "y}\n",
         "t.yaml:3:46: routes[0].topic: kafka.topics does not allow \"y\"", "add it there"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_bad(&cases[i]);
}

/* All problems in one pass, in the file's order; beyond ten they are only counted. */
static void test_many_problems(void **state)
{
    struct settings s;
    struct settings_problems p;
    struct err err = {0};

    (void)state;
    assert_int_equal(parse(&s, "relay:\n  nam: a\n  lease_ttl: 1\nlog: {level: x}\n", &p, &err),
                     -1);
    assert_int_equal(p.count, 4);
    assert_int_equal(p.unlisted, 0);
    assert_non_null(strstr(p.text[0], "t.yaml:2:3: relay.nam"));
    assert_non_null(strstr(p.text[1], "t.yaml:3:14: relay.lease_ttl"));
    assert_non_null(strstr(p.text[2], "t.yaml:4:14: log.level"));
    assert_non_null(strstr(p.text[3], "t.yaml: kafka.brokers"));
    assert_non_null(strstr(err.text, "(and 3 more)"));
    settings_problems_release(&p);
    settings_release(&s);

    assert_int_equal(
        parse(&s,
              BROKERS
              "log: {a: 1, b: 1, c: 1, d: 1, e: 1, f: 1, g: 1, h: 1, i: 1, j: 1, k: 1, l: 1}\n",
              &p, &err),
        -1);
    assert_int_equal(p.count, SETTINGS_PROBLEMS);
    assert_int_equal(p.unlisted, 2);
    assert_non_null(strstr(err.text, "(and 11 more)"));
    settings_problems_release(&p);
    settings_release(&s);
}

/* No problem repeats a secret, whatever is wrong around it. */
static void test_problems_keep_secrets(void **state)
{
    static const char *const yamls[] = {
        BROKERS "postgres: {url: s3cret}\n",
        BROKERS "postgres: {url: \"postgres://u:s3cret@h/d\", password: s3cret}\n",
        BROKERS "postgres: {password: \"s3cret$\"}\n",
        BROKERS "postgres: {password: \"s3cret${\"}\n",
        BROKERS "postgres: {password: s3cret, password_file: /x}\n",
        "kafka: {brokers: b, properties: {sasl.password: s3cret, sasl.pasword: s3cret}}\n",
        "kafka: {brokers: b, properties: {sasl.password: \"s3cret$\"}}\n",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(yamls); i++) {
        struct settings s;
        struct settings_problems p;
        struct err err = {0};

        assert_int_equal(parse(&s, yamls[i], &p, &err), -1);
        assert_null(strstr(err.text, "s3cret"));
        for (size_t j = 0; j < p.count; j++)
            if (strstr(p.text[j], "s3cret") != NULL)
                fail_msg("%s", p.text[j]);
        settings_problems_release(&p);
        settings_release(&s);
    }
}

/* ---- files ---------------------------------------------------------------------------------- */

static char folder[] = "/tmp/outboxd-settings-XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

static void write_file(const char *name, const char *text, char path[128])
{
    FILE *f;

    (void)snprintf(path, 128, "%s/%s", folder, name);
    f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void test_files(void **state)
{
    struct settings s;
    struct err err = {0};
    char path[128];
    char expected[256];

    (void)state;
    assert_int_equal(settings_load(&s, "/nonexistent/outboxd.yaml", &err), -1);
    assert_int_equal(err.kind, ERR_CONFIG);
    assert_non_null(strstr(
        err.text, "/nonexistent/outboxd.yaml: does not exist; name the configuration with -c"));
    settings_release(&s);
    assert_int_equal(settings_load(&s, folder, &err), -1);
    (void)snprintf(expected, sizeof expected, "%s: is a directory; name a file", folder);
    assert_string_equal(err.text, expected);
    settings_release(&s);

    write_file("a.yaml", "kafka: {brokers: b}\nrelay: {nam: x}\n", path);
    assert_int_equal(settings_load(&s, path, &err), -1);
    (void)snprintf(expected, sizeof expected,
                   "%s:2:9: relay.nam: unknown key; did you mean \"name\"?", path);
    assert_string_equal(err.text, expected);
    settings_release(&s);
    if (geteuid() != 0) { /* root reads everything */
        assert_int_equal(chmod(path, 0), 0);
        assert_int_equal(settings_load(&s, path, &err), -1);
        assert_non_null(
            strstr(err.text, "cannot be read: Permission denied; check its owner and mode"));
        settings_release(&s);
    }
    assert_int_equal(unlink(path), 0);
}

static void test_secret_files(void **state)
{
    struct settings s;
    char password[128];
    char url[128];
    char sasl[128];
    char yaml[1024];

    (void)state;
    write_file("password", " pa$$ ${X}\n\n", password);
    write_file("url", "postgres://u@h/d\r\n", url);
    write_file("sasl", "s3cret", sasl);
    (void)snprintf(yaml, sizeof yaml,
                   "postgres: {password_file: %s, url_file: %s}\n"
                   "kafka: {brokers: b, properties: {sasl.password_file: %s}}\n",
                   password, url, sasl);
    load(&s, yaml);
    assert_string_equal(s.postgres.password,
                        " pa$$ ${X}\n"); /* one newline cut, nothing replaced */
    assert_string_equal(s.postgres.url, "postgres://u@h/d");
    assert_int_equal(s.kafka.property_count, 1);
    assert_string_equal(s.kafka.properties[0].name, "sasl.password");
    assert_string_equal(s.kafka.properties[0].value, "s3cret");
    assert_true(s.kafka.properties[0].secret);
    settings_release(&s);
    assert_int_equal(unlink(password), 0);
    assert_int_equal(unlink(url), 0);
    assert_int_equal(unlink(sasl), 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_everything_set),
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_empty_sections_are_fine),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_not_yaml),
        cmocka_unit_test(test_bad_keys),
        cmocka_unit_test(test_bad_values),
        cmocka_unit_test(test_bad_environment),
        cmocka_unit_test(test_bad_connections),
        cmocka_unit_test(test_bad_kafka),
        cmocka_unit_test(test_guarded_properties),
        cmocka_unit_test(test_harmless_properties),
        cmocka_unit_test(test_bad_routes),
        cmocka_unit_test(test_many_problems),
        cmocka_unit_test(test_problems_keep_secrets),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_secret_files),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
