/* What session.c and transaction.c share. */
#ifndef OUTBOXD_INBOX_SESSION_INTERNAL_H
#define OUTBOXD_INBOX_SESSION_INTERNAL_H

#include "inbox/session.h"

#include <libpq-events.h>

/* Runs the statement; several, without parameters, as one text. NULL: the connection was lost or
 * given up, and is closed. To be cleared by the caller. */
PGresult *session_exec(struct session *s, const char *sql, int count, const char *const *values);

/* One of several statements that go together; `binary` is its only parameter, or absent. */
struct statement {
    const char *sql;
    struct slice binary;
};

/* Runs them in one round trip: the result of the last one, or of the one that failed. NULL as
 * above. */
PGresult *session_pipeline(struct session *s, const struct statement *statements, size_t count);

/* What came of one of our own statements, which should have given `wanted`. */
enum db session_judge(struct session *s, PGresult *result, ExecStatusType wanted,
                      struct inbox_error *e);

#endif
