#include "message/headers.h"

#include "message/json_scan.h"

#include <assert.h>
#include <string.h>

static bool is_ours(struct slice name)
{
    return slice_is(name, HEADER_EVENT_ID) || slice_is(name, HEADER_EVENT_TYPE) ||
           slice_is(name, HEADER_EVENT_TIME) || slice_is(name, HEADER_CONTENT_TYPE);
}

/* A name's quotes make room for its NUL, and nothing else grows. */
size_t headers_room(struct slice json)
{
    return json.len;
}

static struct slice written_since(const struct str *buf, size_t start)
{
    return (struct slice){.ptr = buf->data + start, .len = buf->len - start};
}

static bool take_value(struct json_scan *s, struct str *buf, struct slice *value)
{
    size_t start = buf->len;

    json_skip_blanks(s);
    if (s->at < s->end && *s->at == '"') {
        if (!json_take_string(s, buf))
            return false;
        *value = written_since(buf, start);
        return true;
    }
    if (!json_take_text(s, buf))
        return false;
    *value = written_since(buf, start);
    if (slice_is(*value, "null")) {
        *value = (struct slice){0};
        buf->len = start;
    }
    return true;
}

static int not_an_object(const struct json_scan *s, struct slice json, struct err *err)
{
    return err_set(err, ERR_CONFIG,
                   "the row's headers are no JSON object that can be sent (byte %zu of %zu): "
                   "correct the row",
                   (size_t)(s->at - json.ptr), json.len);
}

static int append_member(struct message *m, struct json_scan *s, struct slice json, struct err *err)
{
    struct str *buf = &m->header_buf;
    size_t start = buf->len;
    struct message_header h;

    if (!json_take_string(s, buf))
        return not_an_object(s, json, err);
    h.name = written_since(buf, start);
    if (memchr(h.name.ptr, '\0', h.name.len) != NULL)
        return err_set(
            err, ERR_CONFIG,
            "a name among the row's headers holds a NUL (byte %zu of %zu): correct the row",
            (size_t)(s->at - json.ptr), json.len);
    str_put_char(buf, '\0');
    if (!json_take(s, ':') || !take_value(s, buf, &h.value))
        return not_an_object(s, json, err);
    if (is_ours(h.name)) {
        buf->len = start;
        return 0;
    }
    if (m->header_count == MESSAGE_MAX_HEADERS)
        return err_set(err, ERR_CONFIG,
                       "the row has more than %d headers of its own: correct the row",
                       MESSAGE_MAX_HEADERS - MESSAGE_OWN_HEADERS);
    m->headers[m->header_count++] = h;
    return 0;
}

/* true: the text is JSON's null, as some mappers write an empty map. */
static bool is_null(struct slice json)
{
    struct json_scan s = {.at = json.ptr, .end = json.ptr + json.len};

    json_skip_blanks(&s);
    if (s.end - s.at < 4 || memcmp(s.at, "null", 4) != 0)
        return false;
    s.at += 4;
    json_skip_blanks(&s);
    return s.at == s.end;
}

int headers_append(struct message *m, struct slice json, struct err *err)
{
    struct json_scan s = {.at = json.ptr, .end = json.ptr + json.len};
    const char *data = m->header_buf.data;

    if (is_null(json))
        return 0;
    if (!json_take(&s, '{'))
        return not_an_object(&s, json, err);
    if (!json_take(&s, '}')) {
        do {
            if (append_member(m, &s, json, err) != 0)
                return -1;
        } while (json_take(&s, ','));
        if (!json_take(&s, '}'))
            return not_an_object(&s, json, err);
    }
    json_skip_blanks(&s);
    if (s.at != s.end)
        return not_an_object(&s, json, err);
    assert(m->header_buf.data == data);
    return 0;
}
