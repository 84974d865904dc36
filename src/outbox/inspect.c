/* Happy path: connect -> the server -> the tables -> the relay's row, a line for each fact. The
 * questions that the relay itself asks (check_server.sql, check_relay.sql) are asked here, too; a
 * relay stops at the first wrong answer, this goes on.
 *
 * Ends early where the next question would make no sense: not connected, too old, no tables, no
 * grants, no row. A question that fails is a line, and what needs no answer of it goes on. When the
 * connection is lost, that is told once, and then only what is known already. */
#include "outbox/inspect.h"

#include "base/str.h"
#include "outbox/connect.h"
#include "outbox/migrate.h"
#include "outbox/sql_texts.h"
#include "outbox/verdict.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define CLOCK_TOLERANCE_US 2000000
#define LONG_TRANSACTION_S "3600"

struct inspection {
    PGconn *conn;
    const char *relay;
    int64_t (*wall_us)(void);
    const struct report *report;
    PGresult *server; /* check_server.sql */
    PGresult *facts;  /* inspect.sql */
    char role[160];   /* quoted for SQL */
};

/* ---- asking and telling ---- */

static bool is_true(const PGresult *row, const char *column)
{
    return strcmp(command_get(row, column), "t") == 0;
}

static int number(const PGresult *row, const char *column)
{
    return (int)command_int(row, 0, PQfnumber(row, column));
}

/* A line whose way out is put together; PROBLEM_NONE: it is about no problem of the table. */
static void tell(const struct inspection *in, enum finding finding, enum problem problem,
                 const char *what, const char *fmt, ...) PRINTF_LIKE(5, 6);

static void tell(const struct inspection *in, enum finding finding, enum problem problem,
                 const char *what, const char *fmt, ...)
{
    struct str way_out = {0};
    va_list ap;

    va_start(ap, fmt);
    str_vprintf(&way_out, fmt, ap);
    va_end(ap);
    if (problem == PROBLEM_NONE)
        report_line(in->report, finding, way_out.data, "%s", what);
    else
        report_problem(in->report, finding, problem, way_out.data, "%s", what);
    str_release(&way_out);
}

static void tell_failed(const struct inspection *in, const struct err *err)
{
    report_problem(in->report, FINDING_WRONG, err->problem, NULL,
                   "a question to Postgres failed: %s", err->text);
}

/* NULL when it failed, which is a line then. */
static PGresult *ask(const struct inspection *in, const char *sql, const char *param)
{
    struct err err;
    PGresult *rows;

    if (PQstatus(in->conn) != CONNECTION_OK)
        return NULL; /* the question before has told it */
    rows = command_query(in->conn, sql, param != NULL ? 1 : 0, &param, &err);
    if (rows == NULL)
        tell_failed(in, &err);
    return rows;
}

/* One of the relay's own questions. */
static PGresult *ask_as_relay(const struct inspection *in, const char *query)
{
    struct err err;
    PGresult *rows;

    if (PQstatus(in->conn) != CONNECTION_OK)
        return NULL;
    rows = verdict_ask(in->conn, query, in->relay, &err);
    if (rows == NULL)
        tell_failed(in, &err);
    return rows;
}

/* ---- the connection ---- */

static void tell_refused(const struct inspection *in)
{
    struct str cause = {0};
    struct err judged;
    const char *way_out;

    connect_cause(in->conn, &cause, &judged, &way_out);
    if (judged.problem == PROBLEM_DATABASE_UNREACHABLE)
        way_out = "start the server, or correct host and port in postgres.url";
    report_problem(in->report, FINDING_WRONG, judged.problem, way_out, "%s", cause.data);
    str_release(&cause);
}

/* As the relay connects: the same defaults, and only a primary is taken unless the url says so. */
static bool open_connection(struct inspection *in, const struct command_server *server)
{
    struct session_params params = {
        .url = server->url != NULL ? server->url : "",
        .password = server->password,
        .application_name = "outboxd check",
    };
    struct err err;

    in->conn = connect_start(&params, &err);
    if (in->conn == NULL) {
        report_problem(in->report, FINDING_WRONG, err.problem, NULL, "%s", err.text);
        return false;
    }
    switch (command_wait_open(in->conn)) {
    case PGRES_POLLING_OK:
        (void)PQsetErrorVerbosity(in->conn, PQERRORS_DEFAULT);
        return true;
    case PGRES_POLLING_FAILED:
        tell_refused(in);
        return false;
    default: /* libpq's enum, of which the rest are ways of waiting */
        report_problem(in->report, FINDING_WRONG, PROBLEM_DATABASE_UNREACHABLE,
                       "correct host and port in postgres.url, or let the connection through",
                       "Postgres on %s port %s does not answer", PQhost(in->conn),
                       PQport(in->conn));
        return false;
    }
}

