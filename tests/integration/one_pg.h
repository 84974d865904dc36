/* One Postgres for all tests of a program, with the schema, and a session of its owner. Included by
 * one program each. */
#ifndef OUTBOXD_TESTS_ONE_PG_H
#define OUTBOXD_TESTS_ONE_PG_H

#include "../support/pg.h"

static struct pg_server pg;
static PGconn *db;

static inline int setup_pg(void **state)
{
    (void)state;
    pg_create(&pg, NULL);
    pg_apply_schema(&pg);
    db = pg_open(&pg, "postgres");
    return 0;
}

static inline int teardown_pg(void **state)
{
    (void)state;
    PQfinish(db);
    pg_drop(&pg);
    return 0;
}

#endif
