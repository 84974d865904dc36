#include "service.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TELL_MS = 1000, PROPERTIES_MAX = 32, TYPES_MAX = 8 };

/* ---- environment and log lines --------------------------------------------------------------- */

static const struct level {
    const char *word;
    enum inbox_log_level level;
} levels[] = {{"debug", INBOX_LOG_DEBUG},
              {"info", INBOX_LOG_INFO},
              {"warn", INBOX_LOG_WARN},
              {"error", INBOX_LOG_ERROR}};

static enum inbox_log_level log_from = INBOX_LOG_INFO;

void service_log(enum inbox_log_level level, const char *service, const char *fmt, ...)
{
    char text[600];
    char when[32];
    struct timespec now;
    struct tm utc;
    va_list ap;

    if (level < log_from)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    (void)strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &utc);
    (void)fprintf(stderr, "time=%s.%03ldZ level=%s service=%s %s\n", when, now.tv_nsec / 1000000,
                  levels[level - INBOX_LOG_DEBUG].word, service, text);
}

const char *service_env(const char *name)
{
    const char *value = getenv(name);

    if (value != NULL && value[0] != '\0')
        return value;
    (void)fprintf(stderr, "the environment variable %s is not set\n", name);
    return NULL;
}

/* 0, or SERVICE_USAGE after a line on stderr. */
static int read_log_level(void)
{
    const char *word = getenv("LOG_LEVEL");

    if (word == NULL || word[0] == '\0')
        return 0;
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++)
        if (strcmp(levels[i].word, word) == 0) {
            log_from = levels[i].level;
            return 0;
        }
    (void)fprintf(stderr, "LOG_LEVEL=%s: debug, info, warn or error\n", word);
    return SERVICE_USAGE;
}

/* Cuts KAFKA_PROPERTIES into `out`, of PROPERTIES_MAX. The text, to be freed when they are used;
 * NULL after a line on stderr. */
static char *read_properties(struct inbox_property *out, size_t *count)
{
    const char *given = getenv("KAFKA_PROPERTIES");
    char *text = strdup(given == NULL ? "" : given);
    char *rest = NULL;

    for (char *word = text == NULL ? NULL : strtok_r(text, " ", &rest); word != NULL;
         word = strtok_r(NULL, " ", &rest)) {
        char *equals = strchr(word, '=');

        if (equals == NULL || *count == PROPERTIES_MAX) {
            (void)fprintf(stderr, "KAFKA_PROPERTIES: name=value, separated by blanks, at most %d\n",
                          PROPERTIES_MAX);
            free(text);
            return NULL;
        }
        *equals = '\0';
        out[(*count)++] = (struct inbox_property){word, equals + 1};
    }
    return text;
}

