/* libinbox: each event takes effect once.
 *
 * Kafka delivers an event at least once. A consumer that claims the event's id in the transaction
 * that also holds the event's effects applies it exactly once: whoever comes second finds the claim
 * and does nothing. The claims lie in the consumer's own PostgreSQL, in the schema inbox
 * (`outboxd migrate --inbox`).
 *
 * There are two ways in:
 *
 *   inbox_claim()   one claim, in a transaction that the application has begun by itself;
 *   inbox_new()...  a whole consumer: it polls Kafka, begins, claims, calls the handler, commits,
 *                   and commits the offsets; it retries, dead-letters, and survives rebalances,
 *                   crashes and outages.
 *
 * Link with `pkg-config --cflags --libs inbox`. C99 and C++ can include this file. What happens in
 * each failure stands in inbox(3). Out of memory ends the process: nothing is lost by that. */
#ifndef INBOX_H
#define INBOX_H

#include <libpq-fe.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define INBOX_PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))
#define INBOX_CHECKED           __attribute__((warn_unused_result))
#else
#define INBOX_PRINTF_LIKE(f, a)
#define INBOX_CHECKED
#endif

/* ---- errors ---------------------------------------------------------------------------------- */

/* INBOX_E_<name>, number, word (of inbox_code_name, of log lines and of the header
 * dlt-error-class), meaning. Numbers and words never change once they are released. */
#define INBOX_CODES(X)                                                                             \
    X(NONE, 0, "none", "no error")                                                                 \
    X(ARGUMENT, 1, "argument", "an argument is missing, empty or too long")                        \
    X(EVENT_ID, 2, "event_id", "the event's id is missing or empty")                               \
    X(NO_TRANSACTION, 3, "no_transaction", "the connection is in no transaction")                  \
    X(ABORTED, 4, "aborted", "the connection's transaction has failed: roll it back")              \
    X(CONNECTION, 5, "connection", "the connection to the database is lost or busy")               \
    X(SCHEMA, 6, "schema", "the schema is missing, or older than the library")                     \
    X(GRANTS, 7, "grants", "the role lacks privileges")                                            \
    X(TOO_OLD, 8, "too_old", "the event is older than the time for which claims are kept")         \
    X(CONFLICT, 9, "conflict", "serialization failure or deadlock: roll back, try again")          \
    X(DATABASE, 10, "database", "another error of the database")                                   \
    X(CONFIG, 11, "config", "a parameter or property cannot be used")                              \
    X(KAFKA, 12, "kafka", "Kafka refuses for good: a fatal error, or no usable offset")            \
    X(HANDLER, 13, "handler", "the handler asked for another try, or broke its contract")          \
    X(REJECTED, 14, "rejected", "the handler rejected the event")                                  \
    X(MALFORMED, 15, "malformed", "the record is no event that can be read")                       \
    X(BUDGET, 16, "budget", "conflicts went on for longer than budget_ms")

enum inbox_code {
#define INBOX_CODE_(name, number, word, meaning) INBOX_E_##name = (number),
    INBOX_CODES(INBOX_CODE_)
#undef INBOX_CODE_
};

struct inbox_error {
    enum inbox_code code;
    char text[512]; /* one line: what happened, and what to do; no payload, no secret */
};

const char *inbox_code_name(enum inbox_code code); /* the word; "unknown" for another number */

/* ---- the claim alone ------------------------------------------------------------------------- */

#define INBOX_ACCEPT_OLD 1u /* claim events that are older than the consumer's window, too */

#define INBOX_CONSUMER_MAX 200 /* bytes of a consumer's name */
#define INBOX_UUID_SIZE    37  /* of a UUID as text, with its NUL */

/* Claims the event for `consumer` in the transaction that `conn` is in.
 *
 * 1: first time: go on and write the effects, in this transaction. 0: it took effect before: write
 * nothing. -1: `error` says why; after a code from INBOX_E_CONNECTION on, the transaction has
 * failed and must be rolled back. Waits while another transaction holds the same claim.
 *
 * `event_id`: a UUID, or any other text of at least one byte, which becomes the UUID that
 * inbox_uuid() gives for it without a source. `event_time`: when the event was written, RFC 3339
 * ("2026-01-31T12:00:00.123Z"), or NULL: not known, and no window is checked. `flags`: 0 or
 * INBOX_ACCEPT_OLD. `error` may be NULL. */
