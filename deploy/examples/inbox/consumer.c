/* A consumer with libinbox: writes one row for each event, and each event once.
 *
 *   consumer BROKERS CONNINFO NAME TOPIC...
 *
 *   consumer kafka:9092 postgres://billing@db/billing billing order-events
 *
 * The table, in the consumer's own database, beside the schema of `outboxd migrate --inbox`:
 *
 *   CREATE TABLE effect (n bigserial, event_id uuid, type text, key text, payload text,
 *                        member text, at timestamptz DEFAULT clock_timestamp());
 *
 * Ends on SIGTERM and SIGINT. MEMBER names the process in the rows; LOG=debug tells each phase;
 * BATCH, ATTEMPTS and BACKOFF_MS are numbers of inbox_params. Exit codes follow sysexits.h. */
#include <inbox.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct inbox *consumer;

static void on_signal(int number)
{
    (void)number;
    inbox_stop(consumer); /* NOLINT(bugprone-signal-handler): made for that */
}

/* Key and payload are bytes with a length; libpq wants texts that end. */
static char *text_of(const void *bytes, size_t len)
{
    char *text = bytes == NULL ? NULL : malloc(len + 1);

    if (text == NULL)
        return NULL;
    memcpy(text, bytes, len);
    text[len] = '\0';
    return text;
}

/* The effect, in the transaction that holds the claim. A statement that fails has spoilt the
 * transaction: whether that passes is found out by another try. */
static enum inbox_verdict write_effect(PGconn *conn, struct inbox_event *event, void *member)
{
    enum inbox_verdict verdict = INBOX_OK;
    size_t key_len;
    size_t payload_len;
    const void *key = inbox_event_key(event, &key_len);
    const void *payload = inbox_event_payload(event, &payload_len);
    char *key_text = text_of(key, key_len);
    char *payload_text = text_of(payload, payload_len);
    const char *values[5];
    PGresult *result;

    values[0] = inbox_event_id(event);
    values[1] = inbox_event_type(event);
    values[2] = key_text;
    values[3] = payload_text;
    values[4] = member;
    result = PQexecParams(conn,
                          "INSERT INTO effect (event_id, type, key, payload, member) "
                          "VALUES ($1::uuid, $2, $3, $4, $5)",
                          5, NULL, values, NULL, NULL, 0);
    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        inbox_explain(event, "insert: %s", PQresultErrorMessage(result));
        verdict = INBOX_RETRY;
    }
    PQclear(result);
    free(key_text);
    free(payload_text);
    return verdict;
}

static int number_of(const char *name)
{
    const char *text = getenv(name);

    return text == NULL ? 0 : (int)strtol(text, NULL, 10);
}

int main(int argc, char **argv)
{
    struct inbox_params params = {.size = sizeof params, .handler = write_effect};
    const char *log = getenv("LOG");
    struct inbox_error error;
    int failed;

    if (argc < 5) {
        (void)fprintf(stderr, "usage: %s BROKERS CONNINFO NAME TOPIC...\n", argv[0]);
        return 64;
    }
    params.brokers = argv[1];
    params.conninfo = argv[2];
    params.consumer = argv[3];
    params.topics = (const char *const *)&argv[4];
    params.topic_count = (size_t)argc - 4;
    params.arg = getenv("MEMBER");
    params.batch_size = number_of("BATCH");
    params.max_attempts = number_of("ATTEMPTS");
    params.backoff_ms = number_of("BACKOFF_MS");
    params.log_level =
        log != NULL && strcmp(log, "debug") == 0 ? INBOX_LOG_DEBUG : INBOX_LOG_DEFAULT;
    consumer = inbox_new(&params, &error);
    if (consumer == NULL) {
        (void)fprintf(stderr, "%s: %s\n", inbox_code_name(error.code), error.text);
        return 78;
    }
    (void)signal(SIGTERM, on_signal);
    (void)signal(SIGINT, on_signal);
    failed = inbox_run(consumer, &error);
    if (failed != 0)
        (void)fprintf(stderr, "%s: %s\n", inbox_code_name(error.code), error.text);
    inbox_free(consumer);
    return failed != 0 ? 78 : 0;
}
