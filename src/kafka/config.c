/* Pinned settings first, then the operator's properties word for word, so that an allowed one wins
 * over a default of ours. What may not be touched is refused before, by the one table in this file.
 */
#include "kafka/config.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

/* ---- what the operator may not weaken -------------------------------------------------------- */

struct rule {
    const char *name;
    const char *accepted; /* values that say the same as we do, separated by spaces; NULL: see min
                             and max */
    int64_t min; /* with accepted == NULL: the integers that are allowed; min > max: none */
    int64_t max;
    const char *why;
    const char *instead;
};

/* How long librdkafka takes "unknown topic" for news that has not spread yet. As long as it can: it
 * multiplies by 1000 in an int (rd_kafka_topic_set_notexists), so that an hour would overflow to
 * "at once" and fail the messages of a missing topic (seen with 2.0.2). */
#define PROPAGATION_MS   2100000
#define PROPAGATION_TEXT "2100000"

#define ONLY(values)       .accepted = (values)
#define BETWEEN(low, high) .min = (low), .max = (high)
#define NEVER              .min = 1, .max = 0
#define YES                "true t 1"
#define LEAVE_OUT          "leave it out"

static const char WHY_ORDER[] =
    "without it a retried batch can overtake another, and order is lost";
static const char WHY_TIMEOUT[] = "a message that timed out and is sent again loses its place";
static const char WHY_ACKS[] = "an event would count as published before its replicas have it";
static const char WHY_RETRIES[] =
    "the producer would give a message up that a later try can deliver";
static const char WHY_INFLIGHT[] = "brokers keep the sequence of five requests, no more";
static const char WHY_REPORTS[] =
    "the relay lives on the reports and logs that this switches off or diverts";
static const char WHY_PARTITION[] =
    "the relay computes the partition itself (murmur2 of the key), as the Java client does";
static const char WHY_WINDOW[] = "the producer's queue follows the relay's window";
static const char USE_WINDOW[] = "use relay.window_events and relay.window_bytes";
static const char WHY_BROKERS[] = "the brokers have a setting of their own";

static const struct rule RULES[] = {
    {"enable.idempotence", ONLY(YES), .why = WHY_ORDER, .instead = LEAVE_OUT},
    {"enable.gapless.guarantee", ONLY(YES),
     .why = "without it events behind a refused one are sent, and order is lost",
     .instead = LEAVE_OUT},
    {"acks", ONLY("all -1"), .why = WHY_ACKS, .instead = LEAVE_OUT},
    {"request.required.acks", ONLY("all -1"), .why = WHY_ACKS, .instead = LEAVE_OUT},
    {"message.timeout.ms", ONLY("0"), .why = WHY_TIMEOUT, .instead = LEAVE_OUT},
    {"delivery.timeout.ms", ONLY("0"), .why = WHY_TIMEOUT, .instead = LEAVE_OUT},
    {"retries", BETWEEN(INT32_MAX, INT32_MAX), .why = WHY_RETRIES, .instead = LEAVE_OUT},
    {"message.send.max.retries", BETWEEN(INT32_MAX, INT32_MAX), .why = WHY_RETRIES,
     .instead = LEAVE_OUT},
    {"max.in.flight", BETWEEN(1, 5), .why = WHY_INFLIGHT, .instead = "set 1 to 5, or leave it out"},
    {"max.in.flight.requests.per.connection", BETWEEN(1, 5), .why = WHY_INFLIGHT,
     .instead = "set 1 to 5, or leave it out"},
    {"queuing.strategy", ONLY("fifo"), .why = "last in, first out is no order",
     .instead = LEAVE_OUT},
    {"transactional.id", NEVER,
     .why = "the relay does not use transactions: its progress is stored in Postgres",
     .instead = LEAVE_OUT},
    {"topic.metadata.propagation.max.ms", BETWEEN(PROPAGATION_MS, PROPAGATION_MS),
     .why = "a topic that is unknown for a moment would fail its messages", .instead = LEAVE_OUT},
    {"topic.metadata.refresh.interval.ms", BETWEEN(10, 60000),
     .why = "new partitions and topics would be noticed late or never",
     .instead = "set 10 to 60000, or leave it out"},
    {"topic.blacklist", NEVER, .why = "events of a hidden topic would wait for ever",
     .instead = "list the topics that may be written in kafka.topics"},
    {"socket.keepalive.enable", ONLY(YES),
     .why = "a connection that died in silence would not be noticed", .instead = LEAVE_OUT},
    {"partitioner", ONLY("murmur2 murmur2_random"), .why = WHY_PARTITION, .instead = LEAVE_OUT},
    {"partitioner_cb", NEVER, .why = WHY_PARTITION, .instead = LEAVE_OUT},
    {"sticky.partitioning.linger.ms", ONLY("0"), .why = WHY_PARTITION, .instead = LEAVE_OUT},
    {"queue.buffering.max.messages", NEVER, .why = WHY_WINDOW, .instead = USE_WINDOW},
    {"queue.buffering.max.kbytes", NEVER, .why = WHY_WINDOW, .instead = USE_WINDOW},
    {"bootstrap.servers", NEVER, .why = WHY_BROKERS, .instead = "use kafka.brokers"},
    {"metadata.broker.list", NEVER, .why = WHY_BROKERS, .instead = "use kafka.brokers"},
    {"delivery.report.only.error", ONLY("false f 0"), .why = WHY_REPORTS, .instead = LEAVE_OUT},
    {"enabled_events", NEVER, .why = WHY_REPORTS, .instead = LEAVE_OUT},
    {"log.queue", ONLY(YES), .why = WHY_REPORTS, .instead = LEAVE_OUT},
    {"test.mock.num.brokers", NEVER, .why = "events would go to a broker in memory and be lost",
     .instead = "use kafka.brokers"},
    {"ut_handle_ProduceResponse", NEVER, .why = "it belongs to librdkafka's own tests",
     .instead = LEAVE_OUT},
};

