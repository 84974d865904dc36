#include "sample.h"

#include <stdlib.h>
#include <string.h>

struct fixture {
    struct route_table routes;
    struct message m;
    struct event e;
    struct err err;
};

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);

    route_table_init(&f->routes);
    message_init(&f->m);
    f->e = sample_event();
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    route_table_release(&f->routes);
    message_release(&f->m);
    free(f);
    return 0;
}

static void build(struct fixture *f)
{
    if (message_build(&f->m, &f->routes, &f->e, &f->err) != 0)
        fail_msg("%s", f->err.text);
}

static void refused(struct fixture *f, const char *text)
{
    err_clear(&f->err);
    assert_int_equal(message_build(&f->m, &f->routes, &f->e, &f->err), -1);
    assert_int_equal(f->err.kind, ERR_CONFIG);
    assert_string_equal(f->err.text, text);
}

static void rename_field(char **field, const char *name)
{
    free(*field);
    *field = xstrdup(name);
}

static void check_own_headers(const struct message *m, const char *content_type)
{
    static const char *const names[] = {"event-id", "event-type", "event-time", "content-type"};

    assert_true(m->header_count >= 4);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        check_slice(m->headers[i].name, slice_of(names[i]), __FILE__, __LINE__);
        assert_int_equal(m->headers[i].name.ptr[m->headers[i].name.len], '\0');
    }
    assert_slice(m->headers[0].value, SAMPLE_ID);
    assert_slice(m->headers[1].value, "order.placed");
    assert_slice(m->headers[2].value, "2026-01-01T00:00:01.500Z");
    check_slice(m->headers[3].value, slice_of(content_type), __FILE__, __LINE__);
}

/* ---- values
 * ------------------------------------------------------------------------------------------------------
 */

static void an_envelope(void **state)
{
    struct fixture *f = *state;

    build(f);
    assert_slice(f->m.topic, "order-events");
    assert_int_equal(f->m.topic.ptr[f->m.topic.len], '\0');
    assert_slice(f->m.key, "order-1");
    assert_slice(f->m.value, "{\"eventId\":\"" SAMPLE_ID "\",\"eventType\":\"order.placed\","
                             "\"occurredAt\":\"2026-01-01T00:00:00Z\",\"version\":\"1.0\","
                             "\"payload\":{\"a\": 1}}");
    check_own_headers(&f->m, "application/json");
    assert_int_equal(f->m.header_count, 4);
    assert_int_equal(f->m.route, 0);
    assert_int_equal(f->m.created_at_us, f->e.created_at_us);
}

static void payload_bytes_untouched(void **state)
{
    static const char *const payloads[] = {
        "1",
        "null",
        "\"text\"",
        "[ 1,\n\t2 ]",
        "{\"b\":1,\"a\":2,\"a\":3}",
        "{\"n\":1.00e+5}",
        "{\"t\":\"\\u00eb \xc3\xab \\/ \xf0\x9f\x98\x80\"}",
        " {} ",
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(payloads); i++) {
        size_t len = strlen(payloads[i]);

        f->e.payload = slice_of(payloads[i]);
        build(f);
        assert_memory_equal(f->m.value.ptr + f->m.value.len - 1 - len, payloads[i], len);
        assert_memory_equal(f->m.value.ptr + f->m.value.len - 1 - len - 10, "\"payload\":", 10);
    }
}

static void names_and_texts_are_escaped(void **state)
{
    struct fixture *f = *state;
    struct envelope_fields *fields = &f->routes.routes[0].fields;

    rename_field(&fields->event_id, "id");
    rename_field(&fields->event_type, "the \"type\"");
    rename_field(&fields->occurred_at, "time");
    rename_field(&fields->version, "v\\");
    rename_field(&fields->payload, "data");
    f->e.event_type = SLICE_LIT("a\"b\\c\n\x01 \xc3\xab");
    f->e.event_version = SLICE_LIT("");
    build(f);
    assert_slice(f->m.value,
                 "{\"id\":\"" SAMPLE_ID "\","
                 "\"the \\\"type\\\"\":\"a\\\"b\\\\c\\n\\u0001 \xc3\xab\","
                 "\"time\":\"2026-01-01T00:00:00Z\",\"v\\\\\":\"\",\"data\":{\"a\": 1}}");
    assert_slice(f->m.headers[1].value, "a\"b\\c\n\x01 \xc3\xab"); /* the header as it is */
}

