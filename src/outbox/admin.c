#include "outbox/admin.h"

#include "outbox/sql_texts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNTED_ROWS "10001"

/* ---- what both share ---- */

/* The one who asks has misspelt the name, or connected to another database: tells what is here. */
static int no_such_relay(PGconn *conn, const char *relay, struct err *err)
{
    struct err ignored;
    PGresult *rows = command_query(
        conn, "SELECT string_agg(quote_ident(name), ', ' ORDER BY name) FROM outbox.relay", 0, NULL,
        &ignored);

    if (rows == NULL || PQgetisnull(rows, 0, 0))
        err_set(err, ERR_CONFIG,
                "there is no relay \"%s\" in database \"%s\": `outboxd migrate` makes it", relay,
                PQdb(conn));
    else
        err_set(err, ERR_CONFIG, "there is no relay \"%s\" in database \"%s\", only: %s", relay,
                PQdb(conn), PQgetvalue(rows, 0, 0));
    PQclear(rows);
    return -1;
}

static int require_schema(PGconn *conn, struct err *err)
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
        return err_set(err, ERR_CONFIG,
                       "database \"%s\" has no outbox schema: run `outboxd migrate`", PQdb(conn));
    return 0;
}

/* The server only says what it does not permit: adds what would. */
static int explain_grants(PGconn *conn, struct err *err)
{
    struct err ignored;
    struct err plain = *err;
    PGresult *rows;

    if (strcmp(command_sqlstate(), "42501") != 0)
        return -1;
    rows = command_query(conn, "SELECT quote_ident(current_user)", 0, NULL, &ignored);
    if (rows != NULL)
        (void)err_set(err, ERR_CONFIG, "%.500s: GRANT outbox_relay TO %.100s;", plain.text,
                      PQgetvalue(rows, 0, 0));
    PQclear(rows);
    return -1;
}

static void position_release(struct position *p)
{
    str_release(&p->base);
    str_release(&p->target);
}

/* ---- rebase ---- */

static int move(PGconn *conn, const char *relay, const char *to, struct admin_rebase *out,
                struct err *err)
{
    const char *const params[] = {relay, to};
    PGresult *rows;

    if (command_exec(conn, "BEGIN; SET LOCAL lock_timeout = '10s'; SET LOCAL ROLE outbox_owner",
                     err) != 0)
        return strcmp(command_sqlstate(), "42501") != 0
                   ? -1
                   : err_set(err, ERR_CONFIG,
                             "rebase needs the owner: connect as a superuser, or as a member of "
                             "outbox_owner");
    rows =
        command_query(conn,
                      "SELECT old_base, old_target, old_last_id, new_base, new_epoch, "
                      "old_system_identifier <> new_system_identifier FROM outbox.rebase($1, $2)",
                      2, params, err);
    if (rows == NULL && strcmp(command_sqlstate(), "P0002") == 0) {
        /* the transaction has failed and must end before the names can be asked for */
        if (command_exec(conn, "ROLLBACK", err) == 0)
            (void)no_such_relay(conn, relay, err);
        return -1;
    }
    if (rows == NULL)
        return -1;
    str_set(&out->was.base, PQgetvalue(rows, 0, 0));
    str_set(&out->was.target, PQgetvalue(rows, 0, 1));
    out->was.last_id = command_int(rows, 0, 2);
    str_set(&out->base, PQgetvalue(rows, 0, 3));
    out->epoch = command_int(rows, 0, 4);
    out->server_changed = command_bool(rows, 0, 5);
    PQclear(rows);
    return command_exec(conn, "COMMIT", err);
}

int admin_rebase(const struct command_server *server, const char *relay, const char *to,
                 struct admin_rebase *out, struct err *err)
{
    PGconn *conn;
    int rc;

    memset(out, 0, sizeof *out);
    if (strcmp(to, "beginning") != 0 && strcmp(to, "now") != 0)
        return err_set(err, ERR_USAGE, "rebase to \"beginning\" or \"now\", not \"%s\"", to);
    conn = command_connect(server, err);
    if (conn == NULL)
        return -1;
    rc = require_schema(conn, err);
    if (rc == 0)
        rc = move(conn, relay, to, out, err);
    PQfinish(conn);
    return rc;
}

void admin_rebase_release(struct admin_rebase *out)
{
    position_release(&out->was);
    str_release(&out->base);
}

/* ---- status ---- */

