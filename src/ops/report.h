/* /readyz and /status as JSON (README.md has the members). */
#ifndef OUTBOXD_OPS_REPORT_H
#define OUTBOXD_OPS_REPORT_H

#include "ops/view.h"

/* Each appends one JSON object and a newline. */
void report_not_ready(struct str *out, const struct ops_view *v);
void report_status(struct str *out, const struct ops_view *v);

#endif
