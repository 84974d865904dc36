/* The claim alone, on a connection and in a transaction of the application. */
#include "inbox/fault.h"
#include "inbox/uuid.h"
#include "message/message.h"

#include <string.h>

static int check_transaction(PGconn *conn, struct inbox_error *e)
{
    switch (PQtransactionStatus(conn)) {
    case PQTRANS_INTRANS:
        return 0;
    case PQTRANS_IDLE:
        return fault_set(e, INBOX_E_NO_TRANSACTION,
                         "the connection is in no transaction: begin one, claim in it, write the "
                         "effects in it, commit");
    case PQTRANS_INERROR:
        return fault_set(e, INBOX_E_ABORTED,
                         "the transaction has failed before: roll back, then begin and claim "
                         "again");
    case PQTRANS_ACTIVE:
        return fault_set(e, INBOX_E_CONNECTION,
                         "the connection is busy: take the results of its last command first");
    case PQTRANS_UNKNOWN:
        break;
    }
    return fault_set(e, INBOX_E_CONNECTION, "the connection is not usable: %s",
                     PQerrorMessage(conn));
}

static int check_arguments(const PGconn *conn, const char *consumer, const char *event_id,
                           unsigned flags, struct inbox_error *e)
{
    if (conn == NULL)
        return fault_set(e, INBOX_E_ARGUMENT, "conn is NULL");
    if (consumer == NULL || consumer[0] == '\0')
        return fault_set(e, INBOX_E_ARGUMENT, "the consumer's name is missing or empty");
    if (strlen(consumer) > INBOX_CONSUMER_MAX)
        return fault_set(e, INBOX_E_ARGUMENT, "the consumer's name has %zu bytes; %d are allowed",
                         strlen(consumer), INBOX_CONSUMER_MAX);
    if (event_id == NULL || event_id[0] == '\0')
        return fault_set(e, INBOX_E_EVENT_ID, "the event's id is missing or empty");
    if ((flags & ~INBOX_ACCEPT_OLD) != 0)
        return fault_set(e, INBOX_E_ARGUMENT, "flags holds bits that mean nothing: %#x", flags);
    return 0;
}

/* The time in the form that Postgres takes under any DateStyle; NULL stays NULL. */
static int format_time(const char *event_time, char out[MESSAGE_TIME_SIZE], struct inbox_error *e)
{
    int64_t us;

    if (event_time == NULL)
        return 0;
    if (!message_parse_rfc3339(slice_of(event_time), &us))
        return fault_set(e, INBOX_E_ARGUMENT,
                         "event_time is no RFC 3339 time, as in 2026-01-31T12:00:00Z");
    (void)message_format_time(us, out);
    return 0;
}

int inbox_claim(PGconn *conn, const char *consumer, const char *event_id, const char *event_time,
                unsigned flags, struct inbox_error *error)
{
    char id[INBOX_UUID_SIZE];
    char time[MESSAGE_TIME_SIZE];
    const char *values[4];
    PGresult *result;
    int claimed;

    fault_clear(error);
    if (check_arguments(conn, consumer, event_id, flags, error) != 0 ||
        format_time(event_time, time, error) != 0 || check_transaction(conn, error) != 0)
        return -1;
    uuid_of_event((struct slice){0}, slice_of(event_id), id);
    values[0] = consumer;
    values[1] = id;
    values[2] = event_time == NULL ? NULL : time;
    values[3] = (flags & INBOX_ACCEPT_OLD) != 0 ? "t" : "f";
    result = PQexecParams(conn,
                          "SELECT inbox.claim($1::pg_catalog.text, $2::pg_catalog.uuid, "
                          "$3::pg_catalog.timestamptz, $4::pg_catalog.bool)",
                          4, NULL, values, NULL, NULL, 0);
    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
        claimed = fault_of_result(error, conn, result);
    else
        claimed = PQgetvalue(result, 0, 0)[0] == 't' ? 1 : 0;
    PQclear(result);
    return claimed;
}