/* Columns that an adopted table may leave NULL. */
static void absent_columns(void **state)
{
    struct fixture *f = *state;

    f->e.event_type = (struct slice){0};
    f->e.event_version = (struct slice){0};
    f->e.aggregate_id = (struct slice){0};
    build(f);
    assert_slice(f->m.value, "{\"eventId\":\"" SAMPLE_ID "\",\"eventType\":null,"
                             "\"occurredAt\":\"2026-01-01T00:00:00Z\",\"version\":null,"
                             "\"payload\":{\"a\": 1}}");
    assert_slice_null(f->m.headers[1].value);
    assert_slice_null(f->m.key);
}

static void infinite_times(void **state)
{
    struct fixture *f = *state;

    f->e.occurred_at_us = EVENT_TIME_INFINITY;
    f->e.created_at_us = EVENT_TIME_MINUS_INFINITY;
    build(f);
    assert_non_null(strstr(f->m.value.ptr, "\"occurredAt\":\"9999-12-31T23:59:59.999999Z\""));
    assert_slice(f->m.headers[2].value, "0001-01-01T00:00:00Z");
}

static void tombstones(void **state)
{
    struct fixture *f = *state;
    struct route *raw = route_table_add(&f->routes);

    raw->match_event_type = xstrdup("raw");
    raw->format = FORMAT_RAW;
    f->e.payload = (struct slice){0};
    build(f);
    assert_slice_null(f->m.value);
    assert_slice(f->m.key, "order-1");
    check_own_headers(&f->m, "application/json");
    f->e.event_type = SLICE_LIT("raw");
    build(f);
    assert_int_equal(f->m.route, 1);
    assert_slice_null(f->m.value);
    assert_int_equal(f->m.header_count, 4);
    /* JSON's null is a value */
    f->e.payload = SLICE_LIT("null");
    build(f);
    assert_slice(f->m.value, "null");
}

static void raw_is_the_payload_alone(void **state)
{
    struct fixture *f = *state;

    f->routes.routes[0].format = FORMAT_RAW;
    build(f);
    assert_slice(f->m.value, "{\"a\": 1}");
    check_own_headers(&f->m, "application/json");
    f->e.content_type = SLICE_LIT("application/vnd.orders+json");
    build(f);
    check_own_headers(&f->m, "application/vnd.orders+json");
}

static void an_envelope_is_json_whatever_it_holds(void **state)
{
    struct fixture *f = *state;

    f->e.content_type = SLICE_LIT("application/vnd.orders+json");
    build(f);
    check_own_headers(&f->m, "application/json");
}

static void bytes_are_always_raw(void **state)
{
    struct fixture *f = *state;

    f->e.payload = (struct slice){0};
    f->e.payload_bytes = SLICE_LIT("\0\x01\xff{");
    build(f);
    assert_slice(f->m.value, "\0\x01\xff{");
    check_own_headers(&f->m, "application/octet-stream");
    f->e.content_type = SLICE_LIT("avro/binary");
    build(f);
    assert_slice(f->m.value, "\0\x01\xff{");
    check_own_headers(&f->m, "avro/binary");
    f->e.payload_bytes = SLICE_LIT(""); /* empty is not a tombstone */
    build(f);
    assert_slice(f->m.value, "");
}

/* ---- topic, key, route
 * ------------------------------------------------------------------------------------------- */

