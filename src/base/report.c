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
