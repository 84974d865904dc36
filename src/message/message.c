/* From an event to a message: route, topic, key, headers, value. What can fail is the topic and the
 * row's own headers; both are told before anything is handed out. */
#include "message/message.h"

#include "message/build.h"
#include "message/headers.h"

void message_init(struct message *m)
{
    *m = (struct message){0};
}

void message_release(struct message *m)
{
    str_release(&m->topic_buf);
    str_release(&m->value_buf);
    str_release(&m->header_buf);
}

static void put_topic(struct str *out, const char *template, const struct event *e)
{
    str_reset(out);
    if (e->topic.ptr != NULL) {
        str_put_slice(out, e->topic);
    } else if (template != NULL) {
        topic_expand(out, template, e->aggregate_type, e->event_type);
    } else {
        str_put_slice(out, e->aggregate_type);
        str_puts(out, "-events");
    }
}

void message_address(struct message *m, const struct route_table *routes, const struct event *e)
{
    m->route = route_find(routes, e);
    put_topic(&m->topic_buf, routes->routes[m->route].topic, e);
    m->topic = (struct slice){0};
    if (topic_name_is_legal(str_slice(&m->topic_buf)))
        m->topic = str_slice(&m->topic_buf);
    m->key = e->partition_key.ptr != NULL ? e->partition_key : e->aggregate_id;
}

static bool is_enveloped(const struct route *route, const struct event *e)
{
    return route->format == FORMAT_ENVELOPE && e->payload_bytes.ptr == NULL;
}

static struct slice content_type(const struct route *route, const struct event *e)
{
    /* The row's word is about its payload, and an envelope is JSON whatever it holds. */
    if (is_enveloped(route, e))
        return SLICE_LIT("application/json");
    if (e->content_type.ptr != NULL)
        return e->content_type;
    return e->payload_bytes.ptr != NULL ? SLICE_LIT("application/octet-stream")
                                        : SLICE_LIT("application/json");
}

static struct slice put_time(struct str *buf, int64_t us)
{
    char text[MESSAGE_TIME_SIZE];
    size_t start = buf->len;
    size_t len = message_format_time(us, text);

    str_put(buf, text, len);
    return (struct slice){.ptr = buf->data + start, .len = len};
}

static struct slice put_event_id(struct str *buf, const struct event *e)
{
    char text[EVENT_ID_TEXT];
    size_t start = buf->len;

    event_id_text(e->event_id, text);
    str_put(buf, text, sizeof text - 1);
    return (struct slice){.ptr = buf->data + start, .len = sizeof text - 1};
}

void build_own_headers(struct message *m, const struct route *route, const struct event *e)
{
    struct str *buf = &m->header_buf;

    str_reset(buf);
    str_reserve(buf, EVENT_ID_TEXT + MESSAGE_TIME_SIZE + headers_room(e->headers));
    m->headers[0] = (struct message_header){SLICE_LIT(HEADER_EVENT_ID), put_event_id(buf, e)};
    m->headers[1] = (struct message_header){SLICE_LIT(HEADER_EVENT_TYPE), e->event_type};
    m->headers[2] =
        (struct message_header){SLICE_LIT(HEADER_EVENT_TIME), put_time(buf, e->created_at_us)};
    m->headers[3] = (struct message_header){SLICE_LIT(HEADER_CONTENT_TYPE), content_type(route, e)};
    m->header_count = MESSAGE_OWN_HEADERS;
}

/* `,"name":` or, for the first member, `{"name":` */
static void put_name(struct str *out, char before, const char *name)
{
    str_put_char(out, before);
    str_put_json(out, slice_of(name));
    str_put_char(out, ':');
}

static void put_text(struct str *out, struct slice text)
{
    if (text.ptr == NULL)
        str_puts(out, "null");
    else
        str_put_json(out, text);
}

static struct slice build_envelope(struct str *out, const struct envelope_fields *fields,
                                   const struct event *e, struct slice event_id)
{
    str_reset(out);
    put_name(out, '{', fields->event_id);
    str_put_char(out, '"');
    str_put_slice(out, event_id); /* hex: nothing to escape */
    str_put_char(out, '"');
    put_name(out, ',', fields->event_type);
    put_text(out, e->event_type);
    put_name(out, ',', fields->occurred_at);
    str_put_char(out, '"');
    (void)put_time(out, e->occurred_at_us);
    str_put_char(out, '"');
    put_name(out, ',', fields->version);
    put_text(out, e->event_version);
    put_name(out, ',', fields->payload);
    str_put_slice(out, e->payload);
    str_put_char(out, '}');
    return str_slice(out);
}

struct slice build_value(struct message *m, const struct route *route, const struct event *e)
{
    if (e->payload_bytes.ptr != NULL)
        return e->payload_bytes;
    if (e->payload.ptr == NULL || !is_enveloped(route, e))
        return e->payload;
    return build_envelope(&m->value_buf, &route->fields, e, m->headers[0].value);
}

size_t count_bytes(const struct message *m)
{
    size_t bytes = MESSAGE_OVERHEAD_BYTES + m->key.len + m->value.len;

    for (size_t i = 0; i < m->header_count; i++)
        bytes += HEADER_OVERHEAD_BYTES + m->headers[i].name.len + m->headers[i].value.len;
    return bytes;
}

int message_build(struct message *m, const struct route_table *routes, const struct event *e,
                  struct err *err)
{
    const struct route *route;

    message_address(m, routes, e);
    route = &routes->routes[m->route];
    m->value = (struct slice){0};
    m->header_count = 0;
    m->created_at_us = e->created_at_us;
    if (m->topic.ptr == NULL || !route_topic_allowed(routes, m->topic)) {
        m->topic = (struct slice){0};
        return route_topic_check(routes, m->route, e, str_slice(&m->topic_buf), err);
    }
    if (e->oversize_bytes > 0)
        return err_set(
            err, ERR_CONFIG,
            "the payload has %lld bytes, more than relay.max_event_bytes: raise that, or "
            "correct the row",
            (long long)e->oversize_bytes);
    build_own_headers(m, route, e);
    if (e->headers.ptr != NULL && headers_append(m, e->headers, err) != 0)
        return -1;
    m->value = build_value(m, route, e);
    m->bytes = count_bytes(m);
    return 0;
}
