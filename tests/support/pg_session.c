/* The part of pg.h about sessions. */
#include "pg.h"

#include "base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static void ignore_notice(void *ctx, const PGresult *res)
{
    (void)ctx;
    (void)res;
}

PGconn *pg_try_open(const struct pg_server *s, const char *user, int connect_timeout_s)
{
    struct pg_url url = pg_url(s, user, "postgres");
    char timeout[16];
    const char *const names[] = {"dbname", "connect_timeout", "application_name",
                                 "target_session_attrs", NULL};
    const char *const values[] = {url.text, timeout, "test",
                                  s->other_port != 0 ? "read-write" : "any", NULL};
    PGconn *conn;

    (void)snprintf(timeout, sizeof timeout, "%d", connect_timeout_s);
    conn = PQconnectdbParams(names, values, 1);
    if (PQstatus(conn) != CONNECTION_OK) {
        PQfinish(conn);
        return NULL;
    }
    (void)PQsetNoticeReceiver(conn, ignore_notice, NULL);
    return conn;
}

PGconn *pg_open(const struct pg_server *s, const char *user)
{
    struct pg_url url = pg_url(s, user, "postgres");
    const char *const names[] = {"dbname", "target_session_attrs", NULL};
    const char *const values[] = {url.text, s->other_port != 0 ? "read-write" : "any", NULL};
    PGconn *conn = PQconnectdbParams(names, values, 1);

    if (PQstatus(conn) != CONNECTION_OK)
        support_fail("connect as %s: %s", user != NULL ? user : "postgres", PQerrorMessage(conn));
    (void)PQsetNoticeReceiver(conn, ignore_notice, NULL);
    return conn;
}

static PGresult *run(PGconn *conn, const char *fmt, va_list ap, bool must_succeed)
{
    struct str sql = {0};
    PGresult *res;
    ExecStatusType status;

    str_vprintf(&sql, fmt, ap);
    res = PQexec(conn, str_text(&sql));
    status = PQresultStatus(res);
    if (must_succeed && status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        support_fail("%s\n  in: %.500s", PQerrorMessage(conn), str_text(&sql));
    str_release(&sql);
    return res;
}

void pg_exec(PGconn *conn, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    PQclear(run(conn, fmt, ap, true));
    va_end(ap);
}

PGresult *pg_query(PGconn *conn, const char *fmt, ...)
{
    va_list ap;
    PGresult *res;

    va_start(ap, fmt);
    res = run(conn, fmt, ap, true);
    va_end(ap);
    return res;
}

int64_t pg_int(PGconn *conn, const char *fmt, ...)
{
    va_list ap;
    PGresult *res;
    int64_t value;

    va_start(ap, fmt);
    res = run(conn, fmt, ap, true);
    va_end(ap);
    if (PQntuples(res) != 1 || PQgetisnull(res, 0, 0))
        support_fail("expected one value, got %d rows: %s", PQntuples(res), fmt);
    value = strtoll(PQgetvalue(res, 0, 0), NULL, 10);
    PQclear(res);
    return value;
}

const char *pg_scalar(PGconn *conn, const char *fmt, ...)
{
    static char *ring[16];
    static size_t next;
    va_list ap;
    PGresult *res;

    va_start(ap, fmt);
    res = run(conn, fmt, ap, true);
    va_end(ap);
    next = (next + 1) % ARRAY_LEN(ring);
    free(ring[next]);
    ring[next] = NULL;
    if (PQntuples(res) > 0 && !PQgetisnull(res, 0, 0))
        ring[next] = xstrdup(PQgetvalue(res, 0, 0));
    PQclear(res);
    return ring[next];
}

const char *pg_expect_error(PGconn *conn, char *message, const char *fmt, ...)
{
    static char state[6];
    va_list ap;
    PGresult *res;
    const char *got;

    va_start(ap, fmt);
    res = run(conn, fmt, ap, false);
    va_end(ap);
    got = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    if (got == NULL)
        support_fail("no error where one was expected: %s", fmt);
    (void)snprintf(state, sizeof state, "%s", got);
    if (message != NULL)
        (void)snprintf(message, PG_MESSAGE, "%s", PQresultErrorMessage(res));
    PQclear(res);
    return state;
}
