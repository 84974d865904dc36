/* A page is two statements: the first finds its last id in the index, the second copies what of it
 * matches. So a filter that matches nothing costs no long statement, and a gap in the ids no empty
 * pages. What commits behind the pages' backs has an id that was passed: kept_read_new finds it by
 * its xid, as the relay does.
 *
 * Failure: a lost connection, or a server that is silent for SILENCE_MS, ends the command. */
#include "outbox/kept.h"

#include "base/str.h"
#include "message/message.h"
#include "outbox/rows.h"
#include "outbox/sql_fill.h"
#include "outbox/sql_texts.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SILENCE_MS 60000
#define FIRST_DAY  (-719162)   /* 0001-01-01 */
#define LAST_DAY   2932896     /* 9999-12-31 */
#define KEPT_STATE ROW_COLUMNS /* the column behind those of an event */

static const char SESSION_SQL[] =
    "SET search_path = pg_catalog; SET timezone = 'UTC'; SET jit = off; SET enable_seqscan = off; "
    "SET enable_bitmapscan = off; SET max_parallel_workers_per_gather = 0; SET row_security = off; "
    "SET statement_timeout = 0; SET lock_timeout = '30s'; "
    "SET default_transaction_isolation = 'read committed'; SET default_transaction_read_only = on";

struct kept {
    PGconn *conn;
    const char *relay;
    struct str settled; /* SQL: is the row settled by every lane? */
    struct str xmax;    /* of the snapshot of kept_open, as SQL */
    struct str xip;
};

/* ---- errors ---------------------------------------------------------------------------------- */

static int explain(const struct kept *k, struct err *err)
{
    const char *state = command_sqlstate();
    struct err plain = *err;

    if (strcmp(state, "42P01") == 0 || strcmp(state, "3F000") == 0)
        return err_problem(err, ERR_CONFIG, PROBLEM_SCHEMA_MISSING,
                           "database \"%s\" has no outbox schema: run `outboxd migrate`",
                           PQdb(k->conn));
    if (strcmp(state, "42501") == 0)
        return err_problem(err, ERR_CONFIG, PROBLEM_GRANTS_MISSING,
                           "%.400s: GRANT outbox_relay TO \"%.100s\";", plain.text,
                           PQuser(k->conn));
    return -1;
}

/* ---- opening --------------------------------------------------------------------------------- */

static void put_visible(struct str *out, const char *snapshot)
{
    str_puts(out, "pg_visible_in_snapshot(xid, ");
    sql_put_quoted(out, snapshot);
    str_puts(out, "::pg_snapshot)");
}

/* A row is settled when each lane says so, whatever the lane's filter: errs on the side of "not
 * known to be published". */
static void put_settled(struct str *out, const PGresult *rows)
{
    for (int lane = 0; lane < PQntuples(rows); lane++) {
        str_puts(out, lane == 0 ? "(" : " AND (");
        put_visible(out, PQgetvalue(rows, lane, 3));
        if (!PQgetisnull(rows, lane, 4)) {
            str_puts(out, " OR (");
            put_visible(out, PQgetvalue(rows, lane, 4));
            str_printf(out, " AND id <= %lld)", (long long)command_int(rows, lane, 5));
        }
        str_put_char(out, ')');
    }
}

static int check_position(const struct kept *k, const PGresult *rows, struct err *err)
{
    if (PQntuples(rows) == 0)
        return err_problem(
            err, ERR_CONFIG, PROBLEM_RELAY_MISSING,
            "there is no relay \"%s\" in database \"%s\": `outboxd migrate` makes it, "
            "or correct relay.name",
            k->relay, PQdb(k->conn));
    if (command_bool(rows, 0, 0))
        return err_problem(err, ERR_UNAVAILABLE, PROBLEM_DATABASE_STANDBY,
                           "the server is a standby, which may lag behind what was published: name "
                           "the primary in postgres.url");
    for (int lane = 0; lane < PQntuples(rows); lane++) {
        if (command_bool(rows, lane, 1))
            return err_problem(err, ERR_CONFIG, PROBLEM_FOREIGN_DATABASE,
                               "the position of relay \"%s\" belongs to another server (restored "
                               "dump?): `outboxd rebase` accepts this one",
                               k->relay);
        if (command_bool(rows, lane, 2))
            return err_problem(err, ERR_CONFIG, PROBLEM_POSITION_AHEAD,
                               "the position of relay \"%s\" is ahead of the server, which was set "
                               "back to an older state: `outboxd rebase`",
                               k->relay);
    }
    return 0;
}

