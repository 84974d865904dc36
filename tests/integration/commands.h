/* What the tests of the synchronous commands share: one server, a database of its own for each
 * test, and short ways to call migrate. Included by one program at a time. */
#ifndef OUTBOXD_TESTS_COMMANDS_H
#define OUTBOXD_TESTS_COMMANDS_H

#include "../support/check.h"
#include "../support/pg.h"

#include "outbox/migrate.h"

static struct pg_server server;
static PGconn *db; /* superuser, in the database of the present test */
static struct pg_url url;

/* A database of its own for each test. */
static inline void new_database(const char *name, const char *owner_role)
{
    PGconn *conn = pg_open(&server, NULL);

    pg_exec(conn, "CREATE DATABASE %s OWNER %s", name, owner_role);
    PQfinish(conn);
    PQfinish(db);
    url = pg_url(&server, "postgres", name);
    db = PQconnectdb(url.text);
    assert_int_equal(PQstatus(db), CONNECTION_OK);
    pg_exec(db, "SET client_min_messages = warning");
}

static inline struct migrate_params params_for(const char *relay)
{
    return (struct migrate_params){.server = {.url = url.text},
                                   .relay = relay,
                                   .doorbell = true,
                                   .days_ahead = 2,
                                   .wait_ms = 5000};
}

static inline void apply(const struct migrate_params *p)
{
    struct err err;

    assert_ok(migrate_apply(p, &err), &err);
}

#define assert_fails(call, err, wanted_kind, part)                                                 \
    do {                                                                                           \
        err_clear(err);                                                                            \
        assert_int_equal((call), -1);                                                              \
        assert_contains((err)->text, part);                                                        \
        assert_int_equal((err)->kind, (wanted_kind));                                              \
    } while (0)

#endif
