#include "settings/text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECRET_MAX_BYTES ((size_t)64 * 1024)
#define NAME_MAX_BYTES   128

/* ---- UTF-8
 * ------------------------------------------------------------------------------------------------------
 */

/* Decodes one character at p (the text is NUL-terminated, so that a cut sequence ends the check in
 * time); returns its length, or 0 when it is no UTF-8 (overlong forms and surrogates are none). */
static size_t decode(const char *text, unsigned *out)
{
    const unsigned char *p = (const unsigned char *)text;
    static const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = p[0] < 0x80 ? 1 : p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc0 ? 2 : 0;
    unsigned c;

    if (len == 0 || p[0] > 0xf4)
        return 0;
    c = len == 1 ? p[0] : p[0] & (0x7fU >> len);
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3fU);
    }
    *out = c;
    return c < least[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) ? 0 : len;
}

static bool is_utf8(const char *text)
{
    unsigned c;
    size_t len;

    for (; *text != '\0'; text += len) {
        len = decode(text, &c);
        if (len == 0)
            return false;
    }
    return true;
}

/* ---- the environment
 * -------------------------------------------------------------------------------------------- */

static const char *look_up(const char *name, char host[HOST_NAME_MAX + 1])
{
    const char *value = getenv(name);

    if (value == NULL && strcmp(name, "HOSTNAME") == 0 && gethostname(host, HOST_NAME_MAX) == 0) {
        host[HOST_NAME_MAX] = '\0';
        return host;
    }
    return value;
}

static bool is_variable_name(const char *name, size_t len)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789";

    return len > 0 && len < NAME_MAX_BYTES && strspn(name, letters) >= len &&
           (name[0] < '0' || name[0] > '9');
}

/* `text` starts behind "${"; *end is set behind the closing brace. */
static int expand_variable(const char *text, const char **end, struct str *out, struct err *err)
{
    char name[NAME_MAX_BYTES];
    char host[HOST_NAME_MAX + 1];
    size_t len = strcspn(text, ":}");
    const char *close = strchr(text, '}');
    bool has_default = strncmp(text + len, ":-", 2) == 0;
    const char *value;

    if (close == NULL)
        return err_set(err, ERR_CONFIG,
                       "has \"${\" without its closing brace; write ${NAME}, or $$ for a dollar");
    if (!is_variable_name(text, len) || (text[len] == ':' && !has_default))
        return err_set(
            err, ERR_CONFIG,
            "\"${%.*s}\" names no variable; write ${NAME}, ${NAME:-default}, or $$ for a dollar",
            (int)(close - text < 40 ? close - text : 40), text);
    memcpy(name, text, len);
    name[len] = '\0';
    *end = close + 1;
    value = look_up(name, host);
    if (has_default && (value == NULL || value[0] == '\0')) {
        str_put(out, text + len + 2, (size_t)(close - (text + len + 2)));
        return 0;
    }
    if (value == NULL)
        return err_set(err, ERR_CONFIG,
                       "the environment variable %s is not set; set it, or write ${%s:-default}",
                       name, name);
    if (!is_utf8(value))
        return err_set(err, ERR_CONFIG, "the environment variable %s is no UTF-8 text; set it anew",
                       name);
    str_puts(out, value);
    return 0;
}

int text_expand(const char *text, struct str *out, struct err *err)
{
    while (*text != '\0') {
        size_t plain = strcspn(text, "$");

        str_put(out, text, plain);
        text += plain;
        if (text[0] == '\0')
            break;
        if (text[1] == '$') {
            str_put_char(out, '$');
            text += 2;
        } else if (text[1] == '{') {
            if (expand_variable(text + 2, &text, out, err) != 0)
                return -1;
        } else {
            return err_set(err, ERR_CONFIG,
                           "has a lone dollar; write $$ for a dollar, ${NAME} for a variable");
        }
    }
    return 0;
}

