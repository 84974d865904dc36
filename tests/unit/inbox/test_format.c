/* Records of all formats, told and found. */
#include "../../support/check.h"

#include "inbox/format.h"

static struct format_reader reader;
static rd_kafka_headers_t *headers;
static struct content got;
static const char *why;

static int start(void **state)
{
    (void)state;
    headers = rd_kafka_headers_new(8);
    return 0;
}

static int end(void **state)
{
    (void)state;
    rd_kafka_headers_destroy(headers);
    format_reader_release(&reader);
    return 0;
}

static void header(const char *name, const char *value)
{
    assert_int_equal(rd_kafka_header_add(headers, name, -1, value, -1), 0);
}

static int read_as(enum inbox_format format, const char *value)
{
    const struct record r = {
        .value = slice_of(value), .headers = headers, .timestamp_ms = 1767225600000};

    why = NULL;
    return format_read(&reader, format, &r, &got, &why);
}

static void check(struct slice is, const char *wanted)
{
    CHECK(slice_eq(is, slice_of(wanted)), "got %.*s, wanted %s", (int)is.len,
          is.ptr == NULL ? "" : is.ptr, wanted == NULL ? "(null)" : wanted);
}

#define ENVELOPE                                                                                   \
    "{\"eventId\":\"e-1\",\"eventType\":\"order.paid\",\"occurredAt\":\"2026-01-01T00:00:00Z\","   \
    "\"version\":\"1.0\",\"payload\":{\"a\": [1,  2]}}"

static void envelope(void **state)
{
    const enum inbox_format formats[] = {INBOX_FORMAT_AUTO, INBOX_FORMAT_ENVELOPE};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        assert_int_equal(read_as(formats[i], ENVELOPE), 0);
        check(got.id, "e-1");
        check(got.type, "order.paid");
        check(got.time, "2026-01-01T00:00:00Z");
        check(got.payload, "{\"a\": [1,  2]}"); /* its bytes untouched */
        check(got.source, NULL);
        assert_int_equal(got.written_us, 1767225600000000);
    }
}

static void envelope_with_other_names_and_order(void **state)
{
    (void)state;
    header("event-id", "from-the-header");
    assert_int_equal(
        read_as(INBOX_FORMAT_AUTO,
                " { \"payload\" : \"p\" , \"type\" : \"t\\u00e9\" , \"x\":{\"eventId\":1},"
                "\"event\\u0049d\" : \"e\\n2\" } "),
        0);
    check(got.id, "e\n2");
    check(got.type, "t\xc3\xa9");
    check(got.payload, "\"p\"");
}

static void envelope_without_an_id_takes_the_header(void **state)
{
    (void)state;
    header("event-id", "h-1");
    header("event-type", "order.paid");
    assert_int_equal(read_as(INBOX_FORMAT_ENVELOPE, "{\"payload\":null}"), 0);
    check(got.id, "h-1");
    check(got.type, "order.paid");
    check(got.payload, NULL);
    assert_int_equal(read_as(INBOX_FORMAT_ENVELOPE, NULL), 0); /* its tombstone */
    check(got.id, "h-1");
}

static void number_as_id(void **state)
{
    (void)state;
    assert_int_equal(read_as(INBOX_FORMAT_AUTO, "{\"eventId\":4711,\"payload\":{}}"), 0);
    check(got.id, "4711");
}

static void raw(void **state)
{
    (void)state;
    header("event-id", "r-1");
    header("event-type", "order.paid");
    header("event-time", "2025-01-01T00:00:00Z");
    assert_int_equal(read_as(INBOX_FORMAT_AUTO, "{\"a\":1}"), 0);
    check(got.id, "r-1");
    check(got.type, "order.paid");
    check(got.payload, "{\"a\":1}");
    assert_int_equal(got.written_us, 1735689600000000);
    assert_int_equal(read_as(INBOX_FORMAT_RAW, ENVELOPE), 0);
    check(got.id, "r-1");
    check(got.payload, ENVELOPE);
    assert_int_equal(read_as(INBOX_FORMAT_AUTO, NULL), 0);
    check(got.payload, NULL);
    assert_int_equal(read_as(INBOX_FORMAT_AUTO, "\x00\x01"), 0);
}

static void debezium(void **state)
{
    (void)state;
    header("id", "d-1");
    header("eventType", "order.paid");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(read_as(i == 0 ? INBOX_FORMAT_AUTO : INBOX_FORMAT_DEBEZIUM, "{\"a\": 1}"),
                         0);
        check(got.id, "d-1");
        check(got.type, "order.paid");
        check(got.payload, "{\"a\": 1}");
    }
}

