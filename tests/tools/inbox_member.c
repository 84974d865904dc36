/* A consumer on libinbox for the fault tests (support/member.h, support/effects.h): it writes an
 * effect for each event, misbehaves where the event asks for it, and can end or stop itself at an
 * exact point of the library's work, which it knows from the log lines.
 *
 *   inbox_member NAME=VALUE ...
 *
 *   brokers, conninfo, consumer, topic (may be repeated), member (its name in the effects)
 *   batch, attempts, backoff_ms, budget_ms   numbers of inbox_params
 *   slow_ms=N   each event takes so long      by_id=1   what events do is told by their ids
 *   at=TEXT nth=N then=kill|stop              at the N-th log line with TEXT: SIGKILL or SIGSTOP to
 *               itself; "phase in the handler" is a line, too (after the effect was written)
 *   any.name=VALUE with a dot                 a property for librdkafka
 *
 * Logs to stderr; its counters follow on stdout when it ends properly. Exit codes: 0 after SIGTERM,
 * 64 usage, 78 when the library says that it cannot go on. */
#include "../support/effects.h"

#include <inbox.h>

#include <signal.h>
#include <time.h>
#include <unistd.h>

#define MOST 16

static struct {
    struct inbox_params params;
    const char *topics[MOST];
    struct inbox_property properties[MOST];
    const char *member;
    const char *at;
    int nth;
    int signal;
    int slow_ms;
    int by_id;
} own = {.params = {.size = sizeof(struct inbox_params), .log_level = INBOX_LOG_DEBUG},
         .member = "m",
         .nth = 1,
         .signal = SIGKILL};

static struct inbox *consumer;
static int in_batch; /* calls of the handler in this transaction */

/* ---- points ---------------------------------------------------------------------------------- */

static void meet(const char *line)
{
    static int met;

    if (own.at != NULL && strstr(line, own.at) != NULL && ++met == own.nth)
        (void)raise(own.signal);
}

static void on_line(enum inbox_log_level level, const char *line, void *arg)
{
    (void)level;
    (void)arg;
    (void)fprintf(stderr, "%s\n", line);
    if (strstr(line, "phase begun") != NULL)
        in_batch = 0;
    meet(line);
}

/* ---- the handler ----------------------------------------------------------------------------- */

static void sql(PGconn *conn, const char *text)
{
    PQclear(PQexec(conn, text));
}

static void pause_ms(int ms)
{
    const struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};

    (void)nanosleep(&t, NULL);
}

static const char *text_of(const void *bytes, size_t len, char *out, size_t size)
{
    if (bytes == NULL)
        return NULL;
    (void)snprintf(out, size, "%.*s", (int)len, (const char *)bytes);
    return out;
}

/* The number stands in a header, or in the payload. */
static const char *number_of(const struct inbox_event *event, char *out, size_t size)
{
    static const char name[] = "\"seq\":";
    size_t len;
    const void *header = inbox_event_header(event, "seq", &len);
    char payload[128];
    const char *at;

    if (header != NULL)
        return text_of(header, len, out, size);
    at = inbox_event_payload(event, &len);
    at = text_of(at, len, payload, sizeof payload);
    at = at == NULL ? NULL : strstr(at, name);
    if (at == NULL)
        return NULL;
    (void)snprintf(out, size, "%lld", strtoll(at + sizeof name - 1, NULL, 10));
    return out;
}

/* A row, and the key's total: both or neither. */
static void write_effect(PGconn *conn, const struct inbox_event *event)
{
    char key[256];
    char seq[32];
    size_t len;
    const void *bytes = inbox_event_key(event, &len);
    const char *values[] = {inbox_event_id(event), text_of(bytes, len, key, sizeof key),
                            number_of(event, seq, sizeof seq), own.member};

    PQclear(PQexecParams(
        conn,
        "WITH e AS (INSERT INTO effect (event_id, key, seq, member) VALUES ($1::uuid, $2, "
        "$3::bigint, $4)) INSERT INTO total AS t (key, last, count, inverted) VALUES ($2, "
        "$3::bigint, 1, 0) ON CONFLICT (key) DO UPDATE SET count = t.count + 1, last = "
        "excluded.last, inverted = t.inverted + (excluded.last <= t.last)::int",
        4, NULL, values, NULL, NULL, 0));
}

static enum inbox_verdict misbehave(PGconn *conn, struct inbox_event *event, const char *what)
{
    if (strcmp(what, "fail") == 0)
        return INBOX_RETRY;
    if (strcmp(what, "reject") == 0)
        return INBOX_REJECT;
    if (strcmp(what, "abort") == 0)
        sql(conn, "SELECT 1 / 0");
    if (strcmp(what, "late") == 0)
        sql(conn, "INSERT INTO other VALUES (1)"); /* COMMIT refuses it */
    if (strcmp(what, "commit") == 0)
        sql(conn, "COMMIT");
    if (strcmp(what, "rollback") == 0)
        sql(conn, "ROLLBACK");
    if (strcmp(what, "stray") == 0) {
        sql(conn, "COMMIT");
        sql(conn, "BEGIN READ WRITE");
        write_effect(conn, event);
    }
    if (strcmp(what, "close") == 0)
        PQfinish(conn);
    if (strcmp(what, "reset") == 0)
        PQreset(conn);
    return INBOX_OK;
}

