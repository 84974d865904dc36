/* One topic: is it there, how many copies does it keep, and do its settings keep our promises? */
#include "kafka/inspect_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Room for the key, the headers and the envelope around the largest payload. */
enum { AROUND_PAYLOAD_BYTES = 65536 };
/* What a new topic is suggested to have. */
enum { SUGGESTED_PARTITIONS = 6, SUGGESTED_REPLICAS = 3 };

/* ---- ways out -------------------------------------------------------------------------------- */

static bool is_secured(const struct kafka_sink_params *p)
{
    for (size_t i = 0; i < p->property_count; i++) {
        if (strcmp(p->properties[i].name, "security.protocol") == 0)
            return strcasecmp(p->properties[i].value, "plaintext") != 0;
    }
    return false;
}

void inspect_put_command(struct str *s, const struct inspection *in, const char *tool,
                         const char *fmt, ...)
{
    va_list ap;
    str_printf(s, "%s --bootstrap-server %s ", tool, in->params->brokers);
    if (is_secured(in->params))
        str_puts(s, "--command-config client.properties ");
    va_start(ap, fmt);
    str_vprintf(s, fmt, ap);
    va_end(ap);
}

static void put_setting(struct str *s, const struct inspection *in, const char *topic,
                        const char *setting)
{
    inspect_put_command(s, in, "kafka-configs.sh",
                        "--alter --entity-type topics --entity-name %s --add-config %s", topic,
                        setting);
}

static int suggested_replicas(const struct inspection *in)
{
    int brokers = in->md->broker_cnt;
    return brokers < SUGGESTED_REPLICAS ? brokers : SUGGESTED_REPLICAS;
}

static void put_create(struct str *s, const struct inspection *in, const char *topic)
{
    int replicas = suggested_replicas(in);
    inspect_put_command(s, in, "kafka-topics.sh",
                        "--create --topic %s --partitions %d --replication-factor %d%s", topic,
                        SUGGESTED_PARTITIONS, replicas,
                        replicas > 1 ? " --config min.insync.replicas=2" : "");
}

static void put_grant(struct str *s, const struct inspection *in, const char *topic,
                      const char *operation)
{
    inspect_put_command(s, in, "kafka-acls.sh",
                        "--add --allow-principal User:NAME --operation %s --topic %s (NAME: the "
                        "relay's user)",
                        operation, topic);
}

/* ---- a topic that is not listed -------------------------------------------------------------- */

static void missing(const struct inspection *in, const char *topic)
{
    struct str way = {0};
    const char *creates = inspect_broker_setting(in, "auto.create.topics.enable");
    put_create(&way, in, topic);
    if (!creates) {
        report_problem(in->report, FINDING_WRONG, PROBLEM_TOPIC_MISSING, str_text(&way),
                       "topic %s does not exist (the brokers may create topics at their first use, "
                       "but do not tell us whether they do)",
                       topic);
    } else if (strcmp(creates, "true") == 0) {
        const char *partitions = inspect_broker_setting(in, "num.partitions");
        const char *replicas = inspect_broker_setting(in, "default.replication.factor");
        report_problem(
            in->report, FINDING_WARN, PROBLEM_TOPIC_MISSING, str_text(&way),
            "topic %s does not exist; the brokers will create it at its first event, with "
            "their defaults: %s partitions, replication factor %s",
            topic, partitions ? partitions : "?", replicas ? replicas : "?");
    } else {
        report_problem(in->report, FINDING_WRONG, PROBLEM_TOPIC_MISSING, str_text(&way),
                       "topic %s does not exist, and the brokers create none by themselves", topic);
    }
    str_release(&way);
}

