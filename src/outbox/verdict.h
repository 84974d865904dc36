/* What is wrong with a database, so that no relay may run on it: judges the answers to
 * check_server.sql and check_relay.sql. `run` asks asynchronously, `status` synchronously, and both
 * say the same. Each fault has its problem and a text of its own; where one statement mends it, the
 * text ends with it. */
#ifndef OUTBOXD_OUTBOX_VERDICT_H
#define OUTBOXD_OUTBOX_VERDICT_H

#include "base/err.h"

#include <libpq-fe.h>

/* Asks one of them (check_server, check_relay) by a synchronous session. NULL with `err` as
 * command_query. */
PGresult *verdict_ask(PGconn *conn, const char *query, const char *relay, struct err *err);

/* 0, or -1 with the first fault: ERR_UNAVAILABLE when waiting helps (a server in recovery), else
 * ERR_CONFIG. `row` is the whole answer; the version as PQserverVersion has it. */
NODISCARD int verdict_server(const PGresult *row, int server_version, struct err *err);

/* The same of the relay's row; server_id as system_identifier of check_server.sql tells it. */
NODISCARD int verdict_relay(const PGresult *row, const char *relay, const char *server_id,
                            struct err *err);

#endif