int inbox_claim(PGconn *conn, const char *consumer, const char *event_id, const char *event_time,
                unsigned flags, struct inbox_error *error) INBOX_CHECKED;

/* The UUID under which an event is claimed, lower case. A UUID stays what it is. Any other id
 * becomes UUID version 5 in the namespace e3959e19-df73-5c4a-a21c-0b8c9636a8ad of the name `id`, or
 * of `source`, a newline and `id` when the id is only unique within a source (CloudEvents).
 * `source` may be NULL. Returns 0, or -1 when `id` is NULL or empty. */
int inbox_uuid(const char *source, const char *id, char out[INBOX_UUID_SIZE]) INBOX_CHECKED;

/* ---- events ---------------------------------------------------------------------------------- */

/* An event as the handler gets it. It and all that its functions return are lent: good until the
 * handler returns. Texts are NUL-terminated; NULL means that the event has no such thing. */
struct inbox_event;

const char *inbox_event_id(const struct inbox_event *event);     /* the UUID it is claimed under */
const char *inbox_event_raw_id(const struct inbox_event *event); /* the id as the record has it */
const char *inbox_event_type(const struct inbox_event *event);
const char *inbox_event_source(const struct inbox_event *event); /* CloudEvents */
const char *inbox_event_time(const struct inbox_event *event); /* occurredAt, ce_time, event-time */
/* The payload of an envelope or of a structured CloudEvent, byte for byte; else the whole value.
 * NULL for a tombstone. Not NUL-terminated, like the next two. */
const void *inbox_event_payload(const struct inbox_event *event, size_t *len);
const void *inbox_event_value(const struct inbox_event *event, size_t *len); /* the whole value */
const void *inbox_event_key(const struct inbox_event *event, size_t *len);
/* The last header of that name; NULL when there is none, and for a header with a null value. */
const void *inbox_event_header(const struct inbox_event *event, const char *name, size_t *len);
const char *inbox_event_topic(const struct inbox_event *event);
int32_t inbox_event_partition(const struct inbox_event *event);
int64_t inbox_event_offset(const struct inbox_event *event);
int64_t inbox_event_timestamp_ms(const struct inbox_event *event); /* of the record; -1: none */
int inbox_event_attempt(const struct inbox_event *event);          /* 1 for the first */
int inbox_event_is_replay(const struct inbox_event *event);        /* header outboxd-replay */

/* Says why the handler is about to return INBOX_RETRY or INBOX_REJECT: for the log, the failure
 * record and the header dlt-error-text. No payload and no secret, please. */
void inbox_explain(struct inbox_event *event, const char *fmt, ...) INBOX_PRINTF_LIKE(2, 3);

enum inbox_verdict {
    INBOX_OK = 0,     /* the effects are written: commit */
    INBOX_RETRY = 1,  /* roll back; again after a pause, at most max_attempts times */
    INBOX_REJECT = 2, /* roll back; no further try will help: to the dead-letter topic */
};

/* Writes the event's effects by `conn`, which is in a transaction that holds the claim. It may use
 * savepoints. It must not end the transaction, nor close or reset the connection: such a commit is
 * refused by the database, all of it is noticed, nothing takes effect, and it counts as a failed
 * attempt. Effects elsewhere than in this database (mail, calls) are not covered: they may happen
 * several times. The handler may be called again for the same event, also after INBOX_OK, when the
 * transaction did not commit; what it did in the database is gone then. Prepared statements of its
 * own are welcome; names that begin with inbox_ are the library's.
 *
 * Another verdict than these three counts as INBOX_RETRY. No exception may leave the handler. */
typedef enum inbox_verdict inbox_handler_fn(PGconn *conn, struct inbox_event *event, void *arg);

/* ---- publishing within the handler ----------------------------------------------------------- */

