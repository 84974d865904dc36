/* What is wrong is told with its place and the way out, all of it in one pass, and no secret.
 * Kafka's properties and routes: test_kafka_and_routes.c. */
#include "parsing.h"

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
         "known here: postgres, kafka, relay, routes, retention, http, log"},
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

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_not_yaml),
        cmocka_unit_test(test_bad_keys),
        cmocka_unit_test(test_bad_values),
        cmocka_unit_test(test_bad_environment),
        cmocka_unit_test(test_bad_connections),
        cmocka_unit_test(test_many_problems),
        cmocka_unit_test(test_problems_keep_secrets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