/* One row's columns, taken one after the other in the order of the query. */
struct cursor {
    const PGresult *rows;
    int column;
};

static const char *next_text(struct cursor *c)
{
    return PQgetvalue(c->rows, 0, c->column++);
}

static int64_t next_int(struct cursor *c)
{
    return command_int(c->rows, 0, c->column++);
}

static double next_seconds(struct cursor *c)
{
    return strtod(next_text(c), NULL);
}

static bool next_bool(struct cursor *c)
{
    return command_bool(c->rows, 0, c->column++);
}

static void take_trouble(struct cursor *c, struct admin_status *s)
{
    struct trouble *t = &s->trouble;

    (void)snprintf(t->cause, sizeof t->cause, "%s", next_text(c));
    (void)snprintf(t->text, sizeof t->text, "%s", next_text(c));
    (void)snprintf(t->event_id, sizeof t->event_id, "%s", next_text(c));
    t->row_id = next_int(c);
    (void)snprintf(t->topic, sizeof t->topic, "%s", next_text(c));
    s->trouble_s = next_seconds(c);
    t->attempts = (uint32_t)next_int(c);
    t->next_try_ms = (uint32_t)(next_seconds(c) * 1000.0);
    t->halted = next_bool(c);
}

/* The columns of status_relay.sql. */
static void take_relay(const PGresult *rows, struct admin_status *s)
{
    struct cursor c = {.rows = rows};

    s->schema_version = (int)next_int(&c);
    s->bells = (int)next_int(&c);
    (void)snprintf(s->holder, sizeof s->holder, "%s", next_text(&c));
    str_set(&s->instance, next_text(&c));
    s->epoch = next_int(&c);
    s->beat = next_int(&c);
    s->renewed_s = next_seconds(&c);
    s->ttl_ms = (int)next_int(&c);
    s->bell = (int)next_int(&c);
    s->foreign_server = next_bool(&c);
    str_set(&s->position.base, next_text(&c));
    str_set(&s->position.target, next_text(&c));
    s->position.last_id = next_int(&c);
    s->stored_s = next_seconds(&c);
    s->lanes = (int)next_int(&c);
    take_trouble(&c, s);
    s->leading =
        s->holder[0] != '\0' && s->renewed_s >= 0 && s->renewed_s * 1000.0 < (double)s->ttl_ms;
}

static int ask_relay(PGconn *conn, const char *relay, struct admin_status *out, struct err *err)
{
    PGresult *rows = command_query(conn, sql_query("status_relay"), 1, &relay, err);
    bool found;

    if (rows == NULL)
        return -1;
    found = PQntuples(rows) > 0;
    if (found)
        take_relay(rows, out);
    PQclear(rows);
    return found ? 0 : no_such_relay(conn, relay, err);
}

static int ask_unsent(PGconn *conn, const char *relay, struct admin_status *out, struct err *err)
{
    const char *const params[] = {relay, COUNTED_ROWS};
    PGresult *rows = command_query(conn, sql_query("status_unsent"), 2, params, err);
    struct cursor c = {.rows = rows};

    if (rows == NULL)
        return err_wrap(err, "count unsent events");
    out->unsent_events = next_int(&c);
    out->unsent_estimated = next_bool(&c);
    out->oldest_unsent_s = next_seconds(&c);
    PQclear(rows);
    return 0;
}

/* The plans must not depend on statistics: see the design of the reader. The deadline is for a
 * server in distress. */
static const char session_sql[] =
    "SET jit = off; SET enable_seqscan = off; SET enable_bitmapscan = off; "
    "SET statement_timeout = '10s'; SET lock_timeout = '2s'; "
    "SET default_transaction_read_only = on";

int admin_status(const struct command_server *server, const char *relay, struct admin_status *out,
                 struct err *err)
{
    PGconn *conn;
    int rc;

    memset(out, 0, sizeof *out);
    conn = command_connect(server, err);
    if (conn == NULL)
        return -1;
    out->server_version = PQserverVersion(conn);
    rc = command_exec(conn, session_sql, err);
    if (rc == 0)
        rc = require_schema(conn, err);
    if (rc == 0)
        rc = ask_relay(conn, relay, out, err);
    if (rc == 0)
        rc = ask_unsent(conn, relay, out, err);
    if (rc != 0)
        rc = explain_grants(conn, err);
    PQfinish(conn);
    return rc;
}

void admin_status_release(struct admin_status *out)
{
    str_release(&out->instance);
    position_release(&out->position);
}
