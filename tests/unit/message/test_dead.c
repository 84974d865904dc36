#include "sample.h"

#include "message/dead.h"

#include <stdlib.h>
#include <string.h>

#define TEXT "the broker refuses it: Broker: Message size too large"

struct fixture {
    struct route_table routes;
    struct message m;
    struct event e;
    struct dead_letter d;
};

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);

    route_table_init(&f->routes);
    message_init(&f->m);
    f->e = sample_event();
    f->d = (struct dead_letter){
        .topic = "dead", .error_class = "message_too_large", .error_text = TEXT, .attempts = 3};
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

static struct slice header(const struct message *m, const char *name)
{
    for (size_t i = 0; i < m->header_count; i++)
        if (slice_is(m->headers[i].name, name))
            return m->headers[i].value;
    fail_msg("there is no header %s", name);
    return (struct slice){0};
}

static void bury(struct fixture *f)
{
    size_t bytes = MESSAGE_OVERHEAD_BYTES;

    message_bury(&f->m, &f->routes, &f->e, &f->d);
    assert_slice(f->m.topic, "dead");
    assert_int_equal(f->m.topic.ptr[f->m.topic.len], '\0');
    assert_slice(header(&f->m, "event-id"), SAMPLE_ID);
    assert_slice(header(&f->m, "event-type"), "order.placed");
    assert_slice(header(&f->m, "event-time"), "2026-01-01T00:00:01.500Z");
    assert_slice(header(&f->m, "dlt-timestamp"), "2026-01-01T00:00:01.500Z");
    assert_slice(header(&f->m, "dlt-error-class"), "message_too_large");
    assert_slice(header(&f->m, "dlt-error-text"), TEXT);
    assert_slice(f->m.headers[f->m.header_count - 1].name, "dlt-attempts");
    assert_true(f->m.header_count <= MESSAGE_MAX_HEADERS);
    for (size_t i = 0; i < f->m.header_count; i++) {
        assert_int_equal(f->m.headers[i].name.ptr[f->m.headers[i].name.len], '\0');
        bytes += HEADER_OVERHEAD_BYTES + f->m.headers[i].name.len + f->m.headers[i].value.len;
    }
    assert_int_equal(f->m.bytes, bytes + f->m.key.len + f->m.value.len);
    assert_int_equal(f->m.created_at_us, f->e.created_at_us);
}

/* What the broker refused: the very message, and the story behind its headers. */
static void refused_by_the_broker(void **state)
{
    struct fixture *f = *state;
    struct message same = {0};
    struct err err = {0};

    f->e.headers = SLICE_LIT("{\"tenant\": \"t1\", \"none\": null}");
    assert_int_equal(message_build(&same, &f->routes, &f->e, &err), 0);
    bury(f);
    check_slice(f->m.key, same.key, __FILE__, __LINE__);
    check_slice(f->m.value, same.value, __FILE__, __LINE__);
    assert_int_equal(f->m.header_count, same.header_count + DEAD_HEADERS);
    for (size_t i = 0; i < same.header_count; i++) {
        check_slice(f->m.headers[i].name, same.headers[i].name, __FILE__, __LINE__);
        check_slice(f->m.headers[i].value, same.headers[i].value, __FILE__, __LINE__);
    }
    assert_slice(header(&f->m, "dlt-topic"), "order-events");
    assert_slice(header(&f->m, "dlt-attempts"), "3");
    message_release(&same);
}

static void tombstone_stays_one(void **state)
{
    struct fixture *f = *state;

    f->e.payload = (struct slice){0};
    bury(f);
    assert_slice_null(f->m.value);
}

static void topic_that_is_no_name(void **state)
{
    struct fixture *f = *state;

    f->e.topic = SLICE_LIT("no blanks");
    bury(f);
    assert_slice_null(header(&f->m, "dlt-topic"));
    assert_slice(f->m.value, "{\"a\": 1}"); /* as it is: nobody said that it could be sent */
    assert_slice(f->m.key, "order-1");
    assert_slice(header(&f->m, "content-type"), "application/json");
}

static void topic_that_is_not_allowed(void **state)
{
    struct fixture *f = *state;

    route_table_allow(&f->routes, "others");
    bury(f);
    assert_slice(header(&f->m, "dlt-topic"), "order-events");
    assert_slice(f->m.value, "{\"a\": 1}");
}

static void oversize_has_no_value(void **state)
{
    struct fixture *f = *state;

    f->e.payload = (struct slice){0};
    f->e.oversize_bytes = INT64_C(5000000000);
    f->e.headers = SLICE_LIT("{\"tenant\": \"t1\"}");
    f->d.attempts = UINT32_MAX;
    bury(f);
    assert_slice_null(f->m.value);
    assert_int_equal(f->m.header_count, MESSAGE_OWN_HEADERS + DEAD_HEADERS);
    assert_slice(header(&f->m, "dlt-attempts"), "4294967295");
}

static void bad_headers_are_left_out(void **state)
{
    static const char *const bad[] = {"[1]", "{\"a\": \"b\", \"c\"", "{\"a\\u0000\": 1}"};
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        f->e.headers = slice_of(bad[i]);
        bury(f);
        assert_int_equal(f->m.header_count, MESSAGE_OWN_HEADERS + DEAD_HEADERS);
    }
    f->e.payload_bytes = SLICE_LIT("\x01\x02");
    bury(f);
    assert_slice(f->m.value, "\x01\x02");
    assert_slice(header(&f->m, "content-type"), "application/octet-stream");
}

/* All that a message may have, and the story: the last ones of the row go. */
static void many_headers(void **state)
{
    struct fixture *f = *state;
    struct str json = {0};
    const int most = MESSAGE_MAX_HEADERS - MESSAGE_OWN_HEADERS;

    for (int count = most - DEAD_HEADERS; count <= most + 1; count++) {
        str_reset(&json);
        for (int i = 0; i < count; i++)
            str_printf(&json, "%s\"h%d\": \"value %d\"", i == 0 ? "{" : ",", i, i);
        str_puts(&json, "}");
        f->e.headers = str_slice(&json);
        bury(f);
        assert_int_equal(f->m.header_count,
                         count <= most ? MESSAGE_MAX_HEADERS : MESSAGE_OWN_HEADERS + DEAD_HEADERS);
        if (count <= most)
            assert_slice(header(&f->m, "h54"), "value 54");
    }
    str_release(&json);
}

/* The buffers hold what came before; none of it is left, and slices stay good. */
static void used_again_and_again(void **state)
{
    struct fixture *f = *state;
    struct str big = {0};
    struct err err = {0};

    str_puts(&big, "{\"h\": \"");
    for (int len = 1; len < 20000; len *= 3) {
        for (int i = 0; i < len; i++)
            str_put_char(&big, 'x');
        str_puts(&big, "\"}");
        f->e.headers = str_slice(&big);
        bury(f);
        assert_int_equal(header(&f->m, "h").len, big.len - strlen("{\"h\": \"\"}"));
        big.len -= 2;
        f->e.headers = (struct slice){0};
        assert_int_equal(message_build(&f->m, &f->routes, &f->e, &err), 0);
        assert_slice(f->m.topic, "order-events");
        assert_int_equal(f->m.header_count, MESSAGE_OWN_HEADERS);
    }
    str_release(&big);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(refused_by_the_broker, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tombstone_stays_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(topic_that_is_no_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(topic_that_is_not_allowed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(oversize_has_no_value, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bad_headers_are_left_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_headers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(used_again_and_again, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("dead", tests, NULL, NULL);
}
