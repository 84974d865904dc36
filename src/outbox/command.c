#include "outbox/command.h"

#include "outbox/connect.h"
#include "outbox/sqlstate.h"

#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEP_TIMEOUT_MS 10000 /* for each step of connecting: TCP, TLS, authentication */

static char last_sqlstate[6];

const char *command_sqlstate(void)
{
    return last_sqlstate;
}

static void drop_notice(void *arg, const char *message)
{
    (void)arg;
    (void)message;
}

/* ---- connecting ---- */

/* Waits until the socket is ready for what libpq wants; false after the timeout. */
static bool wait_for(PGconn *conn, PostgresPollingStatusType want)
{
    struct pollfd p = {
        .fd = PQsocket(conn),
        .events = want == PGRES_POLLING_READING ? POLLIN : POLLOUT,
    };

    return poll(&p, 1, STEP_TIMEOUT_MS) != 0;
}

PostgresPollingStatusType command_wait_open(PGconn *conn)
{
    PostgresPollingStatusType want =
        PQstatus(conn) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING;

    while (want != PGRES_POLLING_OK && want != PGRES_POLLING_FAILED && wait_for(conn, want))
        want = PQconnectPoll(conn);
    return want;
}

static int drive_connect(PGconn *conn, struct err *err)
{
    (void)PQsetErrorVerbosity(conn, PQERRORS_VERBOSE);
    switch (command_wait_open(conn)) {
    case PGRES_POLLING_OK:
        break;
    case PGRES_POLLING_FAILED:
        connect_explain(conn, err);
        return err_wrap(err, "connect to Postgres");
    default: /* libpq's enum, of which the rest are ways of waiting */
        return err_problem(err, ERR_UNAVAILABLE, PROBLEM_DATABASE_UNREACHABLE,
                           "connect to Postgres: %s does not answer", PQhost(conn));
    }
    if (PQserverVersion(conn) < OLDEST_SERVER)
        return err_problem(err, ERR_CONFIG, PROBLEM_DATABASE_TOO_OLD, "the server is PostgreSQL %s",
                           PQparameterStatus(conn, "server_version"));
    return 0;
}

static PGconn *connect_to(const struct command_server *server, const char *attrs, struct err *err)
{
    /* what comes later in the list wins; dbname stands for the whole URL */
    const char *const keys[] = {"fallback_application_name",
                                "target_session_attrs",
                                "dbname",
                                "client_encoding",
                                server->password != NULL ? "password" : NULL,
                                NULL};
    const char *const values[] = {"outboxd command", attrs, server->url, "UTF8",
                                  server->password,  NULL};
    PGconn *conn = PQconnectStartParams(keys, values, 1);

    if (conn == NULL) {
        err_problem(err, ERR_SOFTWARE, PROBLEM_INTERNAL_ERROR,
                    "connect to Postgres: out of memory");
        return NULL;
    }
    if (drive_connect(conn, err) != 0) {
        PQfinish(conn);
        return NULL;
    }
    (void)PQsetErrorVerbosity(conn, PQERRORS_DEFAULT);
    (void)PQsetNoticeProcessor(conn, drop_notice, NULL);
    return conn;
}

/* Of several hosts the primary. With none, any: `status` can be read from a standby, too, and what
 * wants to write is told why it cannot. */
PGconn *command_connect(const struct command_server *server, struct err *err)
{
    const char *environment = getenv("PGTARGETSESSIONATTRS");
    PGconn *conn;

    if (server->url != NULL && connect_check_url(server->url, err) != 0)
        return NULL;
    conn = connect_to(server, environment != NULL ? environment : "read-write", err);
    if (conn == NULL && environment == NULL && err->problem == PROBLEM_DATABASE_STANDBY)
        conn = connect_to(server, "any", err);
    return conn;
}

/* ---- statements ---- */

static int connection_lost(PGconn *conn, struct err *err)
{
    struct str line = {0};

    connect_one_line(PQerrorMessage(conn), &line);
    (void)err_problem(err, ERR_UNAVAILABLE, PROBLEM_DATABASE_UNREACHABLE, "connection lost: %s",
                      str_text(&line));
    str_release(&line);
    return -1;
}

static int statement_failed(PGconn *conn, const PGresult *res, struct err *err)
{
    const char *state = res == NULL ? NULL : PQresultErrorField(res, PG_DIAG_SQLSTATE);
    const char *text = res == NULL ? NULL : PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = res == NULL ? NULL : PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL);
    const char *hint = res == NULL ? NULL : PQresultErrorField(res, PG_DIAG_MESSAGE_HINT);

    (void)snprintf(last_sqlstate, sizeof last_sqlstate, "%s", state == NULL ? "" : state);
    if (state == NULL || text == NULL)
        return connection_lost(conn, err);
    (void)err_set(err, ERR_SOFTWARE, "%s%s%s%s%s", text, detail != NULL ? ": " : "",
                  detail != NULL ? detail : "", hint != NULL ? "; " : "", hint != NULL ? hint : "");
    sqlstate_judge(state, err);
    return -1;
}

int command_exec(PGconn *conn, const char *sql, struct err *err)
{
    PGresult *res = PQexec(conn, sql);
    ExecStatusType status = PQresultStatus(res);
    int rc = 0;

    last_sqlstate[0] = '\0';
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        rc = statement_failed(conn, res, err);
    PQclear(res);
    return rc;
}

PGresult *command_query(PGconn *conn, const char *sql, int nparams, const char *const *params,
                        struct err *err)
{
    PGresult *res = PQexecParams(conn, sql, nparams, NULL, params, NULL, NULL, 0);
    ExecStatusType status = PQresultStatus(res);

    last_sqlstate[0] = '\0';
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
        return res;
    statement_failed(conn, res, err);
    PQclear(res);
    return NULL;
}

int command_copy_out(PGconn *conn, const char *sql, struct err *err)
{
    PGresult *res = PQexec(conn, sql);
    int rc = 0;

    last_sqlstate[0] = '\0';
    if (PQresultStatus(res) != PGRES_COPY_OUT)
        rc = statement_failed(conn, res, err);
    PQclear(res);
    return rc;
}

int64_t command_int(const PGresult *rows, int row, int column)
{
    return strtoll(PQgetvalue(rows, row, column), NULL, 10);
}

bool command_bool(const PGresult *rows, int row, int column)
{
    return PQgetvalue(rows, row, column)[0] == 't';
}

const char *command_get(const PGresult *rows, const char *column)
{
    int number = PQfnumber(rows, column);

    return number < 0 ? "" : PQgetvalue(rows, 0, number);
}
