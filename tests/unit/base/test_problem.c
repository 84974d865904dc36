/* The table of problems: words are unique, fit for a label and an anchor, and every entry says what
 * to do. */
#include "../../support/check.h"

#include "base/err.h"
#include "base/problem.h"

#include <string.h>

static void test_every_entry_is_whole(void **state)
{
    (void)state;
    for (unsigned p = 1; p < PROBLEM_COUNT; p++) {
        const char *word = problem_word((enum problem)p);

        CHECK(strspn(word, "abcdefghijklmnopqrstuvwxyz_") == strlen(word) && strlen(word) < 32,
              "\"%s\" is no word for a label", word);
        CHECK(strlen(problem_what((enum problem)p)) > 10, "%s: what happened?", word);
        CHECK(strlen(problem_advice((enum problem)p)) > 10, "%s: what is to be done?", word);
        assert_int_equal(problem_parse(word), p); /* so no two have the same */
    }
}

static void test_no_problem_has_no_words(void **state)
{
    (void)state;
    assert_string_equal(problem_word(PROBLEM_NONE), "");
    assert_string_equal(problem_what(PROBLEM_NONE), "");
    assert_string_equal(problem_advice(PROBLEM_NONE), "");
    assert_int_equal(problem_parse(""), PROBLEM_NONE);
    assert_int_equal(problem_parse("no_such_word"), PROBLEM_NONE);
}

static void test_an_error_carries_its_problem(void **state)
{
    struct err err = {0};

    (void)state;
    assert_int_equal(err_problem(&err, ERR_CONFIG, PROBLEM_SCHEMA_MISSING, "in %s", "orders"), -1);
    assert_int_equal(err.problem, PROBLEM_SCHEMA_MISSING);
    assert_int_equal(err_wrap(&err, "check"), -1);
    assert_int_equal(err.problem, PROBLEM_SCHEMA_MISSING);
    assert_string_equal(err.text, "check: in orders");
    assert_int_equal(err_set(&err, ERR_USAGE, "something else"), -1);
    assert_int_equal(err.problem, PROBLEM_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_entry_is_whole),
        cmocka_unit_test(test_no_problem_has_no_words),
        cmocka_unit_test(test_an_error_carries_its_problem),
    };

    return cmocka_run_group_tests_name("problem", tests, NULL, NULL);
}
