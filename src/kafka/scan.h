/* Reads topics from a point in time to their present end, record by record, for a look at what is
 * there: no group, no commits, nothing is changed. Synchronous. */
#ifndef OUTBOXD_KAFKA_SCAN_H
#define OUTBOXD_KAFKA_SCAN_H

#include "base/str.h"
#include "kafka/config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCAN_NO_TIME INT64_MIN

/* Lent for the call. A header that is not there, or null, is the NULL slice. */
struct scan_record {
    size_t topic; /* index into scan_params.topics */
    int32_t partition;
    int64_t offset;
    int64_t timestamp_us; /* since 1970; SCAN_NO_TIME: the record has none */
    struct slice key;
    struct slice event_id;
    struct slice event_type;
    struct slice event_time;
    bool replayed; /* it has the header outboxd-replay */
};

struct scan_params {
    const struct kafka_sink_params *kafka;
    const char *const *topics;
    size_t topic_count;
    int64_t since_us; /* records with older timestamps need not come; SCAN_NO_TIME: all come */
    void *ctx;
    /* For each topic; 0 partitions: there is no such topic. */
    void (*topic)(void *ctx, size_t topic, int32_t partitions);
    /* For each partition: its first offset, the one that reading starts at, and its end. All of
     * these come before the first record, the ends are newer than the call of kafka_scan. */
    void (*partition)(void *ctx, size_t topic, int32_t partition, int64_t low, int64_t start,
                      int64_t end);
    /* In the order of a partition's offsets, none at or behind its end. -1 with `err` stops. */
    int (*record)(void *ctx, const struct scan_record *r, struct err *err);
    void (*progress)(void *ctx, int64_t read, int64_t total); /* now and then; offsets */
};

/* ERR_UNAVAILABLE when the brokers do not answer, or are silent for a minute; ERR_CONFIG when they
 * refuse us: reading needs READ on the topic, which a relay that only writes may lack. */
NODISCARD int kafka_scan(const struct scan_params *params, struct err *err);

#endif
