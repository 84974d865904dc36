/* Loading: what the file says arrives in the struct, from a text, a file, and files of secrets. */
#include "parsing.h"

#include <sys/stat.h>
#include <unistd.h>

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
    assert_int_equal(s.relay.max_lanes, 256);
    assert_int_equal(s.relay.lanes_in_parallel, 4);
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
             "  max_lanes: 10000\n"
             "  lanes_in_parallel: 16\n"
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
    assert_int_equal(s.relay.max_lanes, 10000);
    assert_int_equal(s.relay.lanes_in_parallel, 16);
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
    load(&s,
         BROKERS "routes:\n"
                 "  - name: orders\n"
                 "    match: {aggregate_type: order, event_type: \"order.*\"}\n"
                 "    topic: \"{aggregate_type}-x\"\n"
                 "    format: raw\n"
                 "    fields: {eventType: type, payload: data}\n"
                 "    on_error: halt\n"
                 "  - {name: a, match: {event_type: a}, on_error: park}\n"
                 "  - {name: b, match: {event_type: b}, on_error: skip, dead_letter_topic: b.dlt}\n"
                 "  - {name: rest, match: {event_type: \"*\"}}\n");
    assert_int_equal(s.routes.count, 5);
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
    assert_int_equal(s.routes.routes[2].on_error, ON_ERROR_PARK);
    assert_int_equal(s.routes.routes[3].on_error, ON_ERROR_SKIP);
    assert_string_equal(s.routes.routes[3].dead_letter_topic, "b.dlt");
    r = &s.routes.routes[4];
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
        cmocka_unit_test(test_defaults),     cmocka_unit_test(test_everything_set),
        cmocka_unit_test(test_routes),       cmocka_unit_test(test_empty_sections_are_fine),
        cmocka_unit_test(test_environment),  cmocka_unit_test(test_files),
        cmocka_unit_test(test_secret_files),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
