#include "outbox/admin.h"

#include "message/message.h"
#include "outbox/admin_common.h"
#include "outbox/sql_texts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNTED_ROWS 10001 /* beyond, ids are taken for rows */

/* ---- places ---- */

static bool parse_id(const char *text, int64_t *id)
{
    size_t digits = strspn(text, "0123456789");

    if (digits == 0 || text[digits] != '\0')
        return false;
    errno = 0;
    *id = strtoll(text, NULL, 10);
    return errno == 0;
}

bool admin_parse_place(const char *text, struct admin_place_text *out)
{
    static const struct {
        const char *word;
        enum admin_place place;
    } words[] = {{"beginning", PLACE_BEGINNING}, {"now", PLACE_NOW}, {"keep", PLACE_KEEP}};

    *out = (struct admin_place_text){0};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcmp(text, words[i].word) == 0) {
            out->place = words[i].place;
            return true;
        }
    }
    out->place = PLACE_ID;
    if (parse_id(text, &out->id))
        return true;
    out->place = PLACE_TIME;
    return message_parse_time(slice_of(text), &out->time_us);
}

/* The place as a parameter of outbox.rebase: an id or a time in the form that Postgres takes. */
static void put_place(const struct admin_place_text *p, const char *word, char *out, size_t size)
{
    char time[MESSAGE_TIME_SIZE];

    if (p->place == PLACE_ID) {
        (void)snprintf(out, size, "%" PRId64, p->id);
    } else if (p->place == PLACE_TIME) {
        (void)message_format_time(p->time_us, time);
        (void)snprintf(out, size, "%s", time);
    } else {
        (void)snprintf(out, size, "%s", word);
    }
}

static int unknown_place(const char *to, struct err *err)
{
    return err_set(err, ERR_USAGE,
                   "rebase to \"beginning\", \"now\", an id or a time such as "
                   "2026-01-31T12:00:00Z, not \"%.60s\"",
                   to);
}

static void position_release(struct position *p)
{
    str_release(&p->base);
    str_release(&p->target);
}

/* ---- what a move would do ---- */

/* The plans must not depend on statistics; the deadline is for a server in distress, and generous:
 * the day of a time is walked along its ids. */
static const char look_sql[] =
    "SET jit = off; SET enable_seqscan = off; SET enable_bitmapscan = off; "
    "SET statement_timeout = '60s'; SET lock_timeout = '2s'; "
    "SET default_transaction_read_only = on";

static int ask_stand(PGconn *conn, const char *relay, struct admin_rebase_look *out,
                     struct err *err)
{
    char limit[16];
    const char *const params[] = {relay, limit};
    PGresult *rows;

    (void)snprintf(limit, sizeof limit, "%d", COUNTED_ROWS);
    rows = command_query(conn, sql_query("rebase_look"), 2, params, err);
    if (rows == NULL)
        return err_wrap(err, "look at the position");
    if (PQntuples(rows) == 0) {
        PQclear(rows);
        return admin_no_such_relay(conn, relay, err);
    }
    str_set(&out->was.base, PQgetvalue(rows, 0, 0));
    str_set(&out->was.target, PQgetvalue(rows, 0, 1));
    out->was.last_id = command_int(rows, 0, 2);
    out->foreign_server = command_bool(rows, 0, 3);
    out->ahead = command_bool(rows, 0, 4);
    out->oldest_id = command_int(rows, 0, 5);
    out->newest_id = command_int(rows, 0, 6);
    out->unsent_id = command_int(rows, 0, 7);
    PQclear(rows);
    return 0;
}

/* The first event at `from_id` or behind it. */
static int ask_first(PGconn *conn, int64_t from_id, struct admin_rebase_look *out, struct err *err)
{
    char id[24];
    const char *const params[] = {id};
    PGresult *rows;

    (void)snprintf(id, sizeof id, "%" PRId64, from_id);
    rows = command_query(conn,
                         "SELECT id, to_char(created_at AT TIME ZONE 'UTC', "
                         "'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') FROM outbox.event "
                         "WHERE id >= $1::bigint ORDER BY id LIMIT 1",
                         1, params, err);
    if (rows == NULL)
        return err_wrap(err, "look at the first event");
    if (PQntuples(rows) == 1) {
        out->first_id = command_int(rows, 0, 0);
        (void)snprintf(out->first_time, sizeof out->first_time, "%s", PQgetvalue(rows, 0, 1));
    }
    PQclear(rows);
    return 0;
}

