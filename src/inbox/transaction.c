/* A transaction around the handler: begun under guard, claims, what the handler left behind,
 * commit.
 *
 * The transaction's number is remembered with the claims, and COMMIT goes with a look at it: a
 * handler that rolled back and began anew has lost the claims, and its commit would take effect
 * without them. */
#include "inbox/session_internal.h"

#include "inbox/when.h"
#include "message/message.h"

#include <stdio.h>
#include <string.h>

#define BEGIN "BEGIN READ WRITE; SET LOCAL inbox.guard TO 'on'; "

static enum db run(struct session *s, const char *sql, struct inbox_error *e)
{
    PGresult *result = session_exec(s, sql, 0, NULL);
    enum db db = session_judge(s, result, PGRES_COMMAND_OK, e);

    PQclear(result);
    return db;
}

void session_rollback(struct session *s)
{
    struct inbox_error ignored;

    s->watched = false;
    if (s->conn == NULL)
        return;
    if (s->ended || PQtransactionStatus(s->conn) == PQTRANS_ACTIVE ||
        PQpipelineStatus(s->conn) != PQ_PIPELINE_OFF || run(s, "ROLLBACK", &ignored) != DB_OK)
        session_close(s); /* the server rolls back, too */
}

/* ---- the claims ------------------------------------------------------------------------------ */

static void put_time(struct str *out, const struct inbox_event *event)
{
    char time[MESSAGE_TIME_SIZE];

    if (event->written_us == WHEN_UNKNOWN)
        str_puts(out, "NULL");
    else
        str_put(out, time, message_format_time(event->written_us, time));
}

static void put_set(struct str *sql, const char *consumer, struct inbox_event *const *events,
                    size_t count, bool accept_old)
{
    str_printf(sql, "SELECT inbox.claim_all(%s, '{", consumer);
    for (size_t i = 0; i < count; i++)
        str_printf(sql, i == 0 ? "%s" : ",%s", events[i]->id);
    str_puts(sql, "}'::pg_catalog.uuid[], '{");
    for (size_t i = 0; i < count; i++) {
        str_puts(sql, i == 0 ? "" : ",");
        put_time(sql, events[i]);
    }
    str_printf(sql,
               "}'::pg_catalog.timestamptz[], %s), pg_catalog.pg_current_xact_id_if_assigned()",
               accept_old ? "true" : "false");
}

/* A single claim costs a fifth of a set of one. */
static void put_single(struct str *sql, const char *consumer, const struct inbox_event *event,
                       bool accept_old)
{
    str_printf(sql, "SELECT inbox.claim(%s, '%s'::pg_catalog.uuid, ", consumer, event->id);
    if (event->written_us == WHEN_UNKNOWN) {
        str_puts(sql, "NULL");
    } else {
        str_puts(sql, "'");
        put_time(sql, event);
        str_puts(sql, "'::pg_catalog.timestamptz");
    }
    str_printf(sql, ", %s), pg_catalog.pg_current_xact_id_if_assigned()",
               accept_old ? "true" : "false");
}

/* Failures are recorded of the event that its partition waits for: one of this member, or the first
 * that a member meets after an assignment. */
static void put_clear(struct str *sql, const char *consumer, struct inbox_event *const *events,
                      size_t count)
{
    bool some = false;

    for (size_t i = 0; i < count; i++) {
        if (!events[i]->may_be_recorded)
            continue;
        if (!some)
            str_printf(sql, ", inbox.clear_failure(%s, '{%s", consumer, events[i]->id);
        else
            str_printf(sql, ",%s", events[i]->id);
        some = true;
    }
    if (some)
        str_puts(sql, "}'::pg_catalog.uuid[])");
}

