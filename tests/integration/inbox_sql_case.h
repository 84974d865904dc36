/* What the tests of the inbox's SQL share: a server with the schema, events by number, and calls
 * that wait. Included by one program at a time. */
#ifndef OUTBOXD_TESTS_INBOX_SQL_CASE_H
#define OUTBOXD_TESTS_INBOX_SQL_CASE_H

#include "../support/check.h"
#include "../support/pg.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static struct pg_server server;
static PGconn *owner; /* superuser */

static inline int start_server(void **state)
{
    (void)state;
    pg_create(&server, NULL);
    pg_apply_inbox(&server);
    owner = pg_open(&server, NULL);
    pg_exec(owner, "SET statement_timeout = '60s'");
    pg_exec(owner, "CREATE FUNCTION test_id(n bigint) RETURNS uuid LANGUAGE sql AS "
                   "'SELECT lpad(to_hex($1), 32, ''0'')::uuid'");
    return 0;
}

static inline int stop_server(void **state)
{
    (void)state;
    PQfinish(owner);
    pg_drop(&server);
    return 0;
}

/* The id of event number n, as test_id(n) makes it in SQL. */
struct event_id {
    char text[40];
};

static inline struct event_id id_of(int n)
{
    struct event_id id;

    (void)snprintf(id.text, sizeof id.text, "00000000-0000-0000-0000-%012x", (unsigned)n);
    return id;
}

static inline bool claim(PGconn *conn, const char *consumer, int event)
{
    return strcmp(pg_scalar(conn, "SELECT inbox.claim('%s', '%s')", consumer, id_of(event).text),
                  "t") == 0;
}

/* The answers for events by number, "{1,2}", as Postgres prints them. */
static inline const char *claim_set(PGconn *conn, const char *consumer, const char *numbers)
{
    return pg_scalar(conn,
                     "SELECT inbox.claim_all('%s', ARRAY(SELECT test_id(n) FROM "
                     "unnest('%s'::int[]) WITH ORDINALITY u (n, i) ORDER BY i))",
                     consumer, numbers);
}

/* A query whose answer comes later: send, then answer. */
static inline void send(PGconn *conn, const char *fmt, ...) PRINTF_LIKE(2, 3);

static inline void send(PGconn *conn, const char *fmt, ...)
{
    char sql[1024];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(sql, sizeof sql, fmt, ap);
    va_end(ap);
    assert_int_equal(PQsendQuery(conn, sql), 1);
}

/* The one value of what was sent; fails the test when the statement failed. */
static inline const char *answer(PGconn *conn)
{
    static char value[64];
    PGresult *rows = PQgetResult(conn);

    CHECK(PQresultStatus(rows) == PGRES_TUPLES_OK, "%s", PQresultErrorMessage(rows));
    (void)snprintf(value, sizeof value, "%s", PQgetvalue(rows, 0, 0));
    PQclear(rows);
    assert_null(PQgetResult(conn));
    return value;
}

static inline void wait_for_lock(PGconn *conn)
{
    WAIT_UNTIL(pg_int(owner,
                      "SELECT count(*) FROM pg_stat_activity WHERE pid = %d AND wait_event_type = "
                      "'Lock'",
                      PQbackendPID(conn)) == 1,
               20000);
}

#endif
