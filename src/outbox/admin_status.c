/* Happy path: connect -> may `run` work here? -> the relay's row -> unsent events -> open
 * transactions -> a second look at what was published, for the rate.
 *
 * What `run` would refuse is told, and the rest is told all the same where it can be asked. */
#include "outbox/admin_status.h"

#include "outbox/admin_common.h"
#include "outbox/cursor.h"
#include "outbox/sql_texts.h"
#include "outbox/verdict.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNTED_ROWS "10001"
#define LONG_S       "60"

/* Positions are stored every tenth of a second under load: three of them make a rate. */
#define PAUSE_SQL "SELECT pg_sleep(0.3)"

/* The plans must not depend on statistics: see the design of the reader. The deadline is for a
 * server in distress. */
static const char session_sql[] =
    "SET jit = off; SET enable_seqscan = off; SET enable_bitmapscan = off; "
    "SET statement_timeout = '10s'; SET lock_timeout = '2s'; "
    "SET default_transaction_read_only = on";

/* ---- what `run` would say ---- */

/* Nothing more can be asked. */
static bool is_blind(const struct err *refusal)
{
    return refusal->problem == PROBLEM_SCHEMA_MISSING ||
           refusal->problem == PROBLEM_GRANTS_MISSING || refusal->problem == PROBLEM_RELAY_MISSING;
}

static int judge(PGconn *conn, const char *relay, struct err *refusal, struct err *err)
{
    PGresult *server = verdict_ask(conn, "check_server", relay, err);
    PGresult *row = NULL;
    int rc = server == NULL ? -1 : 0;

    if (rc == 0 && verdict_server(server, PQserverVersion(conn), refusal) != 0 && is_blind(refusal))
        goto out;
    if (rc == 0) {
        row = verdict_ask(conn, "check_relay", relay, err);
        rc = row == NULL ? -1 : 0;
    }
    if (rc == 0 && refusal->kind == ERR_NONE)
        (void)!verdict_relay(
            row, relay, PQgetvalue(server, 0, PQfnumber(server, "system_identifier")), refusal);
out:
    PQclear(row);
    PQclear(server);
    if (rc != 0)
        return err_wrap(err, "look at the schema");
    if (refusal->problem == PROBLEM_RELAY_MISSING)
        return admin_no_such_relay(conn, relay, err);
    if (!is_blind(refusal))
        return 0;
    *err = *refusal;
    return -1;
}

/* ---- the relay's row ---- */

static void take_trouble(struct cursor *c, struct admin_status *s)
{
    struct trouble *t = &s->trouble;

    (void)snprintf(t->cause, sizeof t->cause, "%s", cursor_text(c));
    (void)snprintf(t->text, sizeof t->text, "%s", cursor_text(c));
    (void)snprintf(t->event_id, sizeof t->event_id, "%s", cursor_text(c));
    t->row_id = cursor_int(c);
    (void)snprintf(t->topic, sizeof t->topic, "%s", cursor_text(c));
    s->trouble_s = cursor_seconds(c);
    t->attempts = (uint32_t)cursor_int(c);
    t->next_try_ms = (uint32_t)(cursor_seconds(c) * 1000.0);
    t->halted = cursor_bool(c);
}

/* The columns of status_relay.sql. */
static void take_relay(const PGresult *rows, struct admin_status *s)
{
    struct cursor c = {.rows = rows};

    s->schema_version = (int)cursor_int(&c);
    s->bells = (int)cursor_int(&c);
    (void)snprintf(s->holder, sizeof s->holder, "%s", cursor_text(&c));
    str_set(&s->instance, cursor_text(&c));
    s->epoch = cursor_int(&c);
    s->beat = cursor_int(&c);
    s->renewed_s = cursor_seconds(&c);
    s->ttl_ms = (int)cursor_int(&c);
    s->bell = (int)cursor_int(&c);
    s->foreign_server = cursor_bool(&c);
    s->paused_s = cursor_seconds(&c);
    str_set(&s->paused_by, cursor_text(&c));
    str_set(&s->pause_reason, cursor_text(&c));
    str_set(&s->position.base, cursor_text(&c));
    str_set(&s->position.target, cursor_text(&c));
    s->position.last_id = cursor_int(&c);
    s->stored_s = cursor_seconds(&c);
    s->lanes = (int)cursor_int(&c);
    take_trouble(&c, s);
    s->leading =
        s->holder[0] != '\0' && s->renewed_s >= 0 && s->renewed_s * 1000.0 < (double)s->ttl_ms;
}