/* ---- files
 * ------------------------------------------------------------------------------------------------------
 */

static int read_all(int fd, size_t max_bytes, struct str *out, struct err *err)
{
    for (;;) {
        ssize_t n;

        str_reserve(out, 4096);
        n = read(fd, out->data + out->len, 4096);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set(err, ERR_CONFIG, "cannot be read: %s", strerror(errno));
        if (n == 0)
            break;
        out->len += (size_t)n;
        if (out->len > max_bytes)
            return err_set(err, ERR_CONFIG,
                           "has more than %zu bytes; this is hardly the right file", max_bytes);
    }
    out->data[out->len] = '\0';
    return 0;
}

int text_read_file(const char *path, size_t max_bytes, struct str *out, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    int why = errno;
    struct stat st;
    int rc;

    str_reset(out);
    if (fd < 0 && why == ENOENT)
        return err_set(err, ERR_CONFIG, "does not exist; check the path");
    if (fd < 0)
        return err_set(err, ERR_CONFIG, "cannot be read: %s; check its owner and mode",
                       strerror(why));
    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
        rc = err_set(err, ERR_CONFIG, "is a directory; name a file");
    else
        rc = read_all(fd, max_bytes, out, err);
    (void)close(fd);
    return rc;
}

int text_read_secret(const char *path, struct str *out, struct err *err)
{
    int rc = text_read_file(path, SECRET_MAX_BYTES, out, err);

    if (rc == 0 && out->len > 0 && out->data[out->len - 1] == '\n')
        out->data[--out->len] = '\0';
    if (rc == 0 && out->len > 0 && out->data[out->len - 1] == '\r')
        out->data[--out->len] = '\0';
    if (rc == 0 && out->len == 0)
        rc = err_set(err, ERR_CONFIG, "is empty; write the secret into it");
    if (rc == 0 && strlen(out->data) != out->len)
        rc = err_set(err, ERR_CONFIG, "holds a NUL byte; a secret is text");
    return rc == 0 ? 0 : err_wrap(err, "%.200s", path);
}

/* ---- YAML out
 * ---------------------------------------------------------------------------------------------------
 */

/* Letters and digits that need no quotes wherever they stand, and that no reader takes for anything
 * but text or a number. */
static bool is_plain_yaml(const char *text)
{
    static const char *const words[] = {"null", "true", "false", "yes", "no",
                                        "on",   "off",  "y",     "n"};
    size_t len = strlen(text);

    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strcasecmp(text, words[i]) == 0)
            return false;
    return len > 0 &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
               len &&
           text[0] != '-' && text[0] != '.';
}

/* Characters that YAML does not allow unescaped, or that it takes for the end of a line. */
static bool must_be_escaped(unsigned c)
{
    return c < 0x20 || (c >= 0x7f && c <= 0xa0) || c == 0x2028 || c == 0x2029 || c == 0xfeff ||
           c == 0xfffe || c == 0xffff;
}

static void put_scalar(struct str *out, const char *text, const char *dollar)
{
    if (is_plain_yaml(text)) {
        str_puts(out, text);
        return;
    }
    str_put_char(out, '"');
    while (*text != '\0') {
        unsigned c = 0;
        size_t len = decode(text, &c);

        if (len == 0) { /* not reached with UTF-8 */
            len = 1;
            c = 0xfffd;
        }
        if (c == '"' || c == '\\')
            str_printf(out, "\\%c", (char)c);
        else if (c == '$')
            str_puts(out, dollar);
        else if (must_be_escaped(c) || c == 0xfffd)
            str_printf(out, "\\u%04x", c);
        else
            str_put(out, text, len);
        text += len;
    }
    str_put_char(out, '"');
}

void text_put_yaml(struct str *out, const char *text)
{
    put_scalar(out, text, "$$");
}

void text_put_key(struct str *out, const char *text)
{
    put_scalar(out, text, "$");
}
