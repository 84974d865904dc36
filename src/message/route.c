#include "message/route.h"

#include <stdlib.h>
#include <string.h>

static void route_init(struct route *r, const char *name)
{
    *r = (struct route){
        .name = xstrdup(name),
        .format = FORMAT_ENVELOPE,
        .fields = {.event_id = xstrdup("eventId"),
                   .event_type = xstrdup("eventType"),
                   .occurred_at = xstrdup("occurredAt"),
                   .version = xstrdup("version"),
                   .payload = xstrdup("payload")},
        .on_error = ON_ERROR_PARK,
    };
}

static void route_release(struct route *r)
{
    free(r->name);
    free(r->match_aggregate_type);
    free(r->match_event_type);
    free(r->topic);
    free(r->fields.event_id);
    free(r->fields.event_type);
    free(r->fields.occurred_at);
    free(r->fields.version);
    free(r->fields.payload);
    free(r->dead_letter_topic);
}

void route_table_init(struct route_table *t)
{
    *t = (struct route_table){.routes = xmalloc(sizeof *t->routes), .count = 1};
    route_init(&t->routes[0], "default");
}

struct route *route_table_add(struct route_table *t)
{
    t->routes = xrealloc(t->routes, (t->count + 1) * sizeof *t->routes);
    route_init(&t->routes[t->count], "");
    return &t->routes[t->count++];
}

void route_table_allow(struct route_table *t, const char *pattern)
{
    t->topics = xrealloc(t->topics, (t->topic_count + 1) * sizeof *t->topics);
    t->topics[t->topic_count++] = xstrdup(pattern);
}

void route_table_release(struct route_table *t)
{
    for (size_t i = 0; i < t->count; i++)
        route_release(&t->routes[i]);
    for (size_t i = 0; i < t->topic_count; i++)
        free(t->topics[i]);
    free(t->routes);
    free(t->topics);
    *t = (struct route_table){0};
}

static bool matches(const char *pattern, struct slice text)
{
    return pattern == NULL || pattern_matches(pattern, text);
}

size_t route_find(const struct route_table *t, const struct event *e)
{
    for (size_t i = 1; i < t->count; i++)
        if (matches(t->routes[i].match_aggregate_type, e->aggregate_type) &&
            matches(t->routes[i].match_event_type, e->event_type))
            return i;
    return 0;
}

/* FNV-1a. A string that is not there differs from an empty one. */
static uint64_t mark_text(uint64_t mark, const char *text)
{
    const char *c = text != NULL ? text : "\xff";

    do
        mark = (mark ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
    while (*c++ != '\0');
    return mark;
}

uint64_t route_table_mark(const struct route_table *t)
{
    uint64_t mark = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 1; i <= t->count; i++) {
        const struct route *r = &t->routes[i % t->count]; /* the default route is tried last */

        mark = mark_text(mark, r->match_aggregate_type);
        mark = mark_text(mark, r->match_event_type);
        mark = mark_text(mark, r->topic);
    }
    return mark;
}

static const char *const formats[] = {
#define X(name, word) [FORMAT_##name] = (word),
    FORMATS(X)
#undef X
};

static const char *const policies[] = {
#define X(name, word) [ON_ERROR_##name] = (word),
    ON_ERRORS(X)
#undef X
};

const char *format_name(enum format f)
{
    return formats[f];
}

const char *on_error_name(enum on_error p)
{
    return policies[p];
}

/* Index of the word, or -1. */
static int find_word(const char *const *words, size_t count, const char *text)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(words[i], text) == 0)
            return (int)i;
    return -1;
}

bool format_parse(const char *text, enum format *out)
{
    int i = find_word(formats, ARRAY_LEN(formats), text);

    if (i >= 0)
        *out = (enum format)i;
    return i >= 0;
}

bool on_error_parse(const char *text, enum on_error *out)
{
    int i = find_word(policies, ARRAY_LEN(policies), text);

    if (i >= 0)
        *out = (enum on_error)i;
    return i >= 0;
}
