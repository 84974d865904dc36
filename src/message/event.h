/* An event: one committed row of outbox.event, as the reader lends it. Nothing here is owned;
 * slices are valid only during the call that passes the event. */
#ifndef OUTBOXD_MESSAGE_EVENT_H
#define OUTBOXD_MESSAGE_EVENT_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

/* The timestamps 'infinity' and '-infinity' of Postgres. They are sent as the last and the first
 * time that RFC 3339 has. */
#define EVENT_TIME_INFINITY       INT64_MAX
#define EVENT_TIME_MINUS_INFINITY INT64_MIN

#define EVENT_ID_TEXT 37 /* "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx" and NUL */

struct event {
    int64_t id;           /* position in the table; ascending per key */
    uint8_t event_id[16]; /* uuid */
    struct slice aggregate_type;
    struct slice aggregate_id;
    struct slice event_type;
    struct slice event_version;
    struct slice payload;       /* JSON text; NULL: tombstone, unless payload_bytes is there */
    struct slice payload_bytes; /* not JSON (Avro and friends): always sent raw */
    struct slice
        content_type;     /* NULL: application/json for JSON, application/octet-stream for bytes */
    struct slice headers; /* JSON object or NULL */
    struct slice topic;   /* NULL: the route's or the default */
    struct slice partition_key; /* NULL: aggregate_id */
    int64_t occurred_at_us;     /* microseconds since 1970 UTC; infinity: EVENT_TIME_... */
    int64_t created_at_us;      /* the same; when the row was inserted */
    int64_t oversize_bytes;     /* > 0: the payload is above max_event_bytes and was not fetched */
};

/* The uuid in its usual text form, lower case. */
void event_id_text(const uint8_t id[16], char out[EVENT_ID_TEXT]);

/* The other way round, of either case; false when it is no uuid in its usual text form. */
bool event_id_parse(struct slice text, uint8_t out[16]);

#endif