static enum inbox_verdict act(PGconn *conn, struct inbox_event *event, const char *what)
{
    char word[32];
    const size_t len = strlen(what);

    if (strcmp(what, "company") == 0)
        return in_batch > 1 ? INBOX_RETRY : INBOX_OK;
    if (strcmp(what, "slow") == 0)
        pause_ms(30);
    if (strcmp(what, "conflict") == 0 && rand() % 2 == 0)
        sql(conn, "DO $$ BEGIN RAISE SQLSTATE '40001'; END $$");
    if (len == 0 || len >= sizeof word)
        return INBOX_OK;
    (void)snprintf(word, sizeof word, "%s", what);
    if (word[len - 1] == '2') {
        if (inbox_event_attempt(event) > 2)
            return INBOX_OK;
        word[len - 1] = '\0';
    }
    return misbehave(conn, event, word);
}

static enum inbox_verdict handle(PGconn *conn, struct inbox_event *event, void *arg)
{
    char word[32] = "";
    size_t len;
    const void *header = inbox_event_header(event, "do", &len);

    (void)arg;
    in_batch++;
    write_effect(conn, event);
    meet("phase in the handler");
    if (own.slow_ms > 0)
        pause_ms(own.slow_ms);
    if (own.by_id != 0)
        return act(conn, event, effects_by_id(inbox_event_id(event)));
    (void)text_of(header, len, word, sizeof word);
    return act(conn, event, word);
}

/* ---- arguments ------------------------------------------------------------------------------- */

static const char **text_place(const char *name)
{
    if (strcmp(name, "brokers") == 0)
        return &own.params.brokers;
    if (strcmp(name, "conninfo") == 0)
        return &own.params.conninfo;
    if (strcmp(name, "consumer") == 0)
        return &own.params.consumer;
    if (strcmp(name, "member") == 0)
        return &own.member;
    if (strcmp(name, "at") == 0)
        return &own.at;
    return NULL;
}

static int *number_place(const char *name)
{
    if (strcmp(name, "batch") == 0)
        return &own.params.batch_size;
    if (strcmp(name, "attempts") == 0)
        return &own.params.max_attempts;
    if (strcmp(name, "backoff_ms") == 0)
        return &own.params.backoff_ms;
    if (strcmp(name, "budget_ms") == 0)
        return &own.params.budget_ms;
    if (strcmp(name, "slow_ms") == 0)
        return &own.slow_ms;
    if (strcmp(name, "by_id") == 0)
        return &own.by_id;
    return strcmp(name, "nth") == 0 ? &own.nth : NULL;
}

/* Splits the argument in place; false: it is none of ours. */
static bool take_argument(char *text)
{
    char *value = strchr(text, '=');

    if (value == NULL)
        return false;
    *value++ = '\0';
    if (text_place(text) != NULL) {
        *text_place(text) = value;
    } else if (number_place(text) != NULL) {
        *number_place(text) = (int)strtol(value, NULL, 10);
    } else if (strcmp(text, "then") == 0) {
        own.signal = strcmp(value, "stop") == 0 ? SIGSTOP : SIGKILL;
    } else if (strcmp(text, "topic") == 0 && own.params.topic_count < MOST) {
        own.topics[own.params.topic_count++] = value;
    } else if (strchr(text, '.') != NULL && own.params.property_count < MOST) {
        own.properties[own.params.property_count++] =
            (struct inbox_property){.name = text, .value = value};
    } else {
        return false;
    }
    return true;
}

/* ---- main ------------------------------------------------------------------------------------ */

static volatile sig_atomic_t told; /* to stop, before there was a consumer */

static void on_signal(int number)
{
    (void)number;
    told = 1;
    if (consumer != NULL)
        inbox_stop(consumer);
}

static void print_counters(void)
{
    static char text[16384];

    (void)inbox_metrics_text(consumer, text, sizeof text);
    (void)fputs(text, stdout);
}

int main(int argc, char **argv)
{
    struct sigaction stop = {.sa_handler = on_signal};
    struct inbox_error error;
    int failed;

    for (int i = 1; i < argc; i++) {
        if (!take_argument(argv[i])) {
            (void)fprintf(stderr, "not known: %s\n", argv[i]);
            return 64;
        }
    }
    (void)sigaction(SIGTERM, &stop, NULL);
    srand((unsigned)getpid());
    own.params.topics = own.topics;
    own.params.properties = own.properties;
    own.params.handler = handle;
    own.params.log = on_line;
    consumer = inbox_new(&own.params, &error);
    if (consumer == NULL) {
        (void)fprintf(stderr, "%s: %s\n", inbox_code_name(error.code), error.text);
        return 78;
    }
    if (told != 0)
        inbox_stop(consumer);
    failed = inbox_run(consumer, &error);
    if (failed != 0)
        (void)fprintf(stderr, "%s: %s\n", inbox_code_name(error.code), error.text);
    print_counters();
    inbox_free(consumer);
    return failed != 0 ? 78 : 0;
}
