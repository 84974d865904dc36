/* What comes back from the server: results, rows of a COPY, notifications. Called when the socket
 * is readable, and again when a row was held or the loop was given a chance. */
#include "outbox/session_internal.h"

#include "outbox/sqlstate.h"

#include <assert.h>
#include <string.h>

#define ROWS_PER_TURN 500U /* then the loop serves others */
#define TLS_READS     4    /* so many reads empty the largest TLS record */

/* An error that leaves the session as it was. */
static bool ends_only_the_statement(const PGresult *result)
{
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);

    return severity != NULL && strcmp(severity, "ERROR") == 0;
}

static void query_failed(struct session *s, const PGresult *result)
{
    const struct request *r = &s->queue[s->first];
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    struct err err;

    if (r->q.may_be_cancelled && !s->preparing && sqlstate != NULL &&
        strcmp(sqlstate, "57014") == 0)
        return;
    if (text == NULL) {
        session_fail_by_libpq(s, r->q.name);
        return;
    }
    if (sqlstate == NULL)
        sqlstate = "unknown";
    if (r->q.refused != NULL && r->is_text && ends_only_the_statement(result)) {
        r->q.refused(r->q.ctx, sqlstate, text);
        return;
    }
    (void)err_set(&err, ERR_UNAVAILABLE, "query %s: %s (SQLSTATE %s)", r->q.name, text, sqlstate);
    sqlstate_judge(sqlstate, &err);
    err.kind = ERR_UNAVAILABLE; /* the checks of the next life find what only a person can mend */
    session_fail(s, &err);
}

/* Takes the result over. */
static void handle_result(struct session *s, PGresult *result)
{
    const struct session_query *q = &s->queue[s->first].q;
    ExecStatusType status = PQresultStatus(result);

    if (status == PGRES_COPY_OUT && q->row != NULL) {
        s->copying = true;
    } else if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) {
        if (!s->preparing && q->result != NULL) {
            q->result(q->ctx, result);
            return;
        }
    } else {
        query_failed(s, result);
    }
    PQclear(result);
}

static void query_ended(struct session *s)
{
    struct session_query q = s->queue[s->first].q;

    s->out = false;
    timer_stop(s->deadline);
    if (s->preparing) {
        s->preparing = false;
        assert(s->prepared_count < MAX_PREPARED);
        s->prepared[s->prepared_count++] = q.name;
        session_start_next(s);
        return;
    }
    s->first = (s->first + 1) % SESSION_MAX_QUEUE;
    s->queued--;
    if (q.done != NULL) {
        uint64_t life = s->life;

        q.done(q.ctx);
        if (s->life != life)
            return;
    }
    session_start_next(s);
}

enum copied { COPIED_ALL, COPIED_WAIT, COPIED_STOP };

/* Offers row after row. WAIT: more must come from the server. STOP: held, closed, broken, or enough
 * for this turn. */
static enum copied copy_rows(struct session *s, uint32_t *rows)
{
    const struct session_query *q = &s->queue[s->first].q;
    uint64_t life = s->life;

    for (;;) {
        char *row;
        bool taken;

        if (s->row == NULL) {
            s->row_len = PQgetCopyData(s->conn, &s->row, 1);
            if (s->row_len == 0)
                return COPIED_WAIT;
            if (s->row_len < 0) {
                s->copying = false; /* the result that follows says how it ended, -2 is an error
                                       there, too */
                return COPIED_ALL;
            }
        }
        row = s->row;
        s->row = NULL;
        taken = s->discarding || q->row(q->ctx, (struct slice){row, (size_t)s->row_len});
        if (s->life != life || s->state != SESSION_OPEN || taken)
            PQfreemem(row);
        if (s->life != life || s->state != SESSION_OPEN)
            return COPIED_STOP;
        if (!taken) {
            s->row = row;
            s->holding = true;
            timer_stop(s->deadline);
            return COPIED_STOP;
        }
        if (++*rows >= ROWS_PER_TURN) {
            timer_in_ms(s->again, 0);
            return COPIED_STOP;
        }
    }
}

/* Works off what has been received. Returns false when the session is held, closed, broken, or has
 * had its turn. */
static bool work_off(struct session *s, uint32_t *rows)
{
    uint64_t life = s->life;

    while (s->out) {
        if (s->copying) {
            enum copied c = copy_rows(s, rows);

            if (c != COPIED_ALL)
                return c == COPIED_WAIT;
        }
        if (PQisBusy(s->conn))
            return true;
        PGresult *result = PQgetResult(s->conn);
        if (result == NULL)
            query_ended(s);
        else
            handle_result(s, result);
        if (s->life != life || s->state != SESSION_OPEN)
            return false;
    }
    return true;
}

static bool take_notifications(struct session *s)
{
    PGnotify *note;
    bool any = false;
    uint64_t life = s->life;

    while ((note = PQnotifies(s->conn)) != NULL) {
        any = true; /* anybody may notify: what it says is not read */
        PQfreemem(note);
    }
    if (any && s->handlers.notified != NULL)
        s->handlers.notified(s->ctx);
    return s->life == life && s->state == SESSION_OPEN;
}

/* What is buffered goes before what is in the socket, so that libpq's buffer stays small. Bytes can
 * sit inside TLS while the socket has none: a few more reads get them out. */
void session_pump(struct session *s)
{
    uint32_t rows = 0;
    uint32_t before;
    int empty_reads = PQsslInUse(s->conn) ? TLS_READS : 1;

    if (s->holding)
        return;
    if (!work_off(s, &rows))
        goto out;
    do {
        before = rows;
        if (PQconsumeInput(s->conn) != 1) {
            session_fail_by_libpq(s, s->out ? s->queue[s->first].q.name : "idle");
            return;
        }
        if (!work_off(s, &rows) || !take_notifications(s))
            goto out;
    } while (rows > before || --empty_reads > 0);
out:
    if (s->state != SESSION_OPEN)
        return;
    if (s->out && rows > 0)
        session_arm_deadline(s);
    session_settle_socket(s);
}
