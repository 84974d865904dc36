/* Bad input, by the whole program: a command line or a configuration that is not as it must be. No
 * server is asked. Each ends with the right exit code and one line that names the place and the way
 * out, and no secret is shown. */
#include "../support/check.h"

#include "../support/outboxd.h"
#include "../support/refusal.h"
#include "../support/tmp.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define BROKERS "kafka: {brokers: \"b:9\"}\n"

static struct outboxd relay;

/* ---- the command line ---- */

static void test_wrong_usage(void **state)
{
    static const struct {
        const char *words[5];
        const char *parts[4];
    } cases[] = {
        {{NULL}, {"which command?", "outboxd --help"}},
        {{"rnu"}, {"\"rnu\"", "\"run\""}},
        {{"frobnicate"}, {"\"frobnicate\"", "outboxd --help"}},
        {{"run", "extra"}, {"\"extra\"", "outboxd run --help"}},
        {{"status", "--jsno"}, {"--jsno", "--json?"}},
        {{"run", "--frobnicate"}, {"--frobnicate", "outboxd run --help"}},
        {{"run", "--json"}, {"run takes no --json", "outboxd run --help"}},
        {{"--json"}, {"outboxd status --json"}},
        {{"run", "-c"}, {"--config needs a value"}},
        {{"run", "-c", ""}, {"--config is empty"}},
        {{"rebase"}, {"--to beginning", "--keep"}},
        {{"rebase", "--to"}, {"--to needs a value", "beginning|now|ID|TIME"}},
        {{"rebase", "--to", "yesterday"}, {"--to takes beginning, now, an id", "\"yesterday\""}},
        {{"migrate", "--start", "here"}, {"--start takes beginning or now"}},
        {{"migrate", "--bells", "9"}, {"--bells", "1 to 4"}},
        {{"migrate", "--timeout", "5"}, {"--timeout", "has no unit", "10s"}},
        {{"migrate", "--print", "--url", "x"}, {"--print", "excludes --url"}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        outboxd_refuses_bare(64, cases[i].words, cases[i].parts);
}

/* ---- the configuration ---- */

static void test_wrong_settings(void **state)
{
    static const struct {
        const char *text;
        const char *parts[4];
    } cases[] = {
        {"", {"outboxd.yaml: is empty", "kafka.brokers"}},
        {"hello\n", {"outboxd.yaml:1:1: ", "write a mapping"}},
        {BROKERS "relay: [\n", {"outboxd.yaml:3:1: ", "is not YAML", "check indentation"}},
        {BROKERS "relay:\n\tname: x\n", {"outboxd.yaml:3:1: ", "a tab", "spaces"}},
        {"a: \xff\xfe\n", {"outboxd.yaml:1:4: ", "save the file as UTF-8"}},
        {"relay: {name: x}\n", {"kafka.brokers: is required"}},
        {BROKERS "relay: {window_event: 5}\n",
         {"outboxd.yaml:2:9: relay.window_event: ", "\"window_events\""}},
        {BROKERS "postgress: {}\n", {"outboxd.yaml:2:1: postgress: ", "\"postgres\""}},
        {BROKERS "relay: {name: a}\nrelay: {name: b}\n", {"outboxd.yaml:3:1: ", "twice", "line 2"}},
        {BROKERS "relay: {window_events: many}\n",
         {"outboxd.yaml:2:24: relay.window_events: ", "write a whole number"}},
        {BROKERS "relay: {lease_ttl: [1s]}\n",
         {"outboxd.yaml:2:20: relay.lease_ttl: ", "write a duration"}},
        {BROKERS "relay: {lease_ttl: 10}\n", {"relay.lease_ttl: 10 has no unit", "such as 10s"}},
        {BROKERS "relay: {window_bytes: 32MX}\n", {"relay.window_bytes: ", "\"MX\"", "MiB"}},
        {BROKERS "relay: {lease_ttl: 10ms}\n",
         {"relay.lease_ttl: 10ms is out of range", "1s to 10m"}},
        {BROKERS "relay: {wakeup: bell}\n", {"relay.wakeup: ", "doorbell, poll"}},
        {BROKERS "relay: {name: \"${OUTBOXD_NOT_SET}\"}\n",
         {"outboxd.yaml:2:15: relay.name: ", "OUTBOXD_NOT_SET is not set",
          "${OUTBOXD_NOT_SET:-default}"}},
        {"kafka: {brokers: \"b:9,:\"}\n", {"kafka.brokers: ", "write host:port"}},
        {"kafka: {brokers: \"b:9\", properties: {acks: 1}}\n",
         {"kafka.properties.acks: ", "may not be '1'", "leave it out"}},
        {"kafka: {brokers: \"b:9\", properties: {enable.idempotence: false}}\n",
         {"kafka.properties.enable.idempotence: ", "order is lost", "leave it out"}},
        {"kafka: {brokers: \"b:9\", properties: {message.timeout.ms: 1000}}\n",
         {"message.timeout.ms", "leave it out"}},
        {"kafka: {brokers: \"b:9\", properties: {transactional.id: x}}\n",
         {"transactional.id", "leave it out"}},
        {"kafka: {brokers: \"b:9\", properties: {sasl.pasword: " SECRET "}}\n",
         {"outboxd.yaml:1:38: kafka.properties.sasl.pasword", "No such configuration property",
          "CONFIGURATION.md"}},
        {"kafka: {brokers: \"b:9\", properties: {linger.ms: " SECRET "}}\n",
         {"kafka.properties.linger.ms: ", "Invalid value"}},
        {"kafka: {brokers: \"b:9\", properties: {sasl.password_file: /nowhere/pw}}\n",
         {"kafka.properties.sasl.password_file: ", "/nowhere/pw"}},
        {BROKERS "routes: [{name: a, match: {aggregate_type: order}, on_error: retry}]\n",
         {"outboxd.yaml:2:62: routes[0].on_error: ", "retry", "write halt, park or skip"}},
        {BROKERS "relay: {lanes_in_parallel: 17}\n", {"relay.lanes_in_parallel: ", "16"}},
        {BROKERS "postgres: {password: [" SECRET "]}\n",
         {"outboxd.yaml:2:22: postgres.password: ", "write a text"}},
        {BROKERS "postgres: {password_file: /nowhere/pw}\n",
         {"postgres.password_file: ", "/nowhere/pw"}},
        {BROKERS "postgres: {url: \"postgres://u:" SECRET "@h/d\", password: " SECRET "}\n",
         {"postgres.password: ", "remove one of the two"}},
        {BROKERS "postgres: {url: \"postgres//u:" SECRET "@h/d\"}\n",
         {"outboxd.yaml:2:17: postgres.url: ", "postgres://user@host"}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        outboxd_configure_text(&relay, cases[i].text);
        outboxd_refuses(&relay, 78, WORDS("run"), cases[i].parts);
        outboxd_refuses(&relay, 78, WORDS("config"), cases[i].parts);
    }
    outboxd_refuses(&relay, 78, WORDS("status"), cases[ARRAY_LEN(cases) - 1].parts);
    outboxd_refuses(&relay, 78, WORDS("check"), cases[ARRAY_LEN(cases) - 1].parts);
    outboxd_refuses(&relay, 78, WORDS("migrate"), cases[ARRAY_LEN(cases) - 1].parts);
}

/* What librdkafka finds only when a producer is made: before anything is opened. */
static void test_properties_that_make_no_producer(void **state)
{
    static const struct {
        const char *properties;
        const char *part;
    } cases[] = {
        {"security.protocol: sasl_plaintext, sasl.mechanism: NONSENSE, sasl.password: " SECRET,
         "NONSENSE"},
        {"security.protocol: sasl_plaintext, sasl.mechanism: PLAIN", "sasl.username"},
        {"security.protocol: ssl, ssl.ca.location: /nowhere", "ssl.ca.location"},
        {"security.protocol: ssl, ssl.key.pem: " SECRET, "ssl.key.pem"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[512];

        (void)snprintf(text, sizeof text, "kafka: {brokers: \"b:9\", properties: {%s}}\n",
                       cases[i].properties);
        outboxd_configure_text(&relay, text);
        outboxd_refuses(&relay, 78, WORDS("run"), WORDS("kafka.properties: ", cases[i].part));
    }
}

/* libpq quotes the string in its words; ours must not. */
static void test_urls_that_libpq_cannot_read(void **state)
{
    static const char *const urls[] = {
        "postgres://u:" SECRET "/x@h/d",  "postgres://u:x@h:" SECRET "/d",
        "postgres://u:%zz" SECRET "@h/d", "postgres://u:" SECRET "@h/d?foo=" SECRET,
        "host=h pasword=" SECRET,         "postgres://u:" SECRET "@h/d?sslmode=never",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        char text[512];

        (void)snprintf(text, sizeof text, BROKERS "postgres: {url: \"%s\"}\n", urls[i]);
        outboxd_configure_text(&relay, text);
        outboxd_refuses(&relay, 78, WORDS("run"), WORDS("postgres.url"));
        outboxd_refuses(&relay, 78, WORDS("status"), WORDS("postgres.url"));
        outboxd_refuses(&relay, 78, WORDS("migrate", "--url", urls[i]), WORDS("--url"));
    }
    outboxd_configure_text(&relay, BROKERS);
    outboxd_refuses(&relay, 78, WORDS("migrate", "--url", SECRET),
                    WORDS("--url", "postgres://role@host"));
}

static void test_configuration_that_cannot_be_read(void **state)
{
    char folder[PATH_SIZE];

    (void)state;
    outboxd_configure_text(&relay, BROKERS);
    tmp_folder("odd", folder);
    path_join(relay.config, folder, "absent.yaml");
    outboxd_refuses(&relay, 78, WORDS("run"),
                    WORDS("absent.yaml: does not exist", "-c FILE", "outboxd config --example"));
    outboxd_refuses(&relay, 78, WORDS("status"), WORDS("absent.yaml: does not exist"));
    outboxd_refuses(&relay, 78, WORDS("migrate", "--print"), WORDS("absent.yaml: does not exist"));
    (void)snprintf(relay.config, sizeof relay.config, "%s", folder);
    outboxd_refuses(&relay, 78, WORDS("run"), WORDS(folder, "is a directory", "name a file"));
    (void)snprintf(relay.config, sizeof relay.config, "/dev/null/outboxd.yaml");
    outboxd_refuses(&relay, 78, WORDS("run"), WORDS("/dev/null/outboxd.yaml: ", "Not a directory"));
    outboxd_configure_text(&relay, BROKERS);
    if (chmod(relay.config, 0) != 0)
        support_fail("chmod %s", relay.config);
    outboxd_refuses_nobody(78, relay.config, WORDS(relay.config, "Permission denied"));
}

static void test_secrets_are_hidden(void **state)
{
    char folder[PATH_SIZE];
    char file[PATH_SIZE];
    char text[2048];
    const char *out;

    (void)state;
    tmp_folder("secret", folder);
    path_join(file, folder, "pw");
    file_write(file, "%s\n", SECRET);
    (void)snprintf(
        text, sizeof text,
        "postgres: {url: \"postgres://u@h/d\", password_file: %s}\n"
        "kafka: {brokers: \"b:9\", properties: {sasl.username: outboxd, sasl.password_file: %s, "
        "ssl.key.password: " SECRET "}}\n",
        file, file);
    outboxd_configure_text(&relay, text);
    out = outboxd_succeeds(&relay, WORDS("config"), "password: \"***\"");
    assert_contains(out, "sasl.password: \"***\"");
    assert_contains(out, "sasl.username: outboxd");
    outboxd_configure_text(&relay, BROKERS "postgres: {url: \"postgres://u:" SECRET "@h/d\"}\n");
    (void)outboxd_succeeds(&relay, WORDS("config"), "postgres://u:***@h/d");
    outboxd_configure_text(&relay, BROKERS "postgres: {url: \"host=h sslpassword=" SECRET "\"}\n");
    (void)outboxd_succeeds(&relay, WORDS("config"), "host=h sslpassword=***");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_usage),
        cmocka_unit_test(test_wrong_settings),
        cmocka_unit_test(test_properties_that_make_no_producer),
        cmocka_unit_test(test_urls_that_libpq_cannot_read),
        cmocka_unit_test(test_configuration_that_cannot_be_read),
        cmocka_unit_test(test_secrets_are_hidden),
    };

    cmocka_set_test_filter(getenv("ONLY")); /* a pattern such as *usage*; NULL: all */
    return cmocka_run_group_tests_name("bad input", tests, NULL, NULL);
}