/* Deadlines for a server in distress; the rest makes the answers mean the same everywhere. */
static const char session_sql[] =
    "SET search_path = pg_catalog; SET datestyle = 'ISO'; SET timezone = 'UTC'; SET jit = off; "
    "SET statement_timeout = '10s'; SET lock_timeout = '2s'; "
    "SET default_transaction_read_only = on";

static bool begin(struct inspection *in)
{
    struct err err;
    const char *version = PQparameterStatus(in->conn, "server_version");

    report_line(in->report, FINDING_OK, NULL, "connected to database %s on %s port %s as %s",
                PQdb(in->conn), PQhost(in->conn), PQport(in->conn), PQuser(in->conn));
    if (PQserverVersion(in->conn) < OLDEST_SERVER) {
        report_problem(in->report, FINDING_WRONG, PROBLEM_DATABASE_TOO_OLD, NULL,
                       "PostgreSQL %s: outboxd needs 13 or later", version);
        return false;
    }
    report_line(in->report, FINDING_OK, NULL, "PostgreSQL %s", version);
    if (command_exec(in->conn, session_sql, &err) != 0) {
        tell_failed(in, &err);
        return false;
    }
    in->server = ask_as_relay(in, "check_server");
    in->facts = in->server != NULL ? ask(in, sql_query("inspect"), NULL) : NULL;
    if (in->facts == NULL)
        return false;
    (void)snprintf(in->role, sizeof in->role, "%s", command_get(in->server, "role"));
    return true;
}

/* ---- the server ---- */

static void inspect_recovery(const struct inspection *in)
{
    if (is_true(in->server, "in_recovery"))
        report_problem(in->report, FINDING_WRONG, PROBLEM_DATABASE_STANDBY, NULL,
                       "the server is in recovery (a standby): the relay needs a primary");
    else
        report_line(in->report, FINDING_OK, NULL, "the server is a primary");
}

static void inspect_encoding(const struct inspection *in)
{
    const char *encoding = command_get(in->facts, "encoding");

    if (strcmp(encoding, "UTF8") == 0)
        report_line(in->report, FINDING_OK, NULL, "the database's encoding is UTF8");
    else if (strcmp(encoding, "SQL_ASCII") == 0)
        report_line(
            in->report, FINDING_WARN,
            "move to a database made by CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0;",
            "the database's encoding is SQL_ASCII: nobody checks that texts are UTF-8, and "
            "bytes that are not go to Kafka as they are");
    else
        report_line(in->report, FINDING_NOTE, NULL,
                    "the database's encoding is %s: texts and payloads are converted to UTF-8 when "
                    "they are read",
                    encoding);
}

/* The server's answer was made between two looks at our clock; what lies outside is the difference
 * at the least. */
static void inspect_clock(const struct inspection *in)
{
    int64_t before;
    int64_t after;
    int64_t server;
    int64_t off;
    PGresult *rows;

    if (in->wall_us == NULL)
        return;
    before = in->wall_us();
    rows = ask(in, sql_query("inspect_clock"), NULL);
    after = in->wall_us();
    if (rows == NULL)
        return;
    server = command_int(rows, 0, 0);
    PQclear(rows);
    off = server < before ? before - server : server > after ? server - after : 0;
    if (off > CLOCK_TOLERANCE_US)
        report_line(
            in->report, FINDING_WARN, "synchronise both clocks, by NTP",
            "the server's clock is %.1f s %s this machine's: latencies in metrics are wrong "
            "by as much (order and lease do not depend on clocks)",
            (double)off / 1e6, server < before ? "behind" : "ahead of");
    else
        report_line(in->report, FINDING_OK, NULL, "the server's clock agrees with this machine's");
}

static void inspect_transactions(const struct inspection *in)
{
    PGresult *rows = ask(in, sql_query("inspect_long"), LONG_TRANSACTION_S);
    struct str what = {0};

    if (rows == NULL)
        return;
    for (int i = 0; i < PQntuples(rows); i++) {
        str_reset(&what);
        str_printf(&what,
                   "%s: what it wrote waits for its end, and vacuum keeps the relay's old rows, "
                   "which makes every poll slower",
                   PQgetvalue(rows, i, 0));
        tell(in, FINDING_WARN, PROBLEM_LONG_TRANSACTION, what.data, "let it end, or %s",
             PQgetvalue(rows, i, 1));
    }
    if (!is_true(in->facts, "sees_all"))
        tell(in, FINDING_NOTE, PROBLEM_NONE,
             "how long other roles' transactions are open cannot be seen",
             "GRANT pg_read_all_stats TO %s;", in->role);
    else if (PQntuples(rows) == 0)
        report_line(in->report, FINDING_OK, NULL, "no transaction is open for more than an hour");
    str_release(&what);
    PQclear(rows);
}

