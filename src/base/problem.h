/* The one table of what can be wrong: a word, how it ends, what happened, what to do.
 *
 * Log lines, `outboxd status`, /readyz, /metrics, `outboxd check` and the runbook
 * (deploy/docs/runbook.md, generated) all speak from it, so that the word in an alert is the word
 * in the log and the anchor in the runbook. The texts name no instance: what is particular (which
 * topic, which role, which event) stands in the struct err or the struct trouble beside it.
 *
 * A word never changes once it is released: people alert on it. */
#ifndef OUTBOXD_BASE_PROBLEM_H
#define OUTBOXD_BASE_PROBLEM_H

enum problem_class {
    PROBLEM_PASSES, /* ends by itself when its cause does; tried again all the time */
    PROBLEM_PERSON, /* tried again all the time, but somebody must mend something */
    PROBLEM_FINAL,  /* `run` ends with exit code 78 (70: internal_error): trying again cannot help;
                       database_refused is waited out once the process has been let in */
    PROBLEM_NOTICE, /* publishing goes on; something will go wrong if nobody looks */
};

/* name, word, class, what happened, what to do */
#define PROBLEMS(X)                                                                                \
    /* Kafka: refusals of what was sent, or no answer */                                           \
    X(BROKER_UNREACHABLE, "broker_unreachable", PASSES, "no broker can be reached",                \
      "check kafka.brokers, the network and the brokers; nothing is lost, publishing goes on by "  \
      "itself")                                                                                    \
    X(BROKER_ERROR, "broker_error", PASSES, "a broker answers with an error that passes",          \
      "passes by itself; see the brokers' logs if it stays")                                       \
    X(NOT_ENOUGH_REPLICAS, "not_enough_replicas", PASSES,                                          \
      "a partition has fewer replicas in sync than min.insync.replicas",                           \
      "bring the missing replicas back, or lower min.insync.replicas of the topic")                \
    X(CLOCK_WRONG, "clock_wrong", PASSES, "the brokers refuse the messages' timestamps",           \
      "this machine's clock is too far from the brokers': set it; publishing goes on by itself")   \
    X(STALLED, "no_acknowledgement", PASSES, "brokers are reachable but do not acknowledge",       \
      "see the partition's leader and its replicas; publishing goes on by itself")                 \
    X(PRODUCER_FATAL, "producer_fatal", PASSES, "the producer failed as a whole",                  \
      "passes by itself with a new producer")                                                      \
    X(TOPIC_MISSING, "topic_missing", PERSON, "the topic does not exist",                          \
      "create the topic; publishing goes on by itself")                                            \
    X(TOPIC_FORBIDDEN, "topic_forbidden", PERSON, "the relay may not write to the topic",          \
      "grant the relay's principal WRITE and DESCRIBE on the topic")                               \
    X(TOPIC_UNREADABLE, "topic_unreadable", PERSON,                                                \
      "the topic may not be read, which `outboxd verify` does",                                    \
      "grant the relay's principal READ and DESCRIBE on the topic")                                \
    X(PARTITION_GONE, "partition_gone", PERSON, "a partition of the topic is gone",                \
      "the topic has fewer partitions than before, or is being recreated")                         \
    X(MESSAGE_TOO_LARGE, "message_too_large", PERSON, "the broker refuses the message's size",     \
      "raise max.message.bytes of the topic (message.max.bytes of the brokers), or correct the "   \
      "event")                                                                                     \
    X(MESSAGE_INVALID, "message_invalid", PERSON, "the broker refuses the record",                 \
      "the broker refuses this record (compacted topic without key, record validation): correct "  \
      "it")                                                                                        \
    X(EVENT_INVALID, "event_invalid", PERSON, "the row cannot become a message",                   \
      "correct the configuration or the row's headers; a wrong topic: give the event up, publish " \
      "it anew")                                                                                   \
    X(EVENT_OVERSIZE, "event_oversize", PERSON,                                                    \
      "the payload is larger than relay.max_event_bytes",                                          \
      "raise relay.max_event_bytes, or correct the row")                                           \
    X(AUTHENTICATION, "authentication", PERSON, "the brokers refuse the credentials",              \
      "correct the credentials or certificates in kafka.properties")                               \
    X(CLUSTER_FORBIDDEN, "cluster_forbidden", PERSON,                                              \
      "the cluster refuses an idempotent producer of this principal",                              \
      "grant the relay's principal IDEMPOTENT_WRITE on the cluster (brokers before 2.8), or "      \
      "WRITE on its topics")                                                                       \
    /* Postgres: passing */                                                                        \
    X(DATABASE_UNREACHABLE, "database_unreachable", PASSES, "the database cannot be reached",      \
      "check postgres.url, the network and the server; nothing is lost, publishing goes on by "    \
      "itself")                                                                                    \
    X(DATABASE_ERROR, "database_error", PASSES, "the database answered with an error",             \
      "tried again by itself; see the server's log if it stays")                                   \
    X(DATABASE_STANDBY, "database_standby", PASSES,                                                \
      "the server is in recovery (a standby), and a standby is never read",                        \
      "name the primary in postgres.url, or all hosts of the cluster; the relay keeps waiting "    \
      "for "                                                                                       \
      "a primary")                                                                                 \
    X(DATABASE_FULL, "database_full", PASSES,                                                      \
      "the server has no room: connections, disk or memory",                                       \
      "make room (max_connections, the disk); nothing is lost, publishing goes on by itself")      \
    /* Postgres: only a person can help */                                                         \
    X(DATABASE_REFUSED, "database_refused", FINAL,                                                 \
      "the database refuses the role, its password, or the database's name",                       \
      "correct postgres.url, the password or pg_hba.conf")                                         \
    X(DATABASE_TOO_OLD, "database_too_old", FINAL, "the server is older than PostgreSQL 13",       \
      "upgrade the server")                                                                        \
    X(SCHEMA_MISSING, "schema_missing", FINAL, "the database has no outbox tables",                \
      "run `outboxd migrate` as their owner")                                                      \
    X(SCHEMA_OLDER, "schema_older", FINAL, "the outbox schema is older than this outboxd needs",   \
      "run `outboxd migrate` as the tables' owner")                                                \
    X(SCHEMA_NEWER, "schema_newer", FINAL, "the schema is newer than this outboxd knows",          \
      "use a newer outboxd")                                                                       \
    X(GRANTS_MISSING, "grants_missing", FINAL, "the role lacks privileges",                        \
      "GRANT outbox_relay to it; `outboxd check` prints the statement")                            \
    X(ROW_SECURITY, "row_security", FINAL, "row level security can hide events from the role",     \
      "disable it on outbox.event, or give the role BYPASSRLS")                                    \
    X(SEQUENCE_CACHES, "sequence_caches", FINAL,                                                   \
      "the sequence of outbox.event.id caches numbers, so ids do not follow the inserts",          \
      "set its CACHE to 1; `outboxd check` prints the statement")                                  \
    X(RELAY_MISSING, "relay_missing", FINAL, "there is no such relay in outbox.relay",             \
      "run `outboxd migrate`, which makes it, or correct relay.name")                              \
    X(FOREIGN_DATABASE, "foreign_database", FINAL,                                                 \
      "the stored position belongs to another server: a restored dump, or another cluster",        \
      "decide with `outboxd rebase`: --to now, --to beginning, an id or a time; after pg_upgrade " \
      "--keep")                                                                                    \
    X(POSITION_AHEAD, "position_ahead", FINAL,                                                     \
      "the stored position is ahead of the server, which was set back to an older state",          \
      "decide with `outboxd rebase`: --to now, --to beginning, an id or a time")                   \
    X(CONFIGURATION, "configuration", FINAL, "the configuration is wrong",                         \
      "correct the file; `outboxd config` names every fault with its place")                       \
    X(INTERNAL_ERROR, "internal_error", FINAL,                                                     \
      "a defect of outboxd, or the machine is out of "                                             \
      "something",                                                                                 \
      "start it again, and report the log")                                                        \
    /* around the relay */                                                                         \
    X(NO_LEADER, "no_leader", PERSON, "no process holds the lease: nothing is published",          \
      "start `outboxd run`; if it does not stay up or does not lead, `outboxd check` and its log " \
      "say why")                                                                                   \
    X(PAUSED, "paused", PERSON, "the relay was paused by `outboxd pause`",                         \
      "`outboxd resume` when the reason is gone")                                                  \
    X(HTTP_PORT_TAKEN, "http_port_taken", NOTICE, "the address of http.listen cannot be had",      \
      "end what uses it or change http.listen; publishing goes on, and the address is tried "      \
      "again")                                                                                     \
    X(LONG_TRANSACTION, "long_transaction", NOTICE,                                                \
      "a transaction that has been open for long holds back vacuum and retention",                 \
      "end it where it was forgotten: `outboxd status` names its process")                         \
    X(RETENTION_STUCK, "retention_stuck", NOTICE, "days that should be gone are still there",      \
      "`outboxd status` names them and what keeps each")                                           \
    X(DEFAULT_PARTITION, "default_partition", NOTICE,                                              \
      "outbox.event_default holds events: days were not made ahead",                               \
      "nothing is lost; see why `outbox.ensure_days` skips days, then move or publish the rows")

enum problem {
    PROBLEM_NONE = 0,
#define X(name, word, class, what, todo) PROBLEM_##name,
    PROBLEMS(X)
#undef X
        PROBLEM_COUNT,
};

const char *problem_word(enum problem p);                 /* "" for NONE */
enum problem_class problem_class(enum problem p);         /* not for NONE */
const char *problem_class_name(enum problem_class class); /* "passes", "person", ... */
const char *problem_what(enum problem p);                 /* what happened; "" for NONE */
const char *problem_advice(enum problem p);               /* what to do; "" for NONE */
enum problem problem_parse(const char *word);             /* NONE for an unknown word */

#endif
