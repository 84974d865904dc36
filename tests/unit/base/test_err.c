#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

static void set_and_wrap(void **state)
{
    struct err e = {0};

    (void)state;
    assert_int_equal(err_set(&e, ERR_UNAVAILABLE, "port %d refused", 5432), -1);
    assert_int_equal(e.kind, ERR_UNAVAILABLE);
    assert_string_equal(e.text, "port 5432 refused");
    assert_int_equal(err_wrap(&e, "connect to %s", "db"), -1);
    assert_int_equal(err_wrap(&e, "read page"), -1);
    assert_int_equal(e.kind, ERR_UNAVAILABLE);
    assert_string_equal(e.text, "read page: connect to db: port 5432 refused");
    err_clear(&e);
    assert_int_equal(e.kind, ERR_NONE);
    assert_string_equal(e.text, "");
}

/* Messages of servers have several lines and end with a newline. */
static void one_line(void **state)
{
    struct err e = {0};

    (void)state;
    (void)err_set(&e, ERR_CONFIG, "FATAL: no role\n\tDETAIL:\r\n  none \n\n");
    assert_string_equal(e.text, "FATAL: no role  DETAIL:    none");
    (void)err_set(&e, ERR_CONFIG, "%s", "\n \n");
    assert_string_equal(e.text, "");
}

static void long_texts_are_cut(void **state)
{
    struct err e = {0};
    char text[2000];

    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    (void)err_set(&e, ERR_CONFIG, "%s", text);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    (void)err_wrap(&e, "outer");
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    assert_memory_equal(e.text, "outer: xxx", 10);
    (void)err_wrap(&e, "%s", text);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    assert_memory_equal(e.text, "xxxx", 4);
}

/* An inner text that just fits, and one that is a byte too long. */
static void cut_to_the_byte(void **state)
{
    struct err e = {0};
    char text[sizeof e.text];

    (void)state;
    for (size_t len = sizeof text - 8; len < sizeof text; len++) {
        memset(text, 'y', len);
        text[len] = '\0';
        (void)err_set(&e, ERR_CONFIG, "%s", text);
        (void)err_wrap(&e, "abcd");
        assert_memory_equal(e.text, "abcd: y", 7);
        assert_int_equal(strlen(e.text), len + 6 < sizeof e.text ? len + 6 : sizeof e.text - 1);
    }
}

/* Half a character would make the log line invalid UTF-8. */
static void never_half_a_character(void **state)
{
    struct err e = {0};
    char text[1200];

    (void)state;
    for (size_t before = 0; before < 4; before++) {
        size_t len;

        memset(text, 'x', before);
        for (size_t i = before; i + 4 < sizeof text; i += 4)
            memcpy(text + i, "\xf0\x9f\x98\x80", 5);
        (void)err_set(&e, ERR_CONFIG, "%s", text);
        len = strlen(e.text);
        assert_int_equal((len - before) % 4, 0);
        assert_true(len > sizeof e.text - 5);
        (void)err_wrap(&e, "ab");
        len = strlen(e.text);
        assert_int_equal((len - before - 4) % 4, 0);
    }
    (void)err_set(&e, ERR_CONFIG, "ends with \xc3\xab");
    assert_string_equal(e.text, "ends with \xc3\xab");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_and_wrap),           cmocka_unit_test(one_line),
        cmocka_unit_test(long_texts_are_cut),     cmocka_unit_test(cut_to_the_byte),
        cmocka_unit_test(never_half_a_character),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