static int64_t now_ms(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* ---- signals --------------------------------------------------------------------------------- */

static struct inbox *to_be_stopped;

static void on_signal(int number)
{
    (void)number;
    inbox_stop(to_be_stopped); /* NOLINT(bugprone-signal-handler): made for that */
}

static void handle_signals(struct inbox *inbox)
{
    const struct sigaction stop = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};

    to_be_stopped = inbox;
    (void)sigaction(SIGTERM, &stop, NULL);
    (void)sigaction(SIGINT, &stop, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

/* ---- the consumer ---------------------------------------------------------------------------- */

/* Finds the handler for the event, and makes a text of its payload. */
static enum inbox_verdict dispatch(PGconn *conn, struct inbox_event *event, void *arg)
{
    const struct service_handler *h = ((const struct service_params *)arg)->handlers;
    enum inbox_verdict verdict = INBOX_REJECT;
    size_t len;
    const void *payload = inbox_event_payload(event, &len);
    char *text = payload == NULL ? NULL : strndup(payload, len);

    while (h->event_type != NULL && strcmp(h->event_type, inbox_event_type(event)) != 0)
        h++;
    if (text == NULL || h->event_type == NULL)
        inbox_explain(event, "an event of type %s without a payload", inbox_event_type(event));
    else
        verdict = h->handle(conn, event, text);
    free(text);
    return verdict;
}

static int give_up(const struct service_params *params, const struct inbox_error *error)
{
    service_log(INBOX_LOG_ERROR, params->name, "msg=\"%s: %s\"", inbox_code_name(error->code),
                error->text);
    return error->code == INBOX_E_ARGUMENT ? SERVICE_USAGE : SERVICE_CONFIG;
}

static int open_inbox(struct service *s, const char *conninfo, const char *brokers)
{
    const struct service_params *params = s->params;
    /* a member that was killed is missed after this time; KAFKA_PROPERTIES come later and win */
    struct inbox_property properties[PROPERTIES_MAX] = {{"session.timeout.ms", "10000"}};
    const char *types[TYPES_MAX];
    struct inbox_params p = {.size = sizeof p,
                             .brokers = brokers,
                             .conninfo = conninfo,
                             .consumer = params->name,
                             .topics = params->topics,
                             .handler = dispatch,
                             .arg = (void *)(uintptr_t)params,
                             .properties = properties,
                             .property_count = 1,
                             .event_types = types,
                             .accept_old = params->accept_old,
                             .log_level = log_from};
    char *text = read_properties(properties, &p.property_count);
    struct inbox_error error;

    if (text == NULL)
        return SERVICE_USAGE;
    while (params->topics[p.topic_count] != NULL)
        p.topic_count++;
    for (const struct service_handler *h = params->handlers; h->event_type != NULL; h++)
        types[p.event_type_count++] = h->event_type;
    s->inbox = inbox_new(&p, &error);
    free(text);
    return s->inbox == NULL ? give_up(params, &error) : 0;
}

int service_init(struct service *s, const struct service_params *params)
{
    const char *conninfo = service_env("DATABASE_URL");
    const char *brokers = service_env("KAFKA_BROKERS");
    int rc = conninfo == NULL || brokers == NULL ? SERVICE_USAGE : read_log_level();

    *s = (struct service){.params = params};
    if (rc == 0)
        rc = open_inbox(s, conninfo, brokers);
    if (rc != 0)
        return rc;
    handle_signals(s->inbox);
    service_log(INBOX_LOG_INFO, params->name, "msg=started");
    return 0;
}

static void tell_counters(struct service *s)
{
    struct inbox_counters c;

    inbox_counters(s->inbox, &c, sizeof c);
    if (c.handled != s->told.handled || c.duplicates != s->told.duplicates ||
        c.dead_lettered != s->told.dead_lettered)
        service_log(INBOX_LOG_INFO, s->params->name,
                    "msg=\"so far\" handled=%llu duplicates=%llu dead_lettered=%llu",
                    (unsigned long long)c.handled, (unsigned long long)c.duplicates,
                    (unsigned long long)c.dead_lettered);
    s->told = c;
}

void service_tell(struct service *s)
{
    const int64_t now = now_ms();

    if (now - s->told_ms < TELL_MS)
        return;
    s->told_ms = now;
    tell_counters(s);
}

int service_turn(struct service *s)
{
    struct inbox_error error;
    const int rc = inbox_process(s->inbox, &error);

    if (rc < 0)
        (void)give_up(s->params, &error);
    return rc;
}

void service_release(struct service *s)
{
    tell_counters(s);
    service_log(INBOX_LOG_INFO, s->params->name, "msg=ended");
    (void)signal(SIGTERM, SIG_IGN); /* the handler must not see an inbox that is gone */
    (void)signal(SIGINT, SIG_IGN);
    inbox_free(s->inbox);
}

int service_run(const struct service_params *params)
{
    struct service s;
    struct pollfd fd = {.events = POLLIN};
    int rc = service_init(&s, params);

    if (rc != 0)
        return rc;
    fd.fd = inbox_fd(s.inbox);
    while (rc == 0) {
        if (poll(&fd, 1, TELL_MS) > 0)
            rc = service_turn(&s);
        service_tell(&s);
    }
    service_release(&s);
    return rc < 0 ? SERVICE_CONFIG : 0;
}

/* ---- for handlers ---------------------------------------------------------------------------- */

PGresult *service_query(PGconn *conn, struct inbox_event *event, const char *sql,
                        const char *payload, enum inbox_verdict *verdict)
{
    PGresult *r = PQexecParams(conn, sql, 1, NULL, &payload, NULL, NULL, 0);
    const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);

    *verdict = INBOX_OK;
    if (PQresultStatus(r) == PGRES_TUPLES_OK || PQresultStatus(r) == PGRES_COMMAND_OK)
        return r;
    /* Data that cannot be what it should be (class 22) will be no better next time. */
    *verdict = state != NULL && strncmp(state, "22", 2) == 0 ? INBOX_REJECT : INBOX_RETRY;
    inbox_explain(event, "SQLSTATE %s", state == NULL ? "none: the connection is lost" : state);
    PQclear(r);
    return NULL;
}

enum inbox_verdict service_exec(PGconn *conn, struct inbox_event *event, const char *sql,
                                const char *payload)
{
    enum inbox_verdict verdict;

    PQclear(service_query(conn, event, sql, payload, &verdict));
    return verdict;
}

enum inbox_verdict service_publish(PGconn *conn, struct inbox_event *event,
                                   const struct inbox_message *message)
{
    struct inbox_error error;

    if (inbox_publish(conn, event, message, NULL, &error) == 0)
        return INBOX_OK;
    inbox_explain(event, "publish %s: %s", message->event_type, error.text);
    return INBOX_RETRY;
}
