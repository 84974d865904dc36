/* Times of events: RFC 3339 read. */
#ifndef OUTBOXD_INBOX_WHEN_H
#define OUTBOXD_INBOX_WHEN_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

#define WHEN_UNKNOWN INT64_MIN

/* "2026-01-31T12:00:00[.123456](Z|+01:00)" as microseconds since 1970 UTC; digits beyond
 * microseconds are dropped. A blank or a small letter may stand for T and Z. False: it is no such
 * time; `us` is left alone. */
bool when_read(struct slice text, int64_t *us);

#endif
