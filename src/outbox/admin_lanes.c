/* Happy path: connect -> is the schema ours? -> one statement, and for the list a count of what
 * waits for each of the first lanes. Retry and skip are functions of migration 0005. */
#include "outbox/admin_lanes.h"

#include "outbox/admin_common.h"
#include "outbox/cursor.h"
#include "outbox/lane_where.h"
#include "outbox/sql_fill.h"
#include "outbox/sql_texts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Looked at for a count, of each branch: a lane that covers little of a long log is told a lower
 * bound. */
#define SCAN_ROWS "200000"

/* As admin_status.c has it. */
static const char session_sql[] =
    "SET jit = off; SET enable_seqscan = off; SET enable_bitmapscan = off; "
    "SET statement_timeout = '10s'; SET lock_timeout = '10s'";

static PGconn *begin(const struct command_server *server, struct err *err)
{
    PGconn *conn = command_connect(server, err);

    if (conn != NULL && command_exec(conn, session_sql, err) == 0 &&
        admin_require_version(conn, err) == 0)
        return conn;
    PQfinish(conn);
    return NULL;
}

/* ---- the list ---- */

static void take_trouble(struct cursor *c, struct trouble *t)
{
    (void)snprintf(t->cause, sizeof t->cause, "%s", cursor_text(c));
    (void)snprintf(t->text, sizeof t->text, "%s", cursor_text(c));
    (void)snprintf(t->event_id, sizeof t->event_id, "%s", cursor_text(c));
    t->row_id = cursor_int(c);
    (void)snprintf(t->topic, sizeof t->topic, "%s", cursor_text(c));
    t->attempts = (uint32_t)cursor_int(c);
    t->next_try_ms = (uint32_t)(cursor_seconds(c) * 1000.0);
    t->halted = cursor_bool(c);
}

/* The columns of parked.sql. */
static int take_lane(const PGresult *rows, int row, struct admin_lane *lane, struct err *err)
{
    struct cursor c = {.rows = rows, .row = row};
    const char *filter;

    lane->id = (uint32_t)cursor_int(&c);
    filter = cursor_text(&c);
    if (lane->id > 0 && !lane_by_parse(filter, &lane->by))
        return err_problem(err, ERR_SOFTWARE, PROBLEM_INTERNAL_ERROR,
                           "lane %u has the unknown filter \"%.40s\"", lane->id, filter);
    str_set(&lane->topic, cursor_text(&c));
    str_set(&lane->key, cursor_text(&c));
    lane->partition = (int32_t)cursor_int(&c);
    take_trouble(&c, &lane->trouble);
    lane->made_s = cursor_seconds(&c);
    lane->trouble_s = cursor_seconds(&c);
    lane->oldest_s = cursor_seconds(&c);
    lane->flowing = cursor_bool(&c);
    lane->asked = cursor_bool(&c);
    str_set(&lane->asked_by, cursor_text(&c));
    lane->trouble.lane = lane->id;
    lane->trouble.lane_by = lane->by;
    lane->waiting = -1;
    return 0;
}

static void release_lane(struct admin_lane *lane)
{
    str_release(&lane->topic);
    str_release(&lane->key);
    str_release(&lane->asked_by);
}

static int take_lanes(const PGresult *rows, struct admin_lanes *out, struct err *err)
{
    int count = PQntuples(rows);
    struct admin_lane lane;
    int rc;

    out->lane = xcalloc((size_t)count, sizeof *out->lane);
    for (int row = 0; row < count; row++) {
        memset(&lane, 0, sizeof lane);
        rc = take_lane(rows, row, &lane, err);
        if (rc == 0 && lane.id > 0) {
            out->lane[out->count++] = lane;
            continue;
        }
        out->halted = lane.trouble.halted;
        out->trouble = lane.trouble;
        release_lane(&lane);
        if (rc != 0)
            return -1;
    }
    return 0;
}

static int count_waiting(PGconn *conn, const char *relay, const struct route_table *routes,
                         struct admin_lane *lane, struct err *err)
{
    const struct lane_filter filter = {
        .by = lane->by, .topic = str_slice(&lane->topic), .key = str_slice(&lane->key)};
    struct str quoted = {0};
    struct str where = {0};
    struct str sql = {0};
    PGresult *rows;
    char id[16];
    char most[16];

