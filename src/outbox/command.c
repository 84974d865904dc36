#include "outbox/command.h"

#include "outbox/connect.h"

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

/* What an error of the server means for whoever waits for the command. Two characters are a class
 * of SQLSTATEs. */
static enum err_kind kind_of(const char *sqlstate)
{
    static const struct {
        const char *state;
        enum err_kind kind;
    } table[] = {
        {"08", ERR_UNAVAILABLE},    /* connection */
        {"28", ERR_CONFIG},         /* password, pg_hba.conf, no such role */
        {"3D", ERR_CONFIG},         /* no such database */
        {"3F", ERR_CONFIG},         /* no such schema */
        {"42", ERR_CONFIG},         /* privileges, objects that are missing or in the way */
        {"2B", ERR_CONFIG},         /* something of the user's depends on what is to be dropped */
        {"22", ERR_CONFIG},         /* a value that we were given is wrong */
        {"P0002", ERR_CONFIG},      /* no such relay */
        {"25006", ERR_UNAVAILABLE}, /* read-only: a standby */
        {"40", ERR_TEMPFAIL},       /* deadlock, serialisation */
        {"55P03", ERR_TEMPFAIL},    /* lock_timeout */
        {"57014", ERR_TEMPFAIL},    /* statement_timeout, cancelled */
        {"57P", ERR_UNAVAILABLE},   /* shutting down, starting */
        {"53", ERR_UNAVAILABLE},    /* too many connections, disk full */
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (strncmp(sqlstate, table[i].state, strlen(table[i].state)) == 0)
            return table[i].kind;
    return ERR_SOFTWARE;
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
        return err_set(err, ERR_UNAVAILABLE, "connect to Postgres: %s does not answer",
                       PQhost(conn));
    }
    if (PQserverVersion(conn) < OLDEST_SERVER)
        return err_set(err, ERR_CONFIG, "PostgreSQL 13 or later is needed, this server is %s",
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
        err_set(err, ERR_SOFTWARE, "connect to Postgres: out of memory");
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
    if (conn == NULL && environment == NULL && strstr(err->text, CONNECT_NO_PRIMARY) != NULL)
        conn = connect_to(server, "any", err);
    return conn;
}

/* ---- statements ---- */

static int statement_failed(PGconn *conn, const PGresult *res, struct err *err)
{
    const char *state = res == NULL ? NULL : PQresultErrorField(res, PG_DIAG_SQLSTATE);
    const char *text = res == NULL ? NULL : PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = res == NULL ? NULL : PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL);
    const char *hint = res == NULL ? NULL : PQresultErrorField(res, PG_DIAG_MESSAGE_HINT);

    (void)snprintf(last_sqlstate, sizeof last_sqlstate, "%s", state == NULL ? "" : state);
    if (state == NULL || text == NULL)
        return err_set(err, ERR_UNAVAILABLE, "connection lost: %s", PQerrorMessage(conn));
    return err_set(err, kind_of(state), "%s%s%s%s%s", text, detail != NULL ? ": " : "",
                   detail != NULL ? detail : "", hint != NULL ? "; " : "",
                   hint != NULL ? hint : "");
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

int64_t command_int(const PGresult *rows, int row, int column)
{
    return strtoll(PQgetvalue(rows, row, column), NULL, 10);
}

bool command_bool(const PGresult *rows, int row, int column)
{
    return PQgetvalue(rows, row, column)[0] == 't';
}