static void cloud_event_in_headers(void **state)
{
    (void)state;
    header("ce_specversion", "1.0");
    header("ce_id", "c-1");
    header("ce_source", "/orders");
    header("ce_type", "order.paid");
    header("ce_time", "2026-01-01T00:00:00Z");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(read_as(i == 0 ? INBOX_FORMAT_AUTO : INBOX_FORMAT_CLOUDEVENTS, ENVELOPE),
                         0);
        check(got.id, "c-1");
        check(got.source, "/orders");
        check(got.type, "order.paid");
        check(got.time, "2026-01-01T00:00:00Z");
        check(got.payload, ENVELOPE);
    }
}

static void cloud_event_as_one_object(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(read_as(i == 0 ? INBOX_FORMAT_AUTO : INBOX_FORMAT_CLOUDEVENTS,
                                 "{\"specversion\":\"1.0\",\"id\":\"c-2\",\"source\":\"/o\","
                                 "\"type\":\"t\",\"data\":{\"a\":1}}"),
                         0);
        check(got.id, "c-2");
        check(got.source, "/o");
        check(got.payload, "{\"a\":1}");
    }
}

static void what_is_no_event(void **state)
{
    static const char *const values[] = {"",
                                         "{",
                                         "null",
                                         "[]",
                                         "\"eventId\"",
                                         "{\"payload\":{}}",
                                         "{\"eventId\":null,\"payload\":{}}",
                                         "{\"eventId\":\"\",\"payload\":{}}",
                                         "{\"eventId\":{\"a\":1},\"payload\":{}}",
                                         "{\"eventId\":\"e\",\"payload\":{}",
                                         "{\"eventId\":\"e\",\"payload\":{}} x",
                                         "{\"eventId\":\"e\" \"payload\":{}}",
                                         "\xff\xfe\x00"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        CHECK(read_as(INBOX_FORMAT_AUTO, values[i]) == -1, "%s", values[i]);
        assert_non_null(why);
    }
    assert_int_equal(read_as(INBOX_FORMAT_AUTO, NULL), -1);
    assert_int_equal(read_as(INBOX_FORMAT_RAW, "x"), -1);
    assert_contains(why, "missing");
    assert_int_equal(read_as(INBOX_FORMAT_DEBEZIUM, "x"), -1);
    assert_int_equal(read_as(INBOX_FORMAT_CLOUDEVENTS, "x"), -1);
    assert_int_equal(read_as(INBOX_FORMAT_ENVELOPE, "x"), -1);
    assert_contains(why, "no JSON object");
}

static void deep_values_are_no_trouble(void **state)
{
    char deep[4096];

    (void)state;
    memset(deep, '[', sizeof deep);
    deep[sizeof deep - 1] = '\0';
    memcpy(deep, "{\"eventId\":\"e\",\"payload\":", 25);
    assert_int_equal(read_as(INBOX_FORMAT_AUTO, deep), -1);
}

static void times_and_replay(void **state)
{
    struct record r = {.headers = headers, .timestamp_ms = -1};

    (void)state;
    header("event-id", "r");
    header("event-time", "yesterday");
    header("outboxd-replay", "1");
    assert_int_equal(format_read(&reader, INBOX_FORMAT_RAW, &r, &got, &why), 0);
    assert_true(got.written_us == WHEN_UNKNOWN);
    assert_true(got.replay);
    r.timestamp_ms = 5;
    assert_int_equal(format_read(&reader, INBOX_FORMAT_RAW, &r, &got, &why), 0);
    assert_int_equal(got.written_us, 5000);
}

static void null_header_is_none(void **state)
{
    (void)state;
    assert_int_equal(rd_kafka_header_add(headers, "event-id", -1, NULL, 0), 0);
    assert_int_equal(read_as(INBOX_FORMAT_RAW, "x"), -1);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, start, end)
    const struct CMUnitTest tests[] = {
        T(envelope),
        T(envelope_with_other_names_and_order),
        T(envelope_without_an_id_takes_the_header),
        T(number_as_id),
        T(raw),
        T(debezium),
        T(cloud_event_in_headers),
        T(cloud_event_as_one_object),
        T(what_is_no_event),
        T(deep_values_are_no_trouble),
        T(times_and_replay),
        T(null_header_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
