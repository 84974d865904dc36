/* A message: what Kafka gets for one event. message_build fills a struct that is used again for the next event: its
 * buffers grow to the size they need and stay. All slices are lent until the next build. */
#ifndef OUTBOXD_MESSAGE_MESSAGE_H
#define OUTBOXD_MESSAGE_MESSAGE_H

#include "base/err.h"
#include "base/str.h"
#include "message/event.h"
#include "message/route.h"

#define MESSAGE_MAX_HEADERS 64

struct message_header {
    struct slice name;
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

/* Builds the message of `e`. Returns -1 when this event can never be sent as it is (the text says why and what to do: a
 * topic name that Kafka does not allow, a topic that kafka.topics does not list, a payload above max_event_bytes, headers
 * that are no JSON object or too many). Pure: the same event gives the same bytes. */
NODISCARD int message_build(struct message *m, const struct route_table *routes, const struct event *e, struct err *err);

/* RFC 3339 UTC with microseconds cut to what is needed ("2026-01-31T12:00:00Z", "...00.123456Z"); returns the length. */
#define MESSAGE_TIME_SIZE 40
size_t message_format_time(int64_t us_since_1970, char out[MESSAGE_TIME_SIZE]);

#endif
