/* Walks through every state that the protocol can reach within its bounds. */
#ifndef OUTBOXD_TESTS_MODEL_EXPLORE_H
#define OUTBOXD_TESTS_MODEL_EXPLORE_H

#include "protocol.h"

struct finding {
    size_t states;
    size_t steps;
    const char *broken; /* NULL: every promise holds in every state */
    char *story;        /* the shortest way there, a line for each step; owned */
    bool too_many;      /* states were left out: says nothing then */
};

/* At most max_states. Release with finding_release. Promises 1 and 3 in each state; promise 6 at
 * the end: from each state all events can still be published, and those of other keys without
 * anybody's help. */
void explore(const struct bounds *b, size_t max_states, struct finding *out);
void finding_release(struct finding *f);

#endif
