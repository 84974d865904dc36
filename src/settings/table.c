/* What can be set. A new setting is one entry here, one member in settings/settings.h and, for
 * `make test`, the example file printed anew (outboxd config --example). */
#include "settings/table.h"

#include "settings/check.h"

#include <string.h>

static const char *const start_words[] = {
    [START_UNSET] = "", [START_BEGINNING] = "beginning", [START_NOW] = "now", NULL};
static const char *const wakeup_words[] = {
    [WAKEUP_DOORBELL] = "doorbell", [WAKEUP_POLL] = "poll", NULL};
static const char *const level_words[] = {
    [LOG_DEBUG] = "debug", [LOG_INFO] = "info", [LOG_WARN] = "warn", [LOG_ERROR] = "error", NULL};
static const char *const format_words[] = {[LOG_LOGFMT] = "logfmt", [LOG_JSON] = "json", NULL};

#define MEMBER(m) .offset = offsetof(struct settings, m)
#define KIB       INT64_C(1024)
#define MIB       (INT64_C(1024) * KIB)
#define GIB       (INT64_C(1024) * MIB)
#define SECOND    INT64_C(1000)
#define MINUTE    (60 * SECOND)
#define HOUR      (60 * MINUTE)
#define DAY       (24 * HOUR)

const struct setting settings_table[] = {
    {"postgres.url", SETTING_CONNINFO, MEMBER(postgres.url), .def = "", .check = check_conninfo,
     .help = "How to reach the database that holds the outbox: a libpq URL or key=value string, in "
             "which TLS,\n"
             "several hosts and service files work as in psql. Empty: the libpq environment "
             "(PGHOST, PGDATABASE,\n"
             "PGUSER, PGPASSFILE, ...) counts. A pooler must be in session mode.\n"
             "Example: postgres://outbox_relay@db.internal/orders?sslmode=verify-full"},
    {"postgres.password", SETTING_SECRET, MEMBER(postgres.password), .def = "",
     .help = "The password, if it is not in the url or a passfile."},
    {"postgres.connect_timeout", SETTING_DURATION, MEMBER(postgres.connect_timeout_ms), .def = "5s",
     .min = 100, .max = 10 * MINUTE,
     .help =
         "How long one attempt to connect may take; afterwards it is given up and tried again."},
    {"postgres.statement_timeout", SETTING_DURATION, MEMBER(postgres.statement_timeout_ms),
     .def = "10s", .min = 100, .max = HOUR,
     .help = "How long one query may take before its connection counts as lost. The first look "
             "into a backlog\n"
             "is exempt."},

    {"kafka.brokers", SETTING_STRING, MEMBER(kafka.brokers), .example = "127.0.0.1:9092",
     .check = check_brokers,
     .help = "Where to find the cluster: host:port, several separated by commas. Required."},
    {"kafka.topics", SETTING_TOPICS, .example = "[\"*\"]",
     .help = "Patterns ('*' and '?') of the topics that may be written; an event for another topic "
             "is not sent.\n"
             "Default: all."},
    {"kafka.properties", SETTING_PROPERTIES, .example = "{}",
     .help = "Passed on to librdkafka word for word. Any of them also as <name>_file: its content "
             "is the value.\n"
             "What the order and safety of events rest on (acks, enable.idempotence, partitioner, "
             "...) cannot be\n"
             "changed. Example:\n"
             "  security.protocol: SASL_SSL\n"
             "  sasl.mechanism: SCRAM-SHA-512\n"
             "  sasl.username: outboxd\n"
             "  sasl.password_file: /run/secrets/kafka"},

    {"relay.name", SETTING_STRING, MEMBER(relay.name), .def = "outbox", .check = check_name,
     .help = "Which relay of this database this is: its row in outbox.relay. Processes of the same "
             "name stand by\n"
             "for one another."},
    {"relay.instance", SETTING_STRING, MEMBER(relay.instance), .def = "${HOSTNAME}",
     .check = check_instance,
     .help = "Names this process among those: a restarted process takes its own lease back at "
             "once. Default: the\n"
             "name of the host."},
    {"relay.start", SETTING_ENUM, MEMBER(relay.start), .def = "", .words = start_words,
     .help =
         "Where a new relay starts on a table already in use: with its first event, or with those "
         "to come.\n"
         "`outboxd migrate` asks for it when it is needed. Without effect on a relay that exists."},
    {"relay.window_events", SETTING_INT, MEMBER(relay.window_events), .def = "50000", .min = 1,
     .max = 1000000,
     .help = "How many events may be under way, read but not yet stored as published. This bounds "
             "the duplicates\n"
             "after a fault."},
    {"relay.window_bytes", SETTING_SIZE, MEMBER(relay.window_bytes), .def = "32MiB",
     .min = 64 * KIB, .max = 4 * GIB,
     .help =
         "How many bytes may be under way. This bounds the memory. (One larger event goes alone.)"},
    {"relay.max_event_bytes", SETTING_SIZE, MEMBER(relay.max_event_bytes), .def = "10MiB", .min = 1,
     .max = 512 * MIB,
     .help =
         "The largest payload that is read; an event above it cannot be published. The topic's\n"
         "max.message.bytes must allow it too."},
    {"relay.lease_ttl", SETTING_DURATION, MEMBER(relay.lease_ttl_ms), .def = "10s", .min = SECOND,
     .max = 10 * MINUTE,
     .help = "How long the lease of a silent process stands before another takes over."},
    {"relay.wakeup", SETTING_ENUM, MEMBER(relay.wakeup), .def = "doorbell", .words = wakeup_words,
     .help = "How an idle relay notices new events: the doorbell trigger rings (LISTEN and "
             "NOTIFY), or it polls."},
    {"relay.poll_interval", SETTING_DURATION, MEMBER(relay.poll_interval_ms), .def = "20ms",
     .min = 1, .max = MINUTE, .reloadable = true,
     .help = "With wakeup: poll, the longest pause between two looks."},
    {"relay.stall_after", SETTING_DURATION, MEMBER(relay.stall_after_ms), .def = "5s", .min = 100,
     .max = HOUR, .reloadable = true,
     .help = "How long an event may wait for its acknowledgement before the relay asks the brokers "
             "why."},
    {"relay.max_lanes", SETTING_INT, MEMBER(relay.max_lanes), .def = "256", .min = 1, .max = 10000,
     .help = "How many keys may wait each in a lane of its own, unless on_error is halt. One "
             "more makes its\n"
             "whole topic wait."},
    {"relay.lanes_in_parallel", SETTING_INT, MEMBER(relay.lanes_in_parallel), .def = "4", .min = 1,
     .max = STREAMS_MAX - 1,
     .help = "How many lanes are tried, or catch up, at a time. Each has a producer of its own, "
             "and room "
             "for a\n"
             "quarter of window_bytes."},
    {"relay.max_rate", SETTING_INT, MEMBER(relay.max_rate), .def = "0", .min = 0, .max = 1000000,
     .reloadable = true,
     .help = "How many events are published each second, at most: so that a backlog after an "
             "outage does not\n"
             "overrun consumers. 0: no limit."},
    {"relay.shutdown_timeout", SETTING_DURATION, MEMBER(relay.shutdown_timeout_ms), .def = "10s",
     .min = 0, .max = HOUR, .reloadable = true,
     .help = "How long a stop waits for what is under way. What is not acknowledged by then is "
             "sent again by\n"
             "the next process."},

    {"routes", SETTING_ROUTES, .example = "[]",
     .help =
         "Which events go where, and in which form. The first route that matches counts; an event "
         "that none\n"
         "matches goes to the topic {aggregate_type}-events as an envelope. Example:\n"
         "  - name: orders\n"
         "    match: {aggregate_type: order, event_type: \"order.*\"}  # either or both; '*' and "
         "'?'\n"
         "    topic: order-events          # may hold {aggregate_type} and {event_type}\n"
         "    format: envelope             # or raw: the payload alone\n"
         "    fields: {eventType: type}    # other names for eventId, eventType, occurredAt, "
         "version, payload\n"
         "    on_error: park               # what cannot be sent waits alone in a lane, the others "
         "go on.\n"
         "                                 # halt: all wait. skip: an event that Kafka refuses for "
         "good is\n"
         "                                 # given up, recorded in outbox.dead and sent to "
         "dead_letter_topic,\n"
         "                                 # if that is set"},

    {"retention.keep", SETTING_SPAN, MEMBER(retention.keep_ms), .def = "7d", .min = 0,
     .max = 3650 * DAY,
     .help = "How long events are kept after the end of their day (UTC). Then the day is emptied, "
             "as soon as every\n"
             "relay has published all of it, and its partition is dropped when that makes nobody "
             "wait. 0: for ever."},

    {"http.listen", SETTING_STRING, MEMBER(http.listen), .def = "127.0.0.1:9464",
     .check = check_listen,
     .help = "Where /metrics, /livez, /readyz and /status are served, to anybody who can reach it. "
             "Loopback unless\n"
             "this says otherwise; 0.0.0.0:9464 for every interface. Empty: nowhere."},

    {"log.level", SETTING_ENUM, MEMBER(log.level), .def = "info", .words = level_words,
     .reloadable = true,
     .help = "What is logged, to stderr. Payloads and secrets never are; keys only at debug."},
    {"log.format", SETTING_ENUM, MEMBER(log.format), .def = "logfmt", .words = format_words,
     .reloadable = true, .help = "How a log line is written."},
};