/* ---- the tables ---- */

static bool inspect_tables(const struct inspection *in)
{
    if (is_true(in->server, "has_tables"))
        return true;
    report_problem(in->report, FINDING_WRONG, PROBLEM_SCHEMA_MISSING, NULL,
                   "database \"%s\" has no outbox tables", command_get(in->server, "database"));
    return false;
}

/* A commit that is not yet on disk can be lost after its event was published. */
static void inspect_durability(const struct inspection *in)
{
    if (!is_true(in->facts, "fsync"))
        report_line(in->report, FINDING_WARN, "fsync = on in postgresql.conf",
                    "fsync is off: when the server's machine crashes, events that were published "
                    "can be lost, and the whole database with them");
    if (!is_true(in->facts, "durable"))
        report_line(in->report, FINDING_WARN,
                    is_true(in->facts, "has_durable")
                        ? "ALTER TABLE outbox.event ENABLE TRIGGER event_commit_durably;"
                        : "CREATE TRIGGER event_commit_durably BEFORE INSERT ON outbox.event FOR "
                          "EACH STATEMENT WHEN (current_setting('synchronous_commit') = 'off') "
                          "EXECUTE FUNCTION outbox.commit_durably();",
                    "the trigger event_commit_durably does not run: an event of a transaction with "
                    "synchronous_commit = off can be published and then lost in a crash");
    else if (strcmp(command_get(in->facts, "synchronous_commit"), "off") == 0)
        report_line(in->report, FINDING_NOTE, NULL,
                    "synchronous_commit is off by default: transactions that insert events switch "
                    "it on for themselves");
    else
        report_line(in->report, FINDING_OK, NULL,
                    "transactions that insert events wait for the disk, whatever their "
                    "synchronous_commit");
}

static void inspect_doorbell(const struct inspection *in)
{
    int bells = number(in->server, "bells");
    int max_prepared = number(in->facts, "max_prepared");

    if (bells == 0)
        report_line(in->report, FINDING_NOTE, "`outboxd migrate` makes one",
                    "outbox.event has no doorbell: right with relay.wakeup: poll, else events wait "
                    "for the slow fallback poll");
    else if (max_prepared > 0)
        report_line(
            in->report, FINDING_WARN,
            "if transactions with events use PREPARE TRANSACTION: relay.wakeup: poll, and as the "
            "owner DROP TRIGGER event_ring ON outbox.event; (`outboxd migrate --no-doorbell` "
            "does not make it)",
            "max_prepared_transactions is %d, and outbox.event has a doorbell: Postgres "
            "refuses PREPARE TRANSACTION after the doorbell's NOTIFY",
            max_prepared);
    else
        report_line(in->report, FINDING_OK, NULL, "outbox.event has %d doorbell%s", bells,
                    bells > 1 ? "s" : "");
}

static void inspect_order(const struct inspection *in)
{
    const char *sequence = command_get(in->server, "sequence");

    if (is_true(in->server, "row_security"))
        tell(in, FINDING_WRONG, PROBLEM_ROW_SECURITY,
             "row level security can hide events from the relay",
             "ALTER TABLE outbox.event DISABLE ROW LEVEL SECURITY; or ALTER ROLE %s BYPASSRLS;",
             in->role);
    else
        report_line(in->report, FINDING_OK, NULL, "row level security hides no events");
    if (sequence[0] != '\0')
        report_problem(
            in->report, FINDING_WRONG, PROBLEM_SEQUENCE_CACHES, sequence,
            "the sequence of outbox.event.id caches numbers, so ids do not follow the order "
            "of inserts");
    else
        report_line(in->report, FINDING_OK, NULL, "the sequence of outbox.event.id caches nothing");
}

static void inspect_days(const struct inspection *in)
{
    int days = number(in->facts, "days");
    int64_t net_bytes = command_int(in->facts, 0, PQfnumber(in->facts, "net_bytes"));

    if (days < 2)
        report_line(in->report, FINDING_WARN,
                    "SELECT outbox.ensure_days(7); a running relay does it hourly",
                    "there is no partition for %s (UTC): its events go to the default partition",
                    days == 0 ? "today" : "tomorrow");
    else
        report_line(in->report, FINDING_OK, NULL, "partitions are there for today and %s%d day%s",
                    days > 60 ? "at least " : "", days - 1, days > 2 ? "s" : "");
    if (!is_true(in->facts, "has_net"))
        report_line(in->report, FINDING_WARN,
                    "CREATE TABLE outbox.event_default PARTITION OF outbox.event DEFAULT;",
                    "outbox.event has no default partition: an insert on a day without a partition "
                    "fails");
    else if (net_bytes > 0)
        report_problem(
            in->report, FINDING_WARN, PROBLEM_DEFAULT_PARTITION,
            "keep a relay running: it makes the days ahead, so that no more come",
            "the default partition holds rows (%" PRId64 " kB) of days that had no "
            "partition: they are published as all others, but are not dropped with a day",
            net_bytes / 1024);
}