static int beyond(const struct admin_rebase_look *look, const char *to, struct err *err)
{
    if (look->newest_id == 0)
        return err_set(err, ERR_USAGE,
                       "outbox.event is empty: there is nothing at %.40s; --to now publishes what "
                       "comes",
                       to);
    return err_set(err, ERR_USAGE,
                   "%.40s is behind the newest event, which has id %" PRId64
                   "; --to now publishes only what comes",
                   to, look->newest_id);
}

static int ask_first_since(PGconn *conn, const char *time, int64_t *id, struct err *err)
{
    PGresult *rows =
        command_query(conn, "SELECT outbox.first_id_since($1::timestamptz)", 1, &time, err);

    if (rows == NULL)
        return err_wrap(err, "look for the first event of that time");
    *id = PQgetisnull(rows, 0, 0) ? 0 : command_int(rows, 0, 0);
    PQclear(rows);
    return 0;
}

/* Which event will be the first one; with PLACE_NOW none that is there. */
static int find_first(PGconn *conn, const struct admin_place_text *place, const char *to,
                      struct admin_rebase_look *out, struct err *err)
{
    char time[MESSAGE_TIME_SIZE];
    int64_t id = place->id;

    if (place->place == PLACE_NOW || place->place == PLACE_KEEP)
        return 0;
    if (place->place == PLACE_TIME) {
        (void)message_format_time(place->time_us, time);
        if (ask_first_since(conn, time, &id, err) != 0)
            return -1;
        if (id == 0)
            return beyond(out, to, err);
    }
    if (place->place == PLACE_ID && id > out->newest_id)
        return beyond(out, to, err);
    return ask_first(conn, id, out, err);
}

/* How many events have ids from `from` up to and without `to`. */
static int count_between(PGconn *conn, int64_t from, int64_t to, int64_t *count, bool *estimated,
                         struct err *err)
{
    char first[24];
    char end[24];
    char limit[16];
    const char *const params[] = {first, end, limit};
    PGresult *rows;

    (void)snprintf(first, sizeof first, "%" PRId64, from);
    (void)snprintf(end, sizeof end, "%" PRId64, to);
    (void)snprintf(limit, sizeof limit, "%d", COUNTED_ROWS);
    rows = command_query(conn,
                         "SELECT count(*) FROM (SELECT FROM outbox.event WHERE id >= $1::bigint "
                         "AND id < $2::bigint ORDER BY id LIMIT $3::bigint) AS e",
                         3, params, err);
    if (rows == NULL)
        return err_wrap(err, "count events");
    *count = command_int(rows, 0, 0);
    *estimated = *count >= COUNTED_ROWS;
    if (*estimated)
        *count = to - from;
    PQclear(rows);
    return 0;
}

/* Before the first unsent event all counts as published, behind it as unsent. */
static int count_effect(PGconn *conn, struct admin_rebase_look *out, struct err *err)
{
    int64_t end = out->newest_id + 1;
    int64_t settled_to = out->unsent_id != 0 ? out->unsent_id : end;
    int64_t first = out->first_id != 0 ? out->first_id : end;

    if (out->newest_id == 0)
        return 0;
    if (out->foreign_server || out->ahead)
        settled_to = end; /* nobody knows: all that is published may have been before */
    if (first < settled_to &&
        count_between(conn, first, settled_to, &out->repeated, &out->repeated_estimated, err) != 0)
        return -1;
    if (settled_to < first &&
        count_between(conn, settled_to, first, &out->skipped, &out->skipped_estimated, err) != 0)
        return -1;
    return 0;
}

/* ---- the move ---- */

/* Within the transaction: the lane as it is now. */
static int ask_position(PGconn *conn, const char *relay, struct position *out, struct err *err)
{
    PGresult *rows = command_query(
        conn, "SELECT base, target, last_id FROM outbox.lane WHERE relay = $1 AND id = 0", 1,
        &relay, err);

    if (rows == NULL)
        return -1;
    if (PQntuples(rows) == 1) {
        str_set(&out->base, PQgetvalue(rows, 0, 0));
        str_set(&out->target, PQgetvalue(rows, 0, 1));
        out->last_id = command_int(rows, 0, 2);
    }
    PQclear(rows);
    return 0;
}