const size_t settings_count = ARRAY_LEN(settings_table);
_Static_assert(ARRAY_LEN(settings_table) <= SETTINGS_MAX, "raise SETTINGS_MAX");

const char *start_at_name(enum start_at start)
{
    return start_words[start];
}

const struct setting *setting_find(const char *path)
{
    for (size_t i = 0; i < settings_count; i++)
        if (strcmp(settings_table[i].path, path) == 0)
            return &settings_table[i];
    return NULL;
}

size_t setting_section_len(const struct setting *t)
{
    const char *dot = strchr(t->path, '.');

    return dot == NULL ? 0 : (size_t)(dot - t->path);
}

bool setting_begins_section(const struct setting *t)
{
    size_t len = setting_section_len(t);

    return t == settings_table || setting_section_len(t - 1) != len ||
           strncmp(t[-1].path, t->path, len) != 0;
}

const char *setting_leaf(const struct setting *t)
{
    const char *dot = strchr(t->path, '.');

    return dot == NULL ? t->path : dot + 1;
}

bool setting_is_section(const char *path)
{
    size_t len = strlen(path);

    for (size_t i = 0; i < settings_count; i++)
        if (len > 0 && setting_section_len(&settings_table[i]) == len &&
            strncmp(settings_table[i].path, path, len) == 0)
            return true;
    return false;
}

bool setting_has_file(const struct setting *t)
{
    return t->type == SETTING_SECRET || t->type == SETTING_CONNINFO;
}