static bool inspect_grants(const struct inspection *in)
{
    const char *grants = command_get(in->server, "grants");
    struct str what = {0};

    if (is_true(in->server, "has_usage") && grants[0] == '\0') {
        report_line(in->report, FINDING_OK, NULL, "role %s has the privileges of a relay",
                    in->role);
        return true;
    }
    if (!is_true(in->server, "has_usage")) {
        str_printf(&what, "role %s may not use the schema outbox", in->role);
        tell(in, FINDING_WRONG, PROBLEM_GRANTS_MISSING, what.data,
             "GRANT outbox_relay TO %s; or one by one: GRANT USAGE ON SCHEMA outbox TO %s; %s",
             in->role, in->role, grants);
    } else {
        str_printf(&what, "role %s lacks privileges", in->role);
        tell(in, FINDING_WRONG, PROBLEM_GRANTS_MISSING, what.data,
             "GRANT outbox_relay TO %s; or one by one: %s", in->role, grants);
    }
    str_release(&what);
    return false;
}

/* ---- the relay ---- */

static void inspect_version(const struct inspection *in, const PGresult *row)
{
    int version = number(row, "version");

    if (version < migrate_required_version())
        report_problem(in->report, FINDING_WRONG, PROBLEM_SCHEMA_OLDER, NULL,
                       "the outbox schema has version %d, this outboxd needs %d", version,
                       migrate_required_version());
    else if (version > migrate_newest_version())
        report_problem(in->report, FINDING_WRONG, PROBLEM_SCHEMA_NEWER, NULL,
                       "the outbox schema has version %d, this outboxd knows %d at most", version,
                       migrate_newest_version());
    else
        report_line(in->report, FINDING_OK, NULL, "the outbox schema has version %d", version);
}

static void inspect_position(const struct inspection *in, const PGresult *row)
{
    const char *server_id = command_get(in->server, "system_identifier");
    int bells = number(in->server, "bells");
    int bell = number(row, "bell");

    if (strcmp(command_get(row, "system_identifier"), server_id) != 0)
        report_problem(
            in->report, FINDING_WRONG, PROBLEM_FOREIGN_DATABASE, NULL,
            "the position of relay \"%s\" belongs to another server (system_identifier %s, "
            "this one is %s): this one was made by dump and restore",
            in->relay, command_get(row, "system_identifier"), server_id);
    else if (is_true(row, "ahead"))
        report_problem(
            in->report, FINDING_WRONG, PROBLEM_POSITION_AHEAD, NULL,
            "the position of relay \"%s\" is ahead of the server (transaction %s, the server "
            "is at %s): it was set back to an older state",
            in->relay, command_get(row, "stored_xmax"), command_get(row, "server_xmax"));
    else
        report_line(in->report, FINDING_OK, NULL,
                    "relay \"%s\" is there, and its position is this server's", in->relay);
    if (bells > 0 && bell >= bells)
        tell(in, FINDING_WARN, PROBLEM_NONE,
             "no doorbell rings for this relay: events wait for the slow fallback poll",
             "SELECT outbox.set_bells(%d); as the owner", bell + 1);
}

static void inspect_relay(const struct inspection *in)
{
    PGresult *row = ask_as_relay(in, "check_relay");

    if (row == NULL)
        return;
    inspect_version(in, row);
    if (is_true(row, "has_row"))
        inspect_position(in, row);
    else
        report_problem(in->report, FINDING_WRONG, PROBLEM_RELAY_MISSING, NULL,
                       "there is no relay \"%s\" in outbox.relay", in->relay);
    PQclear(row);
}

/* ---- all of it ---- */

void outbox_inspect(const struct command_server *server, const char *relay,
                    int64_t (*wall_us)(void), const struct report *report)
{
    struct inspection in = {.relay = relay, .wall_us = wall_us, .report = report};

    if (!open_connection(&in, server) || !begin(&in))
        goto out;
    inspect_recovery(&in);
    inspect_encoding(&in);
    inspect_clock(&in);
    inspect_transactions(&in);
    if (!inspect_tables(&in))
        goto out;
    inspect_durability(&in);
    inspect_doorbell(&in);
    inspect_order(&in);
    inspect_days(&in);
    if (inspect_grants(&in))
        inspect_relay(&in);
out:
    PQclear(in.facts);
    PQclear(in.server);
    PQfinish(in.conn);
}