/* What outbox.publish takes (`outboxd migrate`, in the same database). NULL: its default. */
struct inbox_message {
    const char *aggregate_type; /* required */
    const char *aggregate_id;   /* required */
    const char *event_type;     /* required */
    const char *payload;        /* JSON text; NULL: a tombstone */
    const char *headers;        /* a JSON object */
    const char *topic;
    const char *partition_key;
    const char *event_version;
};

/* Publishes an event in the handler's transaction. Its header `causation-id` becomes the id of
 * `cause`, its header `correlation-id` that of `cause`, or the id of `cause` when it has none;
 * a correlation-id in message->headers stays. `id_out` (may be NULL) gets the new event's id.
 * Returns 0, or -1 with `error` filled (may be NULL). */
int inbox_publish(PGconn *conn, const struct inbox_event *cause,
                  const struct inbox_message *message, char id_out[INBOX_UUID_SIZE],
                  struct inbox_error *error) INBOX_CHECKED;

/* ---- the consumer ---------------------------------------------------------------------------- */

enum inbox_format {
    INBOX_FORMAT_AUTO = 0,        /* found by the shape of each record */
    INBOX_FORMAT_ENVELOPE = 1,    /* JSON: eventId, eventType or type, occurredAt, payload */
    INBOX_FORMAT_RAW = 2,         /* headers event-id, event-type, event-time */
    INBOX_FORMAT_DEBEZIUM = 3,    /* header id; eventType as header when the router adds it */
    INBOX_FORMAT_CLOUDEVENTS = 4, /* headers ce_id, ce_source, ...; or structured JSON */
};

enum inbox_log_level {
    INBOX_LOG_DEFAULT = 0, /* info */
    INBOX_LOG_DEBUG = 1,   /* also one line for each phase of each batch */
    INBOX_LOG_INFO = 2,
    INBOX_LOG_WARN = 3,
    INBOX_LOG_ERROR = 4,
    INBOX_LOG_NONE = 5,
};

/* One line, without its newline: "time=... level=warn msg=... consumer=...". May be called from
 * any thread that uses a consumer with it, by one at a time. */
typedef void inbox_log_fn(enum inbox_log_level level, const char *line, void *arg);

struct inbox_property {
    const char *name;
    const char *value;
};

/* Zero means the default for all but those marked required. All is copied. */
struct inbox_params {
    size_t size; /* required: sizeof(struct inbox_params) */

    const char *brokers;       /* required: host:port, separated by commas */
    const char *consumer;      /* required: group.id, and the name under which events are claimed;
                                  at most INBOX_CONSUMER_MAX bytes */
    const char *const *topics; /* required: names, or ^patterns; at least one */
    size_t topic_count;
    const char *conninfo;      /* for libpq: URL or key=value; NULL: PGHOST and so on */
    inbox_handler_fn *handler; /* required */
    void *arg;                 /* for the handler */

    /* Passed on to librdkafka, for the consumer and for the dead-letter producer. What would weaken
     * the promises is refused by inbox_new (auto commit, cooperative assignors, ...). Ours unless
     * given: auto.offset.reset=earliest. */
    const struct inbox_property *properties;
    size_t property_count;

    const char *const *event_types; /* only these are handled, others pass unclaimed; NULL: all */
    size_t event_type_count;
    enum inbox_format format;

    int batch_size; /* events in one transaction at most (200); 1: each its own */
    int batch_ms;   /* how long a batch may wait to be filled (0: not at all) */

    int max_attempts;   /* of one event until it is dead-lettered (5) */
    int backoff_ms;     /* pause after the first failed attempt (100); doubles each time */
    int backoff_max_ms; /* at most (10000) */
    int budget_ms;      /* how long one event may hold its partition up by failing (60000) */
    int accept_old;     /* 1: handle events older than the window, too */
    const char *dead_letter_topic; /* NULL: "<topic>.dlt"; no partition needs to match */

    enum inbox_log_level log_level;
    inbox_log_fn *log; /* NULL: stderr */
    void *log_arg;
};

struct inbox; /* a consumer: for one thread at a time, but for inbox_stop */

/* A consumer; connects in the background. NULL with `error` filled (INBOX_E_ARGUMENT,
 * INBOX_E_CONFIG). Free it with inbox_free. `error` may be NULL here and below. */
