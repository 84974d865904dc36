#include "message/murmur2.h"

#define SEED       0x9747b28cU
#define MULTIPLIER 0x5bd1e995U

/* The hash is defined on little-endian words, whatever the machine's order. */
static uint32_t load_le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

uint32_t murmur2(const void *data, size_t len)
{
    const uint8_t *p = data;
    uint32_t h = SEED ^ (uint32_t)len;

    for (; len >= 4; p += 4, len -= 4) {
        uint32_t k = load_le32(p) * MULTIPLIER;

        k ^= k >> 24;
        h = h * MULTIPLIER ^ k * MULTIPLIER;
    }
    if (len > 2)
        h ^= (uint32_t)p[2] << 16;
    if (len > 1)
        h ^= (uint32_t)p[1] << 8;
    if (len > 0)
        h = (h ^ p[0]) * MULTIPLIER;
    h = (h ^ h >> 13) * MULTIPLIER;
    return h ^ h >> 15;
}

int32_t murmur2_place(uint32_t hash, int32_t partitions)
{
    return (int32_t)(hash & 0x7fffffffU) % partitions;
}

int32_t murmur2_partition(const void *key, size_t len, int32_t partitions)
{
    return murmur2_place(murmur2(key, len), partitions);
}
