#include "inbox/event.h"

#include "inbox/fault.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Copies the text to `to`, and moves that behind it. */
static const char *put_text(char **to, struct slice text)
{
    char *copy = *to;

    if (text.ptr == NULL)
        return NULL;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    *to += text.len + 1;
    return copy;
}

static size_t room_for(const struct content *c)
{
    return c->id.len + c->type.len + c->source.len + c->time.len + 4;
}

/* The payload is the value or a part of it: it outlives the reader as long as the record does. */
static void take_content(struct inbox_event *event, const struct content *c)
{
    char *to = event->texts;

    uuid_of_event(c->source, c->id, event->id);
    event->raw_id = put_text(&to, c->id);
    event->type = put_text(&to, c->type);
    event->source = put_text(&to, c->source);
    event->time = put_text(&to, c->time);
    event->payload = c->payload;
}

struct inbox_event *event_new(rd_kafka_message_t *record, struct format_reader *reader,
                              enum inbox_format format)
{
    struct inbox_event *event;
    rd_kafka_headers_t *headers;
    rd_kafka_timestamp_type_t type;
    struct content content;
    struct inbox_error error;
    const char *why = "";
    struct record r = {0};
    bool readable;

    if (rd_kafka_message_headers(record, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR)
        headers = NULL;
    r.value = (struct slice){.ptr = record->payload, .len = record->len};
    r.headers = headers;
    r.timestamp_ms = rd_kafka_message_timestamp(record, &type);
    readable = format_read(reader, format, &r, &content, &why) == 0;
    event = xcalloc(1, sizeof *event + (readable ? room_for(&content) : 0));
    event->record = record;
    event->headers = headers;
    event->attempt = 1;
    if (readable) {
        take_content(event, &content);
    } else {
        fault_set(&error, INBOX_E_MALFORMED, "%s", why);
        event_give_up(event, &error);
    }
    event->written_us = content.written_us;
    event->replay = content.replay;
    return event;
}

void event_give_up(struct inbox_event *event, const struct inbox_error *why)
{
    if (event->error == NULL)
        event->error = xmalloc(sizeof *event->error);
    *event->error = *why;
    event->kind = EVENT_DEAD;
}

void event_begin_attempt(struct inbox_event *event)
{
    free(event->explained);
    event->explained = NULL;
}

void event_free(struct inbox_event *event)
{
    rd_kafka_message_destroy(event->record);
    free(event->error);
    free(event->explained);
    free(event);
}

/* ---- what a handler asks --------------------------------------------------------------------- */

const char *inbox_event_id(const struct inbox_event *event)
{
    return event->id;
}

const char *inbox_event_raw_id(const struct inbox_event *event)
{
    return event->raw_id;
}

const char *inbox_event_type(const struct inbox_event *event)
{
    return event->type;
}

const char *inbox_event_source(const struct inbox_event *event)
{
    return event->source;
}

const char *inbox_event_time(const struct inbox_event *event)
{
    return event->time;
}

const void *inbox_event_payload(const struct inbox_event *event, size_t *len)
{
    if (len != NULL)
        *len = event->payload.len;
    return event->payload.ptr;
}

const void *inbox_event_value(const struct inbox_event *event, size_t *len)
{
    if (len != NULL)
        *len = event->record->len;
    return event->record->payload;
}

const void *inbox_event_key(const struct inbox_event *event, size_t *len)
{
    if (len != NULL)
        *len = event->record->key_len;
    return event->record->key;
}

const void *inbox_event_header(const struct inbox_event *event, const char *name, size_t *len)
{
    struct slice value = format_header(event->headers, name);

    if (len != NULL)
        *len = value.len;
    return value.ptr;
}

const char *inbox_event_topic(const struct inbox_event *event)
{
    return rd_kafka_topic_name(event->record->rkt);
}

int32_t inbox_event_partition(const struct inbox_event *event)
{
    return event->record->partition;
}

int64_t inbox_event_offset(const struct inbox_event *event)
{
    return event->record->offset;
}

int64_t inbox_event_timestamp_ms(const struct inbox_event *event)
{
    rd_kafka_timestamp_type_t type;

    return rd_kafka_message_timestamp(event->record, &type);
}

int inbox_event_attempt(const struct inbox_event *event)
{
    return event->attempt;
}

int inbox_event_is_replay(const struct inbox_event *event)
{
    return event->replay ? 1 : 0;
}

void inbox_explain(struct inbox_event *event, const char *fmt, ...)
{
    char text[256];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fault_clean_text(text);
    event_begin_attempt(event);
    if (text[0] != '\0')
        event->explained = xstrdup(text);
}