static int read_position(struct kept *k, struct err *err)
{
    PGresult *rows = command_query(k->conn, sql_query("kept_position"), 1, &k->relay, err);
    int rc;

    if (rows == NULL)
        return explain(k, err);
    rc = check_position(k, rows, err);
    if (rc == 0)
        put_settled(&k->settled, rows);
    PQclear(rows);
    return rc;
}

/* Behind the position: what it settles is visible in this snapshot. */
static int read_snapshot(struct kept *k, struct err *err)
{
    PGresult *rows =
        command_query(k->conn,
                      "SELECT pg_snapshot_xmax(s)::text, ARRAY(SELECT pg_snapshot_xip(s))::text "
                      "FROM pg_current_snapshot() AS s",
                      0, NULL, err);

    if (rows == NULL)
        return -1;
    str_printf(&k->xmax, "'%s'::xid8", PQgetvalue(rows, 0, 0));
    str_printf(&k->xip, "'%s'::xid8[]", PQgetvalue(rows, 0, 1));
    PQclear(rows);
    return 0;
}

struct kept *kept_open(const struct command_server *server, const char *relay, struct err *err)
{
    struct kept *k = xcalloc(1, sizeof *k);

    k->relay = relay;
    k->conn = command_connect(server, err);
    if (k->conn != NULL && command_exec(k->conn, SESSION_SQL, err) == 0 &&
        read_position(k, err) == 0 && read_snapshot(k, err) == 0)
        return k;
    kept_close(k);
    return NULL;
}

void kept_close(struct kept *k)
{
    if (k == NULL)
        return;
    PQfinish(k->conn);
    str_release(&k->settled);
    str_release(&k->xmax);
    str_release(&k->xip);
    free(k);
}

/* ---- statements ------------------------------------------------------------------------------ */

static void put_time_condition(struct str *out, const char *how, int64_t us)
{
    char text[MESSAGE_TIME_SIZE];

    (void)message_format_time(us, text);
    str_printf(out, " AND created_at %s '%s'::timestamptz", how, text);
}

static void put_match(struct str *out, const char *what, const char *value)
{
    if (value == NULL)
        return;
    str_printf(out, " AND %s = ", what);
    sql_put_quoted(out, value);
}

/* The texts behind the :names of the queries. */
struct conditions {
    struct str relay;
    struct str time;
    struct str match;
    char id_from[24];
    char id_to[24];
    char page_rows[24];
};

static void conditions_init(struct conditions *c, const struct kept *k,
                            const struct kept_filter *filter, const struct kept_reader *reader)
{
    *c = (struct conditions){0};
    sql_put_quoted(&c->relay, k->relay);
    str_puts(&c->time, "");
    if (filter->since_us != INT64_MIN)
        put_time_condition(&c->time, ">=", filter->since_us);
    if (filter->until_us != INT64_MAX)
        put_time_condition(&c->time, "<", filter->until_us);
    str_puts(&c->match, "");
    put_match(&c->match, "aggregate_type", filter->aggregate_type);
    put_match(&c->match, "event_type", filter->event_type);
    put_match(&c->match, "coalesce(partition_key, aggregate_id)", filter->key);
    (void)snprintf(c->id_from, sizeof c->id_from, "%lld", (long long)filter->id_from);
    (void)snprintf(c->id_to, sizeof c->id_to, "%lld", (long long)filter->id_to);
    (void)snprintf(c->page_rows, sizeof c->page_rows, "%u", reader->page_rows);
}