static bool word_in(const char *words, const char *value)
{
    size_t len = strlen(value);
    for (const char *w = words; *w;) {
        size_t n = strcspn(w, " ");
        if (n == len && strncasecmp(w, value, n) == 0)
            return true;
        w += n + (w[n] == ' ');
    }
    return false;
}

static bool rule_allows(const struct rule *rule, const char *value)
{
    if (rule->accepted)
        return word_in(rule->accepted, value);
    char *end = NULL;
    errno = 0;
    long long n = strtoll(value, &end, 10);
    return !errno && end != value && !*end && n >= rule->min && n <= rule->max;
}

static int check_rules(const struct kafka_pair *p, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(RULES); i++) {
        const struct rule *rule = &RULES[i];
        /* Dead letters of spelling ("Acks") are refused as unknown properties by librdkafka, which
         * compares exactly. */
        if (strcmp(rule->name, p->name) == 0 && !rule_allows(rule, p->value))
            return err_problem(err, ERR_CONFIG, PROBLEM_CONFIGURATION,
                               "kafka.properties: %s may not be '%s': %s; %s", p->name, p->value,
                               rule->why, rule->instead);
    }
    return 0;
}

/* Sets one property; librdkafka's text names the property and says what it expected. */
static int set(rd_kafka_conf_t *conf, const char *name, const char *value, struct err *err)
{
    char text[512] = "";
    switch (rd_kafka_conf_set(conf, name, value, text, sizeof(text))) {
    case RD_KAFKA_CONF_OK:
        return 0;
    case RD_KAFKA_CONF_UNKNOWN:
        return err_problem(
            err, ERR_CONFIG, PROBLEM_CONFIGURATION,
            "kafka.properties: %s: %s; see CONFIGURATION.md of librdkafka %s for the "
            "names it knows",
            name, text, rd_kafka_version_str());
    case RD_KAFKA_CONF_INVALID:
        break;
    }
    return err_problem(err, ERR_CONFIG, PROBLEM_CONFIGURATION, "kafka.properties: %s: %s", name,
                       text);
}

static int set_properties(rd_kafka_conf_t *conf, const struct kafka_pair *properties, size_t count,
                          struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        if (check_rules(&properties[i], err) ||
            set(conf, properties[i].name, properties[i].value, err))
            return -1;
    }
    return 0;
}

int kafka_properties_check(const struct kafka_pair *properties, size_t count, struct err *err)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    int rc = set_properties(conf, properties, count, err);
    rd_kafka_conf_destroy(conf);
    return rc;
}

/* ---- what outboxd sets ----------------------------------------------------------------------- */

static const struct kafka_pair PINNED[] = {
    {"enable.idempotence", "true"},
    {"acks", "all"},
    /* librdkafka never fails a message by its own impatience; stalls are judged by the core. */
    {"message.timeout.ms", "0"},
    {"topic.metadata.propagation.max.ms", PROPAGATION_TEXT},
    /* Nothing is sent behind a message that failed for good. */
    {"enable.gapless.guarantee", "true"},
    {"topic.metadata.refresh.interval.ms", "60000"},
    {"socket.keepalive.enable", "true"},
    {"socket.nagle.disable", "true"},
    /* Keyless messages go through our partitioner too. */
    {"sticky.partitioning.linger.ms", "0"},
    /* Logs come as events, so that they are written by the loop's thread, in our form. */
    {"log.queue", "true"},

    /* Defaults, which kafka.properties may replace. */
    {"compression.codec", "lz4"},
    /* Measured: 0.1 ms to the ack instead of 1.3 with 0.5 or 1 (waits are rounded up to whole
     * milliseconds), and a drain is as fast: batches form while requests are out. */
    {"linger.ms", "0"},
    /* A broker that comes back is found within two seconds instead of ten. */
    {"reconnect.backoff.max.ms", "2000"},
    /* A request whose answer was lost, by a balancer that died say, is sent again after ten seconds
     * instead of sixty. Brokers know what they have by its sequence number. */
    {"socket.timeout.ms", "10000"},
    {"socket.connection.setup.timeout.ms", "5000"},
};

/* A broker's kernel that acknowledges neither data nor probes for so long is gone, or a firewall
 * has forgotten the connection. TCP alone would go on for a quarter of an hour, and a request's own
 * timeout cannot tell a dead network from a busy broker. The probes are for a connection on which
 * everything was delivered, and an answer is awaited. */
