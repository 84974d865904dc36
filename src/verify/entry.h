/* What verify remembers of a row, of a record, and of a record's place in its key's order: a few
 * numbers each, and their form as entries that verify/sorter.h can sort. Keys are kept as digests,
 * payloads not at all. */
#ifndef OUTBOXD_VERIFY_ENTRY_H
#define OUTBOXD_VERIFY_ENTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ENTRY_NO_TOPIC UINT16_MAX /* of a row: today's configuration cannot publish it */

/* Two hashes of a message's key that know nothing of each other: 96 bits, so that two keys of one
 * partition are not taken for one. */
struct key_digest {
    uint64_t hash;
    uint32_t murmur; /* murmur2, which also tells the partition */
};

struct key_digest key_digest_of(const void *key, size_t len);

struct row_entry {
    uint8_t event_id[16];
    int64_t id;
    int64_t created_us;
    struct key_digest key;
    uint16_t topic; /* numbers of names: see verify/names.h */
    uint16_t type;
    uint8_t state; /* of the caller: enum row_state */
};

/* What the relay's stored position says about the row. */
enum row_state {
    ROW_UNSETTLED, /* need not be in the topic yet */
    ROW_SETTLED,   /* must be in the topic */
    ROW_GIVEN_UP,  /* was left out on purpose */
};

struct record_entry {
    uint8_t event_id[16];
    uint16_t topic;
    int32_t partition;
    int64_t offset;
    int64_t event_us; /* of the header event-time: the row's created_at */
    uint16_t type;
    bool replayed; /* published again by `outboxd replay` */
};

/* A first occurrence in a partition. */
struct order_entry {
    uint16_t topic;
    int32_t partition;
    struct key_digest key;
    int64_t offset;
    int64_t id; /* of the row */
    uint8_t event_id[16];
    uint16_t type;
};

#define ROW_ENTRY_BYTES    (16 + 8 + 8 + 8 + 4 + 2 + 2 + 1)
#define RECORD_ENTRY_BYTES (16 + 2 + 4 + 8 + 8 + 2 + 1)
#define ORDER_ENTRY_BYTES  (2 + 4 + 8 + 4 + 8 + 8 + 16 + 2)

/* Sorted by event id, then by id. */
void row_entry_put(unsigned char out[ROW_ENTRY_BYTES], const struct row_entry *e);
void row_entry_get(const unsigned char in[ROW_ENTRY_BYTES], struct row_entry *e);
/* Sorted by event id, topic, partition, offset. */
void record_entry_put(unsigned char out[RECORD_ENTRY_BYTES], const struct record_entry *e);
void record_entry_get(const unsigned char in[RECORD_ENTRY_BYTES], struct record_entry *e);
/* Sorted by topic, partition, key, offset. */
void order_entry_put(unsigned char out[ORDER_ENTRY_BYTES], const struct order_entry *e);
void order_entry_get(const unsigned char in[ORDER_ENTRY_BYTES], struct order_entry *e);

#endif
