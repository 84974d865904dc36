/* What of the topics was there to be read: Kafka's own retention and compaction take records away,
 * and of what they took nobody can say whether it was ever there.
 *
 * The record of a row was appended after the row was created. So when a partition lacks records
 * (before its first one, or within: a gap in its offsets), a row created after the first record
 * behind the last gap was appended behind it, too, and is not among what was removed. That compares
 * the database's clock with the producers': COVERAGE_MARGIN_US is what they may differ. */
#ifndef OUTBOXD_VERIFY_COVERAGE_H
#define OUTBOXD_VERIFY_COVERAGE_H

#include "verify/entry.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COVERAGE_MARGIN_US (INT64_C(3600) * 1000000) /* brokers refuse clocks that are worse */
#define COVERAGE_NO_TIME   INT64_MIN                 /* of a record without a timestamp */

struct coverage_partition {
    int64_t next; /* the offset that comes next if nothing is missing */
    int64_t end;
    int64_t limit_us; /* rows created up to then cannot be judged; INT64_MIN: all can */
    bool gap_open;    /* records are missing, and the one behind them was not seen yet */
};

struct coverage_topic {
    struct coverage_partition *partitions;
    int32_t partition_count; /* 0: there is no such topic */
    bool is_read;            /* false: nobody asked for it */
    int64_t missing;         /* offsets without a record */
    int64_t first_us;        /* the oldest record's time; INT64_MAX: none */
    int64_t moved_us;        /* the newest record that lies where its key would not go today */
    int64_t grown_us;        /* found by coverage_finish: until then keys may have gone elsewhere */
    int64_t worst_us;        /* found by coverage_finish: the largest limit_us */
};

struct coverage {
    struct coverage_topic *topics; /* by number */
    size_t topic_count;
};

void coverage_init(struct coverage *c);
void coverage_release(struct coverage *c);

/* A topic that is read; 0 partitions: it does not exist, so that nothing can have been removed
 * from it. Then each of its partitions: its first offset, the one that reading starts at, its end.
 * Reading may start behind the first offset only where no earlier record matters. */
void coverage_topic(struct coverage *c, uint16_t topic, int32_t partitions);
void coverage_partition(struct coverage *c, uint16_t topic, int32_t partition, int64_t low,
                        int64_t start, int64_t end);

/* A record, in the order of a partition's offsets. `murmur` is that of the key of a record that an
 * outboxd relay may have written, else NULL. */
void coverage_record(struct coverage *c, uint16_t topic, int32_t partition, int64_t offset,
                     int64_t timestamp_us, const uint32_t *murmur);

/* Everything was read. */
void coverage_finish(struct coverage *c);

bool coverage_is_read(const struct coverage *c, uint16_t topic);

/* Whether a row without a record can be called lost: its record would still be there. */
bool coverage_is_complete_for(const struct coverage *c, const struct row_entry *row);

/* Whether a row's first record in the partition that is still there was its first. */
bool coverage_is_first(const struct coverage *c, uint16_t topic, int32_t partition,
                       int64_t created_us);

#endif