/* "{t,f,NULL}" */
static bool read_answers(const char *text, size_t count, char *answer)
{
    for (size_t i = 0; i < count; i++) {
        if (*text++ != (i == 0 ? '{' : ','))
            return false;
        answer[i] = *text == 'N' ? 'n' : *text;
        if (strchr("tfn", answer[i]) == NULL)
            return false;
        text += *text == 'N' ? 4 : 1;
    }
    return strcmp(text, "}") == 0;
}

static bool take_answers(const PGresult *result, size_t count, char *answer)
{
    const char *text = PQgetvalue(result, 0, 0);

    if (count != 1 || text[0] == '{')
        return read_answers(text, count, answer);
    answer[0] = text[0];
    return text[0] == 't' || text[0] == 'f';
}

enum db session_begin(struct session *s, struct inbox_event *const *events, size_t count,
                      bool accept_old, char *answer, struct inbox_error *e)
{
    struct str sql = {0};
    char *consumer = PQescapeLiteral(s->conn, s->consumer, strlen(s->consumer));
    PGresult *result;
    enum db db;

    s->sqlstate[0] = '\0';
    s->xid[0] = '\0';
    if (consumer == NULL) { /* its name is no UTF-8 */
        fault_set(e, INBOX_E_ARGUMENT, "consumer: %s", PQerrorMessage(s->conn));
        return DB_FATAL;
    }
    str_puts(&sql, BEGIN);
    if (count == 1)
        put_single(&sql, consumer, events[0], accept_old);
    else
        put_set(&sql, consumer, events, count, accept_old);
    put_clear(&sql, consumer, events, count);
    result = session_exec(s, str_text(&sql), 0, NULL);
    db = session_judge(s, result, PGRES_TUPLES_OK, e);
    if (db == DB_OK && !take_answers(result, count, answer)) {
        fault_set(e, INBOX_E_SCHEMA, "the claim answers in a form that is not known");
        db = DB_FATAL;
    } else if (db == DB_OK) {
        (void)snprintf(s->xid, sizeof s->xid, "%s", PQgetvalue(result, 0, 1));
    } else if (db == DB_REFUSED && strcmp(s->sqlstate, "IB003") == 0) {
        answer[0] = 'n';
        db = DB_OK;
    } else if (db == DB_REFUSED && PQtransactionStatus(s->conn) == PQTRANS_IDLE) {
        session_close(s); /* not even BEGIN: a standby does not write */
        db = DB_OUTAGE;
    }
    PQclear(result);
    PQfreemem(consumer);
    str_release(&sql);
    return db == DB_REFUSED ? DB_FATAL : db;
}

/* ---- the handler ----------------------------------------------------------------------------- */

void session_watch(struct session *s)
{
    s->watched = true;
    s->sqlstate[0] = '\0';
}

static enum db broken(struct inbox_error *e, const char *what)
{
    fault_set(e, INBOX_E_HANDLER,
              "the handler %s: it must leave transaction and connection to the library", what);
    return DB_BROKEN;
}

enum db session_unwatch(struct session *s, struct inbox_error *e)
{
    s->watched = false;
    if (s->conn == NULL)
        return broken(e, "closed the connection");
    if (PQstatus(s->conn) == CONNECTION_BAD && !s->ended) {
        fault_set(e, INBOX_E_CONNECTION, "database: %s", PQerrorMessage(s->conn));
        return DB_OUTAGE;
    }
    if (PQpipelineStatus(s->conn) != PQ_PIPELINE_OFF)
        return broken(e, "left the connection in pipeline mode");
    if (PQtransactionStatus(s->conn) == PQTRANS_ACTIVE)
        return broken(e, "left a statement under way");
    if (s->ended || PQtransactionStatus(s->conn) == PQTRANS_IDLE)
        return broken(e, "ended or began a transaction");
    if (PQtransactionStatus(s->conn) == PQTRANS_INTRANS)
        return DB_OK;
    switch (fault_sql_class(s->sqlstate)) {
    case SQL_CONFLICT:
        fault_set(e, INBOX_E_CONFLICT, "database: SQLSTATE %s in the handler", s->sqlstate);
        return DB_CONFLICT;
    case SQL_OUTAGE:
        fault_set(e, INBOX_E_DATABASE, "database: SQLSTATE %s in the handler", s->sqlstate);
        return DB_OUTAGE;
    case SQL_STATEMENT:
    case SQL_SCHEMA:
    case SQL_GRANTS:
        break;
    }
    fault_set(e, INBOX_E_HANDLER, "a statement of the handler failed: SQLSTATE %s", s->sqlstate);
    return DB_REFUSED;
}

