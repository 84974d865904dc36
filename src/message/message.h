/* A message: what Kafka gets for one event. message_build fills a struct that is used again for the
 * next event: its buffers grow to the size they need and stay, so that no event costs an
 * allocation. Slices point into these buffers or into the event: they are lent until the next
 * build, and no longer than the event's own. */
#ifndef OUTBOXD_MESSAGE_MESSAGE_H
#define OUTBOXD_MESSAGE_MESSAGE_H

#include "base/err.h"
#include "base/str.h"
#include "message/event.h"
#include "message/route.h"

#include <stdbool.h>

#define MESSAGE_MAX_HEADERS 64

/* What a message costs in memory beside its bytes while it is under way, roughly: librdkafka's
 * structs with malloc's own share (each header is an allocation), and the compressed copy in the
 * request. Too low a figure and the window holds more than relay.window_bytes says: with 256 in
 * all, a slow broker took the process to 60 MB. */
#define MESSAGE_OVERHEAD_BYTES 384
#define HEADER_OVERHEAD_BYTES  64

/* The headers that every message has, in this order, before the row's own. A consumer tells
 * duplicates by event-id, so a header of the row with one of these names is left out: ours stands.
 */
#define HEADER_EVENT_ID     "event-id"     /* the uuid as text */
#define HEADER_EVENT_TYPE   "event-type"   /* null if the row has none */
#define HEADER_EVENT_TIME   "event-time"   /* created_at, RFC 3339 */
#define HEADER_CONTENT_TYPE "content-type" /* of the value as sent */
#define MESSAGE_OWN_HEADERS 4

/* Only on what `outboxd replay` publishes again: the time of that run, RFC 3339. */
#define HEADER_REPLAY "outboxd-replay"

struct message_header {
    struct slice name;  /* NUL-terminated at name.ptr[name.len], and no NUL before */
    struct slice value; /* NULL slice: a Kafka header with a null value */
};

struct message {
    struct slice topic; /* NUL-terminated at topic.ptr[topic.len] */
    struct slice key;
    struct slice value; /* NULL slice: tombstone */
    struct message_header headers[MESSAGE_MAX_HEADERS];
    size_t header_count;
    size_t route; /* index into the table, for metrics and policy */
    size_t bytes; /* key + value + headers + a fixed overhead: what the window counts */
    int64_t created_at_us;
    /* private: the buffers behind the slices */
    struct str topic_buf;
    struct str value_buf;
    struct str header_buf;
};

void message_init(struct message *m);
void message_release(struct message *m);

/* Where the message of `e` goes: sets route, key and topic, without looking at payload and headers.
 * The topic is the NULL slice when it is no legal name. Two events of one relay wait for one
 * another only if topic and key are the same. */
void message_address(struct message *m, const struct route_table *routes, const struct event *e);

/* Builds the message of `e`. Pure: the same event gives the same bytes.
 *
 * Value: payload_bytes as they are, if the row has them; else nothing (a tombstone) for a NULL
 * payload; else what the route's format makes of the payload, whose bytes stay as they are: the
 * envelope
 * {"eventId":...,"eventType":...,"occurredAt":...,"version":...,"payload":...}, or the payload
 * alone (raw). Headers: ours, then the members of the row's header object in their order (also when
 * a name comes twice): a string as its bytes, null as a null value, anything else as its JSON text
 * without blanks. JSON null counts as no headers.
 *
 * Returns -1 and ERR_CONFIG when this event can never be sent as it is; the text says why and what
 * to do, and never holds payload, key or header values: a topic name that Kafka does not allow or
 * kafka.topics does not list, a payload above max_event_bytes (e->oversize_bytes tells), headers
 * that are no JSON object or too many. Then only `route` and `topic` are set (topic is the NULL
 * slice when it is what is wrong). */
NODISCARD int message_build(struct message *m, const struct route_table *routes,
                            const struct event *e, struct err *err);

/* RFC 3339 UTC with no, three or six digits of a second's fraction, as many as it takes
 * ("2026-01-31T12:00:00Z",
 * "...00.123Z", "...00.123456Z"); returns the length without the NUL. RFC 3339 ends with the year
 * 9999, and Postgres and most languages know no year 0: what lies outside the years 1 to 9999, and
 * so infinity too, becomes the nearest time within them. */
#define MESSAGE_TIME_SIZE 28
size_t message_format_time(int64_t us_since_1970, char out[MESSAGE_TIME_SIZE]);

/* Microseconds since 1970 of a time as RFC 3339 has it: what message_format_time writes, and what
 * people do: a blank for the T, no seconds, any number of digits behind them (beyond the sixth they
 * are dropped), an offset such as +02:00; without one it is UTC, and a date alone is its midnight.
 * False when it is no such time. */
bool message_parse_time(struct slice text, int64_t *us_since_1970);

/* The same for what programs write: RFC 3339 and no less. The seconds (60 for a leap second) and
 * the offset, with its colon, must be there. */
bool message_parse_rfc3339(struct slice text, int64_t *us_since_1970);

#endif
