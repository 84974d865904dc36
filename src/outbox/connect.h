/* How a connection is asked for, and what its failure means. */
#ifndef OUTBOXD_OUTBOX_CONNECT_H
#define OUTBOXD_OUTBOX_CONNECT_H

#include "base/err.h"
#include "base/str.h"
#include "outbox/session.h"

/* Whether libpq can read the connection string; "" can be read. The text never holds it: a password
 * may be in it. */
NODISCARD int connect_check_url(const char *url, struct err *err);

/* Begins to connect, without waiting. NULL with `err` filled (ERR_CONFIG) when the parameters make
 * no sense. */
PGconn *connect_start(const struct session_params *params, struct err *err);

/* Why the connection failed: the cause as one line; kind and problem in `judged`: ERR_CONFIG when
 * the server refused us as we are, or the connection string makes no sense, else ERR_UNAVAILABLE:
 * waiting may help; and what mends it, NULL when only the problem's advice is known. */
void connect_cause(PGconn *conn, struct str *cause, struct err *judged, const char **way_out);

/* The same as one text. */
void connect_explain(PGconn *conn, struct err *err);

/* libpq's message as one line: without the newlines and without the place in the server's source.
 */
void connect_one_line(const char *message, struct str *out);

#endif