/* The list holds what we may describe; the settings tell why this one is not in it. */
static void unlisted(const struct inspection *in, const char *topic)
{
    const rd_kafka_ConfigResource_t *r = inspect_topic_settings(in, topic);
    rd_kafka_resp_err_t code = r ? rd_kafka_ConfigResource_error(r) : RD_KAFKA_RESP_ERR_NO_ERROR;
    struct str way = {0};
    if (code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
        missing(in, topic);
    } else if (code == RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION) {
        report_problem(in->report, FINDING_WRONG, PROBLEM_TOPIC_MISSING,
                       "change the topic in routes: letters, digits, '.', '_' and '-', at most 249",
                       "topic %s: Kafka does not allow this name", topic);
    } else {
        put_grant(&way, in, topic, "Write");
        str_puts(&way, "; or create it");
        report_problem(in->report, FINDING_WRONG, PROBLEM_TOPIC_MISSING, str_text(&way),
                       "topic %s does not exist, or may not be seen by the relay's user", topic);
    }
    str_release(&way);
}

/* ---- copies ---------------------------------------------------------------------------------- */

struct copies {
    int replicas;         /* of the partition that has the fewest */
    int in_sync;          /* the same; of those that have a leader */
    int in_sync_at;       /* that partition's number */
    int leaderless;       /* partitions without a leader */
    int leaderless_first; /* one of them */
};

static struct copies count_copies(const rd_kafka_metadata_topic_t *t)
{
    struct copies c = {.leaderless_first = -1, .in_sync_at = -1};
    for (int i = 0; i < t->partition_cnt; i++) {
        const rd_kafka_metadata_partition_t *p = &t->partitions[i];
        if (i == 0 || p->replica_cnt < c.replicas)
            c.replicas = p->replica_cnt;
        if (p->leader < 0) {
            if (c.leaderless++ == 0)
                c.leaderless_first = (int)p->id;
        } else if (c.in_sync_at < 0 || p->isr_cnt < c.in_sync) {
            c.in_sync = p->isr_cnt;
            c.in_sync_at = (int)p->id;
        }
    }
    return c;
}

static void report_replication(const struct inspection *in, const char *topic,
                               const struct copies *c)
{
    struct str way = {0};
    if (c->replicas > 1)
        return;
    if (in->md->broker_cnt == 1) {
        report_line(in->report, FINDING_NOTE, NULL,
                    "topic %s keeps a single copy, as the cluster has one broker: with its disk "
                    "the events are lost",
                    topic);
        return;
    }
    str_printf(&way, "give each partition %d replicas with kafka-reassign-partitions.sh --execute",
               suggested_replicas(in));
    report_line(in->report, FINDING_WARN, str_text(&way),
                "topic %s keeps a single copy of its events (replication factor 1): with one "
                "broker's disk they are lost, and while that broker is down they wait",
                topic);
    str_release(&way);
}

/* acks=all means: all that are in sync. This is how many must be. */
static void report_min_insync(const struct inspection *in, const char *topic,
                              const struct copies *c, const char *value)
{
    struct str way = {0};
    int least = value ? (int)strtol(value, NULL, 10) : 0;
    if (least > c->replicas) {
        char setting[64];
        snprintf(setting, sizeof(setting), "min.insync.replicas=%d",
                 c->replicas > 2 ? c->replicas - 1 : c->replicas);
        put_setting(&way, in, topic, setting);
        report_problem(
            in->report, FINDING_WRONG, PROBLEM_NOT_ENOUGH_REPLICAS, str_text(&way),
            "topic %s can never be written to: min.insync.replicas is %d, its replication "
            "factor %d",
            topic, least, c->replicas);
    } else if (least == 1 && c->replicas > 1) {
        put_setting(&way, in, topic, "min.insync.replicas=2");
        report_line(in->report, FINDING_WARN, str_text(&way),
                    "topic %s has min.insync.replicas 1: an event counts as published when a "
                    "single broker has it, and is lost if that one dies before it is copied",
                    topic);
    } else if (c->in_sync_at >= 0 && c->in_sync < least) {
        report_problem(
            in->report, FINDING_WARN, PROBLEM_NOT_ENOUGH_REPLICAS, NULL,
            "topic %s: partition %d has %d of at least %d copies in sync: its events wait "
            "until more brokers are back",
            topic, c->in_sync_at, c->in_sync, least);
    }
    str_release(&way);
}

