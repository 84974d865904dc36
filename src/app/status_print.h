/* How `outboxd status` shows what it has found: text that fits 80 columns, and JSON with the same
 * facts. */
#ifndef OUTBOXD_APP_STATUS_PRINT_H
#define OUTBOXD_APP_STATUS_PRINT_H

#include "outbox/admin_lanes.h"
#include "outbox/admin_status.h"
#include "outbox/overdue.h"

#include <stddef.h>

#define STATUS_PROBLEMS 8

struct status_problem {
    enum problem problem;
    char text[768]; /* what is particular; may be empty */
};

struct status {
    const char *name;    /* of the relay */
    const char *verdict; /* ok, waiting, halted, paused, no leader, refused */
    struct admin_status relay;
    struct admin_lanes lanes; /* what waits was counted for the first of them */
    struct overdue overdue;
    struct status_problem problems[STATUS_PROBLEMS]; /* the weightiest first */
    size_t problem_count;
};

void status_print(const struct status *s);
NODISCARD int status_print_json(const struct status *s, struct err *err);

/* JSON for a database that could not be asked, and why. */
void status_print_unasked(const char *relay, const struct err *why);

#endif
