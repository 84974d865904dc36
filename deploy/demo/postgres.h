/* A private Postgres for a demo: reached through a socket in the demo's folder only, so that no
 * port is taken. All of these end the demo with a clear message when something fails. */
#ifndef OUTBOXD_DEMO_POSTGRES_H
#define OUTBOXD_DEMO_POSTGRES_H

#include "../../tests/support/proc.h"

#include <libpq-fe.h>

struct postgres {
    char socket_dir[PATH_SIZE];
    char log[PATH_SIZE];
    struct proc proc;
};

/* Makes a cluster in dir/pg and starts it; its log is dir/postgres.log. Whoever connects is
 * trusted, and "postgres" is the superuser. */
void postgres_start(struct postgres *pg, const char *dir);
/* At once, without a checkpoint: the data goes anyway. Harmless when it does not run. */
void postgres_stop(struct postgres *pg);

/* "postgres:///DATABASE?..." of that user, good until the next call. */
const char *postgres_url(const struct postgres *pg, const char *database, const char *user);
PGconn *postgres_open(const struct postgres *pg, const char *database, const char *user);
void postgres_exec(PGconn *db, const char *sql); /* one statement or several */
/* The first column of the only row, as a number. */
long postgres_number(PGconn *db, const char *sql);

#endif
