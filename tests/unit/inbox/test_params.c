/* What inbox_new refuses, and texts of errors. No server is there, and none is needed. */
#include "../../support/check.h"

#include "inbox/fault.h"

#include <stdio.h>

static const char *const topics[] = {"orders"};

static enum inbox_verdict handle(PGconn *conn, struct inbox_event *event, void *arg)
{
    (void)conn;
    (void)event;
    (void)arg;
    return INBOX_OK;
}

static struct inbox_params good(void)
{
    return (struct inbox_params){.size = sizeof(struct inbox_params),
                                 .brokers = "127.0.0.1:1",
                                 .consumer = "billing",
                                 .topics = topics,
                                 .topic_count = 1,
                                 .handler = handle,
                                 .log_level = INBOX_LOG_NONE};
}

static void refused(const struct inbox_params *p, enum inbox_code code, const char *part)
{
    struct inbox_error e;
    struct inbox *in = inbox_new(p, &e);

    CHECK(in == NULL, "not refused: %s", part);
    assert_contains(e.text, part);
    assert_int_equal(e.code, code);
    assert_null(inbox_new(p, NULL)); /* nobody asks why */
}

static void good_ones(void **state)
{
    struct inbox_params p = good();
    struct inbox_error e;
    struct inbox *in = inbox_new(&p, &e);
    struct inbox_counters c;
    char text[4096];

    (void)state;
    CHECK(in != NULL, "%s", e.text);
    assert_true(inbox_fd(in) >= 0);
    inbox_counters(in, &c, sizeof c);
    assert_int_equal(c.received, 0);
    assert_true(inbox_metrics_text(in, text, sizeof text) < sizeof text);
    assert_contains(text, "# TYPE inbox_events_handled_total counter\n"
                          "inbox_events_handled_total{consumer=\"billing\"} 0\n");
    assert_contains(text, "inbox_partitions{consumer=\"billing\"} 0\n");
    assert_true(inbox_metrics_text(in, text, 10) > 10);
    assert_int_equal(strlen(text), 9);
    inbox_stop(in);
    assert_int_equal(inbox_run(in, &e), 0);
    inbox_free(in);
    inbox_free(NULL);
}

static void missing_members(void **state)
{
    struct inbox_params p = good();
    char name[INBOX_CONSUMER_MAX + 2];
    static const char *const nothing[] = {NULL};
    static const struct inbox_property nameless = {NULL, "1"};

    (void)state;
    refused(NULL, INBOX_E_ARGUMENT, "size");
    p.size = 0;
    refused(&p, INBOX_E_ARGUMENT, "size");
    p.size = sizeof p + 8;
    refused(&p, INBOX_E_ARGUMENT, "newer");
    p = good();
    p.brokers = NULL;
    refused(&p, INBOX_E_ARGUMENT, "brokers");
    p = good();
    p.consumer = "";
    refused(&p, INBOX_E_ARGUMENT, "consumer");
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = '\0';
    p.consumer = name;
    refused(&p, INBOX_E_ARGUMENT, "201 bytes");
    p = good();
    p.handler = NULL;
    refused(&p, INBOX_E_ARGUMENT, "handler");
    p = good();
    p.topic_count = 0;
    refused(&p, INBOX_E_ARGUMENT, "topics");
    p.topics = nothing;
    p.topic_count = 1;
    refused(&p, INBOX_E_ARGUMENT, "topic");
    p = good();
    p.event_type_count = 1;
    refused(&p, INBOX_E_ARGUMENT, "list");
    p.event_types = nothing;
    refused(&p, INBOX_E_ARGUMENT, "event type");
    p = good();
    p.properties = &nameless;
    p.property_count = 1;
    refused(&p, INBOX_E_ARGUMENT, "property");
}

