/* What every test program includes first: cmocka with the headers that it wants before itself, and
 * a few checks. Header only, so that unit tests need not link the rest of support/. */
#ifndef OUTBOXD_TESTS_CHECK_H
#define OUTBOXD_TESTS_CHECK_H

/* cmocka.h does not include what it needs; the empty line keeps the order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* Fails the test with a text of its own: CHECK(n == 3, "%d rows, expected 3", n). */
#define CHECK(cond, ...)                                                                           \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            print_error("%s: ", #cond);                                                            \
            fail_msg(__VA_ARGS__);                                                                 \
        }                                                                                          \
    } while (0)

/* `text` holds `part`; shows both if not. */
#define assert_contains(text, part)                                                                \
    CHECK(strstr((text), (part)) != NULL, "\"%s\" does not hold \"%s\"", (text), (part))

#define assert_lacks(text, part)                                                                   \
    CHECK(strstr((text), (part)) == NULL, "\"%s\" holds \"%s\"", (text), (part))

/* How often `part` stands in the text. */
static inline int occurrences(const char *text, const char *part)
{
    int n = 0;

    for (const char *at = text; (at = strstr(at, part)) != NULL; at += strlen(part))
        n++;
    return n;
}

/* A call that returns 0, or -1 with a struct err filled. */
#define assert_ok(call, err) CHECK((call) == 0, "%s", (err)->text)

#endif