static PGresult *call_rebase(PGconn *conn, const char *relay, const struct admin_place_text *place,
                             const char *to, struct err *err)
{
    static const char *const calls[] = {
        [PLACE_BEGINNING] = "outbox.rebase($1, $2::text)",
        [PLACE_NOW] = "outbox.rebase($1, $2::text)",
        [PLACE_ID] = "outbox.rebase($1, $2::bigint)",
        [PLACE_TIME] = "outbox.rebase($1, $2::timestamptz)",
        [PLACE_KEEP] = "outbox.rebase_keep($1)",
    };
    char at[64];
    char sql[160];
    const char *const params[] = {relay, at};

    put_place(place, to, at, sizeof at);
    (void)snprintf(sql, sizeof sql,
                   "SELECT new_epoch, old_system_identifier <> new_system_identifier FROM %s",
                   calls[place->place]);
    return command_query(conn, sql, place->place == PLACE_KEEP ? 1 : 2, params, err);
}

static int begin_as_owner(PGconn *conn, struct err *err)
{
    return command_exec(
        conn, "BEGIN READ WRITE; SET LOCAL lock_timeout = '10s'; SET LOCAL ROLE outbox_owner", err);
}

/* Whoever may not is told who may. */
static int explain_grants(struct err *err)
{
    if (strcmp(command_sqlstate(), "42501") != 0)
        return -1;
    return err_problem(err, ERR_CONFIG, PROBLEM_GRANTS_MISSING,
                       "rebase needs the owner: connect as a superuser, or as a member of "
                       "outbox_owner");
}

static int move(PGconn *conn, const char *relay, const struct admin_place_text *place,
                const char *to, struct admin_rebase *out, struct err *err)
{
    PGresult *rows;

    if (begin_as_owner(conn, err) != 0)
        return -1;
    if (ask_position(conn, relay, &out->was, err) != 0)
        return -1;
    rows = call_rebase(conn, relay, place, to, err);
    if (rows == NULL && strcmp(command_sqlstate(), "P0002") == 0) {
        /* the transaction has failed and must end before the names can be asked for */
        if (command_exec(conn, "ROLLBACK", err) == 0)
            (void)admin_no_such_relay(conn, relay, err);
        return -1;
    }
    if (rows == NULL)
        return -1;
    out->epoch = command_int(rows, 0, 0);
    out->server_changed = command_bool(rows, 0, 1);
    PQclear(rows);
    if (ask_position(conn, relay, &out->is, err) != 0)
        return -1;
    return command_exec(conn, "COMMIT", err);
}

/* Whether the position may stay is the server's to say: asked for, and taken back. */
static int try_to_keep(PGconn *conn, const char *relay, struct err *err)
{
    static const struct admin_place_text keep = {.place = PLACE_KEEP};
    PGresult *rows;

    if (begin_as_owner(conn, err) != 0)
        return -1;
    rows = call_rebase(conn, relay, &keep, "keep", err);
    if (rows == NULL)
        return -1;
    PQclear(rows);
    return command_exec(conn, "ROLLBACK", err);
}

int admin_rebase_look(const struct command_server *server, const char *relay, const char *to,
                      struct admin_rebase_look *out, struct err *err)
{
    struct admin_place_text place;
    PGconn *conn;
    int rc;

    memset(out, 0, sizeof *out);
    if (!admin_parse_place(to, &place))
        return unknown_place(to, err);
    conn = command_connect(server, err);
    if (conn == NULL)
        return -1;
    rc = command_exec(conn, look_sql, err);
    if (rc == 0)
        rc = admin_require_version(conn, err);
    if (rc == 0)
        rc = ask_stand(conn, relay, out, err);
    if (rc == 0)
        rc = find_first(conn, &place, to, out, err);
    if (rc == 0)
        rc = place.place == PLACE_KEEP ? try_to_keep(conn, relay, err)
                                       : count_effect(conn, out, err);
    if (rc != 0)
        rc = explain_grants(err);
    PQfinish(conn);
    return rc;
}

void admin_rebase_look_release(struct admin_rebase_look *out)
{
    position_release(&out->was);
}

int admin_rebase(const struct command_server *server, const char *relay, const char *to,
                 struct admin_rebase *out, struct err *err)
{
    struct admin_place_text place;
    PGconn *conn;
    int rc;

    memset(out, 0, sizeof *out);
    if (!admin_parse_place(to, &place))
        return unknown_place(to, err);
    conn = command_connect(server, err);
    if (conn == NULL)
        return -1;
    rc = admin_require_version(conn, err);
    if (rc == 0)
        rc = move(conn, relay, &place, to, out, err);
    if (rc != 0)
        rc = explain_grants(err);
    PQfinish(conn);
    return rc;
}

void admin_rebase_release(struct admin_rebase *out)
{
    position_release(&out->was);
    position_release(&out->is);
}
