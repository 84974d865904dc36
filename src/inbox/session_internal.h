/* What session.c and transaction.c share. */
#ifndef OUTBOXD_INBOX_SESSION_INTERNAL_H
#define OUTBOXD_INBOX_SESSION_INTERNAL_H

#include "inbox/session.h"

#include <libpq-events.h>

/* Runs the statement; several, without parameters, as one text. NULL: the connection was lost or
 * given up, and is closed. To be cleared by the caller. */
PGresult *session_exec(struct session *s, const char *sql, int count, const char *const *values);

/* What came of one of our own statements, which should have given `wanted`. */
enum db session_judge(struct session *s, PGresult *result, ExecStatusType wanted,
                      struct inbox_error *e);

#endif