/* ---- the end --------------------------------------------------------------------------------- */

enum db session_commit(struct session *s, struct inbox_error *e)
{
    char sql[320];
    enum db db;

    /* The division fails, and with it the transaction, when it is another one. */
    (void)snprintf(sql, sizeof sql,
                   "SELECT 1 OPERATOR(pg_catalog./) CASE WHEN "
                   "pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.text "
                   "OPERATOR(pg_catalog.=) '%s' THEN 1 ELSE 0 END, "
                   "pg_catalog.set_config('inbox.guard', 'off', true); COMMIT",
                   s->xid);
    s->sqlstate[0] = '\0';
    db = run(s, s->xid[0] == '\0' ? "COMMIT" : sql, e);
    if (db == DB_OK)
        return db;
    if (strcmp(s->sqlstate, "22012") == 0) {
        session_close(s);
        return broken(e, "rolled back and began another transaction");
    }
    if (db == DB_OUTAGE)
        session_close(s); /* its fate is settled before the claims are asked again */
    else
        session_rollback(s);
    /* The schema and the grants that may be missing here are those of the handler's tables. */
    return db == DB_FATAL ? DB_REFUSED : db;
}

enum db session_record(struct session *s, const struct failure *f)
{
    const struct inbox_event *event = f->event;
    char numbers[4][24];
    const char *values[11] = {s->consumer,
                              event->id[0] == '\0' ? NULL : event->id,
                              f->class,
                              f->text,
                              numbers[0],
                              f->next_try_ms < 0 ? NULL : numbers[1],
                              f->next_try_ms < 0 ? "t" : "f",
                              inbox_event_topic(event),
                              numbers[2],
                              numbers[3],
                              f->dead_letter_topic};
    struct inbox_error e;
    PGresult *result;
    enum db db = session_ready(s, &e);

    if (db != DB_OK)
        goto out;
    (void)snprintf(numbers[0], sizeof numbers[0], "%d", f->attempts);
    (void)snprintf(numbers[1], sizeof numbers[1], "%lld", (long long)f->next_try_ms);
    (void)snprintf(numbers[2], sizeof numbers[2], "%d", (int)inbox_event_partition(event));
    (void)snprintf(numbers[3], sizeof numbers[3], "%lld", (long long)inbox_event_offset(event));
    db = run(s, "BEGIN READ WRITE", &e);
    if (db != DB_OK)
        goto out;
    result = session_exec(s,
                          "SELECT inbox.record_failure($1, $2::pg_catalog.uuid, $3, $4, "
                          "$5::pg_catalog.int4, pg_catalog.clock_timestamp() "
                          "OPERATOR(pg_catalog.+) pg_catalog.make_interval(secs => "
                          "$6::pg_catalog.float8 OPERATOR(pg_catalog./) 1000), "
                          "$7::pg_catalog.bool, $8, $9::pg_catalog.int4, $10::pg_catalog.int8, "
                          "$11)",
                          11, values);
    db = session_judge(s, result, PGRES_TUPLES_OK, &e);
    PQclear(result);
    if (db == DB_OK)
        db = run(s, "COMMIT", &e);
    else
        session_rollback(s);
out:
    if (db != DB_OK)
        say_warn(s->say, "the failure could not be recorded", LOG_S("text", e.text));
    return db == DB_OUTAGE || db == DB_CONFLICT ? DB_OUTAGE : DB_OK;
}