/* ---- other settings -------------------------------------------------------------------------- */

static void report_size(const struct inspection *in, const char *topic, const char *value)
{
    struct str way = {0};
    char setting[64];
    size_t ours = in->params->max_event_bytes;
    if (!value || strtoull(value, NULL, 10) >= ours)
        return;
    snprintf(setting, sizeof(setting), "max.message.bytes=%zu", ours + AROUND_PAYLOAD_BYTES);
    put_setting(&way, in, topic, setting);
    str_puts(&way, ", or lower relay.max_event_bytes");
    report_line(in->report, FINDING_NOTE, str_text(&way),
                "topic %s takes messages of at most %s bytes (max.message.bytes), "
                "relay.max_event_bytes is %zu: the broker refuses an event in between",
                topic, value, ours);
    str_release(&way);
}

static void report_settings(const struct inspection *in, const char *topic,
                            const rd_kafka_ConfigResource_t *r)
{
    struct str way = {0};
    const char *unclean = inspect_value(r, "unclean.leader.election.enable");
    const char *cleanup = inspect_value(r, "cleanup.policy");
    if (unclean && strcmp(unclean, "true") == 0) {
        put_setting(&way, in, topic, "unclean.leader.election.enable=false");
        report_line(in->report, FINDING_WARN, str_text(&way),
                    "topic %s has unclean.leader.election.enable: a broker that lags may become "
                    "the leader, and published events are lost",
                    topic);
    }
    report_size(in, topic, inspect_value(r, "max.message.bytes"));
    if (cleanup && strstr(cleanup, "compact")) {
        report_line(in->report, FINDING_NOTE, NULL,
                    "topic %s is compacted: Kafka keeps the last event of each key, drops all of a "
                    "key after one with a NULL payload, and refuses an event without a key",
                    topic);
    }
    str_release(&way);
}

/* ---- a topic --------------------------------------------------------------------------------- */

static void report_unreadable(const struct inspection *in, const char *topic,
                              const rd_kafka_ConfigResource_t *r)
{
    struct str way = {0};
    rd_kafka_resp_err_t code = r ? rd_kafka_ConfigResource_error(r) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    if (r)
        put_grant(&way, in, topic, "DescribeConfigs");
    report_line(in->report, FINDING_NOTE, r ? str_text(&way) : NULL,
                "topic %s: its settings cannot be read (%s), so min.insync.replicas, "
                "max.message.bytes and others are not looked at",
                topic, rd_kafka_err2str(code));
    str_release(&way);
}

static void listed(const struct inspection *in, const rd_kafka_metadata_topic_t *t)
{
    const rd_kafka_ConfigResource_t *r = inspect_topic_settings(in, t->topic);
    const char *least = inspect_value(r, "min.insync.replicas");
    struct copies c = count_copies(t);
    report_line(in->report, FINDING_OK, NULL, "topic %s: %d partition%s, replication factor %d%s%s",
                t->topic, t->partition_cnt, t->partition_cnt == 1 ? "" : "s", c.replicas,
                least ? ", min.insync.replicas " : "", least ? least : "");
    if (c.leaderless > 0)
        report_line(in->report, FINDING_WARN, "start the brokers that hold it",
                    "topic %s: partition %d has no leader (%d of %d): its events wait until a "
                    "broker with a copy is back",
                    t->topic, c.leaderless_first, c.leaderless, t->partition_cnt);
    report_replication(in, t->topic, &c);
    if (!r || rd_kafka_ConfigResource_error(r)) {
        report_unreadable(in, t->topic, r);
        return;
    }
    report_min_insync(in, t->topic, &c, least);
    report_settings(in, t->topic, r);
}

void inspect_topic(const struct inspection *in, const char *topic)
{
    for (int i = 0; i < in->md->topic_cnt; i++) {
        if (strcmp(in->md->topics[i].topic, topic) == 0) {
            listed(in, &in->md->topics[i]);
            return;
        }
    }
    unlisted(in, topic);
}
