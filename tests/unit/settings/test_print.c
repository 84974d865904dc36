/* Printing: what is in force as a file that loads to the same, the example file, secrets hidden,
 * and what a reload takes over. */
#include "parsing.h"

#include "settings/check.h"
#include "settings/table.h"
#include "settings/text.h"
#include "settings/value.h"

#include <unistd.h>

#define EXAMPLE_FILE "config/outboxd.yaml"

/* The caller frees. */
static char *print(const struct settings *s)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);

    assert_non_null(f);
    if (s == NULL)
        settings_print_example(f);
    else
        settings_print(s, f);
    assert_int_equal(fclose(f), 0);
    return text;
}

/* ---- values --------------------------------------------------------------------------------- */

static void test_sizes_and_durations(void **state)
{
    static const struct {
        uint64_t value;
        const char *size;
        const char *duration;
    } cases[] = {
        {0, "0B", "0ms"},
        {1, "1B", "1ms"},
        {1000, "1KB", "1s"},
        {1024, "1KiB", "1024ms"},
        {1500, "1500B", "1500ms"},
        {60000, "60KB", "1m"},
        {90000, "90KB", "90s"},
        {3600000, "3600KB", "1h"},
        {86400000, "84375KiB", "1d"},
        {33554432, "32MiB", "33554432ms"},
        {UINT64_C(4294967296), "4GiB", "4294967296ms"},
    };
    struct str out = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        str_reset(&out);
        value_put_size(&out, cases[i].value);
        assert_string_equal(out.data, cases[i].size);
        str_reset(&out);
        value_put_duration(&out, cases[i].value);
        assert_string_equal(out.data, cases[i].duration);
    }
    str_release(&out);
}

static void test_units(void **state)
{
    static const struct {
        const char *text;
        size_t bytes;
    } sizes[] = {{"1000000", 1000000},  {"70000B", 70000},           {"70KB", 70000},
                 {"2MB", 2000000},      {"1GB", 1000000000},         {"64KiB", 64 * 1024},
                 {"1MiB", 1024 * 1024}, {"1GiB", 1024 * 1024 * 1024}};
    static const struct {
        const char *text;
        uint32_t ms;
    } times[] = {{"0", 0},     {"0s", 0},      {"250ms", 250},
                 {"2s", 2000}, {"3m", 180000}, {"1h", 3600000}};
    struct settings s;
    struct err err;

    (void)state;
    settings_init(&s);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        assert_int_equal(value_store(&s, setting_find("relay.window_bytes"), sizes[i].text, &err),
                         0);
        assert_int_equal(s.relay.window_bytes, sizes[i].bytes);
    }
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        assert_int_equal(
            value_store(&s, setting_find("relay.shutdown_timeout"), times[i].text, &err), 0);
        assert_int_equal(s.relay.shutdown_timeout_ms, times[i].ms);
    }
    assert_int_equal(value_store(&s, setting_find("relay.shutdown_timeout"), "1d", &err), -1);
    assert_non_null(strstr(err.text, "1d is out of range; write a value from 0ms to 1h"));
    settings_release(&s);
}

/* ---- the table ------------------------------------------------------------------------------ */

/* What the code relies on: sections stand together, paths differ, help is there, enums have words.
 */
static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < settings_count; i++) {
        const struct setting *t = &settings_table[i];
        char *section = xstrndup(t->path, setting_section_len(t));

        assert_ptr_equal(setting_find(t->path), t);
        assert_true(t->help != NULL && t->help[0] != '\0');
        assert_true((t->type == SETTING_ENUM) == (t->words != NULL));
        assert_true(t->def != NULL || t->example != NULL);
        if (t->type == SETTING_INT || t->type == SETTING_SIZE || t->type == SETTING_DURATION ||
            t->type == SETTING_SPAN)
            assert_true(t->min >= 0 && t->min < t->max);
        if (t->type == SETTING_INT || t->type == SETTING_DURATION)
            assert_true(t->max <= UINT32_MAX);
        for (size_t j = 0; j + 1 < i; j++)
            if (setting_section_len(t) > 0 &&
                strncmp(settings_table[j].path, t->path, setting_section_len(t) + 1) == 0)
                assert_true(strncmp(t[-1].path, t->path, setting_section_len(t) + 1) == 0);
        free(section);
    }
}

/* ---- the example file ----------------------------------------------------------------------- */

static char *read_example(void)
{
    struct str text = {0};
    struct err err = {0};

    if (text_read_file(EXAMPLE_FILE, 1 << 20, &text, &err) != 0)
        fail_msg("%s: %s (run from the root of the project)", EXAMPLE_FILE, err.text);
    return text.data;
}

static void test_example_is_the_table(void **state)
{
    char *file = read_example();
    char *made = print(NULL);

    (void)state;
    if (strcmp(file, made) != 0)
        fail_msg("%s differs from the table; write it anew: outboxd config --example > %s",
                 EXAMPLE_FILE, EXAMPLE_FILE);
    free(file);
    free(made);
}

