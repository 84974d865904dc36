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

#define XID "pg_catalog.pg_current_xact_id_if_assigned()"

/* A claim under guard, and the number of the transaction. */
#define GUARDED(call)                                                                              \
    "SELECT CASE WHEN pg_catalog.set_config('inbox.guard', 'on', true) "                           \
    "OPERATOR(pg_catalog.=) 'on' THEN " call " END, " XID

#define CLAIM                                                                                      \
    GUARDED("inbox.claim($1::pg_catalog.text, $2::pg_catalog.uuid, $3::pg_catalog.timestamptz, "   \
            "$4::pg_catalog.bool)")
#define CLAIM_NEW                                                                                  \
    GUARDED("inbox.claim_new($1::pg_catalog.text, $2::pg_catalog.uuid[], "                         \
            "$3::pg_catalog.timestamptz, $4::pg_catalog.timestamptz, $5::pg_catalog.bool)")
#define CLAIM_ALL                                                                                  \
    GUARDED("inbox.claim_all($1::pg_catalog.text, $2::pg_catalog.uuid[], "                         \
            "$3::pg_catalog.timestamptz[], $4::pg_catalog.bool)")

/* The division fails, and with it the transaction, when it is another one. */
#define SEAL                                                                                       \
    "SELECT 1 OPERATOR(pg_catalog./) CASE WHEN " XID "::pg_catalog.text OPERATOR(pg_catalog.=) "   \
    "$1::pg_catalog.text THEN 1 ELSE 0 END, pg_catalog.set_config('inbox.guard', 'off', true)"

const char session_prepares[] =
    "PREPARE inbox_claim AS " CLAIM "; PREPARE inbox_claim_new AS " CLAIM_NEW
    "; PREPARE inbox_seal AS " SEAL;

static const struct statement begin_statement = {.sql = "BEGIN READ WRITE"};
static const struct statement commit_statement = {.sql = "COMMIT"};

void session_rollback(struct session *s)
{
    struct inbox_error ignored;

    s->watched = false;
    if (s->conn == NULL)
        return;
    if (s->ended || PQtransactionStatus(s->conn) == PQTRANS_ACTIVE ||
        PQpipelineStatus(s->conn) != PQ_PIPELINE_OFF ||
        session_run(s, "ROLLBACK", &ignored) != DB_OK)
        session_close(s); /* the server rolls back, too */
}

/* ---- the claims ------------------------------------------------------------------------------ */

/* What a transaction claims. */
struct claims {
    const char *consumer;
    struct inbox_event *const *events;
    size_t count;
    bool accept_old;
};

static void add_value(struct statement *s, const char *value)
{
    s->values[s->count++] = value;
}

static void add_flag(struct statement *s, bool value)
{
    add_value(s, value ? "t" : "f");
}

/* NULL when it is not known. */
static void add_time(struct statement *s, int64_t us, char text[MESSAGE_TIME_SIZE])
{
    if (us != WHEN_UNKNOWN)
        (void)message_format_time(us, text);
    add_value(s, us == WHEN_UNKNOWN ? NULL : text);
}

static void put_int(struct str *out, uint32_t value)
{
    const uint32_t sent = htonl(value);

    str_put(out, &sent, sizeof sent);
}

/* The ids as a uuid[] in binary: as text they cost the server a quarter of the claim. */
static void add_ids(struct statement *s, const struct claims *c, struct str *out)
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
    s->lengths[s->count] = (int)out->len;
    s->formats[s->count] = 1;
    add_value(s, out->data);
}

/* The least and the greatest of the known times. */
static void find_times(const struct claims *c, int64_t *oldest, int64_t *newest)
{
    *oldest = WHEN_UNKNOWN;
    *newest = WHEN_UNKNOWN;
    for (size_t i = 0; i < c->count; i++) {
        const int64_t us = c->events[i]->written_us;

        if (us == WHEN_UNKNOWN)
            continue;
        if (*oldest == WHEN_UNKNOWN || us < *oldest)
            *oldest = us;
        if (*newest == WHEN_UNKNOWN || us > *newest)
            *newest = us;
    }
}

