#include "outbox/verdict.h"

#include "base/str.h"
#include "outbox/command.h"
#include "outbox/migrate.h"
#include "outbox/sql_fill.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

PGresult *verdict_ask(PGconn *conn, const char *query, const char *relay, struct err *err)
{
    struct str name = {0};
    struct str sql = {0};
    PGresult *rows;

    sql_put_quoted(&name, relay);
    sql_fill(&sql, query, &(struct sql_value){"relay", name.data}, 1);
    rows = command_query(conn, sql.data, 0, NULL, err);
    str_release(&sql);
    str_release(&name);
    return rows;
}

static bool is_true(const PGresult *row, const char *column)
{
    return strcmp(command_get(row, column), "t") == 0;
}

static int has_one_row(const PGresult *row, struct err *err)
{
    if (row != NULL && PQntuples(row) == 1)
        return 0;
    return err_problem(err, ERR_SOFTWARE, PROBLEM_INTERNAL_ERROR, "check: no answer in its result");
}

int verdict_server(const PGresult *row, int server_version, struct err *err)
{
    const char *role;

    if (has_one_row(row, err) != 0)
        return -1;
    role = command_get(row, "role");
    if (server_version < OLDEST_SERVER)
        return err_problem(err, ERR_CONFIG, PROBLEM_DATABASE_TOO_OLD, "the server is PostgreSQL %d",
                           server_version / 10000);
    if (is_true(row, "in_recovery"))
        return err_problem(err, ERR_UNAVAILABLE, PROBLEM_DATABASE_STANDBY,
                           "the server is in recovery (a standby)");
    if (!is_true(row, "has_tables"))
        return err_problem(err, ERR_CONFIG, PROBLEM_SCHEMA_MISSING,
                           "database \"%s\" has no outbox tables", command_get(row, "database"));
    if (!is_true(row, "has_usage"))
        return err_problem(err, ERR_CONFIG, PROBLEM_GRANTS_MISSING,
                           "role %s may not use the schema outbox: GRANT outbox_relay TO %s;", role,
                           role);
    if (command_get(row, "grants")[0] != '\0')
        return err_problem(err, ERR_CONFIG, PROBLEM_GRANTS_MISSING,
                           "role %s lacks privileges: GRANT outbox_relay TO %s; or one by one: %s",
                           role, role, command_get(row, "grants"));
    if (is_true(row, "row_security"))
        return err_problem(err, ERR_CONFIG, PROBLEM_ROW_SECURITY,
                           "row level security can hide events from role %s: ALTER TABLE "
                           "outbox.event DISABLE ROW LEVEL SECURITY; or ALTER ROLE %s BYPASSRLS;",
                           role, role);
    if (command_get(row, "sequence")[0] != '\0')
        return err_problem(err, ERR_CONFIG, PROBLEM_SEQUENCE_CACHES,
                           "the sequence of outbox.event.id caches numbers: %s",
                           command_get(row, "sequence"));
    return 0;
}

int verdict_relay(const PGresult *row, const char *relay, const char *server_id, struct err *err)
{
    int version;

    if (has_one_row(row, err) != 0)
        return -1;
    version = (int)strtol(command_get(row, "version"), NULL, 10);
    if (version < migrate_required_version())
        return err_problem(err, ERR_CONFIG, PROBLEM_SCHEMA_OLDER,
                           "the outbox schema has version %d, this outboxd needs %d", version,
                           migrate_required_version());
    if (version > migrate_newest_version())
        return err_problem(err, ERR_CONFIG, PROBLEM_SCHEMA_NEWER,
                           "the outbox schema has version %d, this outboxd knows %d at most",
                           version, migrate_newest_version());
    if (!is_true(row, "has_row"))
        return err_problem(err, ERR_CONFIG, PROBLEM_RELAY_MISSING,
                           "there is no relay \"%s\" in outbox.relay", relay);
    if (strcmp(command_get(row, "system_identifier"), server_id) != 0)
        return err_problem(err, ERR_CONFIG, PROBLEM_FOREIGN_DATABASE,
                           "the position of relay \"%s\" belongs to another server "
                           "(system_identifier %s, this one is %s)",
                           relay, command_get(row, "system_identifier"), server_id);
    if (is_true(row, "ahead"))
        return err_problem(err, ERR_CONFIG, PROBLEM_POSITION_AHEAD,
                           "the position of relay \"%s\" is ahead of the server (transaction %s, "
                           "the server is at %s)",
                           relay, command_get(row, "stored_xmax"), command_get(row, "server_xmax"));
    return 0;
}