static int ask_relay(PGconn *conn, const char *relay, struct admin_status *out, struct err *err)
{
    PGresult *rows = command_query(conn, sql_query("status_relay"), 1, &relay, err);
    bool found;

    if (rows == NULL)
        return err_wrap(err, "look at the relay");
    found = PQntuples(rows) > 0;
    if (found)
        take_relay(rows, out);
    PQclear(rows);
    return found ? 0 : admin_no_such_relay(conn, relay, err);
}

/* ---- events and transactions ---- */

static int ask_unsent(PGconn *conn, const char *relay, struct admin_status *out, struct err *err)
{
    const char *const params[] = {relay, COUNTED_ROWS};
    PGresult *rows = command_query(conn, sql_query("status_unsent"), 2, params, err);
    struct cursor c = {.rows = rows};

    if (rows == NULL)
        return err_wrap(err, "count unsent events");
    out->unsent_events = cursor_int(&c);
    out->unsent_estimated = cursor_bool(&c);
    out->oldest_unsent_s = cursor_seconds(&c);
    PQclear(rows);
    return 0;
}

static int ask_sight(PGconn *conn, struct admin_status *out, struct err *err)
{
    PGresult *rows =
        command_query(conn, "SELECT pg_has_role('pg_read_all_stats', 'USAGE')", 0, NULL, err);

    if (rows == NULL)
        return err_wrap(err, "look at open transactions");
    out->sees_transactions = command_bool(rows, 0, 0);
    PQclear(rows);
    return 0;
}

static int ask_transactions(PGconn *conn, struct admin_status *out, struct err *err)
{
    const char *seconds = LONG_S;
    PGresult *rows = command_query(conn, sql_query("status_transactions"), 1, &seconds, err);

    if (rows == NULL)
        return err_wrap(err, "look at open transactions");
    for (int i = 0; i < PQntuples(rows) && out->transaction_count < ADMIN_TRANSACTIONS; i++) {
        struct cursor c = {.rows = rows, .row = i};
        struct admin_transaction *t = &out->transactions[out->transaction_count++];

        (void)snprintf(t->name, sizeof t->name, "%s", cursor_text(&c));
        t->age_s = cursor_seconds(&c);
        t->locks_event = cursor_bool(&c);
        (void)snprintf(t->way_out, sizeof t->way_out, "%s", cursor_text(&c));
    }
    PQclear(rows);
    return ask_sight(conn, out, err);
}

/* ---- the rate ---- */

/* Events published so far, -1 when they are not counted; and the server's time. */
static int ask_published(PGconn *conn, const char *relay, int64_t *published, double *at_s,
                         struct err *err)
{
    PGresult *rows = command_query(conn, sql_query("status_published"), 1, &relay, err);

    if (rows == NULL)
        return err_wrap(err, "look at the published events");
    *published = PQgetisnull(rows, 0, 0) ? -1 : command_int(rows, 0, 0);
    *at_s = strtod(PQgetvalue(rows, 0, 1), NULL);
    PQclear(rows);
    return 0;
}

/* The second look. */
static int ask_rate(PGconn *conn, const char *relay, double first_at_s, struct admin_status *out,
                    struct err *err)
{
    int64_t first = out->published;
    double at_s = 0;

    if (!out->leading || first < 0)
        return 0;
    if (command_exec(conn, PAUSE_SQL, err) != 0 ||
        ask_published(conn, relay, &out->published, &at_s, err) != 0)
        return -1;
    if (at_s > first_at_s && out->published >= first) /* a clock can be set back */
        out->rate = (double)(out->published - first) / (at_s - first_at_s);
    return 0;
}

/* ---- all of it ---- */

int admin_status(const struct command_server *server, const char *relay, struct admin_status *out,
                 struct err *err)
{
    double at_s = 0;
    PGconn *conn;
    int rc;

    memset(out, 0, sizeof *out);
    out->paused_s = -1;
    out->rate = -1;
    conn = command_connect(server, err);
    if (conn == NULL)
        return -1;
    out->server_version = PQserverVersion(conn);
    rc = command_exec(conn, session_sql, err);
    if (rc == 0)
        rc = judge(conn, relay, &out->refusal, err);
    if (rc == 0)
        rc = ask_relay(conn, relay, out, err);
    if (rc == 0)
        rc = ask_published(conn, relay, &out->published, &at_s, err);
    if (rc == 0)
        rc = ask_unsent(conn, relay, out, err);
    if (rc == 0)
        rc = ask_transactions(conn, out, err);
    if (rc == 0)
        rc = ask_rate(conn, relay, at_s, out, err);
    PQfinish(conn);
    return rc;
}

void admin_status_release(struct admin_status *out)
{
    str_release(&out->instance);
    str_release(&out->paused_by);
    str_release(&out->pause_reason);
    str_release(&out->position.base);
    str_release(&out->position.target);
}
