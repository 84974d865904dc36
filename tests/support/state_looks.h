/* How support/state.c looks: each function holds one place against the table of problems, and fails
 * the test after showing what all of them say. */
#ifndef OUTBOXD_TESTS_STATE_LOOKS_H
#define OUTBOXD_TESTS_STATE_LOOKS_H

#include "state.h"

#include <jansson.h>

#define SHOWN_MS 30000 /* until a state is seen; each has its own pauses */
#define ASK_MS   5000

/* Ends the test after what each side says now. */
void state_fail(const struct state *s, const char *fmt, ...)
    __attribute__((noreturn, format(printf, 2, 3)));

#define HOLDS(s, text, part, where)                                                                \
    do {                                                                                           \
        if (strstr((text), (part)) == NULL)                                                        \
            state_fail((s), "%s does not hold: %s", (where), (part));                              \
    } while (0)

/* PROBLEM_NONE: ready, and none is named. */
void look_at_metrics(const struct state *s, enum problem p);

bool ready_names(const struct state *s, const char *word); /* /readyz gives it as the problem */
/* /readyz, /status and /livez of a relay that is not ready. */
void look_at_endpoints(const struct state *s, enum problem p, const char *text);

/* What `outboxd status` tells now. */
struct told {
    int code;
    int json_code;
    char text[OUTBOXD_OUT]; /* squeezed */
    json_t *doc;            /* NULL: no JSON */
};

void ask_status(const struct state *s, struct told *t); /* release t->doc */
void look_at_status(const struct state *s, enum problem p, const char *text);
void look_at_status_well(const struct state *s);
/* `part` stands in the squeezed text, wherever its lines were broken. */
void holds_squeezed(const struct state *s, const char *squeezed, const char *part,
                    const char *where);

/* Lines of the log that hold all parts. */
int lines_with(const struct state *s, const char *one, const char *two, const char *three);
void look_at_log(const struct state *s, enum problem p, const char *text);

/* The output of `run` ends as documented. */
void look_at_last_line(const struct state *s, const char *output, enum problem p, const char *text,
                       const char *where);
/* PROBLEM_NONE: it is well. */
void look_at_health(const struct state *s, enum problem p, const char *text);
/* `outboxd status` ends with that code, and tells why. */
void look_at_refusal(const struct state *s, enum problem p, const char *text, int code);

#endif
