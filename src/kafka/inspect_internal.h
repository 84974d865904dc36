/* What the files of kafka_inspect share. */
#ifndef OUTBOXD_KAFKA_INSPECT_INTERNAL_H
#define OUTBOXD_KAFKA_INSPECT_INTERNAL_H

#include "base/report.h"
#include "base/str.h"
#include "kafka/config.h"

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stddef.h>

struct inspection {
    const struct kafka_sink_params *params;
    const struct report *report;
    rd_kafka_t *rk;
    const rd_kafka_metadata_t *md; /* of all topics that we may see, and of the brokers */
    rd_kafka_event_t *
        *from_brokers;             /* a broker's settings, as md counts brokers; NULL: no answer */
    rd_kafka_event_t *from_topics; /* the topics' settings; NULL: no answer or not asked */
};

/* ---- kafka/inspect_settings.c ---- */

/* Asks each broker for its settings, at the address that the cluster gives for it, and one of them
 * for those of the topics. Fills from_brokers and from_topics; blocks for some three seconds at
 * most. inspect_settings_release frees the answers. */
void inspect_settings_ask(struct inspection *in, const char *const *topics, size_t count);
void inspect_settings_release(struct inspection *in);

/* What was answered about a topic, NULL: nothing. See rd_kafka_ConfigResource_error. */
const rd_kafka_ConfigResource_t *inspect_topic_settings(const struct inspection *in,
                                                        const char *topic);

/* A setting of the first broker that told its own; NULL: not known. */
const char *inspect_broker_setting(const struct inspection *in, const char *name);

/* The value in `r` (which may be NULL); NULL: not known. */
const char *inspect_value(const rd_kafka_ConfigResource_t *r, const char *name);

/* Why the broker gave no answer, into `why`. False: it answered, be it with a refusal to tell. */
bool inspect_broker_is_silent(const struct inspection *in, int broker, const char **why);

/* ---- kafka/inspect_topics.c ---- */

void inspect_topic(const struct inspection *in, const char *topic);

/* Puts a command line of Kafka's own tools: the tool, how it connects, then the rest. */
void inspect_put_command(struct str *s, const struct inspection *in, const char *tool,
                         const char *fmt, ...) PRINTF_LIKE(4, 5);

#endif