struct inbox *inbox_new(const struct inbox_params *params, struct inbox_error *error) INBOX_CHECKED;

/* Consumes until inbox_stop: then 0. -1 with `error` when going on needs a person: schema or grants
 * (INBOX_E_SCHEMA, INBOX_E_GRANTS), Kafka's refusal (INBOX_E_KAFKA), or conflicts that do not end
 * (INBOX_E_BUDGET). Servers that are down are waited for. Nothing is skipped: whatever has not been
 * committed is delivered again. In either case the consumer has left its group, all of its
 * transactions are ended, and only inbox_free, the counters and inbox_stop may follow. */
int inbox_run(struct inbox *inbox, struct inbox_error *error) INBOX_CHECKED;

/* For an application with a loop of its own, instead of inbox_run: watch the descriptor for
 * reading, and call inbox_process when it is readable (level-triggered: as long as it is). Do not
 * read it or close it. */
int inbox_fd(const struct inbox *inbox);

/* Does what is due: at most one batch, or one event. Waits for the database and the handler, not
 * for Kafka. 0: watch on; 1: it has stopped, by inbox_stop; -1: as with inbox_run. */
int inbox_process(struct inbox *inbox, struct inbox_error *error) INBOX_CHECKED;

/* Asks it to stop: a batch under way is finished, or rolled back when that takes longer than some
 * seconds; a handler is not interrupted. Safe in signal handlers and other threads. */
void inbox_stop(struct inbox *inbox);

/* Stops it if need be, and frees it. NULL is harmless. Not within the handler. */
void inbox_free(struct inbox *inbox);

/* ---- counters -------------------------------------------------------------------------------- */

/* name of the member, name of the metric, its help. All count from inbox_new. */
#define INBOX_COUNTERS(X)                                                                          \
    X(received, "inbox_records_received_total", "Records taken from Kafka.")                       \
    X(handled, "inbox_events_handled_total", "Events whose effects were committed.")               \
    X(duplicates, "inbox_events_duplicate_total", "Events that had taken effect before.")          \
    X(filtered, "inbox_events_filtered_total", "Events of types that are not asked for.")          \
    X(retries, "inbox_attempts_failed_total", "Attempts that failed and were put off.")            \
    X(conflicts, "inbox_conflicts_total", "Serialization failures and deadlocks.")                 \
    X(batches, "inbox_batches_total", "Transactions that were committed.")                         \
    X(batches_failed, "inbox_batches_failed_total", "Batches done again, event by event.")         \
    X(dead_lettered, "inbox_events_dead_lettered_total", "Records in the dead-letter topic.")      \
    X(malformed, "inbox_events_malformed_total", "Records that are no event, among these.")        \
    X(too_old, "inbox_events_too_old_total", "Events older than the window, among these.")         \
    X(broken_contracts, "inbox_handler_faults_total",                                              \
      "Handlers that ended the transaction or closed the connection.")                             \
    X(rebalances, "inbox_rebalances_total", "Assignments that were given or taken.")               \
    X(reconnects, "inbox_database_reconnects_total",                                               \
      "Connections to the database after the "                                                     \
      "first.")                                                                                    \
    X(offset_commits_failed, "inbox_offset_commits_failed_total",                                  \
      "Offset commits that failed; the events are delivered again.")

struct inbox_counters {
#define INBOX_COUNTER_(member, metric, help) uint64_t member;
    INBOX_COUNTERS(INBOX_COUNTER_)
#undef INBOX_COUNTER_
    /* as it is now */
    uint64_t partitions;         /* assigned */
    uint64_t partitions_waiting; /* of these, held by an event that failed */
    uint64_t events_held;        /* in memory, not yet handled */
};

/* Like the next one to be called by the consumer's thread; `size` is sizeof *out. */
void inbox_counters(const struct inbox *inbox, struct inbox_counters *out, size_t size);

/* The counters in Prometheus' text format, with the label consumer, into `buffer`, NUL-terminated
 * and cut to `size`. Returns the length of the whole text without the NUL, like snprintf. */
size_t inbox_metrics_text(const struct inbox *inbox, char *buffer, size_t size);

#ifdef __cplusplus
}
#endif

#endif
