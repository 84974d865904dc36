/* A transaction around the handler: begun under guard, claims, what the handler left behind,
 * commit.
 *
 * The transaction's number is remembered with the claims, and COMMIT goes with a look at it: a
 * handler that rolled back and began anew has lost the claims, and its commit would take effect
 * without them. */
#include "inbox/session_internal.h"

#include "message/event.h"
#include "message/message.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define BEGIN "BEGIN READ WRITE"
#define GUARD "SET LOCAL inbox.guard TO 'on'"

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

#define AND_XID ", pg_catalog.pg_current_xact_id_if_assigned()"

/* What a transaction claims. */
struct claims {
    char *consumer; /* quoted for SQL; PQfreemem */
    struct inbox_event *const *events;
    size_t count;
    bool accept_old;
};

/* The time as Postgres reads it, or NULL. */
static void put_time(struct str *out, int64_t us)
{
    char time[MESSAGE_TIME_SIZE];

    if (us == WHEN_UNKNOWN)
        str_puts(out, "NULL");
    else
        str_put(out, time, message_format_time(us, time));
}

static void put_timestamp(struct str *sql, int64_t us)
{
    str_puts(sql, us == WHEN_UNKNOWN ? "" : "'");
    put_time(sql, us);
    str_puts(sql, us == WHEN_UNKNOWN ? "::pg_catalog.timestamptz" : "'::pg_catalog.timestamptz");
}

static void put_int(struct str *out, uint32_t value)
{
    const uint32_t sent = htonl(value);

    str_put(out, &sent, sizeof sent);
}

/* The ids as Postgres reads a uuid[] in binary: as text they cost the server a quarter of the
 * claim. */
static void put_binary_ids(struct str *out, const struct claims *c)
{
    enum { DIMENSIONS = 1, NO_NULLS = 0, UUID_OID = 2950, LOWER_BOUND = 1 };
    uint8_t id[16];

    str_reserve(out, 20 + 20 * c->count);
    put_int(out, DIMENSIONS);
    put_int(out, NO_NULLS);
    put_int(out, UUID_OID);
    put_int(out, (uint32_t)c->count);
    put_int(out, LOWER_BOUND);
    for (size_t i = 0; i < c->count; i++) {
        if (!event_id_parse(slice_of(c->events[i]->id), id))
            abort(); /* event.c made it */
        put_int(out, sizeof id);
        str_put(out, id, sizeof id);
    }
}

/* All of them, or none: most batches are new and of the present. */
static void put_new(struct str *sql, const struct claims *c)
{
    int64_t oldest = c->events[0]->written_us;
    int64_t newest = oldest;

    for (size_t i = 1; i < c->count; i++) {
        const int64_t us = c->events[i]->written_us;

        if (us == WHEN_UNKNOWN)
            continue;
        if (oldest == WHEN_UNKNOWN || us < oldest)
            oldest = us;
        if (newest == WHEN_UNKNOWN || us > newest)
            newest = us;
    }
    str_printf(sql, "SELECT inbox.claim_new(%s, $1::pg_catalog.uuid[], ", c->consumer);
    put_timestamp(sql, oldest);
    str_puts(sql, ", ");
    put_timestamp(sql, newest);
    str_puts(sql, c->accept_old ? ", true)" AND_XID : ", false)" AND_XID);
}

/* Each of them, with an answer of its own. */
static void put_set(struct str *sql, const struct claims *c)
{
    str_printf(sql, "SELECT inbox.claim_all(%s, ", c->consumer);
    for (size_t i = 0; i < c->count; i++)
        str_printf(sql, i == 0 ? "'{%s" : ",%s", c->events[i]->id);
    str_puts(sql, "}'::pg_catalog.uuid[], ");
    for (size_t i = 0; i < c->count; i++) {
        str_puts(sql, i == 0 ? "'{" : ",");
        put_time(sql, c->events[i]->written_us);
    }
    str_puts(sql, c->accept_old ? "}'::pg_catalog.timestamptz[], true)" AND_XID
                                : "}'::pg_catalog.timestamptz[], false)" AND_XID);
}

/* A single claim costs a fifth of a set of one. */
static void put_single(struct str *sql, const struct claims *c)
{
    str_printf(sql, "SELECT inbox.claim(%s, '%s'::pg_catalog.uuid, ", c->consumer,
               c->events[0]->id);
    put_timestamp(sql, c->events[0]->written_us);
    str_puts(sql, c->accept_old ? ", true)" AND_XID : ", false)" AND_XID);
}

