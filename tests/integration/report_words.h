/* What the tests of `outboxd check` hold of every line. */
#ifndef OUTBOXD_TESTS_REPORT_WORDS_H
#define OUTBOXD_TESTS_REPORT_WORDS_H

#include "base/problem.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* What is wrong ends with its word of the table of problems, "... (schema_missing)". */
static inline bool names_its_problem(const char *what)
{
    const char *open = strrchr(what, '(');
    char word[64];

    if (open == NULL || what[strlen(what) - 1] != ')')
        return false;
    (void)snprintf(word, sizeof word, "%.*s", (int)strcspn(open + 1, ")"), open + 1);
    return problem_parse(word) != PROBLEM_NONE;
}

#endif
