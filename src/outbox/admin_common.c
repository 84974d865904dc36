#include "outbox/admin_common.h"

#include "outbox/migrate.h"

#include <stdbool.h>
#include <stddef.h>

int admin_no_such_relay(PGconn *conn, const char *relay, struct err *err)
{
    struct err ignored;
    PGresult *rows = command_query(
        conn, "SELECT string_agg(quote_ident(name), ', ' ORDER BY name) FROM outbox.relay", 0, NULL,
        &ignored);

    if (rows == NULL || PQgetisnull(rows, 0, 0))
        err_problem(err, ERR_CONFIG, PROBLEM_RELAY_MISSING,
                    "there is no relay \"%s\" in database \"%s\", nor any other", relay,
                    PQdb(conn));
    else
        err_problem(err, ERR_CONFIG, PROBLEM_RELAY_MISSING,
                    "there is no relay \"%s\" in database \"%s\", only: %s", relay, PQdb(conn),
                    PQgetvalue(rows, 0, 0));
    PQclear(rows);
    return -1;
}

int admin_require_schema(PGconn *conn, struct err *err)
{
    PGresult *rows = command_query(
        conn,
        "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = 'outbox' AND c.relname = 'lane')",
        0, NULL, err);
    bool there;

    if (rows == NULL)
        return -1;
    there = command_bool(rows, 0, 0);
    PQclear(rows);
    if (!there)
        return err_problem(err, ERR_CONFIG, PROBLEM_SCHEMA_MISSING,
                           "database \"%s\" has no outbox tables", PQdb(conn));
    return 0;
}

int admin_require_version(PGconn *conn, struct err *err)
{
    PGresult *rows;
    int version;

    if (admin_require_schema(conn, err) != 0)
        return -1;
    rows =
        command_query(conn, "SELECT coalesce(max(version), 0) FROM outbox.migration", 0, NULL, err);
    if (rows == NULL)
        return -1;
    version = (int)command_int(rows, 0, 0);
    PQclear(rows);
    if (version > migrate_newest_version())
        return err_problem(err, ERR_CONFIG, PROBLEM_SCHEMA_NEWER,
                           "the database has schema version %d, this outboxd knows %d", version,
                           migrate_newest_version());
    if (version < migrate_required_version())
        return err_problem(err, ERR_CONFIG, PROBLEM_SCHEMA_OLDER,
                           "the database has schema version %d, this outboxd needs %d", version,
                           migrate_required_version());
    return 0;
}