static void wrong_values(void **state)
{
    struct inbox_params p = good();
    static const char *const odd[] = {"no spaces"};
    char name[260];
    const char *long_topic[] = {name};

    (void)state;
    p.batch_size = -1;
    refused(&p, INBOX_E_ARGUMENT, "batch_size");
    p = good();
    p.budget_ms = 1000000000;
    refused(&p, INBOX_E_ARGUMENT, "budget_ms");
    p = good();
    p.topics = odd;
    refused(&p, INBOX_E_ARGUMENT, "no spaces");
    memset(name, 'x', sizeof name);
    name[247] = '\0';
    p.topics = long_topic;
    refused(&p, INBOX_E_ARGUMENT, "too long");
    p = good();
    p.dead_letter_topic = "orders";
    refused(&p, INBOX_E_ARGUMENT, "its own dead-letter topic");
    p.dead_letter_topic = "a b";
    refused(&p, INBOX_E_ARGUMENT, "a b");
    p = good();
    p.conninfo = "postgres://billing:geheim@[db/x";
    refused(&p, INBOX_E_CONFIG, "conninfo");
}

static void properties_that_weaken(void **state)
{
    static const struct inbox_property bad[] = {
        {"enable.auto.commit", "true"},
        {"enable.auto.commit", "T"},
        {"auto.commit.enable", "1"},
        {"enable.auto.offset.store", "true"},
        {"partition.assignment.strategy", "range,Cooperative-sticky"},
        {"group.id", "x"},
        {"bootstrap.servers", "x"},
        {"acks", "1"},
        {"no.such.thing", "1"},
        {"session.timeout.ms", "soon"},
    };
    static const struct inbox_property fine[] = {
        {"enable.auto.commit", "false"},
        {"auto.offset.reset", "latest"},
        {"partition.assignment.strategy", "roundrobin"},
        {"session.timeout.ms", "6000"},
    };
    struct inbox_params p = good();
    struct inbox_error e;
    struct inbox *in;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        p.properties = &bad[i];
        p.property_count = 1;
        refused(&p, INBOX_E_CONFIG, bad[i].name);
    }
    p.properties = fine;
    p.property_count = ARRAY_LEN(fine);
    in = inbox_new(&p, &e);
    CHECK(in != NULL, "%s", e.text);
    inbox_free(in);
}

/* ---- errors ---------------------------------------------------------------------------------- */

static void texts_are_clean(void **state)
{
    struct inbox_error e;

    (void)state;
    assert_int_equal(fault_set(&e, INBOX_E_KAFKA, "a\nb\tc\x01 %s\n", "\xff\xc3\xa9 \xc3"), -1);
    assert_string_equal(e.text, "a b c? ?\xc3\xa9 ?");
    assert_int_equal(e.code, INBOX_E_KAFKA);
    assert_int_equal(fault_set(NULL, INBOX_E_KAFKA, "x"), -1);
    assert_string_equal(inbox_code_name(INBOX_E_TOO_OLD), "too_old");
    assert_string_equal(inbox_code_name((enum inbox_code)99), "unknown");
}

static void sqlstates(void **state)
{
    (void)state;
    assert_int_equal(fault_sql_class("40001"), SQL_CONFLICT);
    assert_int_equal(fault_sql_class("40P01"), SQL_CONFLICT);
    assert_int_equal(fault_sql_class("40003"), SQL_STATEMENT);
    assert_int_equal(fault_sql_class("53100"), SQL_OUTAGE);
    assert_int_equal(fault_sql_class("57P01"), SQL_OUTAGE);
    assert_int_equal(fault_sql_class("57014"), SQL_STATEMENT);
    assert_int_equal(fault_sql_class("08006"), SQL_OUTAGE);
    assert_int_equal(fault_sql_class("25006"), SQL_OUTAGE);
    assert_int_equal(fault_sql_class("42P01"), SQL_SCHEMA);
    assert_int_equal(fault_sql_class("42501"), SQL_GRANTS);
    assert_int_equal(fault_sql_class("23505"), SQL_STATEMENT);
    assert_int_equal(fault_sql_class(NULL), SQL_OUTAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_ones),       cmocka_unit_test(missing_members),
        cmocka_unit_test(wrong_values),    cmocka_unit_test(properties_that_weaken),
        cmocka_unit_test(texts_are_clean), cmocka_unit_test(sqlstates),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
