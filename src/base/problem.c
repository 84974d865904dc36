#include "base/problem.h"

#include <stddef.h>
#include <string.h>

static const struct {
    const char *word;
    const char *what;
    const char *advice;
    enum problem_class class;
} problems[PROBLEM_COUNT] = {[PROBLEM_NONE] = {"", "", "", PROBLEM_PASSES},
#define X(name, text, kind, happened, todo)                                                        \
    [PROBLEM_##name] = {(text), (happened), (todo), PROBLEM_##kind},
                             PROBLEMS(X)
#undef X
};

const char *problem_word(enum problem p)
{
    return problems[p].word;
}

enum problem_class problem_class(enum problem p)
{
    return problems[p].class;
}

const char *problem_class_name(enum problem_class class)
{
    switch (class) {
    case PROBLEM_PASSES:
        return "passes";
    case PROBLEM_PERSON:
        return "person";
    case PROBLEM_FINAL:
        return "final";
    case PROBLEM_NOTICE:
        break;
    }
    return "notice";
}

const char *problem_what(enum problem p)
{
    return problems[p].what;
}

const char *problem_advice(enum problem p)
{
    return problems[p].advice;
}

enum problem problem_parse(const char *word)
{
    for (size_t i = 0; i < PROBLEM_COUNT; i++)
        if (strcmp(problems[i].word, word) == 0)
            return (enum problem)i;
    return PROBLEM_NONE;
}
