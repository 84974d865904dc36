/* What an SQLSTATE means for whoever waits for the server: the one table behind the sessions of the
 * relay and the commands. What a refused connection means is told by connect.h. */
#ifndef OUTBOXD_OUTBOX_SQLSTATE_H
#define OUTBOXD_OUTBOX_SQLSTATE_H

#include "base/err.h"

/* Fills kind and problem, and keeps the text. A state that is not known is an error of the
 * database's (ERR_SOFTWARE, database_error); NULL or "": the connection is gone. */
void sqlstate_judge(const char *sqlstate, struct err *err);

#endif
