/* The row's own headers, through message_build: what a consumer sees behind ours. */
#include "sample.h"

#include <stdlib.h>
#include <string.h>

static struct route_table routes;
static struct message m;

static int set_up(void **state)
{
    (void)state;
    route_table_init(&routes);
    message_init(&m);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    route_table_release(&routes);
    message_release(&m);
    return 0;
}

static int build(struct slice json, struct err *err)
{
    struct event e = sample_event();

    e.headers = json;
    return message_build(&m, &routes, &e, err);
}

/* The row's own headers as "name=value;", null as "name;". */
static struct slice own(struct slice json)
{
    static struct str text;
    struct err err = {0};

    if (build(json, &err) != 0)
        fail_msg("%s", err.text);
    str_reset(&text);
    for (size_t i = MESSAGE_OWN_HEADERS; i < m.header_count; i++) {
        assert_int_equal(m.headers[i].name.ptr[m.headers[i].name.len], '\0');
        str_put_slice(&text, m.headers[i].name);
        if (m.headers[i].value.ptr != NULL) {
            str_puts(&text, "=");
            str_put_slice(&text, m.headers[i].value);
        }
        str_puts(&text, ";");
    }
    str_put_char(&text, '\0');
    text.len--;
    return str_slice(&text);
}

#define assert_own(json, want) assert_slice(own(SLICE_LIT(json)), want)

static void none(void **state)
{
    (void)state;
    assert_slice(own((struct slice){0}), "");
    assert_own("{}", "");
    assert_own(" \n{ \t}\r ", "");
    assert_own("null", "");
    assert_own(" null\n", "");
    assert_int_equal(m.header_count, MESSAGE_OWN_HEADERS);
}

static void strings_byte_for_byte(void **state)
{
    (void)state;
    assert_own("{\"traceparent\":\"00-0af7-b7ad-01\"}", "traceparent=00-0af7-b7ad-01;");
    assert_own("{\"b\": \"2\", \"a\" :\"1\"}", "b=2;a=1;"); /* in the row's order */
    assert_own("{\"empty\":\"\",\"\":\"nameless\"}", "empty=;=nameless;");
    assert_own("{\"a\":\"Zo\xc3\xab \xe2\x98\x83 \xf0\x9f\x98\x80\"}",
               "a=Zo\xc3\xab \xe2\x98\x83 \xf0\x9f\x98\x80;");
    assert_own("{\"a\":\"q\\\"b\\\\s\\/b\\bf\\fn\\nr\\rt\\t\"}", "a=q\"b\\s/b\bf\fn\nr\rt\t;");
    assert_own("{\"a\":\"\\u0041\\u00eb\\u2603\\ud83d\\uDE00\"}",
               "a=A\xc3\xab\xe2\x98\x83\xf0\x9f\x98\x80;");
    assert_own("{\"\\u0061\\n\":\"x\"}", "a\n=x;");
    assert_own("{\"a\":\"x\\u0000y\"}", "a=x\0y;"); /* a value may hold a NUL */
    assert_own("{\"a\":\" { [ ] } , : \"}", "a= { [ ] } , : ;");
    assert_own("{\"a\":\"null\"}", "a=null;");
    assert_own("{\"a\":\"\x7f\"}", "a=\x7f;");
}

static void the_rest_as_compact_json(void **state)
{
    (void)state;
    assert_own("{\"a\":null,\"b\":true,\"c\":false}", "a;b=true;c=false;");
    assert_own("{\"a\":1,\"b\":-0.50,\"c\":1e400,\"d\":0}", "a=1;b=-0.50;c=1e400;d=0;");
    assert_own("{\"big\":123456789012345678901234567890.10}",
               "big=123456789012345678901234567890.10;");
    assert_own("{\"a\": [ 1 , \"x y\" , { } , [ ] , null ] }", "a=[1,\"x y\",{},[],null];");
    assert_own("{\"a\": { \"b\" : { \"c\\u0041\" : [ { \"d\" : 1 } , 2 ] } , \"e\" : \"\\n\" } }",
               "a={\"b\":{\"c\\u0041\":[{\"d\":1},2]},\"e\":\"\\n\"};");
    assert_own("{\"a\":[[[[1]]]],\"b\":2}", "a=[[[[1]]]];b=2;");
}

static void names_twice_come_twice(void **state)
{
    (void)state;
    assert_own("{\"a\":\"1\",\"b\":\"2\",\"a\":\"3\"}", "a=1;b=2;a=3;");
}

static void ours_stand(void **state)
{
    (void)state;
    assert_own("{\"event-id\":\"forged\",\"a\":\"1\",\"event-type\":{\"x\":1},\"event-time\":null,"
               "\"content-type\":\"text/plain\",\"b\":\"2\"}",
               "a=1;b=2;");
    assert_slice(m.headers[0].name, "event-id");
    assert_slice(m.headers[0].value, SAMPLE_ID);
    assert_slice(m.headers[1].name, "event-type");
    assert_slice(m.headers[1].value, "order.placed");
    assert_slice(m.headers[2].name, "event-time");
    assert_slice(m.headers[2].value, "2026-01-01T00:00:01.500Z");
    assert_slice(m.headers[3].name, "content-type");
    assert_slice(m.headers[3].value, "application/json");
    /* names are case-sensitive in Kafka, and only the whole name counts */
    assert_own("{\"Event-Id\":\"1\",\"event-i\":\"2\",\"event-idx\":\"3\"}",
               "Event-Id=1;event-i=2;event-idx=3;");
}