/* Failures are recorded of the event that its partition waits for: one of this member, or the first
 * that a member meets after an assignment. The statement that takes their records away is seldom
 * the same: it is not prepared. */
static void add_clear(struct statement *s, const struct claims *c, struct str *sql)
{
    bool some = false;

    str_puts(sql, s->sql);
    for (size_t i = 0; i < c->count; i++) {
        if (!c->events[i]->may_be_recorded)
            continue;
        str_printf(sql, some ? ",%s" : ", inbox.clear_failure($1, '{%s", c->events[i]->id);
        some = true;
    }
    if (!some)
        return;
    str_puts(sql, "}'::pg_catalog.uuid[])");
    s->name = NULL;
    s->sql = str_text(sql);
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

/* Begins and claims, in one round trip: all or none, as most batches are new and of the present. A
 * single claim costs a fifth of a set of one. */
static PGresult *begin(struct session *s, const struct claims *c)
{
    struct statement list[] = {begin_statement, {0}};
    struct statement *claim = &list[1];
    struct str sql = {0};
    struct str ids = {0};
    char times[2][MESSAGE_TIME_SIZE];
    int64_t oldest;
    int64_t newest;
    PGresult *result;

    find_times(c, &oldest, &newest);
    claim->name = c->count == 1 ? "inbox_claim" : "inbox_claim_new";
    claim->sql = c->count == 1 ? CLAIM : CLAIM_NEW;
    add_value(claim, c->consumer);
    if (c->count == 1)
        add_value(claim, c->events[0]->id);
    else
        add_ids(claim, c, &ids);
    add_time(claim, oldest, times[0]);
    if (c->count > 1)
        add_time(claim, newest, times[1]);
    add_flag(claim, c->accept_old);
    add_clear(claim, c, &sql);
    result = session_pipeline(s, list, ARRAY_LEN(list));
    str_release(&sql);
    str_release(&ids);
    return result;
}

/* Each of them, with an answer of its own, in the transaction that has begun. */
static PGresult *claim_each(struct session *s, const struct claims *c)
{
    struct statement claim = {.sql = CLAIM_ALL};
    struct str ids = {0};
    struct str times = {0};
    char time[MESSAGE_TIME_SIZE];
    PGresult *result;

    add_value(&claim, c->consumer);
    add_ids(&claim, c, &ids);
    for (size_t i = 0; i < c->count; i++) {
        const int64_t us = c->events[i]->written_us;

        str_puts(&times, i == 0 ? "{" : ",");
        if (us == WHEN_UNKNOWN)
            str_puts(&times, "NULL");
        else
            str_put(&times, time, message_format_time(us, time));
    }
    str_puts(&times, "}");
    add_value(&claim, str_text(&times));
    add_flag(&claim, c->accept_old);
    result = session_pipeline(s, &claim, 1);
    str_release(&ids);
    str_release(&times);
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
    const struct claims c = {
        .consumer = s->consumer, .events = events, .count = count, .accept_old = accept_old};
    enum db db;

    s->sqlstate[0] = '\0';
    s->xid[0] = '\0';
    db = take(s, begin(s, &c), count, answer, e);
    if (db == DB_OK && count > 1 && answer[0] == 'f')
        db = take(s, claim_each(s, &c), count, answer, e);
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
    const struct statement list[] = {
        {.name = "inbox_seal", .sql = SEAL, .values = {s->xid}, .count = 1}, commit_statement};
    PGresult *result;
    enum db db;

    s->sqlstate[0] = '\0';
    result = s->xid[0] == '\0' ? session_pipeline(s, &commit_statement, 1)
                               : session_pipeline(s, list, ARRAY_LEN(list));
    db = session_judge(s, result, PGRES_COMMAND_OK, e);
    PQclear(result);
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
    db = session_run(s, "BEGIN READ WRITE", &e);
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
        db = session_run(s, "COMMIT", &e);
    else
        session_rollback(s);
out:
    if (db != DB_OK)
        say_warn(s->say, "the failure could not be recorded", LOG_S("text", e.text));
    return db == DB_OUTAGE || db == DB_CONFLICT ? DB_OUTAGE : DB_OK;
}
