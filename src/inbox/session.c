/* How a connection comes about, and how one statement is waited for.
 *
 * The session's default is read-only: what a handler does outside of the transaction that it was
 * given fails, instead of taking effect once more with each attempt. */
#include "inbox/session_internal.h"

#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_MS    5000
#define STATEMENT_MS  30000 /* of ours; longest for a claim that another transaction holds */
#define CANCEL_MS     5000  /* then the connection is given up */
#define STOP_MS       3000  /* what a statement may still take once we are to stop */
#define OLDEST_SCHEMA 1003
#define SETTINGS                                                                                   \
    "SET default_transaction_read_only = on; SET tcp_keepalives_idle = 10; "                       \
    "SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"

/* ---- waiting --------------------------------------------------------------------------------- */

/* Until the socket is ready, the deadline has come, or something asks us to stop. */
static void wait_for(const struct session *s, short events, uint64_t deadline_ms)
{
    struct pollfd fds[2] = {{.fd = PQsocket(s->conn), .events = events},
                            {.fd = s->stop_fd, .events = POLLIN}};
    const uint64_t now_ms = clock_now_ms();

    if (now_ms < deadline_ms)
        /* once it stops, its descriptor is readable for good */
        (void)poll(fds, atomic_load(s->stopping) ? 1 : 2, (int)(deadline_ms - now_ms));
}

static void cancel(const struct session *s)
{
    PGcancel *c = PQgetCancel(s->conn);
    char text[256];

    if (c == NULL)
        return;
    if (PQcancel(c, text, sizeof text) == 0)
        say_warn(s->say, "cancel", LOG_S("text", text));
    PQfreeCancel(c);
}

/* True when the answer is there; false: the connection is lost, or given up as such. */
static bool await_answer(struct session *s)
{
    uint64_t deadline_ms = clock_now_ms() + STATEMENT_MS;
    bool stopping = false;
    bool cancelled = false;

    while (PQisBusy(s->conn)) {
        if (atomic_load(s->stopping) && !stopping) {
            stopping = true;
            if (!cancelled && clock_now_ms() + STOP_MS < deadline_ms)
                deadline_ms = clock_now_ms() + STOP_MS;
        }
        wait_for(s, POLLIN, deadline_ms);
        if (PQconsumeInput(s->conn) == 0)
            return false;
        if (!PQisBusy(s->conn) || clock_now_ms() < deadline_ms)
            continue;
        if (cancelled)
            return false;
        cancel(s);
        cancelled = true;
        deadline_ms = clock_now_ms() + CANCEL_MS;
    }
    return true;
}

PGresult *session_exec(struct session *s, const char *sql, int count, const char *const *values)
{
    PGresult *last = NULL;
    int sent = count == 0 ? PQsendQuery(s->conn, sql)
                          : PQsendQueryParams(s->conn, sql, count, NULL, values, NULL, NULL, 0);

    while (sent != 0 && await_answer(s)) {
        PGresult *next = PQgetResult(s->conn);

        if (next == NULL)
            return last;
        PQclear(last);
        last = next;
    }
    /* Lost, or silent: the server ends the transaction when it notices. */
    PQclear(last);
    session_close(s);
    return NULL;
}

static int send_one(const struct session *s, const struct statement *one)
{
    if (one->name != NULL && !s->unprepared)
        return PQsendQueryPrepared(s->conn, one->name, one->count, one->values, one->lengths,
                                   one->formats, 0);
    return PQsendQueryParams(s->conn, one->sql, one->count, NULL, one->values, one->lengths,
                             one->formats, 0);
}

static bool send_all(struct session *s, const struct statement *statements, size_t count)
{
    if (PQenterPipelineMode(s->conn) != 1)
        return false;
    for (size_t i = 0; i < count; i++)
        if (send_one(s, &statements[i]) != 1)
            return false;
    return PQpipelineSync(s->conn) == 1;
}

