/* A handler's own events: outbox.publish in the same transaction, with the two headers that tell
 * where an event came from. */
#include "inbox/event.h"
#include "inbox/fault.h"
#include "message/json_scan.h"

#include <string.h>

#define CORRELATION "correlation-id"
#define CAUSATION   "causation-id"

static void put_member(struct str *out, const char *name, const char *value)
{
    char *clean = xstrdup(value);

    fault_clean_text(clean);
    str_puts(out, out->len > 1 ? "," : "");
    str_put_json(out, slice_of(name));
    str_put_char(out, ':');
    str_put_json(out, slice_of(clean));
    free(clean);
}

/* Copies the members of the object `json`, but for causation-id; says whether there was a
 * correlation-id. False: no JSON object. */
static bool copy_members(const char *json, struct str *out, bool *has_correlation)
{
    struct json_scan s = {.at = json, .end = json + strlen(json)};
    struct str name = {0};
    bool ok = json_take(&s, '{');

    if (ok && !json_take(&s, '}')) {
        do {
            size_t start = out->len;

            str_reset(&name);
            ok = json_take_string(&s, &name) && json_take(&s, ':');
            if (!ok)
                break;
            str_puts(out, out->len > 1 ? "," : "");
            str_put_json(out, str_slice(&name));
            str_put_char(out, ':');
            ok = json_take_text(&s, out);
            if (strcmp(str_text(&name), CAUSATION) == 0) {
                out->len = start; /* ours stands */
                out->data[start] = '\0';
            }
            *has_correlation |= strcmp(str_text(&name), CORRELATION) == 0;
        } while (ok && json_take(&s, ','));
        ok = ok && json_take(&s, '}');
    }
    json_skip_blanks(&s);
    str_release(&name);
    return ok && s.at == s.end;
}

static int build_headers(const struct inbox_event *cause, const char *given, struct str *out,
                         struct inbox_error *e)
{
    bool has_correlation = false;
    size_t len = 0;
    const char *correlation = inbox_event_header(cause, CORRELATION, &len);
    struct str text = {0};

    str_puts(out, "{");
    if (given != NULL && !copy_members(given, out, &has_correlation))
        return fault_set(e, INBOX_E_ARGUMENT, "message->headers is no JSON object");
    if (!has_correlation && correlation != NULL) {
        str_put(&text, correlation, len);
        put_member(out, CORRELATION, str_text(&text));
    } else if (!has_correlation) {
        put_member(out, CORRELATION, inbox_event_raw_id(cause));
    }
    put_member(out, CAUSATION, inbox_event_raw_id(cause));
    str_puts(out, "}");
    str_release(&text);
    return 0;
}

static int check_message(const PGconn *conn, const struct inbox_event *cause,
                         const struct inbox_message *m, struct inbox_error *e)
{
    if (conn == NULL || cause == NULL || m == NULL)
        return fault_set(e, INBOX_E_ARGUMENT, "conn, cause or message is NULL");
    if (m->aggregate_type == NULL || m->aggregate_id == NULL || m->event_type == NULL)
        return fault_set(e, INBOX_E_ARGUMENT,
                         "aggregate_type, aggregate_id and event_type are required");
    if (PQtransactionStatus(conn) != PQTRANS_INTRANS)
        return fault_set(e, INBOX_E_NO_TRANSACTION,
                         "the connection is in no transaction that could hold the event");
    return 0;
}

/* fault_of_result speaks of the inbox. */
static int failed(struct inbox_error *e, const PGconn *conn, const PGresult *result)
{
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    struct inbox_error plain = {0};

    (void)fault_of_result(&plain, conn, result);
    if (plain.code == INBOX_E_SCHEMA)
        return fault_set(e, plain.code, "database: %s; run `outboxd migrate` as its owner", text);
    if (plain.code == INBOX_E_GRANTS)
        return fault_set(e, plain.code, "database: %s; GRANT outbox_writer to the role", text);
    return fault_set(e, plain.code, "%s", plain.text);
}

int inbox_publish(PGconn *conn, const struct inbox_event *cause,
                  const struct inbox_message *message, char id_out[INBOX_UUID_SIZE],
                  struct inbox_error *error)
{
    struct str headers = {0};
    const char *values[8];
    PGresult *result = NULL;
    int rc;

    fault_clear(error);
    if (check_message(conn, cause, message, error) != 0)
        return -1;
    rc = build_headers(cause, message->headers, &headers, error);
    if (rc != 0)
        goto out;
    values[0] = message->aggregate_type;
    values[1] = message->aggregate_id;
    values[2] = message->event_type;
    values[3] = message->payload;
    values[4] = str_text(&headers);
    values[5] = message->event_version;
    values[6] = message->topic;
    values[7] = message->partition_key;
    result = PQexecParams(conn,
                          "SELECT outbox.publish($1, $2, $3, $4::pg_catalog.json, "
                          "$5::pg_catalog.json, $6, topic => $7, partition_key => $8)",
                          8, NULL, values, NULL, NULL, 0);
    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
        rc = failed(error, conn, result);
    else if (id_out != NULL)
        (void)memcpy(id_out, PQgetvalue(result, 0, 0), INBOX_UUID_SIZE);
    PQclear(result);
out:
    str_release(&headers);
    return rc;
}
