/* A synchronous session with Postgres, for the commands (migrate, rebase, status). The relay has
 * session.h instead.
 *
 * Every function that fails fills the err: the text from the server's own message and hint, kind
 * and problem from its SQLSTATE. Passwords never get into a text. */
#ifndef OUTBOXD_OUTBOX_COMMAND_H
#define OUTBOXD_OUTBOX_COMMAND_H

#include "base/err.h"

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

/* Where to connect. Both may be NULL: then the libpq environment (PGHOST, PGUSER, ...) decides. */
struct command_server {
    const char *url;      /* postgres://... or "host=... dbname=..." */
    const char *password; /* wins over one in the URL */
};

#define OLDEST_SERVER 130000 /* PQserverVersion of the first that knows xid8 and pg_snapshot */

/* Waits for a connection that PQconnectStart began. PGRES_POLLING_OK: it is there.
 * PGRES_POLLING_FAILED: PQerrorMessage tells why. Else the server was silent for ten seconds in one
 * of the steps. */
NODISCARD PostgresPollingStatusType command_wait_open(PGconn *conn);

/* Connects, refuses servers older than PostgreSQL 13, and silences notices. NULL when it fails:
 * ERR_CONFIG when the server refuses us for good (password, role, database), else ERR_UNAVAILABLE.
 */
PGconn *command_connect(const struct command_server *server, struct err *err);

/* Runs one or more statements without parameters, results thrown away. */
NODISCARD int command_exec(PGconn *conn, const char *sql, struct err *err);

/* Runs one statement with text parameters ($1 ...) and returns its rows, to be cleared by the
 * caller; NULL when it fails. */
PGresult *command_query(PGconn *conn, const char *sql, int nparams, const char *const *params,
                        struct err *err);

/* Starts a COPY ... TO STDOUT, whose data the caller takes by PQgetCopyData. */
NODISCARD int command_copy_out(PGconn *conn, const char *sql, struct err *err);

/* Values of a row's column: an integer (0 for NULL), a boolean ("t"). */
int64_t command_int(const PGresult *rows, int row, int column);
bool command_bool(const PGresult *rows, int row, int column);

/* A column of the first row by its name; "" for NULL, and when there is no such column. */
const char *command_get(const PGresult *rows, const char *column);

/* The SQLSTATE of the last failed statement of command_exec or command_query, "" if there is none
 * (connection lost). */
const char *command_sqlstate(void);

#endif
