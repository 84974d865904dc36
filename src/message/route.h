/* Routes: which events go where and in which form. The first route that matches wins; an event that none matches goes
 * the default way (topic `{aggregate_type}-events`, envelope). Read-only after load. */
#ifndef OUTBOXD_MESSAGE_ROUTE_H
#define OUTBOXD_MESSAGE_ROUTE_H

#include "base/err.h"
#include "base/str.h"
#include "message/event.h"

#include <stdbool.h>

enum format { FORMAT_ENVELOPE, FORMAT_RAW };
enum on_error { ON_ERROR_HALT, ON_ERROR_PARK, ON_ERROR_SKIP };

/* Names of the envelope's members; the defaults are the names of the integration event. */
struct envelope_fields {
    char *event_id;    /* eventId */
    char *event_type;  /* eventType */
    char *occurred_at; /* occurredAt */
    char *version;     /* version */
    char *payload;     /* payload */
};

struct route {
    char *name;
    char *match_aggregate_type; /* NULL: any; '*' and '?' as in a shell pattern */
    char *match_event_type;     /* NULL: any */
    char *topic;                /* NULL: {aggregate_type}-events; may hold {aggregate_type} and {event_type} */
    enum format format;
    struct envelope_fields fields;
    enum on_error on_error;
    char *dead_letter_topic; /* NULL: none */
};

/* routes[0] is the default route, which matches everything and is tried last; the configured ones follow in order. */
struct route_table {
    struct route *routes;
    size_t count;
    char **topics;      /* kafka.topics: patterns of topics that may be written */
    size_t topic_count; /* 0: all */
};

void route_table_init(struct route_table *t);    /* only the default route; all topics */
struct route *route_table_add(struct route_table *t); /* a new route with default values, owned by the table */
void route_table_allow(struct route_table *t, const char *pattern);
void route_table_release(struct route_table *t);

const char *format_name(enum format f);
bool format_parse(const char *text, enum format *out);
const char *on_error_name(enum on_error p);
bool on_error_parse(const char *text, enum on_error *out);

/* Shell pattern with '*' and '?' only. */
bool pattern_matches(const char *pattern, struct slice text);

/* A legal Kafka topic name: 1 to 249 of [a-zA-Z0-9._-], and neither "." nor "..". */
bool topic_name_is_legal(struct slice name);

size_t route_find(const struct route_table *t, const struct event *e); /* index; 0 is the default */
bool route_topic_allowed(const struct route_table *t, struct slice topic);

#endif
