/* routes: each becomes a struct route of message/route.h, in the file's order. */
#include "settings/check.h"
#include "settings/load.h"

#include <stdlib.h>
#include <string.h>

typedef void route_key_fn(struct loader *l, struct route *r, const struct node *n,
                          const char *path);

struct route_key {
    const char *name;
    route_key_fn *load;
};

/* ---- single values
 * ---------------------------------------------------------------------------------------------- */

static void load_name(struct loader *l, struct route *r, const struct node *n, const char *path)
{
    const struct route_table *table = &l->s->routes;
    struct str text = {0};
    struct err err;

    if (!load_text(l, n, path, "a name", &text))
        goto out;
    if (check_name(text.data, &err) != 0) {
        load_problem(l, n->place, path, "%s", err.text);
        goto out;
    }
    for (size_t i = 0; i < table->count; i++)
        if (strcmp(table->routes[i].name, text.data) == 0) {
            load_problem(l, n->place, path, "\"%s\" is the name of %s already; choose another",
                         text.data, i == 0 ? "the built-in route" : "an earlier route");
            goto out;
        }
    load_set_string(&r->name, text.data);
out:
    str_release(&text);
}

static void load_pattern(struct loader *l, const struct node *n, const char *path, char **member)
{
    struct str text = {0};

    if (load_text(l, n, path, "a pattern such as order, order.* or \"*\"", &text)) {
        if (text.len == 0)
            load_problem(l, n->place, path,
                         "is empty and would match nothing; write \"*\" for any, or remove it");
        else
            load_set_string(member, text.data);
    }
    str_release(&text);
}

static void load_topic_template(struct loader *l, struct route *r, const struct node *n,
                                const char *path)
{
    struct str text = {0};
    struct err err;

    if (load_text(l, n, path, "a topic's name", &text)) {
        if (topic_template_check(text.data, &err) != 0)
            load_problem(l, n->place, path, "%s", err.text);
        else
            load_set_string(&r->topic, text.data);
    }
    str_release(&text);
}

static void load_format(struct loader *l, struct route *r, const struct node *n, const char *path)
{
    struct str text = {0};

    if (load_text(l, n, path, "envelope or raw", &text) && !format_parse(text.data, &r->format))
        load_problem(l, n->place, path, "\"%.40s\" is no format; write envelope or raw", text.data);
    str_release(&text);
}

static void load_on_error(struct loader *l, struct route *r, const struct node *n, const char *path)
{
    struct str text = {0};

    if (load_text(l, n, path, "halt, park or skip", &text) &&
        !on_error_parse(text.data, &r->on_error))
        load_problem(l, n->place, path, "\"%.40s\" is not known here; write halt, park or skip",
                     text.data);
    str_release(&text);
}

static void load_dead_letter_topic(struct loader *l, struct route *r, const struct node *n,
                                   const char *path)
{
    struct str text = {0};

    if (load_text(l, n, path, "a topic's name", &text)) {
        if (!topic_name_is_legal(str_slice(&text)))
            load_problem(l, n->place, path,
                         "\"%.60s\" is no name of a topic; write 1 to 249 of a-z A-Z 0-9 . _ -",
                         text.data);
        else
            load_set_string(&r->dead_letter_topic, text.data);
    }
    str_release(&text);
}

/* ---- match and fields
 * ------------------------------------------------------------------------------------------- */

static void load_match(struct loader *l, struct route *r, const struct node *n, const char *path)
{
    struct str item = {0};

    if (!load_children(l, n, path, NODE_MAPPING))
        return;
    for (size_t i = 0; i < n->count; i++) {
        const struct node *child = &n->children[i];
        struct nearest near = nearest_to(child->key);

        if (child->first_line != 0)
            continue;
        str_reset(&item);
        str_printf(&item, "%s.%s", path, child->key);
        nearest_try(&near, "aggregate_type");
        nearest_try(&near, "event_type");
        if (strcmp(child->key, "aggregate_type") == 0)
            load_pattern(l, child, item.data, &r->match_aggregate_type);
        else if (strcmp(child->key, "event_type") == 0)
            load_pattern(l, child, item.data, &r->match_event_type);
        else
            load_unknown_key(l, child, item.data, &near, "aggregate_type, event_type");
    }
    if (n->count == 0)
        load_problem(l, n->place, path,
                     "is empty; write aggregate_type or event_type, {aggregate_type: \"*\"} for "
                     "every event");
    str_release(&item);
}

#define FIELD_COUNT 5

/* The envelope's members by the names that the configuration has for them. */
static char **find_field(struct envelope_fields *f, size_t i, const char **name)
{
    static const char *const names[FIELD_COUNT] = {"eventId", "eventType", "occurredAt", "version",
                                                   "payload"};
    char **const members[FIELD_COUNT] = {&f->event_id, &f->event_type, &f->occurred_at, &f->version,
                                         &f->payload};

    *name = names[i];
    return members[i];
}

