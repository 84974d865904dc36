#include "load_writer.h"

#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How a step of a transaction ended. */
enum step {
    STEP_OK,
    STEP_FAILED, /* the transaction is lost, the session is good */
    STEP_GONE,   /* the session is lost */
};

#define MAX_EVENTS_OF_TRANSACTION 4

/* ---- chance ---- */

/* splitmix64: good enough, and the same everywhere */
static uint64_t chance(struct load_writer *w)
{
    uint64_t z = (w->random += 0x9e3779b97f4a7c15ULL);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static int below(struct load_writer *w, int n)
{
    return n > 0 ? (int)(chance(w) % (uint64_t)n) : 0;
}

static bool percent(struct load_writer *w, int p)
{
    return !w->load->params.plain && below(w, 100) < p;
}

/* ---- the log ---- */

static size_t log_event(struct load_writer *w, char text[37])
{
    struct load_entry *e;
    const uint64_t high = w->load->salt ^ ((uint64_t)w->number << 48);
    const uint64_t low = ++w->next_id;

    if (w->log_count == w->log_cap) {
        w->log_cap = w->log_cap == 0 ? 1024 : w->log_cap * 2;
        w->log = xrealloc(w->log, w->log_cap * sizeof *w->log);
    }
    e = &w->log[w->log_count];
    for (unsigned i = 0; i < 8; i++) {
        e->event_id[i] = (uint8_t)(high >> (56 - 8 * i));
        e->event_id[8 + i] = (uint8_t)(low >> (56 - 8 * i));
    }
    e->event_id[6] = (uint8_t)(0x40 | (e->event_id[6] & 0x0f)); /* a random uuid, by its form */
    e->event_id[8] = (uint8_t)(0x80 | (e->event_id[8] & 0x3f));
    e->fate = LOAD_OPEN;
    for (int i = 0, at = 0; i < 16; i++)
        at += snprintf(text + at, (size_t)(37 - at), "%s%02x",
                       i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", e->event_id[i]);
    return w->log_count++;
}

/* Settles what is still open from `from` on; events that a savepoint took back are settled already.
 */
static void settle(struct load_writer *w, size_t from, enum load_fate fate)
{
    int n = 0;

    for (size_t i = from; i < w->log_count; i++)
        if (w->log[i].fate == LOAD_OPEN) {
            w->log[i].fate = fate;
            n++;
        }
    if (fate == LOAD_COMMITTED)
        atomic_fetch_add(&w->load->committed, n);
}

/* ---- statements ---- */

static void note_error(struct load_writer *w, const char *what)
{
    if (w->error[0] == '\0')
        (void)snprintf(w->error, sizeof w->error, "%s: %s", what, PQerrorMessage(w->conn));
}

/* Whose fault an error is: the server's end and deadlocks belong to the game. */
static enum step judge(struct load_writer *w, const PGresult *res, const char *what)
{
    const ExecStatusType status = PQresultStatus(res);
    const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);

    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK)
        return STEP_OK;
    if (PQstatus(w->conn) != CONNECTION_OK || (state != NULL && strncmp(state, "57P", 3) == 0)) {
        if (!w->load->params.survive)
            note_error(w, what);
        return STEP_GONE;
    }
    /* class 53: the disk is full, say; a service that survives tries again */
    if (state != NULL && strncmp(state, "53", 2) == 0 && w->load->params.survive)
        return STEP_FAILED;
    if (state == NULL || (strcmp(state, "40P01") != 0 && strcmp(state, "40001") != 0))
        note_error(w, what);
    return STEP_FAILED;
}

static enum step command(struct load_writer *w, const char *sql)
{
    PGresult *res = PQexec(w->conn, sql);
    enum step s = judge(w, res, sql);

    PQclear(res);
    return s;
}

/* Locks the key's row and takes its next number. */
static enum step take_turn(struct load_writer *w, const char *key, long long *seq)
{
    const char *values[] = {key};
    PGresult *res = PQexecPrepared(w->conn, "turn", 1, values, NULL, NULL, 0);
    enum step s = judge(w, res, "take turn");

    if (s == STEP_OK) {
        *seq = strtoll(PQgetvalue(res, 0, 0), NULL, 10);
        if (PQntuples(res) != 1)
            note_error(w, "no such key");
    }
    PQclear(res);
    return s;
}

