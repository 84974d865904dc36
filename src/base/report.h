/* A report of `outboxd check`: one line per thing looked at, with the way out where it is wrong.
 * The folders that look fill it; app/ prints it. */
#ifndef OUTBOXD_BASE_REPORT_H
#define OUTBOXD_BASE_REPORT_H

#include "base/err.h"

enum finding {
    FINDING_OK,    /* as it should be */
    FINDING_NOTE,  /* worth knowing */
    FINDING_WARN,  /* works, but a promise is weaker or a night may be spoilt */
    FINDING_WRONG, /* the relay cannot work like this */
};

struct report {
    void *ctx;
    /* `way_out` is the exact statement or setting that mends it, NULL when there is nothing to
     * mend. */
    void (*line)(void *ctx, enum finding finding, const char *what, const char *way_out);
};

/* Calls report->line with a formatted text. */
void report_line(const struct report *r, enum finding finding, const char *way_out, const char *fmt,
                 ...) PRINTF_LIKE(4, 5);

/* The same for something of the table of problems, whose word ends the text. `way_out` NULL: the
 * problem's advice. */
void report_problem(const struct report *r, enum finding finding, enum problem problem,
                    const char *way_out, const char *fmt, ...) PRINTF_LIKE(5, 6);

#endif
