/* What the commands that need only the database share. */
#ifndef OUTBOXD_OUTBOX_ADMIN_COMMON_H
#define OUTBOXD_OUTBOX_ADMIN_COMMON_H

#include "outbox/admin.h"

/* Fails (relay_missing): the one who asks has misspelt the name, or connected to another database,
 * so the text tells the names that are there. Returns -1. */
int admin_no_such_relay(PGconn *conn, const char *relay, struct err *err);

/* Fails (schema_missing) where the outbox tables are not there. */
NODISCARD int admin_require_schema(PGconn *conn, struct err *err);

/* The same, and where their version is not one that this program works with (schema_older,
 * schema_newer): for commands that change something. */
NODISCARD int admin_require_version(PGconn *conn, struct err *err);

#endif
