#include "message/json_scan.h"

#include <string.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

void json_skip_blanks(struct json_scan *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\t' || *s->at == '\r'))
        s->at++;
}

static bool next_is(const struct json_scan *s, char c)
{
    return s->at < s->end && *s->at == c;
}

bool json_take(struct json_scan *s, char c)
{
    json_skip_blanks(s);
    if (!next_is(s, c))
        return false;
    s->at++;
    return true;
}

/* ---- strings
 * -----------------------------------------------------------------------------------------------------
 */

/* Four hex digits; -1: they are not there. */
static int32_t take_hex4(struct json_scan *s)
{
    int32_t value = 0;

    if (s->end - s->at < 4)
        return -1;
    for (int i = 0; i < 4; i++, s->at++) {
        char c = *s->at;

        if (is_digit(c))
            value = value * 16 + (c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value * 16 + (c - 'a' + 10);
        else if (c >= 'A' && c <= 'F')
            value = value * 16 + (c - 'A' + 10);
        else
            return -1;
    }
    return value;
}

static void put_utf8(struct str *out, uint32_t c)
{
    char bytes[4];
    size_t len = 0;

    if (c < 0x80) {
        bytes[len++] = (char)c;
    } else if (c < 0x800) {
        bytes[len++] = (char)(0xc0 | c >> 6);
        bytes[len++] = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        bytes[len++] = (char)(0xe0 | c >> 12);
        bytes[len++] = (char)(0x80 | (c >> 6 & 0x3f));
        bytes[len++] = (char)(0x80 | (c & 0x3f));
    } else {
        bytes[len++] = (char)(0xf0 | c >> 18);
        bytes[len++] = (char)(0x80 | (c >> 12 & 0x3f));
        bytes[len++] = (char)(0x80 | (c >> 6 & 0x3f));
        bytes[len++] = (char)(0x80 | (c & 0x3f));
    }
    str_put(out, bytes, len);
}

/* Behind "\u". */
static bool take_unicode(struct json_scan *s, struct str *out)
{
    int32_t c = take_hex4(s);
    int32_t low;

    if (c < 0 || (c >= 0xdc00 && c <= 0xdfff))
        return false;
    if (c >= 0xd800 && c <= 0xdbff) {
        if (s->end - s->at < 2 || s->at[0] != '\\' || s->at[1] != 'u')
            return false;
        s->at += 2;
        low = take_hex4(s);
        if (low < 0xdc00 || low > 0xdfff)
            return false;
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    put_utf8(out, (uint32_t)c);
    return true;
}

/* What a letter behind a backslash stands for: the letters, and their meanings in the same order.
 */
static const char escapes[] = "\"\\/bfnrt";
static const char meanings[] = "\"\\/\b\f\n\r\t";

/* Behind a backslash. */
static bool take_escape(struct json_scan *s, struct str *out)
{
    const char *found;

    if (s->at == s->end)
        return false;
    if (*s->at == 'u') {
        s->at++;
        return take_unicode(s, out);
    }
    found = memchr(escapes, *s->at, sizeof escapes - 1);
    if (found == NULL)
        return false;
    s->at++;
    str_put_char(out, meanings[found - escapes]);
    return true;
}

/* The bytes up to the next quote, backslash or control character, which may not stand in a string.
 */
static struct slice take_plain(struct json_scan *s)
{
    const char *start = s->at;

    while (s->at < s->end && (unsigned char)*s->at >= 0x20 && *s->at != '"' && *s->at != '\\')
        s->at++;
    return (struct slice){.ptr = start, .len = (size_t)(s->at - start)};
}

bool json_take_string(struct json_scan *s, struct str *out)
{
    if (!json_take(s, '"'))
        return false;
    for (;;) {
        str_put_slice(out, take_plain(s));
        if (s->at == s->end)
            return false;
        switch (*s->at) {
        case '"':
            s->at++;
            return true;
        case '\\':
            s->at++;
            if (!take_escape(s, out))
                return false;
            break;
        default:
            return false;
        }
    }
}

/* ---- values as text
 * ---------------------------------------------------------------------------------------------- */

/* A string with its quotes, as it is written. */
static bool copy_string(struct json_scan *s, struct str *out)
{
    const char *start = s->at;

    if (!next_is(s, '"'))
        return false;
    s->at++;
    for (;;) {
        (void)take_plain(s);
        if (s->at == s->end)
            return false;
        if (*s->at == '"')
            break;
        if (*s->at != '\\' || ++s->at == s->end)
            return false;
        if (*s->at == 'u') {
            s->at++;
            if (take_hex4(s) < 0)
                return false;
        } else if (memchr(escapes, *s->at, sizeof escapes - 1) != NULL) {
            s->at++;
        } else {
            return false;
        }
    }
    s->at++;
    str_put(out, start, (size_t)(s->at - start));
    return true;
}

static bool skip_digits(struct json_scan *s)
{
    const char *start = s->at;

    while (s->at < s->end && is_digit(*s->at))
        s->at++;
    return s->at > start;
}

static bool copy_number(struct json_scan *s, struct str *out)
{
    const char *start = s->at;

    if (next_is(s, '-'))
        s->at++;
    if (next_is(s, '0'))
        s->at++;
    else if (!skip_digits(s))
        return false;
    if (next_is(s, '.')) {
        s->at++;
        if (!skip_digits(s))
            return false;
    }
    if (next_is(s, 'e') || next_is(s, 'E')) {
        s->at++;
        if (next_is(s, '+') || next_is(s, '-'))
            s->at++;
        if (!skip_digits(s))
            return false;
    }
    str_put(out, start, (size_t)(s->at - start));
    return true;
}

static bool copy_word(struct json_scan *s, struct str *out, const char *word)
{
    size_t len = strlen(word);

    if ((size_t)(s->end - s->at) < len || memcmp(s->at, word, len) != 0)
        return false;
    s->at += len;
    str_put(out, word, len);
    return true;
}

static bool copy_scalar(struct json_scan *s, struct str *out)
{
    if (s->at == s->end)
        return false;
    switch (*s->at) {
    case '"':
        return copy_string(s, out);
    case 't':
        return copy_word(s, out, "true");
    case 'f':
        return copy_word(s, out, "false");
    case 'n':
        return copy_word(s, out, "null");
    default:
        return copy_number(s, out);
    }
}

/* A member's name and its colon. */
static bool copy_name(struct json_scan *s, struct str *out)
{
    json_skip_blanks(s);
    if (!copy_string(s, out) || !json_take(s, ':'))
        return false;
    str_put_char(out, ':');
    return true;
}

/* The arrays and objects that are open, innermost last: their closing characters. */
struct open_list {
    char closer[JSON_SCAN_MAX_DEPTH];
    size_t depth;
};

/* An opening bracket, and if it is an object that is not empty, its first name. False at a fault.
 */
static bool copy_open(struct json_scan *s, struct str *out, struct open_list *open, bool *empty)
{
    char closer = *s->at == '{' ? '}' : ']';

    if (open->depth == JSON_SCAN_MAX_DEPTH)
        return false;
    str_put_char(out, *s->at++);
    json_skip_blanks(s);
    *empty = next_is(s, closer);
    open->closer[open->depth++] = closer;
    return *empty || closer == ']' || copy_name(s, out);
}

/* Behind a value: what closes here, then the comma before the next one (and its name). False at a
 * fault; when the outermost value has ended, open->depth is 0. */
static bool copy_close(struct json_scan *s, struct str *out, struct open_list *open)
{
    while (open->depth > 0 && json_take(s, open->closer[open->depth - 1]))
        str_put_char(out, open->closer[--open->depth]);
    if (open->depth == 0)
        return true;
    if (!json_take(s, ','))
        return false;
    str_put_char(out, ',');
    return open->closer[open->depth - 1] == ']' || copy_name(s, out);
}

bool json_take_text(struct json_scan *s, struct str *out)
{
    struct open_list open;

    open.depth = 0;
    do {
        bool empty = true;

        json_skip_blanks(s);
        if (next_is(s, '{') || next_is(s, '[')) {
            if (!copy_open(s, out, &open, &empty))
                return false;
        } else if (!copy_scalar(s, out)) {
            return false;
        }
        if (empty && !copy_close(s, out, &open))
            return false;
    } while (open.depth > 0);
    return true;
}