static void make_payload(struct load_writer *w, struct str *out, const char *key, long long seq)
{
    const int mean = w->load->params.payload_bytes > 0 ? w->load->params.payload_bytes : 200;
    const int size = mean / 2 + below(w, mean);

    str_reset(out);
    /* Spaces, escapes and a duplicate name: the bytes must arrive as they are. */
    str_printf(out,
               "{\"seq\": %lld, \"key\":\"%s\",  \"text\":\"\\u00e9\\n \xc3\xa9\", \"a\":1, "
               "\"a\":2.50, \"pad\":\"%s",
               seq, key, w->load->params.marker != NULL ? w->load->params.marker : "");
    for (int i = (int)out->len; i < size; i++)
        str_put_char(out, (char)('a' + (i * 7 + (int)seq) % 26));
    str_puts(out, "\"}");
}

static enum step insert_event(struct load_writer *w, const char *key, long long seq)
{
    struct str payload = {0};
    char id[37];
    char headers[160];
    const char *values[6] = {id, key, NULL, NULL, NULL, NULL};
    PGresult *res;
    enum step s;

    (void)log_event(w, id);
    make_payload(w, &payload, key, seq);
    values[2] = payload.data;
    values[3] = percent(w, 10) ? "order.paid" : "order.placed";
    if (percent(w, 20)) {
        /* the number also as a header, because a tombstone has no payload to hold it */
        (void)snprintf(
            headers, sizeof headers,
            "{\"traceparent\": \"00-%016llx%016llx-01\", \"seq\": \"%lld\", \"empty\": \"\"}",
            (unsigned long long)chance(w), (unsigned long long)chance(w), seq);
        values[4] = headers;
        if (percent(w, 25))
            values[2] = NULL;
    }
    res = PQexecPrepared(w->conn, "event", 5, values, NULL, NULL, 0);
    s = judge(w, res, "insert event");
    PQclear(res);
    str_release(&payload);
    return s;
}

/* ---- transactions ---- */

static void pause_inside(struct load_writer *w, int probability)
{
    const int most = w->load->params.max_sleep_ms > 0 ? w->load->params.max_sleep_ms : 20;

    if (percent(w, probability))
        test_sleep_ms((unsigned)below(w, most + 1));
}

static enum step write_event(struct load_writer *w, int key_number)
{
    char key[32];
    long long seq = 0;
    enum step s;

    (void)snprintf(key, sizeof key, "key-%d", key_number);
    s = take_turn(w, key, &seq);
    if (s != STEP_OK)
        return s;
    pause_inside(w, 5);
    s = insert_event(w, key, seq);
    if (s == STEP_OK)
        pause_inside(w, 5);
    return s;
}

/* The same, taken back. Its number is given out again, so the topic must not hold it twice. */
static enum step write_and_take_back(struct load_writer *w, int key_number)
{
    const size_t from = w->log_count;
    enum step s = command(w, "SAVEPOINT s");

    if (s == STEP_OK)
        s = write_event(w, key_number);
    if (s == STEP_OK)
        s = command(w, "ROLLBACK TO SAVEPOINT s");
    if (s == STEP_OK)
        settle(w, from, LOAD_ROLLED_BACK);
    return s;
}

/* Rising numbers, so that two transactions cannot wait for each other. Hot keys come first. */
static int choose_keys(struct load_writer *w, int keys[MAX_EVENTS_OF_TRANSACTION])
{
    const int hot = w->load->params.hot_keys;
    const int cold = w->load->params.cold_keys;
    const int n = percent(w, 30) ? 1 + below(w, MAX_EVENTS_OF_TRANSACTION) : 1;

    for (int i = 0; i < n; i++) {
        int key = below(w, 2) == 0 ? below(w, hot) : hot + below(w, cold);
        int at = i;
        for (; at > 0 && keys[at - 1] > key; at--)
            keys[at] = keys[at - 1];
        keys[at] = key;
    }
    return n;
}

static enum step write_all(struct load_writer *w)
{
    int keys[MAX_EVENTS_OF_TRANSACTION];
    const int n = choose_keys(w, keys);
    enum step s = STEP_OK;

    for (int i = 0; i < n && s == STEP_OK; i++) {
        if (percent(w, 8))
            s = write_and_take_back(w, keys[i]);
        if (s == STEP_OK)
            s = write_event(w, keys[i]);
    }
    return s;
}

static enum step begin(struct load_writer *w)
{
    enum step s = command(w, "BEGIN");

