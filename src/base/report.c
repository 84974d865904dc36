#include "base/report.h"

#include <stdarg.h>
#include <stdio.h>

void report_line(const struct report *r, enum finding finding, const char *way_out, const char *fmt,
                 ...)
{
    char what[512];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    r->line(r->ctx, finding, what, way_out);
}

void report_problem(const struct report *r, enum finding finding, enum problem problem,
                    const char *way_out, const char *fmt, ...)
{
    char text[512];
    char what[576];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    (void)snprintf(what, sizeof what, "%s (%s)", text, problem_word(problem));
    r->line(r->ctx, finding, what, way_out != NULL ? way_out : problem_advice(problem));
}
