#include "relay/policy.h"

/* NONE is no refusal: nothing asks for its class. */
static const struct {
    enum problem problem;
    enum refusal_class class;
} refusals[REFUSAL_COUNT] = {[REFUSAL_NONE] = {PROBLEM_NONE, REFUSAL_TRANSIENT},
#define X(name, kind) [REFUSAL_##name] = {PROBLEM_##name, REFUSAL_##kind},
                             REFUSALS(X)
#undef X
};

enum refusal_class refusal_class(enum refusal r)
{
    return refusals[r].class;
}

enum problem refusal_problem(enum refusal r)
{
    return refusals[r].problem;
}

const char *refusal_name(enum refusal r)
{
    return problem_word(refusals[r].problem);
}