    if (s == STEP_OK && percent(w, 25)) {
        /* an xid long before the event: what readers that go by numbers stumble over */
        s = command(w, "SELECT pg_current_xact_id()");
        pause_inside(w, 60);
    }
    return s;
}

/* Ends the transaction and settles its events. When the answer to COMMIT never comes, nobody knows.
 */
static enum step finish(struct load_writer *w, size_t from)
{
    const bool give_up = percent(w, 12);
    PGresult *res = PQexec(w->conn, give_up ? "ROLLBACK" : "COMMIT");
    enum step s = judge(w, res, "commit");
    const bool committed = s == STEP_OK && strcmp(PQcmdStatus(res), "COMMIT") == 0;

    if (s == STEP_GONE && !give_up)
        settle(w, from, LOAD_UNKNOWN);
    else
        settle(w, from, committed ? LOAD_COMMITTED : LOAD_ROLLED_BACK);
    PQclear(res);
    return s;
}

static enum step transact(struct load_writer *w)
{
    const size_t from = w->log_count;
    enum step s = begin(w);

    if (s == STEP_OK)
        s = write_all(w);
    if (s == STEP_OK)
        s = finish(w, from);
    else
        settle(w, from, LOAD_ROLLED_BACK);
    if (s == STEP_FAILED)
        s = command(w, "ROLLBACK");
    w->transactions++;
    return s;
}

static bool stopped(const struct load_writer *w)
{
    struct load *l = w->load;

    return atomic_load(&l->stop) || w->error[0] != '\0' ||
           (l->end_ms != 0 && test_now_ms() >= l->end_ms) ||
           (l->params.max_events != 0 && atomic_load(&l->committed) >= l->params.max_events);
}

/* One event at the start of a transaction that commits when the load stops. */
static enum step transact_long(struct load_writer *w)
{
    const size_t from = w->log_count;
    char key[32];
    long long seq = 0;
    enum step s = command(w, "BEGIN");

    (void)snprintf(key, sizeof key, "long-%d", w->number);
    if (s == STEP_OK)
        s = take_turn(w, key, &seq);
    if (s == STEP_OK)
        s = insert_event(w, key, seq);
    while (s == STEP_OK && !stopped(w)) {
        test_sleep_ms(20);
        s = command(w, "SELECT 1"); /* notices a crash */
    }
    if (s != STEP_OK) {
        settle(w, from, LOAD_ROLLED_BACK);
        return s;
    }
    return finish(w, from);
}

/* ---- the thread ---- */

static bool prepare(struct load_writer *w)
{
    /* as a service would: by name, with the columns that a writer may set */
    static const char *const turn =
        "UPDATE load_aggregate SET seq = seq + 1 WHERE key = $1 RETURNING seq";
    static const char *const event = "INSERT INTO outbox.event (event_id, aggregate_type, "
                                     "aggregate_id, payload, event_type, headers)"
                                     " VALUES ($1, '" LOAD_TYPE "', $2, $3, $4, $5)";
    PGresult *res = PQprepare(w->conn, "turn", turn, 0, NULL);
    enum step s = judge(w, res, "prepare");

    PQclear(res);
    if (s != STEP_OK)
        return false;
    res = PQprepare(w->conn, "event", event, 0, NULL);
    s = judge(w, res, "prepare");
    PQclear(res);
    return s == STEP_OK &&
           (!w->load->params.async_commit || command(w, "SET synchronous_commit = off") == STEP_OK);
}

static bool connect_writer(struct load_writer *w)
{
    while (!stopped(w)) {
        w->conn = pg_try_open(w->load->params.pg, "svc", 5);
        if (w->conn != NULL && prepare(w))
            return true;
        if (w->conn == NULL && !w->load->params.survive)
            (void)snprintf(w->error, sizeof w->error, "the server does not answer");
        PQfinish(w->conn);
        w->conn = NULL;
        test_sleep_ms(10);
    }
    return false;
}

void *load_writer_run(void *writer)
{
    struct load_writer *w = writer;

    while (connect_writer(w)) {
        enum step s = STEP_OK;
        while (s != STEP_GONE && !stopped(w)) {
            s = w->is_long ? transact_long(w) : transact(w);
            if (w->load->params.max_pause_ms > 0)
                test_sleep_ms((unsigned)below(w, w->load->params.max_pause_ms + 1));
        }
        PQfinish(w->conn);
        w->conn = NULL;
        w->reconnects += s == STEP_GONE;
    }
    atomic_fetch_sub(&w->load->running, 1);
    return NULL;
}
