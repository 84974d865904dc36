/* SHA-1 is here for UUID version 5, which asks for it, and for nothing that has to be secret. */
#include "inbox/uuid.h"

#include "inbox.h"
#include "message/event.h"

#include <stdio.h>
#include <string.h>

/* UUID version 5 of "https://outboxd/inbox" in the namespace of URLs. */
static const uint8_t NAMESPACE[16] = {0xe3, 0x95, 0x9e, 0x19, 0xdf, 0x73, 0x5c, 0x4a,
                                      0xa2, 0x1c, 0x0b, 0x8c, 0x96, 0x36, 0xa8, 0xad};

/* ---- SHA-1 (RFC 3174) ------------------------------------------------------------------------ */

struct sha1 {
    uint32_t h[5];
    uint8_t block[64];
    uint64_t bytes;
};

static uint32_t rotate(uint32_t x, unsigned n)
{
    return x << n | x >> (32 - n);
}

static void sha1_block(struct sha1 *s)
{
    uint32_t w[80];
    uint32_t a = s->h[0], b = s->h[1], c = s->h[2], d = s->h[3], e = s->h[4];

    for (size_t i = 0; i < 16; i++)
        w[i] = (uint32_t)s->block[4 * i] << 24 | (uint32_t)s->block[4 * i + 1] << 16 |
               (uint32_t)s->block[4 * i + 2] << 8 | s->block[4 * i + 3];
    for (size_t i = 16; i < 80; i++)
        w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (size_t i = 0; i < 80; i++) {
        uint32_t f = i < 20   ? (b & c) | (~b & d)
                     : i < 40 ? b ^ c ^ d
                     : i < 60 ? (b & c) | (b & d) | (c & d)
                              : b ^ c ^ d;
        uint32_t k = i < 20   ? 0x5a827999U
                     : i < 40 ? 0x6ed9eba1U
                     : i < 60 ? 0x8f1bbcdcU
                              : 0xca62c1d6U;
        uint32_t next = rotate(a, 5) + f + e + k + w[i];

        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = next;
    }
    s->h[0] += a;
    s->h[1] += b;
    s->h[2] += c;
    s->h[3] += d;
    s->h[4] += e;
}

static void sha1_add(struct sha1 *s, const void *data, size_t len)
{
    const uint8_t *p = data;

    for (size_t i = 0; i < len; i++) {
        s->block[s->bytes++ % 64] = p[i];
        if (s->bytes % 64 == 0)
            sha1_block(s);
    }
}

static void sha1_end(struct sha1 *s, uint8_t out[20])
{
    const uint64_t bits = s->bytes * 8;
    uint8_t length[8];

    sha1_add(s, "\x80", 1);
    while (s->bytes % 64 != 56)
        sha1_add(s, "", 1);
    for (unsigned i = 0; i < 8; i++)
        length[i] = (uint8_t)(bits >> (56 - 8 * i));
    sha1_add(s, length, sizeof length);
    for (unsigned i = 0; i < 20; i++)
        out[i] = (uint8_t)(s->h[i / 4] >> (24 - 8 * (i % 4)));
}

/* ---- UUIDs ----------------------------------------------------------------------------------- */

bool uuid_read(struct slice text, char *out)
{
    uint8_t id[16];

    if (!event_id_parse(text, id))
        return false;
    event_id_text(id, out);
    return true;
}

static void from_parts(const uint8_t namespace[16], const struct slice *parts, size_t count,
                       char *out)
{
    struct sha1 sha = {.h = {0x67452301U, 0xefcdab89U, 0x98badcfeU, 0x10325476U, 0xc3d2e1f0U}};
    uint8_t hash[20];

    sha1_add(&sha, namespace, 16);
    for (size_t i = 0; i < count; i++)
        sha1_add(&sha, parts[i].ptr, parts[i].len);
    sha1_end(&sha, hash);
    hash[6] = (uint8_t)((hash[6] & 0x0f) | 0x50);
    hash[8] = (uint8_t)((hash[8] & 0x3f) | 0x80);
    event_id_text(hash, out);
}

void uuid_from_name(const uint8_t namespace[16], struct slice name, char *out)
{
    from_parts(namespace, &name, 1, out);
}

void uuid_of_event(struct slice source, struct slice id, char *out)
{
    const struct slice parts[] = {source, SLICE_LIT("\n"), id};

    if (uuid_read(id, out))
        return;
    if (source.ptr == NULL)
        uuid_from_name(NAMESPACE, id, out);
    else
        from_parts(NAMESPACE, parts, ARRAY_LEN(parts), out);
}

int inbox_uuid(const char *source, const char *id, char out[INBOX_UUID_SIZE])
{
    if (id == NULL || id[0] == '\0')
        return -1;
    uuid_of_event(slice_of(source), slice_of(id), out);
    return 0;
}
