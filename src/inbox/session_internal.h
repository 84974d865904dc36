/* What session.c and transaction.c share. */
#ifndef OUTBOXD_INBOX_SESSION_INTERNAL_H
#define OUTBOXD_INBOX_SESSION_INTERNAL_H

#include "inbox/session.h"

#include <libpq-events.h>

/* Runs the statement; several, without parameters, as one text. NULL: the connection was lost or
 * given up, and is closed. To be cleared by the caller. */
PGresult *session_exec(struct session *s, const char *sql, int count, const char *const *values);

/* The same for a statement that gives no rows, with what came of it. */
enum db session_run(struct session *s, const char *sql, struct inbox_error *e);

/* One of several statements that go together. */
struct statement {
    const char *name; /* under which it is prepared, or NULL */
    const char *sql;
    const char *values[5]; /* of its parameters; NULL: null */
    int lengths[5];        /* of those in binary */
    int formats[5];        /* 1: in binary */
    int count;
};

extern const char session_prepares[]; /* prepares those that have a name, on a new connection */

/* Runs them in one round trip: the result of the last one, or of the one that failed. NULL as
 * above. */
PGresult *session_pipeline(struct session *s, const struct statement *statements, size_t count);

/* What came of one of our own statements, which should have given `wanted`. */
enum db session_judge(struct session *s, PGresult *result, ExecStatusType wanted,
                      struct inbox_error *e);

#endif
