/* murmur2, exactly as the Java client computes it (org.apache.kafka.common.utils.Utils.murmur2), so
 * that a key goes to the partition where every other producer of the house would put it. */
#ifndef OUTBOXD_MESSAGE_MURMUR2_H
#define OUTBOXD_MESSAGE_MURMUR2_H

#include <stddef.h>
#include <stdint.h>

uint32_t murmur2(const void *data, size_t len);

/* The default partitioner's choice for a key: (murmur2 & 0x7fffffff) % partitions. `partitions` >
 * 0. */
int32_t murmur2_partition(const void *key, size_t len, int32_t partitions);

/* The same for a key of which only the murmur2 is left. */
int32_t murmur2_place(uint32_t hash, int32_t partitions);

#endif
