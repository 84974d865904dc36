/* What an SQLSTATE means: the kind, which decides about waiting and the exit code, and the problem.
 */
#include "../../support/check.h"

#include "outbox/sqlstate.h"

#include <string.h>

static void each_state_has_its_meaning(void **state)
{
    static const struct {
        const char *sqlstate;
        enum err_kind kind;
        enum problem problem;
    } cases[] = {
        {NULL, ERR_UNAVAILABLE, PROBLEM_DATABASE_UNREACHABLE},
        {"", ERR_UNAVAILABLE, PROBLEM_DATABASE_UNREACHABLE},
        {"57P01", ERR_UNAVAILABLE, PROBLEM_DATABASE_UNREACHABLE}, /* shutting down */
        {"57P03", ERR_UNAVAILABLE, PROBLEM_DATABASE_UNREACHABLE}, /* starting */
        {"57014", ERR_TEMPFAIL, PROBLEM_DATABASE_ERROR},          /* statement_timeout */
        {"55P03", ERR_TEMPFAIL, PROBLEM_DATABASE_ERROR},          /* lock_timeout */
        {"40P01", ERR_TEMPFAIL, PROBLEM_DATABASE_ERROR},          /* deadlock */
        {"53100", ERR_UNAVAILABLE, PROBLEM_DATABASE_FULL},        /* disk */
        {"53300", ERR_UNAVAILABLE, PROBLEM_DATABASE_FULL},        /* connections */
        {"25006", ERR_UNAVAILABLE, PROBLEM_DATABASE_STANDBY},
        {"28P01", ERR_CONFIG, PROBLEM_DATABASE_REFUSED},
        {"3D000", ERR_CONFIG, PROBLEM_DATABASE_REFUSED},
        {"3F000", ERR_CONFIG, PROBLEM_SCHEMA_MISSING},
        {"42P01", ERR_CONFIG, PROBLEM_SCHEMA_MISSING},
        {"42703", ERR_CONFIG, PROBLEM_SCHEMA_OLDER},
        {"42883", ERR_CONFIG, PROBLEM_SCHEMA_OLDER},
        {"42501", ERR_CONFIG, PROBLEM_GRANTS_MISSING},
        {"42601", ERR_CONFIG, PROBLEM_DATABASE_ERROR}, /* the rest of the class */
        {"P0002", ERR_CONFIG, PROBLEM_RELAY_MISSING},
        {"XX001", ERR_SOFTWARE, PROBLEM_DATABASE_ERROR}, /* not in the table */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err;

        (void)err_set(&err, ERR_USAGE, "a text");
        sqlstate_judge(cases[i].sqlstate, &err);
        CHECK(err.kind == cases[i].kind && err.problem == cases[i].problem, "%s: %d %s",
              cases[i].sqlstate, (int)err.kind, problem_word(err.problem));
        assert_string_equal(err.text, "a text");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_state_has_its_meaning),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
