/* libpq connection strings without their passwords. The rules are libpq's own (conninfo_parse and
 * conninfo_uri_parse in its fe-connect.c), on the safe side: what is doubtful is hidden. */
#include "settings/check.h"
#include "settings/nearest.h"
#include "settings/settings.h"

#include <stdlib.h>
#include <string.h>

#define HIDDEN "***"

/* Also what is nearly one: libpq refuses `pasword=x`, but its value is a secret all the same. */
static bool is_secret_key(const char *key, size_t len)
{
    char *name = xstrndup(key, len);
    struct nearest n = nearest_to(name);
    bool secret;

    nearest_try(&n, "password");
    nearest_try(&n, "sslpassword");
    secret = nearest_word(&n) != NULL;
    free(name);
    return secret;
}

/* ---- key=value
 * --------------------------------------------------------------------------------------------------
 */

struct pair {
    const char *key;
    size_t key_len;
    const char *value; /* behind the equals sign and its blanks */
    const char *end;   /* behind the value */
};

static const char blanks[] = " \t\n\r\v\f";

/* Behind a value: quoted or not, with backslash escapes. NULL when a quote is not closed. */
static const char *skip_value(const char *p)
{
    bool quoted = *p == '\'';

    for (p += quoted; *p != '\0'; p++) {
        if (quoted ? *p == '\'' : strchr(blanks, *p) != NULL)
            return p + quoted;
        if (*p == '\\' && p[1] != '\0')
            p++;
    }
    return quoted ? NULL : p;
}

/* The pair at p, which is no blank. False when there is none: no equals sign, or an open quote. */
static bool read_pair(const char *p, struct pair *pair)
{
    const char *equals;

    pair->key = p;
    pair->key_len = strcspn(p, "= \t\n\r\v\f");
    equals = p + pair->key_len + strspn(p + pair->key_len, blanks);
    if (*equals != '=')
        return false;
    pair->value = equals + 1 + strspn(equals + 1, blanks);
    pair->end = skip_value(pair->value);
    return pair->end != NULL;
}

bool conninfo_has_pairs(const char *conninfo)
{
    const char *p = conninfo + strspn(conninfo, blanks);
    struct pair pair;

    for (; *p != '\0'; p = pair.end + strspn(pair.end, blanks))
        if (!read_pair(p, &pair))
            return false;
    return true;
}

static bool mask_pairs(const char *p, struct str *out)
{
    bool found = false;

    for (;;) {
        size_t gap = strspn(p, blanks);
        struct pair pair;

        str_put(out, p, gap);
        p += gap;
        if (*p == '\0')
            return found;
        if (!read_pair(p, &pair)) { /* libpq will refuse it; what is left may be anything */
            str_puts(out, HIDDEN);
            return true;
        }
        if (is_secret_key(pair.key, pair.key_len)) {
            str_put(out, p, (size_t)(pair.value - p));
            str_puts(out, HIDDEN);
            found = true;
        } else {
            str_put(out, p, (size_t)(pair.end - p));
        }
        p = pair.end;
    }
}

/* ---- URL
 * --------------------------------------------------------------------------------------------------------
 */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* libpq decodes the names of parameters, so that %70assword is the password too. */
static bool is_secret_parameter(const char *name, size_t len)
{
    struct str key = {0};
    bool secret;

    for (size_t i = 0; i < len; i++) {
        int high = name[i] == '%' && i + 2 < len ? hex_digit(name[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(name[i + 2]) : -1;

        if (low >= 0) {
            str_put_char(&key, (char)(high * 16 + low));
            i += 2;
        } else {
            str_put_char(&key, name[i]);
        }
    }
    secret = is_secret_key(str_text(&key), key.len);
    str_release(&key);
    return secret;
}

static bool mask_parameters(const char *p, struct str *out)
{
    bool found = false;

    while (*p != '\0') {
        size_t len = strcspn(p, "&");
        const char *equals = memchr(p, '=', len);

        if (equals != NULL && is_secret_parameter(p, (size_t)(equals - p))) {
            str_put(out, p, (size_t)(equals - p) + 1);
            str_puts(out, HIDDEN);
            found = true;
        } else {
            str_put(out, p, len);
        }
        p += len;
        if (*p == '&')
            str_put_char(out, *p++);
    }
    return found;
}

/* `p` starts behind "postgres://". The password reaches to the last '@' before the parameters, even
 * where libpq would stop at the first: somebody may have forgotten to write %40. */
static bool mask_url(const char *p, struct str *out)
{
    const char *first_at = strchr(p, '@');
    const char *query = strchr(first_at == NULL ? p : first_at, '?');
    const char *end = query == NULL ? p + strlen(p) : query;
    const char *at = first_at == NULL ? NULL : memrchr(p, '@', (size_t)(end - p));
    const char *colon = at == NULL ? NULL : memchr(p, ':', (size_t)(at - p));
    bool found = colon != NULL && memchr(p, '/', (size_t)(first_at - p)) == NULL;

    if (colon != NULL) {
        /* libpq finds no password behind a slash: what looks like one there is hidden with all
         * before it, so that the result has none either */
        if (found)
            str_put(out, p, (size_t)(colon - p) + 1);
        str_puts(out, HIDDEN);
        p = at;
    }
    str_put(out, p, (size_t)(end - p));
    if (query != NULL) {
        str_put_char(out, '?');
        found = mask_parameters(query + 1, out) || found;
    }
    return found;
}

static const char *const schemes[] = {"postgres://", "postgresql://"};

bool conninfo_is_url(const char *conninfo)
{
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
        if (strncmp(conninfo, schemes[i], strlen(schemes[i])) == 0)
            return true;
    return false;
}

bool conninfo_mask(const char *conninfo, struct str *out)
{
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        size_t len = strlen(schemes[i]);

        if (strncmp(conninfo, schemes[i], len) == 0) {
            str_put(out, conninfo, len);
            return mask_url(conninfo + len, out);
        }
    }
    return mask_pairs(conninfo, out);
}
