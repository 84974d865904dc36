/* A handler that does what the payload says: writes its effect, and then fails, rejects, or breaks
 * the contract. Included after inbox_case.h. */
#ifndef OUTBOXD_TESTS_INBOX_SCRIPT_H
#define OUTBOXD_TESTS_INBOX_SCRIPT_H

#include <inbox.h>
#include <stdio.h>
#include <string.h>

static int calls;
static int in_this_transaction; /* calls since the last failure or commit, as far as it can tell */
static char last_xid[32];

static inline void sql(PGconn *conn, const char *text)
{
    PQclear(PQexec(conn, text));
}

static inline void note_transaction(PGconn *conn)
{
    PGresult *r = PQexec(conn, "SELECT pg_current_xact_id()");

    if (PQntuples(r) == 1 && strcmp(last_xid, PQgetvalue(r, 0, 0)) == 0)
        in_this_transaction++;
    else
        in_this_transaction = 1;
    (void)snprintf(last_xid, sizeof last_xid, "%s",
                   PQntuples(r) == 1 ? PQgetvalue(r, 0, 0) : "none");
    PQclear(r);
}

static inline void write_effect(PGconn *conn, struct inbox_event *event, const char *payload)
{
    char part[16];
    char pos[24];
    const char *values[] = {inbox_event_id(event), "k", payload, part, pos};

    (void)snprintf(part, sizeof part, "%d", (int)inbox_event_partition(event));
    (void)snprintf(pos, sizeof pos, "%lld", (long long)inbox_event_offset(event));
    PQclear(PQexecParams(conn,
                         "INSERT INTO effect (event_id, key, payload, part, pos) "
                         "VALUES ($1::uuid, $2, $3, $4::int, $5::bigint)",
                         5, NULL, values, NULL, NULL, 0));
}

/* What breaks the contract, or tries its limits, after the effect was written. */
static inline void misbehave(PGconn *conn, const char *what)
{
    if (strncmp(what, "commit", 6) == 0)
        sql(conn, "COMMIT");
    if (strcmp(what, "commit-write") == 0)
        sql(conn, "INSERT INTO effect (payload) VALUES ('stray')");
    if (strcmp(what, "commit-begin") == 0)
        sql(conn, "BEGIN; INSERT INTO effect (payload) VALUES ('stray')");
    if (strcmp(what, "rollback") == 0)
        sql(conn, "ROLLBACK");
    if (strcmp(what, "chain") == 0)
        sql(conn, "ROLLBACK AND CHAIN");
    if (strcmp(what, "close") == 0)
        PQfinish(conn);
    if (strcmp(what, "reset") == 0)
        PQreset(conn);
    if (strcmp(what, "busy") == 0)
        (void)PQsendQuery(conn, "SELECT pg_sleep(0.1)");
    if (strcmp(what, "abort") == 0)
        sql(conn, "SELECT 1 / 0");
    if (strcmp(what, "savepoint") == 0) /* this one is allowed */
        sql(conn, "SAVEPOINT s; INSERT INTO effect (payload) VALUES ('gone'); ROLLBACK TO s");
    if (strcmp(what, "late") == 0)
        sql(conn, "INSERT INTO other VALUES (1)"); /* refused by COMMIT */
}

static inline enum inbox_verdict handle(PGconn *conn, struct inbox_event *event, void *arg)
{
    char payload[64];
    size_t len;
    const void *bytes = inbox_event_payload(event, &len);

    (void)arg;
    calls++;
    (void)snprintf(payload, sizeof payload, "%.*s", (int)len,
                   bytes == NULL ? "" : (const char *)bytes);
    note_transaction(conn);
    write_effect(conn, event, payload);
    misbehave(conn, payload);
    if (strcmp(payload, "fail") == 0 ||
        (strcmp(payload, "fail2") == 0 && inbox_event_attempt(event) <= 2)) {
        inbox_explain(event, "attempt %d of %s", inbox_event_attempt(event), payload);
        return INBOX_RETRY;
    }
    if (strcmp(payload, "company") == 0 && in_this_transaction > 1)
        return INBOX_RETRY;
    if (strcmp(payload, "reject") == 0) {
        inbox_explain(event, "no such order");
        return INBOX_REJECT;
    }
    if (strcmp(payload, "conflict") == 0 && calls <= 4)
        sql(conn, "DO $$ BEGIN RAISE SQLSTATE '40001' USING MESSAGE = 'meet'; END $$");
    return INBOX_OK;
}

#endif
