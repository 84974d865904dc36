#include "outbox/lane_where.h"

#include "outbox/sql_fill.h"

#include <string.h>

/* The pattern of message/route.c for LIKE. */
static void put_like(struct str *out, const char *column, const char *pattern)
{
    struct str like = {0};

    for (; *pattern != '\0'; pattern++) {
        if (*pattern == '*') {
            str_put_char(&like, '%');
        } else if (*pattern == '?') {
            str_put_char(&like, '_');
        } else {
            if (strchr("%_\\", *pattern) != NULL)
                str_put_char(&like, '\\');
            str_put_char(&like, *pattern);
        }
    }
    str_printf(out, "%s LIKE ", column);
    sql_put_quoted(out, str_text(&like));
    str_release(&like);
}

static void put_condition(struct str *out, const struct route *r)
{
    const char *both = "";

    if (r->match_aggregate_type == NULL && r->match_event_type == NULL)
        str_puts(out, "true");
    if (r->match_aggregate_type != NULL) {
        put_like(out, "e.aggregate_type", r->match_aggregate_type);
        both = " AND ";
    }
    if (r->match_event_type != NULL) {
        str_puts(out, both);
        put_like(out, "e.event_type", r->match_event_type);
    }
}

/* A name with a brace in it is illegal, so it does not matter what a placeholder in a type becomes.
 */
static void put_topic(struct str *out, const char *template)
{
    if (template == NULL) {
        str_puts(out, "e.aggregate_type || '-events'");
        return;
    }
    str_puts(out, "replace(replace(");
    sql_put_quoted(out, template);
    str_puts(out, ", '{aggregate_type}', e.aggregate_type), '{event_type}', e.event_type)");
}

static void put_quoted_slice(struct str *out, struct slice text)
{
    struct str copy = {0};

    str_put_slice(&copy, text);
    sql_put_quoted(out, str_text(&copy));
    str_release(&copy);
}

void lane_where(struct str *out, const struct route_table *routes, const struct lane_filter *f)
{
    if (f->by == LANE_BY_KEY) {
        str_puts(out, "coalesce(e.partition_key, e.aggregate_id) = ");
        put_quoted_slice(out, f->key);
        return;
    }
    str_puts(out, "CASE WHEN e.topic IS NOT NULL THEN e.topic");
    for (size_t i = 1; i < routes->count; i++) {
        str_puts(out, " WHEN ");
        put_condition(out, &routes->routes[i]);
        str_puts(out, " THEN ");
        put_topic(out, routes->routes[i].topic);
    }
    str_puts(out, " ELSE ");
    put_topic(out, routes->routes[0].topic);
    str_puts(out, " END = ");
    put_quoted_slice(out, f->topic);
}