static void test_example_holds_the_defaults(void **state)
{
    struct settings example;
    struct settings defaults;
    char *file = read_example();
    char *a;
    char *b;

    (void)state;
    load(&example, file);
    load(&defaults, "kafka: {brokers: \"127.0.0.1:9092\"}\n");
    a = print(&example);
    b = print(&defaults);
    assert_string_equal(a, b);
    for (size_t i = 0; i < settings_count;
         i++) { /* every setting stands there as a key of its own */
        struct str line = {0};

        str_printf(&line, "\n%s%s: ", setting_section_len(&settings_table[i]) > 0 ? "  " : "",
                   setting_leaf(&settings_table[i]));
        if (strstr(file, line.data) == NULL)
            fail_msg("%s is missing", settings_table[i].path);
        str_release(&line);
    }
    free(a);
    free(b);
    free(file);
    settings_release(&example);
    settings_release(&defaults);
}

/* ---- what is in force ----------------------------------------------------------------------- */

#define ALL_SET                                                                                    \
    "postgres:\n"                                                                                  \
    "  url: \"postgres://u:s3cret@h:5432/d?sslpassword=s3cret&sslmode=require\"\n"                 \
    "kafka:\n"                                                                                     \
    "  brokers: \"a:1, [::1]:2\"\n"                                                                \
    "  topics: [orders, \"x-*\"]\n"                                                                \
    "  properties:\n"                                                                              \
    "    sasl.password: s3cret\n"                                                                  \
    "    ssl.key.pem: s3cret\n"                                                                    \
    "    ssl.key.password: s3cret\n"                                                               \
    "    sasl.oauthbearer.config: s3cret\n"                                                        \
    "    client.id: \"a$$b \\\"q\\\" \\\\ \\u00e4 \\u2028 \\n \\e # : - *\"\n"                     \
    "relay: {instance: \"- yes: [no]\", start: now, lease_ttl: 90s, wakeup: poll, window_bytes: "  \
    "70000}\n"                                                                                     \
    "routes:\n"                                                                                    \
    "  - name: a\n"                                                                                \
    "    match: {aggregate_type: \"${NOT_SET:-or*er}\", event_type: \"*\"}\n"                      \
    "    topic: \"x-{aggregate_type}\"\n"                                                          \
    "    fields: {eventType: \"yes\", version: \"a: b\"}\n"                                        \
    "  - {name: \"null\", match: {event_type: \"1\"}, format: raw}\n"                              \
    "log: {level: warn, format: json}\n"

static void test_print_loads_again(void **state)
{
    struct settings first;
    struct settings second;
    char *a;
    char *b;

    (void)state;
    load(&first, ALL_SET);
    a = print(&first);
    load(&second, a);
    b = print(&second);
    assert_string_equal(a, b);
    assert_null(strstr(a, "s3cret"));
    assert_non_null(
        strstr(a, "  url: \"postgres://u:***@h:5432/d?sslpassword=***&sslmode=require\"\n"));
    assert_non_null(strstr(a, "    sasl.password: \"***\"\n"));
    assert_non_null(strstr(a, "  lease_ttl: 90s\n"));
    assert_non_null(strstr(a, "  window_bytes: 70KB\n"));
    assert_non_null(strstr(a, "  topics: [orders, \"x-*\"]\n"));
    assert_string_equal(first.kafka.properties[4].value, second.kafka.properties[4].value);
    assert_string_equal(first.relay.instance, second.relay.instance);
    assert_string_equal(first.routes.routes[1].match_aggregate_type, "or*er");
    assert_string_equal(second.routes.routes[1].match_aggregate_type, "or*er");
    assert_string_equal(second.routes.routes[1].fields.event_type, "yes");
    assert_string_equal(second.routes.routes[1].fields.version, "a: b");
    assert_string_equal(second.routes.routes[2].name, "null");
    free(a);
    free(b);
    settings_release(&first);
    settings_release(&second);
}

static void test_print_hides_the_password(void **state)
{
    struct settings s;
    char *text;

    (void)state;
    load(&s, "kafka: {brokers: b}\npostgres: {password: s3cret}\n");
    text = print(&s);
    assert_non_null(strstr(text, "  password: \"***\"\n"));
    assert_null(strstr(text, "s3cret"));
    free(text);
    settings_release(&s);
}

static void test_secret_properties(void **state)
{
    static const char *const secret[] = {"sasl.password",
                                         "ssl.key.password",
                                         "ssl.keystore.password",
                                         "ssl.key.pem",
                                         "sasl.oauthbearer.client.secret",
                                         "sasl.oauthbearer.config"};
    static const char *const open[] = {"sasl.username", "ssl.key.location", "ssl.certificate.pem",
                                       "client.id"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(secret); i++)
        assert_true(property_is_secret(secret[i]));
    for (size_t i = 0; i < ARRAY_LEN(open); i++)
        assert_false(property_is_secret(open[i]));
}

