/* Pause and resume: one write to the relay's row, then waiting until the process that leads has
 * renewed its lease, whose answer tells it. */
#include "outbox/admin.h"
#include "outbox/admin_common.h"

#include <stdlib.h>
#include <string.h>

#define LOOK_MS  50   /* between two looks whether it has heard */
#define GRACE_MS 1000 /* beyond the ttl */

/* What changes the row; the first parameter is the relay's name. */
struct call {
    const char *sql;
    int count;
    const char *params[3];
};

struct hearing {
    char holder[37];
    int64_t beat;
    int64_t ttl_ms;
    bool leading; /* somebody holds the lease, and it is not over */
};

static int look(PGconn *conn, const char *relay, struct hearing *out, struct err *err)
{
    PGresult *rows = command_query(
        conn,
        "SELECT coalesce(holder::text, ''), beat, coalesce(ttl_ms, 0), holder IS NOT NULL AND "
        "renewed_at > clock_timestamp() - ttl_ms * interval '1 millisecond' "
        "FROM outbox.relay WHERE name = $1",
        1, &relay, err);

    if (rows == NULL)
        return -1;
    if (PQntuples(rows) == 0) {
        PQclear(rows);
        return admin_no_such_relay(conn, relay, err);
    }
    (void)snprintf(out->holder, sizeof out->holder, "%s", PQgetvalue(rows, 0, 0));
    out->beat = command_int(rows, 0, 1);
    out->ttl_ms = command_int(rows, 0, 2);
    out->leading = command_bool(rows, 0, 3);
    PQclear(rows);
    return 0;
}

/* The row stays locked until the commit: a beat that is higher afterwards was written by somebody
 * who has seen what we wrote. */
static int write_row(PGconn *conn, const struct call *call, struct hearing *then,
                     struct admin_pause *out, struct err *err)
{
    PGresult *rows;

    if (command_exec(conn, "BEGIN", err) != 0)
        return -1;
    rows = command_query(conn, call->sql, call->count, call->params, err);
    if (rows == NULL && strcmp(command_sqlstate(), "P0002") == 0) {
        if (command_exec(conn, "ROLLBACK", err) == 0)
            (void)admin_no_such_relay(conn, call->params[0], err);
        return -1;
    }
    if (rows == NULL)
        return -1;
    out->changed = command_bool(rows, 0, 0);
    PQclear(rows);
    if (look(conn, call->params[0], then, err) != 0)
        return -1;
    out->leading = then->leading;
    return command_exec(conn, "COMMIT", err);
}

static int wait_until_heard(PGconn *conn, const char *relay, const struct hearing *then,
                            struct admin_pause *out, struct err *err)
{
    int64_t patience_ms = then->ttl_ms + GRACE_MS;
    struct hearing now = *then;
    char nap[64];

    (void)snprintf(nap, sizeof nap, "SELECT pg_sleep(%d / 1000.0)", LOOK_MS);
    for (int64_t waited_ms = 0; waited_ms < patience_ms; waited_ms += LOOK_MS) {
        if (command_exec(conn, nap, err) != 0 || look(conn, relay, &now, err) != 0)
            return -1;
        out->leading = now.holder[0] != '\0'; /* it may have been stopped meanwhile */
        out->heard = now.beat > then->beat && out->leading;
        if (out->heard || !out->leading)
            return 0;
    }
    return 0;
}

/* Whoever may not is told what would let him. */
static int explain_grants(PGconn *conn, struct err *err)
{
    struct err plain = *err;
    struct err ignored;
    PGresult *rows;

    if (strcmp(command_sqlstate(), "42501") != 0)
        return -1;
    if (command_exec(conn, "ROLLBACK", &ignored) != 0)
        return -1;
    rows = command_query(conn, "SELECT quote_ident(current_user)", 0, NULL, &ignored);
    if (rows != NULL)
        (void)err_problem(err, ERR_CONFIG, PROBLEM_GRANTS_MISSING,
                          "%.500s: GRANT outbox_relay TO %.100s;", plain.text,
                          PQgetvalue(rows, 0, 0));
    PQclear(rows);
    return -1;
}

static int write_and_wait(const struct command_server *server, const struct call *call,
                          struct admin_pause *out, struct err *err)
{
    struct hearing then = {0};
    PGconn *conn;
    int rc;

    memset(out, 0, sizeof *out);
    conn = command_connect(server, err);
    if (conn == NULL)
        return -1;
    rc = command_exec(conn, "SET lock_timeout = '10s'", err);
    if (rc == 0)
        rc = admin_require_version(conn, err);
    if (rc == 0)
        rc = write_row(conn, call, &then, out, err);
    if (rc == 0 && out->changed && out->leading)
        rc = wait_until_heard(conn, call->params[0], &then, out, err);
    if (rc != 0)
        rc = explain_grants(conn, err);
    PQfinish(conn);
    return rc;
}

int admin_pause(const struct command_server *server, const char *relay, const char *reason,
                const char *by_whom, struct admin_pause *out, struct err *err)
{
    const struct call call = {"SELECT outbox.pause($1, $2, $3)", 3, {relay, reason, by_whom}};

    return write_and_wait(server, &call, out, err);
}

int admin_resume(const struct command_server *server, const char *relay, struct admin_pause *out,
                 struct err *err)
{
    const struct call call = {"SELECT outbox.resume($1)", 1, {relay}};

    return write_and_wait(server, &call, out, err);
}