static const char *const no_objects[] = {
    "",
    " ",
    "[]",
    "[1]",
    "1",
    "true",
    "\"a\"",
    "nul",
    "nullx",
    "null null",
    "{",
    "}",
    "{]",
    "{,}",
    "{\"a\"}",
    "{\"a\":}",
    "{\"a\":1,}",
    "{,\"a\":1}",
    "{\"a\":1 \"b\":2}",
    "{\"a\":1}}",
    "{\"a\":1}x",
    "{\"a\" \"b\"}",
    "{a:1}",
    "{'a':1}",
    "{1:2}",
    "{\"a\":\"}",
    "{\"a\":\"\\",
    "{\"a\":\"\\\"}",
    "{\"a\":\"\\x\"}",
    "{\"a\":\"\\u12\"}",
    "{\"a\":\"\\u12g4\"}",
    "{\"a\":\"\n\"}",
    "{\"a\n\":1}",
    "{\"a\":01}",
    "{\"a\":+1}",
    "{\"a\":1.}",
    "{\"a\":.5}",
    "{\"a\":1e}",
    "{\"a\":1e+}",
    "{\"a\":-}",
    "{\"a\":--1}",
    "{\"a\":NaN}",
    "{\"a\":tru}",
    "{\"a\":True}",
    "{\"a\":[}",
    "{\"a\":[1,]}",
    "{\"a\":[,1]}",
    "{\"a\":[1}}",
    "{\"a\":{]}}",
    "{\"a\":{\"b\"}}",
    "{\"a\":{\"b\":}}",
    "{\"a\":{1:2}}",
    "{\"a\":[\"\\q\"]}",
    "{\"a\":[\"\\u00\"]}",
    "{\"a\":[\"\x01\"]}",
    "{\"a\":[\"",
    "{\"a\":[\"\\",
    /* half a surrogate pair has no UTF-8 */
    "{\"a\":\"\\ud83d\"}",
    "{\"a\":\"\\ude00\"}",
    "{\"a\":\"\\udc00\"}",
    "{\"a\":\"\\udfff\"}",
    "{\"a\":\"\x1f\"}",
    "{\"a\":\"\\ud83dx\"}",
    "{\"a\":\"\\ud83d\\n\"}",
    "{\"a\":\"\\ud83d\\ud83d\"}",
    "{\"a\":\"\\ud83d\\u\"}",
    /* a name with a NUL would be cut */
    "{\"a\\u0000b\":1}",
};

static void no_object(void **state)
{
    struct err err = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(no_objects); i++) {
        err_clear(&err);
        if (build(slice_of(no_objects[i]), &err) != -1)
            fail_msg("accepted: %s", no_objects[i]);
        assert_int_equal(err.kind, ERR_CONFIG);
        assert_non_null(strstr(err.text, "row's headers"));
        assert_non_null(strstr(err.text, "correct the row"));
    }
}

static void every_prefix_is_refused(void **state)
{
    const char text[] =
        "{\"a\\u00eb\\ud83d\\ude00\":\"x\\n\",\"b\":[1.5e+3,{\"c\":null,\"d\":{}}]}";
    struct err err = {0};

    (void)state;
    assert_int_equal(build(SLICE_LIT(text), &err), 0);
    for (size_t len = 0; len < sizeof text - 1; len++) {
        char *copy = xstrndup(text, len); /* its own memory: a read beyond it is found by ASan */
        int rc = build((struct slice){copy, len}, &err);

        free(copy);
        assert_int_equal(rc, -1);
    }
}

static void deep_nesting_ends_somewhere(void **state)
{
    struct str json = {0};
    struct err err = {0};

    (void)state;
    for (int depth = 512; depth <= 513; depth++) {
        str_set(&json, "{\"a\":");
        for (int i = 0; i < depth; i++)
            str_put_char(&json, '[');
        for (int i = 0; i < depth; i++)
            str_put_char(&json, ']');
        str_put_char(&json, '}');
        assert_int_equal(build(str_slice(&json), &err), depth == 512 ? 0 : -1);
    }
    str_release(&json);
}

static void sixty_and_no_more(void **state)
{
    struct str json = {0};
    struct err err = {0};

    (void)state;
    for (int count = 60; count <= 61; count++) {
        str_set(&json, "{\"event-id\":\"not counted\"");
        for (int i = 0; i < count; i++)
            str_printf(&json, ",\"header-%d\":\"secret-%d\"", i, i);
        str_puts(&json, "}");
        if (count == 60) {
            assert_int_equal(build(str_slice(&json), &err), 0);
            assert_int_equal(m.header_count, 64);
            assert_slice(m.headers[4].name, "header-0");
            assert_slice(m.headers[63].name, "header-59");
            assert_slice(m.headers[63].value, "secret-59");
        } else {
            assert_int_equal(build(str_slice(&json), &err), -1);
            assert_string_equal(err.text,
                                "the row has more than 60 headers of its own: correct the row");
        }
    }
    str_release(&json);
}

static void errors_hold_no_values(void **state)
{
    struct err err = {0};

    (void)state;
    assert_int_equal(build(SLICE_LIT("{\"token\":\"hunter2\",}"), &err), -1);
    assert_string_equal(err.text,
                        "the row's headers are no JSON object that can be sent (byte 19 of "
                        "20): correct the row");
    assert_int_equal(build(SLICE_LIT("{\"hunter2\\u0000\":1}"), &err), -1);
    assert_string_equal(
        err.text, "a name among the row's headers holds a NUL (byte 16 of 19): correct the row");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(none),
        cmocka_unit_test(strings_byte_for_byte),
        cmocka_unit_test(the_rest_as_compact_json),
        cmocka_unit_test(names_twice_come_twice),
        cmocka_unit_test(ours_stand),
        cmocka_unit_test(no_object),
        cmocka_unit_test(every_prefix_is_refused),
        cmocka_unit_test(deep_nesting_ends_somewhere),
        cmocka_unit_test(sixty_and_no_more),
        cmocka_unit_test(errors_hold_no_values),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