static void conditions_release(struct conditions *c)
{
    str_release(&c->relay);
    str_release(&c->time);
    str_release(&c->match);
}

static void put_rows_query(struct str *out, const struct kept *k, const struct conditions *c,
                           bool with_payload, const char *from_rows, const char *order_by)
{
    const struct sql_value values[] = {
        {"payload", with_payload ? "payload, payload_bytes, content_type, headers"
                                 : "NULL::json, NULL::bytea, content_type, NULL::json"},
        {"settled", str_text(&k->settled)},
        {"relay", str_text(&c->relay)},
        {"from_rows", from_rows},
        {"id_from", c->id_from},
        {"id_to", c->id_to},
        {"time", str_text(&c->time)},
        {"match", str_text(&c->match)},
        {"order_by", order_by},
    };

    str_reset(out);
    sql_fill(out, "kept_rows", values, ARRAY_LEN(values));
}

/* ---- rows ------------------------------------------------------------------------------------ */

static enum kept_state state_of(struct slice text)
{
    if (slice_is(text, "s"))
        return KEPT_SETTLED;
    return slice_is(text, "d") ? KEPT_GIVEN_UP : KEPT_UNSETTLED;
}

static int take_piece(struct copy_stream *stream, struct slice piece,
                      const struct kept_reader *reader, struct err *err)
{
    struct slice fields[ROW_COLUMNS + 1];
    struct event e;
    int rc;

    while ((rc = copy_stream_fields(stream, &piece, fields, ARRAY_LEN(fields), err)) == 1)
        if (row_to_event(fields, &e, err) != 0 ||
            reader->row(reader->ctx, &e, state_of(fields[KEPT_STATE]), err) != 0)
            return -1;
    return rc;
}

/* The next piece of the COPY: its length, -1 at the end, -2 with `err`. */
static int next_piece(PGconn *conn, char **piece, struct err *err)
{
    struct pollfd p = {.fd = PQsocket(conn), .events = POLLIN};
    int len;

    while ((len = PQgetCopyData(conn, piece, 1)) == 0) {
        if (poll(&p, 1, SILENCE_MS) == 0)
            return err_problem(err, ERR_UNAVAILABLE, PROBLEM_DATABASE_UNREACHABLE,
                               "the database was silent for %d s", SILENCE_MS / 1000) -
                   1;
        if (PQconsumeInput(conn) == 0)
            break;
    }
    if (len <= 0 && len != -1)
        return err_problem(err, ERR_UNAVAILABLE, PROBLEM_DATABASE_UNREACHABLE,
                           "connection lost: %s", PQerrorMessage(conn)) -
               1;
    return len;
}

static int copy_rows(struct kept *k, const char *sql, const struct kept_reader *reader,
                     struct err *err)
{
    struct copy_stream stream;
    char *piece = NULL;
    PGresult *res;
    int len;
    int rc = 0;

    if (command_copy_out(k->conn, sql, err) != 0)
        return explain(k, err);
    copy_stream_init(&stream);
    while (rc == 0 && (len = next_piece(k->conn, &piece, err)) != -1) {
        if (len < 0)
            return -1;
        rc = take_piece(&stream, (struct slice){.ptr = piece, .len = (size_t)len}, reader, err);
        PQfreemem(piece);
    }
    if (rc != 0)
        return -1;
    while ((res = PQgetResult(k->conn)) != NULL) {
        if (PQresultStatus(res) != PGRES_COMMAND_OK)
            rc = err_problem(err, ERR_UNAVAILABLE, PROBLEM_DATABASE_ERROR, "%s",
                             PQresultErrorMessage(res));
        PQclear(res);
    }
    return rc;
}

/* ---- reading --------------------------------------------------------------------------------- */

struct page {
    int64_t after;
    int64_t upto;
    int64_t rows;
};