static void where_the_topic_comes_from(void **state)
{
    struct fixture *f = *state;
    struct route *r = route_table_add(&f->routes);

    r->match_aggregate_type = xstrdup("order");
    r->topic = xstrdup("{aggregate_type}.{event_type}.v2");
    build(f);
    assert_slice(f->m.topic, "order.order.placed.v2");
    assert_int_equal(f->m.route, 1);
    f->e.topic = SLICE_LIT("special");
    build(f);
    assert_slice(f->m.topic, "special");
    assert_int_equal(f->m.route, 1); /* the format is still the route's */
    f->e.topic = (struct slice){0};
    f->e.aggregate_type = SLICE_LIT("basket");
    build(f);
    assert_slice(f->m.topic, "basket-events");
    assert_int_equal(f->m.route, 0);
}

static void the_key(void **state)
{
    struct fixture *f = *state;

    f->e.partition_key = SLICE_LIT("customer-7");
    build(f);
    assert_slice(f->m.key, "customer-7");
    f->e.partition_key = SLICE_LIT("");
    build(f);
    assert_slice(f->m.key, "");
}

#define LEGAL "(1 to 249 of a-z A-Z 0-9 . _ -, and neither \".\" nor \"..\")"

static void illegal_topics(void **state)
{
    struct fixture *f = *state;
    struct route *r = route_table_add(&f->routes);

    free(r->name);
    r->name = xstrdup("orders");
    r->match_aggregate_type = xstrdup("order");
    r->topic = xstrdup("t.{event_type}");
    f->e.event_type = SLICE_LIT("order placed\n");
    refused(f,
            "topic \"t.order placed?\" of route \"orders\" is no legal name " LEGAL
            ": correct the route's topic \"t.{event_type}\", or give the event up and publish it "
            "anew");
    assert_int_equal(f->m.route, 1);
    assert_slice_null(f->m.topic);
    f->e.topic = SLICE_LIT("");
    refused(f, "topic \"\" in the row's column topic is no legal name " LEGAL
               ": give it up and publish it anew");
    f->e.topic = (struct slice){0};
    f->e.aggregate_type = SLICE_LIT("Bestellung \xc3\xbc");
    refused(f, "topic \"Bestellung ?\?-events\" is no legal name " LEGAL
               ": give a route with a topic to this aggregate_type");
}

static void topics_too_long(void **state)
{
    struct fixture *f = *state;
    char text[250];

    memset(text, 'x', sizeof text);
    f->e.topic = (struct slice){text, 249};
    build(f);
    f->e.topic.len = 250;
    assert_int_equal(message_build(&f->m, &f->routes, &f->e, &f->err), -1);
    assert_non_null(strstr(f->err.text, "xxx...\" in the row's column topic"));
    assert_true(strlen(f->err.text) < 300);
}

static void forbidden_topics(void **state)
{
    struct fixture *f = *state;

    route_table_allow(&f->routes, "payment-*");
    refused(
        f, "topic \"order-events\" is not among kafka.topics: add it there, or correct the routes");
    f->e.topic = SLICE_LIT("other");
    refused(f, "topic \"other\" is not among kafka.topics: add it there, or give the event up and "
               "publish it anew");
    f->e.topic = SLICE_LIT("payment-events");
    build(f);
}

/* ---- the rest
 * ----------------------------------------------------------------------------------------------------
 */

static void oversize(void **state)
{
    struct fixture *f = *state;

    f->e.oversize_bytes = 10485761;
    f->e.payload = (struct slice){0};
    refused(
        f,
        "the payload has 10485761 bytes, more than relay.max_event_bytes: raise that, or correct "
        "the row");
    assert_slice(f->m.topic, "order-events");
    assert_slice_null(f->m.value);
    assert_int_equal(f->m.header_count, 0);
}

static void bytes_that_the_window_counts(void **state)
{
    struct fixture *f = *state;
    size_t bare;

    build(f);
    /* names and values of the four headers: 8+36, 10+12, 10+24, 12+16 */
    assert_int_equal(f->m.bytes, MESSAGE_OVERHEAD_BYTES + 4 * HEADER_OVERHEAD_BYTES +
                                     strlen("order-1") + f->m.value.len + 44 + 22 + 34 + 28);
    bare = f->m.bytes;
    f->e.headers = SLICE_LIT("{\"abc\":\"defg\",\"n\":null}");
    build(f);
    assert_int_equal(f->m.bytes, bare + 2 * HEADER_OVERHEAD_BYTES + 7 + 1);
    f->e.payload = (struct slice){0};
    f->e.headers = (struct slice){0};
    build(f);
    assert_int_equal(f->m.bytes, MESSAGE_OVERHEAD_BYTES + 4 * HEADER_OVERHEAD_BYTES +
                                     strlen("order-1") + 44 + 22 + 34 + 28);
}

