#include "relay/policy.h"

#include <stddef.h>
#include <string.h>

/* NONE is no refusal: its words are empty, and nothing asks for its class. */
static const struct {
    const char *name;
    const char *advice;
    enum refusal_class class;
} refusals[] = {[REFUSAL_NONE] = {"", "", REFUSAL_TRANSIENT},
#define X(word, text, kind, what) [REFUSAL_##word] = {(text), (what), REFUSAL_##kind},
                REFUSALS(X)
#undef X
};

enum refusal_class refusal_class(enum refusal r)
{
    return refusals[r].class;
}

const char *refusal_name(enum refusal r)
{
    return refusals[r].name;
}

enum refusal refusal_parse(const char *name)
{
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++)
        if (strcmp(refusals[i].name, name) == 0)
            return (enum refusal)i;
    return REFUSAL_NONE;
}

const char *refusal_advice(enum refusal r)
{
    return refusals[r].advice;
}
