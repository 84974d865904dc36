/* The producer's configuration: what outboxd pins for the sake of its promises, and what the
 * operator may add. */
#ifndef OUTBOXD_KAFKA_CONFIG_H
#define OUTBOXD_KAFKA_CONFIG_H

#include "base/err.h"

#include <librdkafka/rdkafka.h>
#include <stddef.h>
#include <stdint.h>

/* One entry of kafka.properties, as librdkafka names it. The value may be a secret and is never
 * printed. */
struct kafka_pair {
    const char *name;
    const char *value;
};

struct kafka_sink_params {
    const char *brokers; /* host:port, separated by commas */
    const char *client_id;
    const struct kafka_pair *properties; /* applied in this order, after the pinned ones */
    size_t property_count;
    uint32_t window_events;
    size_t window_bytes;
    size_t max_event_bytes;
};

/* Says whether the operator's properties may stand: each must exist, have a legal value, and not
 * weaken what the promises rest on. Returns -1 with kind ERR_CONFIG and a text that names the
 * property, the reason and the way out. */
NODISCARD int kafka_properties_check(const struct kafka_pair *properties, size_t count,
                                     struct err *err);

/* The whole configuration, for rd_kafka_conf_dup; the caller destroys it (rd_kafka_conf_destroy).
 * NULL on error, with err filled as above. `params` is not kept. */
NODISCARD rd_kafka_conf_t *kafka_conf_new(const struct kafka_sink_params *params, struct err *err);

/* The same brokers and credentials for a consumer that belongs to no group, commits nothing,
 * creates no topic, and keeps some 10 MB at most. */
NODISCARD rd_kafka_conf_t *kafka_scan_conf_new(const struct kafka_sink_params *params,
                                               struct err *err);

/* rd_kafka_new, whose threads take no signals: those are for the caller's. NULL with `text` on
 * error; `conf` is the caller's then. */
NODISCARD rd_kafka_t *kafka_handle_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, char *text,
                                       size_t size);

#endif
