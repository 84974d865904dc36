#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static void slices(void **state)
{
    struct slice null = {0};

    (void)state;
    assert_null(slice_of(NULL).ptr);
    assert_int_equal(slice_of("abc").len, 3);
    assert_true(slice_eq(slice_of("abc"), SLICE_LIT("abc")));
    assert_false(slice_eq(slice_of("abc"), SLICE_LIT("abd")));
    assert_false(slice_eq(slice_of("abc"), SLICE_LIT("ab")));
    assert_true(slice_eq(null, slice_of(NULL)));
    assert_false(slice_eq(null, SLICE_LIT(""))); /* absent is not empty */
    assert_false(slice_eq(SLICE_LIT(""), null));
    assert_true(slice_is(SLICE_LIT("a"), "a"));
    assert_false(slice_is(SLICE_LIT("a\0"), "a"));
    assert_true(slice_is(null, NULL));
}

static void growing(void **state)
{
    struct str s = {0};
    const char *data;
    size_t cap;

    (void)state;
    assert_string_equal(str_text(&s), "");
    assert_int_equal(str_slice(&s).len, 0);
    assert_non_null(str_slice(&s).ptr);
    for (int i = 0; i < 1000; i++)
        str_printf(&s, "%d,", i % 10);
    assert_int_equal(s.len, 2000);
    assert_int_equal(s.data[2000], '\0');
    assert_memory_equal(s.data + 1990, "5,6,7,8,9,", 10);
    data = s.data;
    cap = s.cap;
    str_reset(&s);
    assert_string_equal(str_text(&s), "");
    for (int i = 0; i < 2000; i++)
        str_put_char(&s, 'x');
    assert_ptr_equal(s.data, data); /* the memory stayed */
    assert_int_equal(s.cap, cap);
    str_release(&s);
    assert_null(s.data);
    assert_string_equal(str_text(&s), "");
}

/* What was reserved is written without moving: slices into the buffer stay valid. */
static void reserved_room(void **state)
{
    struct str s = {0};
    const char *data;

    (void)state;
    for (size_t room = 0; room < 100; room++) {
        str_reset(&s);
        str_puts(&s, "abc");
        str_reserve(&s, room);
        data = s.data;
        for (size_t i = 0; i < room; i++)
            str_put_char(&s, 'x');
        assert_ptr_equal(s.data, data);
        str_release(&s);
    }
}

static void putting(void **state)
{
    struct str s = {0};
    struct str copy = {0};

    (void)state;
    str_put(&s, NULL, 0);
    str_put(&s, "a\0b", 3);
    str_put_slice(&s, SLICE_LIT("cd"));
    str_put_slice(&s, (struct slice){0});
    assert_int_equal(s.len, 5);
    assert_memory_equal(s.data, "a\0bcd", 6);
    str_copy(&copy, &s);
    assert_true(slice_eq(str_slice(&copy), str_slice(&s)));
    str_set(&s, "new");
    assert_string_equal(s.data, "new");
    assert_int_equal(copy.len, 5);
    str_set(&s, NULL);
    assert_string_equal(s.data, "");
    str_copy(&copy, &(struct str){0});
    assert_string_equal(copy.data, "");
    str_release(&s);
    str_release(&copy);
}

static void printing(void **state)
{
    struct str s = {0};
    char big[5000];

    (void)state;
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    str_printf(&s, "%s|%d|%.*s", "a", 7, SLICE_FMT(SLICE_LIT("slice")));
    assert_string_equal(s.data, "a|7|slice");
    str_printf(&s, "%s", "");
    assert_int_equal(s.len, 9);
    str_printf(&s, "%s!", big);
    assert_int_equal(s.len, 9 + 4999 + 1);
    assert_string_equal(s.data + s.len - 3, "xx!");
    str_release(&s);
}

static void json_strings(void **state)
{
    static const struct {
        const char *text;
        const char *json;
    } cases[] = {
        {"", "\"\""},
        {"plain", "\"plain\""},
        {"\"", "\"\\\"\""},
        {"a\"b\\c", "\"a\\\"b\\\\c\""},
        {"\n\r\t", "\"\\n\\r\\t\""},
        {"\x01\x1f\b\f", "\"\\u0001\\u001f\\u0008\\u000c\""},
        {"/\x7f", "\"/\x7f\""},
        {"Zo\xc3\xab \xe2\x98\x83 \xf0\x9f\x98\x80",
         "\"Zo\xc3\xab \xe2\x98\x83 \xf0\x9f\x98\x80\""},
        {"ends with \"", "\"ends with \\\"\""},
    };
    struct str s = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        str_reset(&s);
        str_put_json(&s, slice_of(cases[i].text));
        assert_string_equal(s.data, cases[i].json);
    }
    str_reset(&s);
    str_put_json(&s, SLICE_LIT("a\0b"));
    assert_string_equal(s.data, "\"a\\u0000b\"");
    str_put_json(&s, (struct slice){0});
    assert_string_equal(s.data, "\"a\\u0000b\"\"\"");
    str_release(&s);
}

static void copies(void **state)
{
    char *a = xstrdup("text");
    char *b = xstrndup("text", 2);
    char *c = xcalloc(0, 0);
    char *d = xrealloc(xmalloc(0), 10);

    (void)state;
    assert_string_equal(a, "text");
    assert_string_equal(b, "te");
    assert_non_null(c);
    assert_non_null(d);
    free(a);
    free(b);
    free(c);
    free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices),  cmocka_unit_test(growing),  cmocka_unit_test(reserved_room),
        cmocka_unit_test(putting), cmocka_unit_test(printing), cmocka_unit_test(json_strings),
        cmocka_unit_test(copies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
