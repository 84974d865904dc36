#include "outbox/overdue.h"

#include "outbox/sql_texts.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char session_sql[] =
    "SET statement_timeout = '10s'; SET lock_timeout = '2s'; SET jit = off; "
    "SET default_transaction_read_only = on";

static const char supported_sql[] =
    "SELECT coalesce((SELECT has_function_privilege(p.oid, 'EXECUTE') FROM pg_proc p JOIN "
    "pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'outbox' AND p.proname = "
    "'overdue_days' AND has_schema_privilege(n.oid, 'USAGE')), false)";

static void take_day(const PGresult *rows, int row, struct overdue *out)
{
    struct overdue_day *day = &out->days[out->listed++];

    (void)snprintf(day->partition, sizeof day->partition, "%s", PQgetvalue(rows, row, 0));
    day->bytes = command_int(rows, row, 1);
    (void)snprintf(day->reason, sizeof day->reason, "%s", PQgetvalue(rows, row, 2));
}

static int ask_days(PGconn *conn, int64_t keep_ms, struct overdue *out, struct err *err)
{
    char keep[32];
    const char *const params[] = {keep};
    PGresult *rows;

    (void)snprintf(keep, sizeof keep, "%" PRId64, keep_ms);
    rows = command_query(conn, sql_query("overdue"), 1, params, err);
    if (rows == NULL)
        return err_wrap(err, "ask for overdue days");
    out->count = (size_t)PQntuples(rows);
    for (int i = 0; i < PQntuples(rows) && out->listed < OVERDUE_LISTED; i++)
        take_day(rows, i, out);
    PQclear(rows);
    return 0;
}

int overdue_ask(const struct command_server *server, int64_t keep_ms, struct overdue *out,
                struct err *err)
{
    PGconn *conn;
    PGresult *rows = NULL;
    int rc;

    memset(out, 0, sizeof *out);
    conn = command_connect(server, err);
    if (conn == NULL)
        return -1;
    rc = command_exec(conn, session_sql, err);
    if (rc == 0) {
        rows = command_query(conn, supported_sql, 0, NULL, err);
        rc = rows == NULL ? -1 : 0;
    }
    out->supported = rc == 0 && command_bool(rows, 0, 0);
    PQclear(rows);
    if (out->supported)
        rc = ask_days(conn, keep_ms, out, err);
    PQfinish(conn);
    return rc;
}

void overdue_inspect(const struct command_server *server, int64_t keep_ms,
                     const struct report *report)
{
    struct overdue overdue;
    struct err err;

    if (overdue_ask(server, keep_ms, &overdue, &err) != 0)
        return;
    if (!overdue.supported)
        report_line(report, FINDING_NOTE, "run `outboxd migrate`",
                    "there is no retention for this role: old days stay");
    else if (keep_ms == 0)
        report_line(report, FINDING_OK, NULL, "events are kept for ever, as retention.keep says");
    else if (overdue.count == 0)
        report_line(report, FINDING_OK, NULL, "no day is kept beyond retention.keep");
    else
        report_problem(report, FINDING_WARN, PROBLEM_RETENTION_STUCK,
                       "SELECT * FROM outbox.overdue_days(...); tells all; start the relay that is "
                       "behind, or delete its row in outbox.relay; end the transactions in the way",
                       "%zu partition%s should be gone by retention.keep; %s: %s", overdue.count,
                       overdue.count > 1 ? "s" : "", overdue.days[0].partition,
                       overdue.days[0].reason);
}