    (void)snprintf(id, sizeof id, "%u", lane->id);
    (void)snprintf(most, sizeof most, "%d", ADMIN_LANE_COUNT);
    sql_put_quoted(&quoted, relay);
    lane_where(&where, routes, &filter);
    const struct sql_value values[] = {{"relay", quoted.data},
                                       {"id", id},
                                       {"lane", where.data},
                                       {"most", most},
                                       {"scan_rows", SCAN_ROWS}};
    sql_fill(&sql, "parked_count", values, ARRAY_LEN(values));
    rows = command_query(conn, sql.data, 0, NULL, err);
    if (rows != NULL) {
        lane->waiting = command_int(rows, 0, 0);
        lane->waiting_capped = command_bool(rows, 0, 1);
    }
    PQclear(rows);
    str_release(&quoted);
    str_release(&where);
    str_release(&sql);
    return rows != NULL ? 0 : err_wrap(err, "count what waits in lane %u", lane->id);
}

int admin_lanes(const struct command_server *server, const char *relay,
                const struct route_table *routes, size_t count_for, struct admin_lanes *out,
                struct err *err)
{
    PGresult *rows;
    PGconn *conn;
    int rc;

    memset(out, 0, sizeof *out);
    conn = begin(server, err);
    if (conn == NULL)
        return -1;
    rows = command_query(conn, sql_query("parked"), 1, &relay, err);
    if (rows == NULL)
        rc = err_wrap(err, "look at the lanes");
    else if (PQntuples(rows) == 0)
        rc = admin_no_such_relay(conn, relay, err);
    else
        rc = take_lanes(rows, out, err);
    PQclear(rows);
    for (size_t i = 0; rc == 0 && routes != NULL && i < out->count && i < count_for; i++)
        rc = count_waiting(conn, relay, routes, &out->lane[i], err);
    PQfinish(conn);
    return rc;
}

void admin_lanes_release(struct admin_lanes *l)
{
    for (size_t i = 0; i < l->count; i++)
        release_lane(&l->lane[i]);
    free(l->lane);
    *l = (struct admin_lanes){0};
}

/* ---- retry and skip ---- */

/* The function's number of those that it found. */
static int call(const struct command_server *server, const char *sql, int count,
                const char *const *params, size_t *done, struct err *err)
{
    PGconn *conn = begin(server, err);
    PGresult *rows;

    *done = 0;
    if (conn == NULL)
        return -1;
    rows = command_query(conn, sql, count, params, err);
    if (rows != NULL)
        *done = (size_t)command_int(rows, 0, 0);
    else if (strcmp(command_sqlstate(), "P0002") == 0)
        (void)admin_no_such_relay(conn, params[0], err);
    PQclear(rows);
    PQfinish(conn);
    return rows != NULL ? 0 : -1;
}

int admin_retry(const struct command_server *server, const struct admin_wish *wish,
                const uint32_t *lanes, size_t count, size_t *done, struct err *err)
{
    struct str ids = {0};
    int rc;

    str_puts(&ids, "{");
    for (size_t i = 0; i < count; i++)
        str_printf(&ids, "%s%u", i > 0 ? "," : "", lanes[i]);
    str_puts(&ids, "}");
    rc = call(server, "SELECT outbox.retry_lanes($1, $2, $3)", 3,
              (const char *const[]){wish->relay, ids.data, wish->by_whom}, done, err);
    str_release(&ids);
    return rc;
}

int admin_skip(const struct command_server *server, const struct admin_wish *wish,
               const struct admin_skip *skips, size_t count, size_t *done, struct err *err)
{
    struct str ids = {0};
    struct str rows = {0};
    int rc;

    str_puts(&ids, "{");
    str_puts(&rows, "{");
    for (size_t i = 0; i < count; i++) {
        str_printf(&ids, "%s%u", i > 0 ? "," : "", skips[i].lane);
        str_printf(&rows, "%s%" PRId64, i > 0 ? "," : "", skips[i].row_id);
    }
    str_puts(&ids, "}");
    str_puts(&rows, "}");
    rc = call(server, "SELECT outbox.skip_events($1, $2, $3, $4, $5)", 5,
              (const char *const[]){wish->relay, ids.data, rows.data, wish->reason, wish->by_whom},
              done, err);
    str_release(&ids);
    str_release(&rows);
    return rc;
}