static int find_page(struct kept *k, const struct conditions *c, struct page *page, struct err *err)
{
    struct str sql = {0};
    char after[24];
    const struct sql_value values[] = {{"after", after},
                                       {"id_to", c->id_to},
                                       {"time", str_text(&c->time)},
                                       {"page_rows", c->page_rows}};
    PGresult *rows;

    (void)snprintf(after, sizeof after, "%lld", (long long)page->after);
    sql_fill(&sql, "kept_page", values, ARRAY_LEN(values));
    rows = command_query(k->conn, sql.data, 0, NULL, err);
    str_release(&sql);
    if (rows == NULL)
        return explain(k, err);
    page->rows = command_int(rows, 0, 0);
    page->upto = command_int(rows, 0, 1);
    PQclear(rows);
    return 0;
}

/* Rows above the largest id of now became visible later: they are not ours to read, and a table
 * that grows as fast as we read would never end. */
static int bound_ids(struct kept *k, struct conditions *c, int64_t id_to, struct err *err)
{
    PGresult *rows =
        command_query(k->conn, "SELECT coalesce(max(id), 0) FROM outbox.event", 0, NULL, err);

    if (rows == NULL)
        return explain(k, err);
    if (command_int(rows, 0, 0) < id_to)
        (void)snprintf(c->id_to, sizeof c->id_to, "%s", PQgetvalue(rows, 0, 0));
    PQclear(rows);
    return 0;
}

int kept_read(struct kept *k, const struct kept_filter *filter, const struct kept_reader *reader,
              struct err *err)
{
    struct page page = {.after = filter->id_from - 1};
    struct conditions c;
    struct str sql = {0};
    int rc;

    conditions_init(&c, k, filter, reader);
    rc = bound_ids(k, &c, filter->id_to, err);
    while (rc == 0 && (rc = find_page(k, &c, &page, err)) == 0 && page.rows > 0) {
        char from[160];

        (void)snprintf(from, sizeof from,
                       "SELECT * FROM outbox.event WHERE id > %lld AND id <= %lld",
                       (long long)page.after, (long long)page.upto);
        put_rows_query(&sql, k, &c, reader->with_payload, from, "ORDER BY id");
        rc = copy_rows(k, sql.data, reader, err);
        page.after = page.upto;
        if (page.rows < reader->page_rows)
            break;
    }
    str_release(&sql);
    conditions_release(&c);
    return rc;
}

int kept_read_new(struct kept *k, const struct kept_filter *filter,
                  const struct kept_reader *reader, struct err *err)
{
    const struct sql_value values[] = {{"xmax", str_text(&k->xmax)}, {"xip", str_text(&k->xip)}};
    struct conditions c;
    struct str from = {0};
    struct str sql = {0};
    int rc;

    conditions_init(&c, k, filter, reader);
    sql_fill(&from, "kept_new", values, ARRAY_LEN(values));
    put_rows_query(&sql, k, &c, reader->with_payload, from.data, "");
    rc = copy_rows(k, sql.data, reader, err);
    str_release(&from);
    str_release(&sql);
    conditions_release(&c);
    return rc;
}

int kept_days(struct kept *k, const int32_t *days, size_t count, bool *there, struct err *err)
{
    struct str list = {0};
    const char *param;
    PGresult *rows;

    str_put_char(&list, '{');
    for (size_t i = 0; i < count; i++) {
        there[i] = false;
        if (days[i] >= FIRST_DAY && days[i] <= LAST_DAY)
            str_printf(&list, "%s%d", list.len == 1 ? "" : ",", (int)days[i]);
    }
    str_put_char(&list, '}');
    param = list.data;
    rows = command_query(k->conn, sql_query("kept_days"), 1, &param, err);
    str_release(&list);
    if (rows == NULL)
        return explain(k, err);
    for (int r = 0; r < PQntuples(rows); r++)
        for (size_t i = 0; i < count; i++)
            if (days[i] == command_int(rows, r, 0))
                there[i] = true;
    PQclear(rows);
    return 0;
}