static void load_field(struct loader *l, struct envelope_fields *f, const struct node *child,
                       const char *path)
{
    struct nearest near = nearest_to(child->key);
    struct str text = {0};
    char **member = NULL;
    const char *name;

    for (size_t i = 0; i < FIELD_COUNT; i++) {
        char **candidate = find_field(f, i, &name);

        nearest_try(&near, name);
        if (strcmp(name, child->key) == 0)
            member = candidate;
    }
    if (member == NULL) {
        load_unknown_key(l, child, path, &near, "eventId, eventType, occurredAt, version, payload");
    } else if (load_text(l, child, path, "the member's name", &text)) {
        if (text.len == 0)
            load_problem(l, child->place, path, "is empty; write the member's name");
        else
            load_set_string(member, text.data);
    }
    str_release(&text);
}

static void load_fields(struct loader *l, struct route *r, const struct node *n, const char *path)
{
    struct str item = {0};

    if (!load_children(l, n, path, NODE_MAPPING))
        return;
    for (size_t i = 0; i < n->count; i++) {
        str_reset(&item);
        str_printf(&item, "%s.%s", path, n->children[i].key);
        if (n->children[i].first_line == 0)
            load_field(l, &r->fields, &n->children[i], item.data);
    }
    for (size_t i = 1; i < FIELD_COUNT; i++)
        for (size_t j = 0; j < i; j++) {
            const char *name;
            const char *other;
            const char *a = *find_field(&r->fields, i, &name);
            const char *b = *find_field(&r->fields, j, &other);

            if (strcmp(a, b) == 0)
                load_problem(l, n->place, path,
                             "%s and %s would both be called \"%.60s\"; rename one", other, name,
                             a);
        }
    str_release(&item);
}

/* ---- the list
 * ---------------------------------------------------------------------------------------------------
 */

static const struct route_key route_keys[] = {
    {"name", load_name},
    {"match", load_match},
    {"topic", load_topic_template},
    {"format", load_format},
    {"fields", load_fields},
    {"on_error", load_on_error},
    {"dead_letter_topic", load_dead_letter_topic},
};

#define KNOWN_KEYS "name, match, topic, format, fields, on_error, dead_letter_topic"

static void load_route_key(struct loader *l, struct route *r, const struct node *child,
                           const char *path)
{
    struct nearest near = nearest_to(child->key);

    for (size_t i = 0; i < ARRAY_LEN(route_keys); i++) {
        nearest_try(&near, route_keys[i].name);
        if (strcmp(route_keys[i].name, child->key) == 0) {
            route_keys[i].load(l, r, child, path);
            return;
        }
    }
    load_unknown_key(l, child, path, &near, KNOWN_KEYS);
}

static void load_route(struct loader *l, const struct node *n, const char *path)
{
    struct str item = {0};
    struct route *r;
    const struct node *dlt = n->kind == NODE_MAPPING ? node_child(n, "dead_letter_topic") : NULL;

    if (node_is_null(n)) {
        load_problem(l, n->place, path,
                     "says nothing; write at least name and match, or remove it");
        return;
    }
    if (!load_children(l, n, path, NODE_MAPPING))
        return;
    r = route_table_add(&l->s->routes);
    for (size_t i = 0; i < n->count; i++) {
        str_reset(&item);
        str_printf(&item, "%s.%s", path, n->children[i].key);
        if (n->children[i].first_line == 0)
            load_route_key(l, r, &n->children[i], item.data);
    }
    if (node_child(n, "name") == NULL)
        load_problem(l, n->place, path, "has no name; add name: ...");
    if (node_child(n, "match") == NULL)
        load_problem(l, n->place, path,
                     "does not say what it matches; add match: {aggregate_type: ...}");
    if (dlt != NULL && r->on_error != ON_ERROR_SKIP)
        load_problem(l, dlt->key_place, path,
                     "dead_letter_topic belongs to on_error: skip; remove it");
    str_release(&item);
}

void load_routes(struct loader *l, const struct node *n, const char *path)
{
    struct str item = {0};

    if (!load_children(l, n, path, NODE_SEQUENCE))
        return;
    for (size_t i = 0; i < n->count; i++) {
        str_reset(&item);
        str_printf(&item, "%s[%zu]", path, i);
        load_route(l, &n->children[i], item.data);
    }
    str_release(&item);
}

static void check_allowed(struct loader *l, const struct node *route, const char *key,
                          const char *topic, const char *path)
{
    const struct node *n = node_child(route, key);

    if (n != NULL && topic != NULL && !route_topic_allowed(&l->s->routes, slice_of(topic)))
        load_problem(l, n->place, path,
                     "kafka.topics does not allow \"%s\"; add it there, or name another topic",
                     topic);
}

/* The nodes and the table's routes correspond, because there were no problems: node i is route i
 * + 1. */
void load_check_routes(struct loader *l, const struct node *routes)
{
    for (size_t i = 0; i < routes->count; i++) {
        const struct route *r = &l->s->routes.routes[i + 1];
        struct str path = {0};

        str_printf(&path, "routes[%zu].topic", i);
        check_allowed(l, &routes->children[i], "topic", route_fixed_topic(r), path.data);
        str_reset(&path);
        str_printf(&path, "routes[%zu].dead_letter_topic", i);
        check_allowed(l, &routes->children[i], "dead_letter_topic", r->dead_letter_topic,
                      path.data);
        str_release(&path);
    }
}
