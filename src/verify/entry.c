#include "verify/entry.h"

#include "message/murmur2.h"

#include <string.h>

/* ---- digests --------------------------------------------------------------------------------- */

/* FNV-1a, whose bits are then mixed as splitmix64 does. Nobody gains by making two keys collide:
 * the other half of the digest would have to collide with them. */
struct key_digest key_digest_of(const void *key, size_t len)
{
    const unsigned char *at = key;
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < len; i++)
        h = (h ^ at[i]) * UINT64_C(0x100000001b3);
    h = (h ^ (h >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    h = (h ^ (h >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (struct key_digest){.hash = h ^ (h >> 31), .murmur = murmur2(key, len)};
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static unsigned char *put_be(unsigned char *out, uint64_t value, size_t bytes)
{
    for (size_t i = bytes; i > 0; i--) {
        out[i - 1] = (unsigned char)(value & 0xff);
        value >>= 8;
    }
    return out + bytes;
}

static uint64_t get_be(const unsigned char **in, size_t bytes)
{
    uint64_t value = 0;

    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | *(*in)++;
    return value;
}

/* Numbers with a sign keep their order when the sign's bit is turned. */
static unsigned char *put_int64(unsigned char *out, int64_t value)
{
    return put_be(out, (uint64_t)value ^ (UINT64_C(1) << 63), 8);
}

static int64_t get_int64(const unsigned char **in)
{
    uint64_t bits = get_be(in, 8) ^ (UINT64_C(1) << 63);
    int64_t value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

static unsigned char *put_id(unsigned char *out, const uint8_t id[16])
{
    memcpy(out, id, 16);
    return out + 16;
}

static void get_id(const unsigned char **in, uint8_t id[16])
{
    memcpy(id, *in, 16);
    *in += 16;
}

static unsigned char *put_key(unsigned char *out, struct key_digest key)
{
    return put_be(put_be(out, key.hash, 8), key.murmur, 4);
}

static struct key_digest get_key(const unsigned char **in)
{
    struct key_digest key = {.hash = get_be(in, 8)};

    key.murmur = (uint32_t)get_be(in, 4);
    return key;
}

/* ---- entries --------------------------------------------------------------------------------- */

void row_entry_put(unsigned char out[ROW_ENTRY_BYTES], const struct row_entry *e)
{
    out = put_id(out, e->event_id);
    out = put_int64(out, e->id);
    out = put_int64(out, e->created_us);
    out = put_key(out, e->key);
    out = put_be(out, e->topic, 2);
    out = put_be(out, e->type, 2);
    (void)put_be(out, e->state, 1);
}

void row_entry_get(const unsigned char in[ROW_ENTRY_BYTES], struct row_entry *e)
{
    get_id(&in, e->event_id);
    e->id = get_int64(&in);
    e->created_us = get_int64(&in);
    e->key = get_key(&in);
    e->topic = (uint16_t)get_be(&in, 2);
    e->type = (uint16_t)get_be(&in, 2);
    e->state = (uint8_t)get_be(&in, 1);
}

void record_entry_put(unsigned char out[RECORD_ENTRY_BYTES], const struct record_entry *e)
{
    out = put_id(out, e->event_id);
    out = put_be(out, e->topic, 2);
    out = put_be(out, (uint32_t)e->partition, 4);
    out = put_int64(out, e->offset);
    out = put_int64(out, e->event_us);
    out = put_be(out, e->type, 2);
    (void)put_be(out, e->replayed, 1);
}

void record_entry_get(const unsigned char in[RECORD_ENTRY_BYTES], struct record_entry *e)
{
    get_id(&in, e->event_id);
    e->topic = (uint16_t)get_be(&in, 2);
    e->partition = (int32_t)get_be(&in, 4);
    e->offset = get_int64(&in);
    e->event_us = get_int64(&in);
    e->type = (uint16_t)get_be(&in, 2);
    e->replayed = get_be(&in, 1) != 0;
}

void order_entry_put(unsigned char out[ORDER_ENTRY_BYTES], const struct order_entry *e)
{
    out = put_be(out, e->topic, 2);
    out = put_be(out, (uint32_t)e->partition, 4);
    out = put_key(out, e->key);
    out = put_int64(out, e->offset);
    out = put_int64(out, e->id);
    out = put_id(out, e->event_id);
    (void)put_be(out, e->type, 2);
}

void order_entry_get(const unsigned char in[ORDER_ENTRY_BYTES], struct order_entry *e)
{
    e->topic = (uint16_t)get_be(&in, 2);
    e->partition = (int32_t)get_be(&in, 4);
    e->key = get_key(&in);
    e->offset = get_int64(&in);
    e->id = get_int64(&in);
    get_id(&in, e->event_id);
    e->type = (uint16_t)get_be(&in, 2);
}
