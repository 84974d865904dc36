/* An event's message as it is, or what can be made of it, and behind its headers the story. */
#include "message/dead.h"

#include "message/build.h"
#include "message/headers.h"

#include <assert.h>
#include <stdio.h>

#define ATTEMPTS_SIZE 11
#define STORY_ROOM    (MESSAGE_TIME_SIZE + ATTEMPTS_SIZE)

/* The message as it was refused; of the row's headers it may have more than the story leaves room
 * for. */
static void build_whole(struct message *m)
{
    if (m->header_count > MESSAGE_MAX_HEADERS - DEAD_HEADERS)
        m->header_count = MESSAGE_MAX_HEADERS - DEAD_HEADERS;
}

/* No message can be made of it. */
static void build_remains(struct message *m, const struct route_table *routes,
                          const struct event *e)
{
    m->created_at_us = e->created_at_us;
    build_own_headers(m, &routes->routes[m->route], e);
    m->value = (struct slice){0};
    if (e->oversize_bytes == 0)
        m->value = e->payload_bytes.ptr != NULL ? e->payload_bytes : e->payload;
}

static void add(struct message *m, struct slice name, struct slice value)
{
    assert(m->header_count < MESSAGE_MAX_HEADERS);
    m->headers[m->header_count++] = (struct message_header){name, value};
}

static struct slice keep(struct str *buf, const char *text)
{
    size_t start = buf->len;

    str_puts(buf, text);
    return (struct slice){.ptr = buf->data + start, .len = buf->len - start};
}

static void add_story(struct message *m, struct slice topic, const struct dead_letter *d)
{
    struct str *buf = &m->header_buf;
    const char *data = buf->data;
    char time[MESSAGE_TIME_SIZE];
    char attempts[ATTEMPTS_SIZE];

    (void)message_format_time(m->created_at_us, time);
    (void)snprintf(attempts, sizeof attempts, "%u", (unsigned)d->attempts);
    add(m, SLICE_LIT(HEADER_DLT_TOPIC), topic);
    add(m, SLICE_LIT(HEADER_DLT_TIMESTAMP), keep(buf, time));
    add(m, SLICE_LIT(HEADER_DLT_ERROR_CLASS), slice_of(d->error_class));
    add(m, SLICE_LIT(HEADER_DLT_ERROR_TEXT), slice_of(d->error_text));
    add(m, SLICE_LIT(HEADER_DLT_ATTEMPTS), keep(buf, attempts));
    assert(buf->data == data); /* the other headers point into it */
}

void message_bury(struct message *m, const struct route_table *routes, const struct event *e,
                  const struct dead_letter *d)
{
    struct err ignored = {0}; /* the caller knows it, and says it in error_text */
    struct slice topic;

    str_reset(&m->header_buf);
    str_reserve(&m->header_buf,
                EVENT_ID_TEXT + MESSAGE_TIME_SIZE + headers_room(e->headers) + STORY_ROOM);
    if (message_build(m, routes, e, &ignored) == 0)
        build_whole(m);
    else
        build_remains(m, routes, e);
    message_address(m, routes, e); /* a topic that is not allowed is a name nevertheless */
    topic = m->topic;
    add_story(m, topic, d);
    m->topic = slice_of(d->topic);
    m->bytes = count_bytes(m);
}
