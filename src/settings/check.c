#include "settings/check.h"

#include "base/address.h"
#include "base/str.h"
#include "kafka/config.h"

#include <string.h>

int check_conninfo(const char *value, struct err *err)
{
    if (conninfo_is_url(value) || conninfo_has_pairs(value))
        return 0;
    return err_set(
        err, ERR_CONFIG,
        "is no connection string; write postgres://user@host/database, or key=value pairs "
        "such as host=db dbname=orders");
}

/* ---- brokers -------------------------------------------------------------------------------- */

static bool is_port(const char *text, size_t len)
{
    unsigned long port = 0;

    if (len == 0 || len > 5)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        port = port * 10 + (unsigned long)(text[i] - '0');
    }
    return port >= 1 && port <= 65535;
}

/* [proto://]host[:port], the host as a name, an IPv4 address, or an IPv6 address in brackets. */
static bool is_broker(const char *text, size_t len)
{
    const char *scheme = memmem(text, len, "://", 3);
    const char *end = text + len;
    const char *host = scheme == NULL ? text : scheme + 3;
    const char *colon;
    size_t host_len;

    if (host < end && *host == '[') {
        const char *close = memchr(host, ']', (size_t)(end - host));

        if (close == NULL || close == host + 1)
            return false;
        return close + 1 == end ||
               (close[1] == ':' && is_port(close + 2, (size_t)(end - close - 2)));
    }
    colon = memchr(host, ':', (size_t)(end - host));
    host_len = (size_t)((colon == NULL ? end : colon) - host);
    for (size_t i = 0; i < host_len; i++)
        if ((unsigned char)host[i] <= ' ' || strchr("/@\"'[]{}", host[i]) != NULL)
            return false;
    return host_len > 0 && (colon == NULL || is_port(colon + 1, (size_t)(end - colon - 1)));
}

int check_brokers(const char *value, struct err *err)
{
    const char *p = value;

    for (;;) {
        const char *comma = p + strcspn(p, ",");
        const char *end = comma;

        while (p < end && *p == ' ')
            p++;
        while (end > p && end[-1] == ' ')
            end--;
        if (!is_broker(p, (size_t)(end - p)))
            return err_set(err, ERR_CONFIG,
                           "\"%.*s\" is no broker; write host:port, several separated by commas, "
                           "such as kafka-1:9092,kafka-2:9092",
                           (int)(end - p < 60 ? end - p : 60), p);
        if (*comma == '\0')
            return 0;
        p = comma + 1;
    }
}

int check_listen(const char *value, struct err *err)
{
    struct address address;

    return value[0] == '\0' ? 0 : address_parse(value, &address, err);
}

/* ---- names ---------------------------------------------------------------------------------- */

int check_name(const char *value, struct err *err)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t len = strlen(value);

    if (len > 0 && len <= 63 && strspn(value, letters) == len)
        return 0;
    return err_set(err, ERR_CONFIG,
                   "\"%.70s\" is no name; write 1 to 63 letters, digits, dots, underscores or "
                   "hyphens",
                   value);
}

int check_instance(const char *value, struct err *err)
{
    size_t len = strlen(value);

    for (size_t i = 0; i < len; i++)
        if ((unsigned char)value[i] < ' ' || value[i] == 0x7f)
            return err_set(err, ERR_CONFIG, "holds a control character; write a plain name");
    if (len > 0 && len <= 255)
        return 0;
    return err_set(err, ERR_CONFIG, "has %zu bytes; write a name of 1 to 255 bytes", len);
}

/* ---- properties of librdkafka --------------------------------------------------------------- */

/* The Kafka side knows which properties exist and which the promises rest on; its text says
 * kafka.properties first, which the problem's path does too. */
int check_property(const char *name, const char *value, struct err *err)
{
    static const char prefix[] = "kafka.properties: ";
    const struct kafka_pair pair = {.name = name, .value = value};
    size_t skip = sizeof prefix - 1;
    struct err why;

    if (kafka_properties_check(&pair, 1, &why) == 0)
        return 0;
    if (strncmp(why.text, prefix, skip) != 0)
        skip = 0;
    return err_set(err, why.kind, "%s", why.text + skip);
}

bool property_is_secret(const char *name)
{
    static const char *const marks[] = {"password", "secret", "ssl.key.pem", "oauthbearer.config",
                                        "oauthbearer.extensions"};

    for (size_t i = 0; i < ARRAY_LEN(marks); i++)
        if (strcasestr(name, marks[i]) != NULL)
            return true;
    return false;
}