enum { UNACKNOWLEDGED_MS = 4000, IDLE_S = 3, PROBE_S = 1 };

static int open_socket(int domain, int type, int protocol, void *opaque)
{
    static const unsigned unacknowledged_ms = UNACKNOWLEDGED_MS;
    static const int idle_s = IDLE_S;
    static const int probe_s = PROBE_S;
    int fd = socket(domain, type | SOCK_CLOEXEC, protocol);
    (void)opaque;
    if (fd < 0)
        return -1;
    /* A kernel that refuses them makes recovery slow, nothing else. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacknowledged_ms,
                     sizeof(unacknowledged_ms));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &probe_s, sizeof(probe_s));
    return fd;
}

/* The envelope, the key and the headers come on top of the payload. The limit here only has to be
 * high enough for the broker to be the judge of sizes. */
enum { ENVELOPE_ROOM_BYTES = 1 << 20 };
enum { LIBRDKAFKA_MAX_MESSAGE_BYTES = 1000000000 };

static int set_number(rd_kafka_conf_t *conf, const char *name, size_t value, struct err *err)
{
    char text[32];
    (void)snprintf(text, sizeof(text), "%zu", value);
    return set(conf, name, text, err);
}

static size_t at_most(size_t value, size_t limit)
{
    return value < limit ? value : limit;
}

static int set_sizes(rd_kafka_conf_t *conf, const struct kafka_sink_params *p, struct err *err)
{
    size_t message =
        at_most(p->max_event_bytes, LIBRDKAFKA_MAX_MESSAGE_BYTES - ENVELOPE_ROOM_BYTES);
    message += ENVELOPE_ROOM_BYTES;
    /* The core stops at its window and counts more than librdkafka does, which counts values alone:
     * with one message of the largest size on top the queue is never full before the window is. */
    size_t kbytes = p->window_bytes / 1024 + message / 1024 + 1;
    if (set_number(conf, "message.max.bytes", message, err) ||
        set_number(conf, "queue.buffering.max.kbytes", at_most(kbytes, INT32_MAX), err) ||
        set_number(conf, "queue.buffering.max.messages", p->window_events, err))
        return -1;
    return 0;
}

rd_kafka_conf_t *kafka_conf_new(const struct kafka_sink_params *params, struct err *err)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    if (set(conf, "bootstrap.servers", params->brokers, err) ||
        set(conf, "client.id", params->client_id, err))
        goto fail;
    for (size_t i = 0; i < ARRAY_LEN(PINNED); i++) {
        if (set(conf, PINNED[i].name, PINNED[i].value, err))
            goto fail;
    }
    if (set_sizes(conf, params, err) ||
        set_properties(conf, params->properties, params->property_count, err))
        goto fail;
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_LOG);
    rd_kafka_conf_set_socket_cb(conf, open_socket);
    return conf;
fail:
    rd_kafka_conf_destroy(conf);
    return NULL;
}

/* ---- for reading ----------------------------------------------------------------------------- */

/* They win over kafka.properties, whose settings of a producer mean nothing here. */
static const struct kafka_pair SCAN[] = {
    {"allow.auto.create.topics", "false"},
    {"enable.auto.commit", "false"},
    {"enable.auto.offset.store", "false"},
    /* What is deleted while we read makes a gap in the offsets, which is told apart. */
    {"auto.offset.reset", "earliest"},
    /* The end of a partition is what brokers acknowledge, whatever open transactions of others. */
    {"isolation.level", "read_uncommitted"},
    {"enable.partition.eof", "true"},
    {"check.crcs", "true"},
    {"fetch.wait.max.ms", "50"},
    /* Small, because what is fetched can be twenty times as large when it is unpacked; a batch that
     * is larger comes all the same. */
    {"fetch.message.max.bytes", "65536"},
    {"message.max.bytes", "65536"},
    {"fetch.max.bytes", "262144"},
    {"queued.min.messages", "10000"},
    {"queued.max.messages.kbytes", "4096"},
    {"log.queue", "true"},
};

rd_kafka_conf_t *kafka_scan_conf_new(const struct kafka_sink_params *params, struct err *err)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    if (set(conf, "bootstrap.servers", params->brokers, err) ||
        set(conf, "client.id", params->client_id, err) ||
        set_properties(conf, params->properties, params->property_count, err))
        goto fail;
    for (size_t i = 0; i < ARRAY_LEN(SCAN); i++) {
        if (set(conf, SCAN[i].name, SCAN[i].value, err))
            goto fail;
    }
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_LOG);
    rd_kafka_conf_set_socket_cb(conf, open_socket);
    return conf;
fail:
    rd_kafka_conf_destroy(conf);
    return NULL;
}

/* ---- the handle ------------------------------------------------------------------------------ */

/* rd_kafka_new starts threads; they inherit the mask. */
rd_kafka_t *kafka_handle_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, char *text, size_t size)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rd_kafka_t *rk = rd_kafka_new(type, conf, text, size);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rk;
}
