/* Decoding of binary rows, and the texts that are filled in: all columns, NULLs, the ends of the
 * value ranges, and every stream that is cut short. */
#include "../../support/check.h"

#include "outbox/rows.h"
#include "outbox/sql_fill.h"

#include <stdlib.h>

#define DAY_US INT64_C(86400000000)

static void put_int(struct str *s, uint64_t v, int bytes)
{
    while (bytes-- > 0)
        str_put_char(s, (char)(v >> (8 * bytes)));
}

static void put_field(struct str *s, const void *data, size_t len)
{
    put_int(s, len, 4);
    str_put(s, data, len);
}

static void put_number(struct str *s, int64_t v)
{
    put_int(s, 8, 4);
    put_int(s, (uint64_t)v, 8);
}

static void put_text(struct str *s, const char *text)
{
    if (text == NULL)
        put_int(s, UINT32_MAX, 4);
    else
        put_field(s, text, strlen(text));
}

static void put_header(struct str *s)
{
    str_put(s, "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19);
}

struct row {
    int64_t id;
    const char *payload, *payload_bytes, *content_type, *headers, *topic, *partition_key;
    int64_t occurred_at, created_at, oversize;
};

static void put_row(struct str *s, const struct row *r)
{
    put_int(s, ROW_COLUMNS, 2);
    put_number(s, r->id);
    put_field(s, "\x01\x23\x45\x67\x89\xab\xcd\xef\xfe\xdc\xba\x98\x76\x54\x32\x10", 16);
    put_text(s, "order");
    put_text(s, "");
    put_text(s, "order.placed");
    put_text(s, "1.0");
    put_text(s, r->payload);
    put_text(s, r->payload_bytes);
    put_text(s, r->content_type);
    put_text(s, r->headers);
    put_text(s, r->topic);
    put_text(s, r->partition_key);
    put_number(s, r->occurred_at);
    put_number(s, r->created_at);
    put_number(s, r->oversize);
}

static int next(struct copy_stream *stream, const struct str *s, size_t *used, struct event *e,
                struct err *err)
{
    struct slice piece = {s->data + *used, s->len - *used};
    int got = copy_stream_next(stream, &piece, e, err);

    *used = s->len - piece.len;
    return got;
}

static void test_all_columns(void **state)
{
    struct str s = {0};
    struct copy_stream stream;
    struct event e;
    struct err err;
    size_t used = 0;
    char id[EVENT_ID_TEXT];

    (void)state;
    put_header(&s);
    put_row(&s, &(struct row){7, "{\"a\": 1}", NULL, "", NULL, "t", "k", 0, DAY_US, 0});
    put_row(&s, &(struct row){INT64_MAX, NULL, "\xff", "application/avro", "{}", NULL, "", -DAY_US,
                              1, 99});
    copy_stream_init(&stream);
    assert_int_equal(next(&stream, &s, &used, &e, &err), 1);
    assert_int_equal(e.id, 7);
    event_id_text(e.event_id, id);
    assert_string_equal(id, "01234567-89ab-cdef-fedc-ba9876543210");
    assert_true(slice_is(e.aggregate_type, "order"));
    assert_non_null(e.aggregate_id.ptr); /* empty is not NULL */
    assert_int_equal(e.aggregate_id.len, 0);
    assert_true(slice_is(e.event_type, "order.placed"));
    assert_true(slice_is(e.event_version, "1.0"));
    assert_true(slice_is(e.payload, "{\"a\": 1}"));
    assert_null(e.payload_bytes.ptr);
    assert_non_null(e.content_type.ptr);
    assert_null(e.headers.ptr);
    assert_true(slice_is(e.topic, "t"));
    assert_true(slice_is(e.partition_key, "k"));
    assert_int_equal(e.occurred_at_us, INT64_C(946684800000000)); /* 2000-01-01 */
    assert_int_equal(e.created_at_us, INT64_C(946684800000000) + DAY_US);
    assert_int_equal(e.oversize_bytes, 0);

    assert_int_equal(next(&stream, &s, &used, &e, &err), 1);
    assert_int_equal(e.id, INT64_MAX);
    assert_null(e.payload.ptr);
    assert_true(slice_is(e.payload_bytes, "\xff"));
    assert_true(slice_is(e.headers, "{}"));
    assert_null(e.topic.ptr);
    assert_non_null(e.partition_key.ptr);
    assert_int_equal(e.occurred_at_us, INT64_C(946684800000000) - DAY_US);
    assert_int_equal(e.oversize_bytes, 99);
    assert_int_equal(next(&stream, &s, &used, &e, &err), 0);
    assert_false(stream.ended);
    str_release(&s);
}

static void test_times(void **state)
{
    static const struct {
        int64_t since_2000, since_1970;
    } cases[] = {
        {INT64_MAX, INT64_MAX}, /* infinity */
        {INT64_MIN, INT64_MIN}, /* -infinity */
        {INT64_MAX - 1, INT64_MAX},
        {INT64_C(-946684800000000), 0},
        {INT64_C(9223371331200000000) - 1,
         INT64_MAX}, /* the latest that Postgres knows is beyond ours */
        {-1, INT64_C(946684799999999)},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str s = {0};
        struct copy_stream stream;
        struct event e;
        struct err err;
        size_t used = 0;

        put_header(&s);
        put_row(&s, &(struct row){.id = 1, .occurred_at = cases[i].since_2000, .created_at = 0});
        copy_stream_init(&stream);
        assert_int_equal(next(&stream, &s, &used, &e, &err), 1);
        assert_true(e.occurred_at_us == cases[i].since_1970);
        str_release(&s);
    }
}

static void test_end_of_stream(void **state)
{
    struct str s = {0};
    struct copy_stream stream;
    struct event e;
    struct err err;
    size_t used = 0;

    (void)state;
    put_header(&s);
    put_int(&s, UINT16_MAX, 2);
    copy_stream_init(&stream);
    assert_int_equal(next(&stream, &s, &used, &e, &err), 0);
    assert_true(stream.ended);
    str_put_char(&s, 'x');
    assert_int_equal(next(&stream, &s, &used, &e, &err), -1);
    str_release(&s);
}

/* Every proper prefix is an error, or says that there is nothing; never an event. */
static void test_cut_short(void **state)
{
    struct str s = {0};

    (void)state;
    put_header(&s);
    put_row(&s, &(struct row){.id = 1, .payload = "{}", .topic = "t"});
    for (size_t len = 0; len < s.len; len++) {
        char *copy = malloc(len + 1); /* of exactly that size, for the address sanitizer */
        struct slice piece;
        struct copy_stream stream;
        struct event e;
        struct err err;

        assert_non_null(copy);
        memcpy(copy, s.data, len);
        piece = (struct slice){copy, len};
        copy_stream_init(&stream);
        assert_int_equal(copy_stream_next(&stream, &piece, &e, &err), len == 19 ? 0 : -1);
        free(copy);
    }
    str_release(&s);
}

/* Rows of another shape, as the kept log's with one column more. */
static void test_fields(void **state)
{
    struct str s = {0};
    struct copy_stream stream;
    struct slice piece;
    struct slice fields[2];
    struct err err;

    (void)state;
    str_put(&s, "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19);
    str_put(&s, "\0\2\0\0\0\1x\377\377\377\377", 11);
    piece = str_slice(&s);
    copy_stream_init(&stream);
    assert_int_equal(copy_stream_fields(&stream, &piece, fields, 2, &err), 1);
    assert_true(slice_is(fields[0], "x"));
    assert_null(fields[1].ptr);
    assert_int_equal(copy_stream_fields(&stream, &piece, fields, 2, &err), 0);
    piece = str_slice(&s);
    copy_stream_init(&stream);
    assert_int_equal(copy_stream_fields(&stream, &piece, fields, 1, &err), -1);
    assert_string_equal(err.text, "COPY stream: 2 columns, expected 1");
    str_release(&s);
}

static void test_wrong_form(void **state)
{
    struct slice fields[ROW_COLUMNS] = {{0}};
    struct event e;
    struct err err;

    (void)state;
    for (int c = 0; c < ROW_COLUMNS; c++)
        fields[c] = (struct slice){"12345678", 8};
    fields[ROW_EVENT_ID] = (struct slice){"1234567812345678", 16};
    assert_int_equal(row_to_event(fields, &e, &err), 0);
    for (int c = 0; c < ROW_COLUMNS; c++) {
        struct slice good = fields[c];
        bool may_be_null = c >= ROW_PAYLOAD && c <= ROW_PARTITION_KEY;

        fields[c] = (struct slice){NULL, 0};
        assert_int_equal(row_to_event(fields, &e, &err), may_be_null ? 0 : -1);
        if (!may_be_null)
            assert_int_equal(err.kind, ERR_SOFTWARE);
        fields[c] = good;
    }
    fields[ROW_ID].len = 4;
    assert_int_equal(row_to_event(fields, &e, &err), -1);
}

static void test_quoting(void **state)
{
    struct str s = {0};

    (void)state;
    sql_put_quoted(&s, "it's");
    assert_string_equal(s.data, "'it''s'");
    str_reset(&s);
    sql_put_quoted(&s, "a\\'; DROP TABLE x; --");
    assert_string_equal(s.data, " E'a\\\\''; DROP TABLE x; --'");
    str_release(&s);
}

static void test_snapshots(void **state)
{
    static const char *const bad[] = {
        "", ":", "1", "1:2", "1::", ":2:", "1:2:x", "1:2:3,", "1:2:,3", "1:2:3'", "a:2:", "1:2: "};
    struct slice xmax;
    bool has_xip;

    (void)state;
    assert_true(sql_snapshot_parse("10:20:", &xmax, &has_xip));
    assert_true(slice_is(xmax, "20"));
    assert_false(has_xip);
    assert_true(sql_snapshot_parse("10:20:10,14,15", &xmax, &has_xip));
    assert_true(has_xip);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        CHECK(!sql_snapshot_parse(bad[i], &xmax, &has_xip), "\"%s\" was taken", bad[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_columns),   cmocka_unit_test(test_times),
        cmocka_unit_test(test_end_of_stream), cmocka_unit_test(test_cut_short),
        cmocka_unit_test(test_fields),        cmocka_unit_test(test_wrong_form),
        cmocka_unit_test(test_quoting),       cmocka_unit_test(test_snapshots),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
