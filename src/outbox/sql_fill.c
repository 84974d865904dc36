#include "outbox/sql_fill.h"

#include "outbox/sql_texts.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_name_char(char c)
{
    return islower((unsigned char)c) || c == '_';
}

static const char *value_of(const char *query, struct slice name, const struct sql_value *values,
                            size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_is(name, values[i].name))
            return values[i].text;
    }
    (void)fprintf(stderr, "outboxd: query %s: no value for :%.*s\n", query, SLICE_FMT(name));
    abort();
}

/* Comments go: they may hold colons, and the server need not read them. */
static const char *skip_comment(const char *at)
{
    const char *end = strchr(at, '\n');

    return end != NULL ? end : at + strlen(at);
}

void sql_fill(struct str *out, const char *query, const struct sql_value *values, size_t count)
{
    const char *at = sql_query(query);

    while (*at != '\0') {
        if (at[0] == '-' && at[1] == '-') {
            at = skip_comment(at);
        } else if (at[0] == ':' && at[1] == ':') {
            str_put(out, at, 2);
            at += 2;
        } else if (at[0] == ':' && is_name_char(at[1])) {
            struct slice name = {.ptr = at + 1, .len = 0};

            while (is_name_char(name.ptr[name.len]))
                name.len++;
            str_puts(out, value_of(query, name, values, count));
            at = name.ptr + name.len;
        } else {
            str_put_char(out, *at++);
        }
    }
}

void sql_put_quoted(struct str *out, const char *text)
{
    /* E'' makes a backslash mean the same whatever standard_conforming_strings says */
    str_puts(out, strchr(text, '\\') != NULL ? " E'" : "'");
    for (; *text != '\0'; text++) {
        if (*text == '\'' || *text == '\\')
            str_put_char(out, *text);
        str_put_char(out, *text);
    }
    str_put_char(out, '\'');
}

static const char *skip_digits(const char *at)
{
    while (isdigit((unsigned char)*at))
        at++;
    return at;
}

bool sql_snapshot_parse(const char *text, struct slice *xmax, bool *has_xip)
{
    const char *at = skip_digits(text);
    const char *start;

    if (at == text || *at != ':')
        return false;
    start = at + 1;
    at = skip_digits(start);
    if (at == start || *at != ':')
        return false;
    xmax->ptr = start;
    xmax->len = (size_t)(at - start);
    *has_xip = at[1] != '\0';
    while (at[1] != '\0') {
        start = at + 1;
        at = skip_digits(start);
        if (at == start || (*at != ',' && *at != '\0') || (*at == ',' && at[1] == '\0'))
            return false;
        if (*at == '\0')
            break;
    }
    return true;
}
