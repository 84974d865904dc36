/* What retention should have taken away and could not, for `outboxd status` and `outboxd check`.
 * Synchronous; with the relay's own credentials. Changes nothing. */
#ifndef OUTBOXD_OUTBOX_OVERDUE_H
#define OUTBOXD_OUTBOX_OVERDUE_H

#include "base/report.h"
#include "outbox/command.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OVERDUE_LISTED 8

struct overdue_day {
    char partition[64];
    int64_t bytes; /* with its indexes */
    char reason[256];
};

struct overdue {
    bool
        supported; /* false: the schema has no retention, or we may not ask it; the rest is empty */
    size_t count;  /* all of them */
    size_t listed; /* in days, by name: those of the relay's own making begin with the oldest */
    struct overdue_day days[OVERDUE_LISTED];
};

/* Fills `out`. keep_ms as in retention.keep; 0: for ever, then only rows in the default partition
 * are told. */
NODISCARD int overdue_ask(const struct command_server *server, int64_t keep_ms, struct overdue *out,
                          struct err *err);

/* The lines of `outboxd check`; none when the database cannot be asked, which outbox_inspect tells.
 */
void overdue_inspect(const struct command_server *server, int64_t keep_ms,
                     const struct report *report);

#endif
