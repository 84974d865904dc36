/* Ids of events as UUIDs: read, and made from other texts (RFC 4122, version 5). */
#ifndef OUTBOXD_INBOX_UUID_H
#define OUTBOXD_INBOX_UUID_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

/* A UUID in its usual form of 36 characters, any case; `out` (37 bytes) gets it in lower case.
 * False: it is none. */
bool uuid_read(struct slice text, char *out);

/* Version 5: SHA-1 of namespace and name. `out` holds 37 bytes. */
void uuid_from_name(const uint8_t namespace[16], struct slice name, char *out);

/* inbox_uuid for slices: `source` may be the NULL slice, `id` has at least one byte. */
void uuid_of_event(struct slice source, struct slice id, char *out);

#endif
