#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct slice slice_of(const char *text)
{
    return (struct slice){.ptr = text, .len = text == NULL ? 0 : strlen(text)};
}

bool slice_eq(struct slice a, struct slice b)
{
    if (a.ptr == NULL || b.ptr == NULL)
        return a.ptr == b.ptr;
    return a.len == b.len && memcmp(a.ptr, b.ptr, a.len) == 0;
}

bool slice_is(struct slice a, const char *text)
{
    return slice_eq(a, slice_of(text));
}

void str_release(struct str *s)
{
    free(s->data);
    *s = (struct str){0};
}

void str_reset(struct str *s)
{
    str_reserve(s, 0);
    s->len = 0;
    s->data[0] = '\0';
}

void str_reserve(struct str *s, size_t extra)
{
    size_t need = s->len + extra + 1;
    size_t cap = s->cap == 0 ? 32 : s->cap;

    if (need <= s->cap)
        return;
    while (cap < need)
        cap *= 2;
    s->data = xrealloc(s->data, cap);
    if (s->cap == 0)
        s->data[0] = '\0';
    s->cap = cap;
}

void str_put(struct str *s, const void *data, size_t len)
{
    if (s->cap - s->len <=
        len) /* room for the NUL too; checked here because the call would cost more than the copy */
        str_reserve(s, len);
    if (len > 0)
        memcpy(s->data + s->len, data, len);
    s->len += len;
    s->data[s->len] = '\0';
}

void str_put_char(struct str *s, char c)
{
    if (s->cap - s->len <= 1)
        str_reserve(s, 1);
    s->data[s->len++] = c;
    s->data[s->len] = '\0';
}

void str_puts(struct str *s, const char *text)
{
    str_put(s, text, strlen(text));
}

void str_put_slice(struct str *s, struct slice piece)
{
    str_put(s, piece.ptr, piece.len);
}

void str_vprintf(struct str *s, const char *fmt, va_list ap)
{
    va_list again;
    int n;

    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    if (n < 0)
        return;
    str_reserve(s, (size_t)n);
    (void)vsnprintf(s->data + s->len, (size_t)n + 1, fmt, ap);
    s->len += (size_t)n;
}

void str_printf(struct str *s, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    str_vprintf(s, fmt, ap);
    va_end(ap);
}

void str_set(struct str *s, const char *text)
{
    str_reset(s);
    if (text != NULL)
        str_puts(s, text);
}

void str_copy(struct str *to, const struct str *from)
{
    str_reset(to);
    str_put(to, from->data, from->len);
}

const char *str_text(const struct str *s)
{
    return s->data == NULL ? "" : s->data;
}

struct slice str_slice(const struct str *s)
{
    return (struct slice){.ptr = str_text(s), .len = s->len};
}

void str_put_json(struct str *s, struct slice text)
{
    size_t start = 0;

    str_put_char(s, '"');
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];

        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        str_put(s, text.ptr + start, i - start);
        start = i + 1;
        switch (c) {
        case '"':
            str_puts(s, "\\\"");
            break;
        case '\\':
            str_puts(s, "\\\\");
            break;
        case '\n':
            str_puts(s, "\\n");
            break;
        case '\r':
            str_puts(s, "\\r");
            break;
        case '\t':
            str_puts(s, "\\t");
            break;
        default:
            str_printf(s, "\\u%04x", c);
        }
    }
    str_put(s, text.ptr + start, text.len - start);
    str_put_char(s, '"');
}

static void out_of_memory(size_t size)
{
    (void)fprintf(stderr, "outboxd: out of memory (%zu bytes wanted)\n", size);
    abort();
}

void *xmalloc(size_t size)
{
    void *p = malloc(size == 0 ? 1 : size);

    if (p == NULL)
        out_of_memory(size);
    return p;
}

void *xcalloc(size_t count, size_t size)
{
    void *p = calloc(count == 0 ? 1 : count, size == 0 ? 1 : size);

    if (p == NULL)
        out_of_memory(size);
    return p;
}

void *xrealloc(void *old, size_t size)
{
    void *p = realloc(old, size == 0 ? 1 : size);

    if (p == NULL)
        out_of_memory(size);
    return p;
}

char *xstrndup(const char *text, size_t len)
{
    char *p = xmalloc(len + 1);

    memcpy(p, text, len);
    p[len] = '\0';
    return p;
}

char *xstrdup(const char *text)
{
    return xstrndup(text, strlen(text));
}