static void a_refusal_leaves_nothing_behind(void **state)
{
    struct fixture *f = *state;

    f->e.headers = SLICE_LIT("{\"a\":\"1\"");
    assert_int_equal(message_build(&f->m, &f->routes, &f->e, &f->err), -1);
    f->e.headers = SLICE_LIT("{\"b\":\"2\"}");
    build(f);
    assert_int_equal(f->m.header_count, 5);
    assert_slice(f->m.headers[4].name, "b");
    f->e.headers = (struct slice){0};
    build(f);
    an_envelope(state);
}

/* The same event gives the same bytes, whatever was built before, and in another struct. */
static void pure(void **state)
{
    struct fixture *f = *state;
    struct event big = sample_event();
    struct message other;
    struct str first = {0};
    char payload[5000];

    memset(payload, '1', sizeof payload);
    big.payload = (struct slice){payload, sizeof payload};
    big.headers = SLICE_LIT("{\"x\":\"long enough to move the buffer ....................\"}");
    f->e.headers = SLICE_LIT("{\"a\":\"1\",\"b\":[2]}");
    build(f);
    str_put_slice(&first, f->m.value);
    message_init(&other);
    assert_int_equal(message_build(&other, &f->routes, &big, &f->err), 0);
    assert_int_equal(message_build(&other, &f->routes, &f->e, &f->err), 0);
    assert_true(slice_eq(other.value, str_slice(&first)));
    assert_int_equal(message_build(&f->m, &f->routes, &big, &f->err), 0);
    build(f);
    assert_true(slice_eq(f->m.value, str_slice(&first)));
    assert_true(slice_eq(f->m.topic, other.topic) && slice_eq(f->m.key, other.key));
    assert_int_equal(f->m.header_count, other.header_count);
    for (size_t i = 0; i < other.header_count; i++) {
        assert_true(slice_eq(f->m.headers[i].name, other.headers[i].name));
        assert_true(slice_eq(f->m.headers[i].value, other.headers[i].value));
    }
    assert_int_equal(f->m.bytes, other.bytes);
    str_release(&first);
    message_release(&other);
}

/* What cannot become a message has an address all the same; it is the message's own. */
static void an_address(void **state)
{
    struct fixture *f = *state;

    message_address(&f->m, &f->routes, &f->e);
    assert_slice(f->m.topic, "order-events");
    assert_slice(f->m.key, "order-1");
    assert_int_equal(f->m.route, 0);
    route_table_allow(&f->routes, "others");
    f->e.partition_key = SLICE_LIT("");
    f->e.oversize_bytes = 1;
    f->e.headers = SLICE_LIT("[");
    message_address(&f->m, &f->routes, &f->e);
    assert_slice(f->m.topic, "order-events");
    assert_slice(f->m.key, "");
    f->e.topic = SLICE_LIT("not a topic");
    message_address(&f->m, &f->routes, &f->e);
    assert_slice_null(f->m.topic);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(an_envelope),
        T(payload_bytes_untouched),
        T(names_and_texts_are_escaped),
        T(absent_columns),
        T(infinite_times),
        T(tombstones),
        T(raw_is_the_payload_alone),
        T(an_envelope_is_json_whatever_it_holds),
        T(bytes_are_always_raw),
        T(where_the_topic_comes_from),
        T(the_key),
        T(illegal_topics),
        T(topics_too_long),
        T(forbidden_topics),
        T(oversize),
        T(bytes_that_the_window_counts),
        T(a_refusal_leaves_nothing_behind),
        T(an_address),
        T(pure),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
