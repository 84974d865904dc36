/* Growing strings, and slices of memory that somebody else owns.
 *
 * A struct str is embedded and reused: str_reset keeps the memory, so that the hot path does not
 * allocate once the buffer has found its size. Running out of memory ends the process (xmalloc): a
 * relay that stops loses nothing. */
#ifndef OUTBOXD_BASE_STR_H
#define OUTBOXD_BASE_STR_H

#include "base/err.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Memory borrowed from its owner; ptr == NULL means SQL NULL or "absent", which differs from an
 * empty slice. */
struct slice {
    const char *ptr;
    size_t len;
};

#define SLICE_LIT(s) ((struct slice){.ptr = (s), .len = sizeof(s) - 1})
#define SLICE_FMT(s) (int)(s).len, (s).ptr /* for "%.*s" */

struct slice slice_of(const char *text); /* of a C string; NULL gives the NULL slice */
bool slice_eq(struct slice a, struct slice b);
bool slice_is(struct slice a, const char *text);

/* Always NUL-terminated once written to; `data` is NULL before. */
struct str {
    char *data;
    size_t len;
    size_t cap;
};

void str_release(struct str *s);
void str_reset(struct str *s);                 /* length 0, memory kept; data is "" */
void str_reserve(struct str *s, size_t extra); /* room for `extra` more bytes and the NUL */
void str_put(struct str *s, const void *data, size_t len);
void str_put_char(struct str *s, char c);
void str_puts(struct str *s, const char *text);
void str_put_slice(struct str *s, struct slice piece);
void str_printf(struct str *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
void str_vprintf(struct str *s, const char *fmt, va_list ap) PRINTF_LIKE(2, 0);
void str_set(struct str *s, const char *text); /* reset, then puts; NULL makes it empty */
void str_copy(struct str *to, const struct str *from);
const char *str_text(const struct str *s); /* "" before the first write */
struct slice str_slice(const struct str *s);

/* The text as a JSON string, with its quotes: control characters, quote and backslash escaped (RFC
 * 8259). The bytes must be UTF-8, which Postgres guarantees for client_encoding UTF8. */
void str_put_json(struct str *s, struct slice text);

/* Allocation that cannot fail: on exhaustion one line to stderr, then abort(). */
void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *old, size_t size);
char *xstrdup(const char *text);
char *xstrndup(const char *text, size_t len);

#endif