static void test_mask(void **state)
{
    static const struct {
        const char *in;
        const char *out;
        bool found;
    } cases[] = {
        {"", "", false},
        {"postgres://h/d", "postgres://h/d", false},
        {"postgres://u@h/d", "postgres://u@h/d", false},
        {"postgres://u:p@h/d", "postgres://u:***@h/d", true},
        {"postgresql://u:p%40x@h:1,i:2/d?a=b", "postgresql://u:***@h:1,i:2/d?a=b", true},
        {"postgres://u:p@ss@h/d", "postgres://u:***@h/d", true},
        {"postgres://u:p/w@h/d", "postgres://***@h/d",
         false}, /* libpq sees no password, a reader would */
        {"postgres://u:p?w@h/d?x=y", "postgres://u:***@h/d?x=y", true},
        {"postgres://h/d?password=p&x=y", "postgres://h/d?password=***&x=y", true},
        {"postgres://h/d?%70assword=p", "postgres://h/d?%70assword=***", true},
        {"postgres://h/d?passwor%64=p", "postgres://h/d?passwor%64=***", true},
        {"postgres://h/d?sslpassword=p&sslmode=x", "postgres://h/d?sslpassword=***&sslmode=x",
         true},
        {"postgres://h/d?application_name=a:b", "postgres://h/d?application_name=a:b", false},
        {"host=h password=p dbname=d", "host=h password=*** dbname=d", true},
        {"password = 'a b\\' c' host=h", "password = *** host=h", true},
        {"password=a\\ b host=h", "password=*** host=h", true},
        {"host=h sslpassword=p", "host=h sslpassword=***", true},
        {"host=h user='password=x'", "host=h user='password=x'", false},
        {"host=h passfile=/x", "host=h passfile=/x", false},
        {"host=h password='open", "host=h ***", true},
        {"host=h password", "host=h ***", true},
        {"password=", "password=***", true},
        {"host=h pasword=p", "host=h pasword=***", true}, /* libpq refuses it, a reader would not */
        {"postgres://h/d?passwrod=p", "postgres://h/d?passwrod=***", true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str out = {0};
        bool found = conninfo_mask(cases[i].in, &out);

        if (strcmp(str_text(&out), cases[i].out) != 0 || found != cases[i].found)
            fail_msg("%s gives %s, %d", cases[i].in, str_text(&out), found);
        str_release(&out);
    }
}

/* ---- reload --------------------------------------------------------------------------------- */

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void test_reload(void **state)
{
    char path[] = "/tmp/outboxd-reload-XXXXXX";
    struct settings s;
    struct settings_changes c;
    struct err err = {0};
    int fd = mkstemp(path);
    const struct route *routes;

    (void)state;
    assert_true(fd >= 0 && close(fd) == 0);
    write_file(path, "kafka: {brokers: a, properties: {sasl.password: one}}\n");
    assert_int_equal(settings_load(&s, path, &err), 0);
    routes = s.routes.routes;

    assert_int_equal(settings_reload(&s, path, &c, &err), 0);
    assert_int_equal(c.applied_count + c.pending_count, 0);

    write_file(path,
               "kafka: {brokers: b, properties: {sasl.password: two}}\n"
               "log: {level: debug, format: json}\nrelay: {lease_ttl: 5s, shutdown_timeout: 3s}\n"
               "routes: [{name: a, match: {event_type: x}}]\n");
    assert_int_equal(settings_reload(&s, path, &c, &err), 0);
    assert_int_equal(c.applied_count, 3);
    assert_string_equal(c.applied[0], "relay.shutdown_timeout");
    assert_string_equal(c.applied[1], "log.level");
    assert_string_equal(c.applied[2], "log.format");
    assert_int_equal(c.pending_count, 4);
    assert_string_equal(c.pending[0], "kafka.brokers");
    assert_string_equal(c.pending[1], "kafka.properties"); /* a secret's change counts too */
    assert_string_equal(c.pending[2], "relay.lease_ttl");
    assert_string_equal(c.pending[3], "routes");
    assert_int_equal(s.log.level, LOG_DEBUG);
    assert_int_equal(s.log.format, LOG_JSON);
    assert_int_equal(s.relay.shutdown_timeout_ms, 3000);
    assert_string_equal(s.kafka.brokers, "a");
    assert_int_equal(s.relay.lease_ttl_ms, 10000);
    assert_ptr_equal(s.routes.routes, routes);

    write_file(path, "kafka: {brokers: b}\nlog: {level: loud}\n");
    assert_int_equal(settings_reload(&s, path, &c, &err), -1);
    assert_non_null(strstr(err.text, ":2:14: log.level: \"loud\""));
    assert_int_equal(s.log.level, LOG_DEBUG);
    assert_string_equal(s.kafka.brokers, "a");
    assert_int_equal(unlink(path), 0);
    settings_release(&s);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes_and_durations),
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_example_is_the_table),
        cmocka_unit_test(test_example_holds_the_defaults),
        cmocka_unit_test(test_print_loads_again),
        cmocka_unit_test(test_print_hides_the_password),
        cmocka_unit_test(test_secret_properties),
        cmocka_unit_test(test_mask),
        cmocka_unit_test(test_reload),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