/* Failures are recorded of the event that its partition waits for: one of this member, or the first
 * that a member meets after an assignment. */
static void put_clear(struct str *sql, const struct claims *c)
{
    bool some = false;

    for (size_t i = 0; i < c->count; i++) {
        if (!c->events[i]->may_be_recorded)
            continue;
        if (!some)
            str_printf(sql, ", inbox.clear_failure(%s, '{%s", c->consumer, c->events[i]->id);
        else
            str_printf(sql, ",%s", c->events[i]->id);
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

/* One answer for all: of the only event, or of claim_new. Else one for each. */
static bool take_answers(const char *text, size_t count, char *answer)
{
    if (text[0] == '{')
        return read_answers(text, count, answer);
    memset(answer, text[0], count);
    return text[0] == 't' || text[0] == 'f';
}

/* Begins, and claims all or none, in one round trip. */
static PGresult *begin_new(struct session *s, const struct claims *c)
{
    struct str sql = {0};
    struct str ids = {0};
    PGresult *result;

    put_new(&sql, c);
    put_clear(&sql, c);
    put_binary_ids(&ids, c);
    result = session_pipeline(
        s,
        (struct statement[]){
            {.sql = BEGIN},
            {.sql = GUARD},
            {.sql = str_text(&sql), .binary = (struct slice){.ptr = ids.data, .len = ids.len}}},
        3);
    str_release(&sql);
    str_release(&ids);
    return result;
}

static PGresult *begin_single(struct session *s, const struct claims *c)
{
    struct str sql = {0};
    PGresult *result;

    str_puts(&sql, BEGIN "; " GUARD "; ");
    put_single(&sql, c);
    put_clear(&sql, c);
    result = session_exec(s, str_text(&sql), 0, NULL);
    str_release(&sql);
    return result;
}

/* In the transaction that begin_new began. */
static PGresult *claim_each(struct session *s, const struct claims *c)
{
    struct str sql = {0};
    PGresult *result;

    put_set(&sql, c);
    result = session_exec(s, str_text(&sql), 0, NULL);
    str_release(&sql);
    return result;
}

/* What came of a claim, which it clears. `answer` is filled when that is DB_OK. */
static enum db take(struct session *s, PGresult *result, size_t count, char *answer,
                    struct inbox_error *e)
{
    enum db db = session_judge(s, result, PGRES_TUPLES_OK, e);

    if (db == DB_OK && !take_answers(PQgetvalue(result, 0, 0), count, answer)) {
        fault_set(e, INBOX_E_SCHEMA, "the claim answers in a form that is not known");
        db = DB_FATAL;
    } else if (db == DB_OK) {
        (void)snprintf(s->xid, sizeof s->xid, "%s", PQgetvalue(result, 0, 1));
    }
    PQclear(result);
    return db;
}

enum db session_begin(struct session *s, struct inbox_event *const *events, size_t count,
                      bool accept_old, char *answer, struct inbox_error *e)
{
    struct claims c = {.consumer = PQescapeLiteral(s->conn, s->consumer, strlen(s->consumer)),
                       .events = events,
                       .count = count,
                       .accept_old = accept_old};
    enum db db;

    s->sqlstate[0] = '\0';
    s->xid[0] = '\0';
    if (c.consumer == NULL) { /* its name is no UTF-8 */
        fault_set(e, INBOX_E_ARGUMENT, "consumer: %s", PQerrorMessage(s->conn));
        return DB_FATAL;
    }
    db = take(s, count == 1 ? begin_single(s, &c) : begin_new(s, &c), count, answer, e);
    if (db == DB_OK && count > 1 && answer[0] == 'f')
        db = take(s, claim_each(s, &c), count, answer, e);
    PQfreemem(c.consumer);
    if (db != DB_REFUSED)
        return db;
    if (strcmp(s->sqlstate, "IB003") == 0) { /* of a single claim */
        answer[0] = 'n';
        return DB_OK;
    }
    if (PQtransactionStatus(s->conn) != PQTRANS_IDLE)
        return DB_FATAL;
    session_close(s); /* not even BEGIN: a standby does not write */
    return DB_OUTAGE;
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