PGresult *session_pipeline(struct session *s, const struct statement *statements, size_t count)
{
    PGresult *kept = NULL;
    size_t ends = 0; /* each statement's results end with NULL, then comes the end of all */
    bool sent = send_all(s, statements, count);

    while (sent && ends <= count && await_answer(s)) {
        PGresult *next = PQgetResult(s->conn);

        switch (PQresultStatus(next)) {
        case PGRES_PIPELINE_SYNC:
            PQclear(next);
            if (PQexitPipelineMode(s->conn) == 1)
                return kept;
            sent = false;
            continue;
        case PGRES_PIPELINE_ABORTED: /* what came before it has failed */
            PQclear(next);
            continue;
        default:
            break;
        }
        if (next == NULL) {
            ends++;
            continue;
        }
        PQclear(kept);
        kept = next;
    }
    PQclear(kept);
    session_close(s);
    return NULL;
}

enum db session_judge(struct session *s, PGresult *result, ExecStatusType wanted,
                      struct inbox_error *e)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    if (result == NULL) {
        fault_set(e, INBOX_E_CONNECTION, "database: the connection is lost, or the server silent");
        return DB_OUTAGE;
    }
    if (PQresultStatus(result) == wanted)
        return DB_OK;
    fault_of_result(e, s->conn, result);
    if (PQstatus(s->conn) == CONNECTION_BAD)
        return DB_OUTAGE;
    if (sqlstate != NULL && strcmp(sqlstate, "57014") == 0)
        return DB_CONFLICT; /* cancelled by us: what it waited for may have an end */
    if (sqlstate != NULL && strcmp(sqlstate, "26000") == 0) {
        s->unprepared = true; /* the handler has deallocated all: without them from now on */
        return DB_CONFLICT;
    }
    switch (fault_sql_class(sqlstate)) {
    case SQL_OUTAGE:
        return DB_OUTAGE;
    case SQL_CONFLICT:
        return DB_CONFLICT;
    case SQL_SCHEMA:
    case SQL_GRANTS:
        return DB_FATAL;
    case SQL_STATEMENT:
        break;
    }
    return DB_REFUSED;
}

enum db session_run(struct session *s, const char *sql, struct inbox_error *e)
{
    PGresult *result = session_exec(s, sql, 0, NULL);
    enum db db = session_judge(s, result, PGRES_COMMAND_OK, e);

    PQclear(result);
    return db;
}

/* ---- watching a handler ---------------------------------------------------------------------- */

static void note_result(struct session *s, PGresult *result)
{
    static const char *const forbidden[] = {"BEGIN", "START TRANSACTION", "COMMIT",
                                            "PREPARE TRANSACTION"};
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    if (sqlstate != NULL && strlen(sqlstate) == sizeof s->sqlstate - 1) {
        memcpy(s->sqlstate, sqlstate, sizeof s->sqlstate);
        s->ended |= s->watched && strcmp(sqlstate, "IB010") == 0;
    }
    if (!s->watched || PQresultStatus(result) != PGRES_COMMAND_OK)
        return;
    for (size_t i = 0; i < ARRAY_LEN(forbidden); i++)
        s->ended |= strcmp(PQcmdStatus(result), forbidden[i]) == 0;
}

/* libpq tells here what becomes of the connection, whoever causes it. */
static int on_event(PGEventId id, void *info, void *arg)
{
    struct session *s = arg;

    switch (id) {
    case PGEVT_RESULTCREATE:
        note_result(s, ((PGEventResultCreate *)info)->result);
        break;
    case PGEVT_CONNRESET:
        s->ended = true;
        break;
    case PGEVT_CONNDESTROY:
        s->ended = true;
        s->conn = NULL;
        break;
    case PGEVT_REGISTER:
    case PGEVT_RESULTCOPY:
    case PGEVT_RESULTDESTROY:
        break;
    }
    return 1;
}

/* ---- connecting ------------------------------------------------------------------------------ */

