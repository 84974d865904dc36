/* The one table of metrics. /metrics and the reference (deploy/docs/metrics.md) are written from
 * it.
 *
 * A name never changes once it is released: people draw and alert by it. No topic, key or event id
 * is a label: there may be any number of them. */
#ifndef OUTBOXD_OPS_METRICS_H
#define OUTBOXD_OPS_METRICS_H

#include "ops/view.h"

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric {
    const char *name;
    enum metric_type type;
    const char *labels; /* names, separated by commas; "" for none */
    const char *unit;   /* "" for what is 0 or 1 */
    const char *help;   /* one line, for an operator */
};

size_t metrics_count(void);
struct metric metrics_at(size_t i); /* in the order of the text */
const char *metric_type_name(enum metric_type type);

/* Appends all of them in the text format 0.0.4. What is not known yet is left out. */
void metrics_write(struct str *out, const struct ops_view *v);

#endif
