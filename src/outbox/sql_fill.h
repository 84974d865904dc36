/* Statements that cannot be prepared (COPY, and several in one message) are texts with :names in
 * them, which are replaced by SQL literals. Everything that goes in is a number, a snapshot that
 * was checked, or quoted here. */
#ifndef OUTBOXD_OUTBOX_SQL_FILL_H
#define OUTBOXD_OUTBOX_SQL_FILL_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sql_value {
    const char *name; /* without the colon */
    const char *text; /* SQL, put in as it is */
};

/* Puts the query (see sql_query) with its :names replaced. A name that `values` lacks is a defect:
 * aborts. */
void sql_fill(struct str *out, const char *query, const struct sql_value *values, size_t count);

/* Puts the text as a literal, whatever it holds. */
void sql_put_quoted(struct str *out, const char *text);

/* A snapshot as Postgres prints it, "xmin:xmax:xip,xip..."; false when it is none. xmax points into
 * the text. */
NODISCARD bool sql_snapshot_parse(const char *text, struct slice *xmax, bool *has_xip);

#endif