static void ignore_notice(void *arg, const PGresult *result)
{
    (void)arg;
    (void)result;
}

static PGconn *start(const struct session *s)
{
    const char *keywords[12];
    const char *values[12];
    size_t n = 0;

#define PUT(k, v) (keywords[n] = (k), values[n] = (v), n++)
    if (getenv("PGTARGETSESSIONATTRS") == NULL)
        PUT("target_session_attrs", "read-write");
    PUT("keepalives_idle", "10");
    PUT("keepalives_interval", "5");
    PUT("keepalives_count", "3");
    PUT("tcp_user_timeout", "20000");
    PUT("fallback_application_name", s->consumer);
    if (s->conninfo != NULL)
        PUT("dbname", s->conninfo); /* what stands before it yields to it */
    PUT("client_encoding", "UTF8");
#undef PUT
    keywords[n] = NULL;
    values[n] = NULL;
    return PQconnectStartParams(keywords, values, 1);
}

static bool await_connection(struct session *s)
{
    const uint64_t deadline_ms = clock_now_ms() + CONNECT_MS;
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;

    while (state != PGRES_POLLING_OK && state != PGRES_POLLING_FAILED) {
        if (clock_now_ms() >= deadline_ms || atomic_load(s->stopping))
            return false;
        wait_for(s, state == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline_ms);
        state = PQconnectPoll(s->conn);
    }
    return state == PGRES_POLLING_OK;
}

static enum db check_schema(struct session *s, struct inbox_error *e)
{
    PGresult *result = session_exec(s, "SELECT inbox.version()", 0, NULL);
    enum db db = session_judge(s, result, PGRES_TUPLES_OK, e);
    int version = db == DB_OK ? (int)strtol(PQgetvalue(result, 0, 0), NULL, 10) : 0;

    PQclear(result);
    if (db != DB_OK || version >= OLDEST_SCHEMA)
        return db;
    fault_set(e, INBOX_E_SCHEMA,
              "the schema inbox has version %d and %d is needed: run `outboxd migrate --inbox` as "
              "the database's owner",
              version, OLDEST_SCHEMA);
    return DB_FATAL;
}

static enum db prepare(struct session *s, struct inbox_error *e)
{
    enum db db = session_run(s, SETTINGS, e);

    if (db == DB_OK)
        db = check_schema(s, e);
    if (db == DB_OK)
        db = session_run(s, session_prepares, e);
    return db == DB_REFUSED || db == DB_CONFLICT ? DB_OUTAGE : db;
}

static bool is_usable(const struct session *s)
{
    return s->conn != NULL && PQstatus(s->conn) == CONNECTION_OK &&
           PQtransactionStatus(s->conn) == PQTRANS_IDLE && !s->ended;
}

enum db session_ready(struct session *s, struct inbox_error *e)
{
    enum db db;

    if (is_usable(s))
        return DB_OK;
    session_close(s);
    s->conn = start(s);
    if (s->conn == NULL)
        abort(); /* out of memory */
    (void)PQsetNoticeReceiver(s->conn, ignore_notice, NULL);
    if (!await_connection(s)) {
        fault_set(e, INBOX_E_CONNECTION, "database: %s",
                  PQerrorMessage(s->conn)[0] != '\0' ? PQerrorMessage(s->conn)
                                                     : "no answer within 5 s");
        session_close(s);
        return DB_OUTAGE;
    }
    if (PQregisterEventProc(s->conn, on_event, "inbox", s) == 0)
        abort(); /* out of memory */
    s->ended = false;
    db = prepare(s, e);
    if (db != DB_OK)
        session_close(s);
    else
        s->connects++;
    return db;
}

void session_close(struct session *s)
{
    if (s->conn != NULL)
        PQfinish(s->conn); /* on_event forgets it; without one it is forgotten here */
    s->conn = NULL;
    s->ended = false;
    s->xid[0] = '\0';
}
