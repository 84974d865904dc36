/* What `outboxd verify` has found, as text or as JSON. */
#ifndef OUTBOXD_APP_VERIFY_REPORT_H
#define OUTBOXD_APP_VERIFY_REPORT_H

#include "verify/coverage.h"
#include "verify/judge.h"
#include "verify/names.h"

#include <stddef.h>
#include <stdint.h>

struct verify_report {
    const char *relay;
    struct names topics; /* by the numbers of judge and coverage */
    struct names types;
    struct coverage coverage;
    struct judge_totals totals;
    int64_t foreign; /* records without an event id */
    double seconds;

    struct judged_event *listed[JUDGED_COUNT];
    size_t listed_count[JUDGED_COUNT];
    size_t limit; /* of each */
};

void verify_report_init(struct verify_report *r, const char *relay, size_t limit);
void verify_report_release(struct verify_report *r);

/* Keeps the finding, if there is room for it. `ctx` is the report. */
void verify_report_add(void *ctx, const struct judged_event *e);

/* Lost, ghosts and inversions: what is wrong. */
int64_t verify_report_wrong(const struct verify_report *r);

void verify_report_print(const struct verify_report *r);
NODISCARD int verify_report_print_json(const struct verify_report *r, struct err *err);

#endif
