/* Routes: which events go where and in which form. The first route that matches wins; an event that
 * none matches goes the default way (topic `{aggregate_type}-events`, envelope). Read-only after
 * load. */
#ifndef OUTBOXD_MESSAGE_ROUTE_H
#define OUTBOXD_MESSAGE_ROUTE_H

#include "base/err.h"
#include "base/str.h"
#include "message/event.h"

#include <stdbool.h>
#include <stdint.h>

/* name, word of the configuration */
#define FORMATS(X)                                                                                 \
    X(ENVELOPE, "envelope")                                                                        \
    X(RAW, "raw")

#define ON_ERRORS(X)                                                                               \
    X(HALT, "halt")                                                                                \
    X(PARK, "park")                                                                                \
    X(SKIP, "skip")

#define X(name, word) FORMAT_##name,
enum format { FORMATS(X) };
#undef X
#define X(name, word) ON_ERROR_##name,
enum on_error { ON_ERRORS(X) };
#undef X

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
    char *topic; /* NULL: {aggregate_type}-events; may hold {aggregate_type} and {event_type} */
    enum format format;
    struct envelope_fields fields;
    enum on_error on_error;
    char *dead_letter_topic; /* NULL: none */
};

/* routes[0] is the default route, which matches everything and is tried last; the configured ones
 * follow in order. */
struct route_table {
    struct route *routes;
    size_t count;
    char **topics;      /* kafka.topics: patterns of topics that may be written */
    size_t topic_count; /* 0: all */
};

void route_table_init(struct route_table *t); /* only the default route; all topics */

/* A new route with default values and the name "". The table owns it and its strings (malloc): free
 * a string before another takes its place. The pointer is good until the next route_table_add. */
struct route *route_table_add(struct route_table *t);

void route_table_allow(struct route_table *t, const char *pattern);
void route_table_release(struct route_table *t);

/* Names as the configuration has them; parsing returns false, and leaves `out` alone, for an
 * unknown word. */
const char *format_name(enum format f);
bool format_parse(const char *text, enum format *out);
const char *on_error_name(enum on_error p);
bool on_error_parse(const char *text, enum on_error *out);

/* Shell pattern with '*' (any characters, also none) and '?' (one UTF-8 character) only; there is
 * no escape. */
bool pattern_matches(const char *pattern, struct slice text);

/* A legal Kafka topic name: 1 to 249 of [a-zA-Z0-9._-], and neither "." nor "..". */
bool topic_name_is_legal(struct slice name);

/* Appends the template with {aggregate_type} and {event_type} filled in; any other brace stays as
 * it is. */
void topic_expand(struct str *out, const char *template, struct slice aggregate_type,
                  struct slice event_type);

/* For the configuration: can this template ever give a legal name? -1 and ERR_CONFIG for an unknown
 * placeholder or an illegal character; the text quotes the template and does not name the setting.
 */
NODISCARD int topic_template_check(const char *template, struct err *err);

/* The topic that the route names without a placeholder; NULL when it depends on the event. */
const char *route_fixed_topic(const struct route *r);

size_t route_find(const struct route_table *t, const struct event *e); /* index; 0 is the default */

/* Tells tables apart that send an event to different topics: a hash of patterns and templates in
 * their order, and of nothing else. The same in every version of outboxd. */
uint64_t route_table_mark(const struct route_table *t);

bool route_topic_allowed(const struct route_table *t, struct slice topic);

/* For an event and the topic that it gave: -1 and ERR_CONFIG when the name is illegal or
 * kafka.topics does not allow it; the text says where the name came from and what to correct. */
NODISCARD int route_topic_check(const struct route_table *t, size_t route, const struct event *e,
                                struct slice topic, struct err *err);

#endif
