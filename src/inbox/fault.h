/* Errors of the library: its public struct, filled. Names of this folder that others must not see
 * do not begin with inbox_: what does is exported. */
#ifndef OUTBOXD_INBOX_FAULT_H
#define OUTBOXD_INBOX_FAULT_H

#include "base/err.h"
#include "inbox.h"

#include <stdbool.h>

/* Sets both; returns -1. `e` may be NULL. The text is made one line of valid UTF-8, cut when it is
 * too long. */
int fault_set(struct inbox_error *e, enum inbox_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);
void fault_clear(struct inbox_error *e);

/* What a SQLSTATE means for a consumer. */
enum sql_class {
    SQL_STATEMENT, /* this statement is wrong: trying again will not help by itself */
    SQL_CONFLICT,  /* 40001, 40P01: the same again may succeed */
    SQL_OUTAGE,    /* the server stops, has no room, or is a standby now: wait */
    SQL_SCHEMA,    /* schema, table or function missing */
    SQL_GRANTS,
};
enum sql_class fault_sql_class(const char *sqlstate); /* NULL or "": SQL_OUTAGE */

/* The failure of one of the library's own statements (`result` may be NULL). */
int fault_of_result(struct inbox_error *e, const PGconn *conn, const PGresult *result);

/* Replaces what is not UTF-8, and control characters, by '?', so that Postgres and a log line can
 * take it. */
void fault_clean_text(char *text);

#endif
