#include "inbox/parts.h"

#include <string.h>

#define EVENT_OVERHEAD_BYTES 512 /* of an event and its record beside key and value, roughly */

static size_t bytes_of(const struct inbox_event *event)
{
    return event->record->len + event->record->key_len + EVENT_OVERHEAD_BYTES;
}

struct part *parts_add(struct parts *p, const char *topic, int32_t partition)
{
    struct part *part = xcalloc(1, sizeof *part);

    part->topic = xstrdup(topic);
    part->partition = partition;
    part->fresh = true;
    part->done = -1;
    part->committed = -1;
    if (p->count == p->room) {
        p->room = p->room * 2 + 8;
        p->part = xrealloc(p->part, p->room * sizeof(struct part *));
    }
    p->part[p->count++] = part;
    return part;
}

static bool is_that(const struct part *part, const char *topic, int32_t partition)
{
    return part->partition == partition && strcmp(part->topic, topic) == 0;
}

struct part *parts_find(struct parts *p, const char *topic, int32_t partition)
{
    /* Records come in runs of one partition. */
    if (p->found < p->count && is_that(p->part[p->found], topic, partition))
        return p->part[p->found];
    for (size_t i = 0; i < p->count; i++) {
        if (is_that(p->part[i], topic, partition)) {
            p->found = i;
            return p->part[i];
        }
    }
    return NULL;
}

static void free_part(struct part *part)
{
    while (part->head != NULL) {
        struct inbox_event *event = part->head;

        part->head = event->next;
        event_free(event);
    }
    if (part->letter != NULL)
        dead_letter_drop(part->letter);
    free(part->topic);
    free(part);
}

void parts_clear(struct parts *p)
{
    for (size_t i = 0; i < p->count; i++)
        free_part(p->part[i]);
    p->count = 0;
    p->found = 0;
}

void parts_release(struct parts *p)
{
    parts_clear(p);
    free(p->part);
    p->part = NULL;
    p->room = 0;
}

void part_push(struct part *part, struct inbox_event *event)
{
    event->may_be_recorded = part->fresh || event->replay;
    part->fresh = false;
    if (part->head == NULL)
        part->head = event;
    else
        part->tail->next = event;
    part->tail = event;
    part->held++;
    part->held_bytes += bytes_of(event);
}

void part_pop(struct part *part)
{
    struct inbox_event *event = part->head;

    /* Not always ascending: a topic that was made anew begins again at 0. */
    part->done = event->record->offset + 1;
    part->head = event->next;
    part->held--;
    part->held_bytes -= bytes_of(event);
    part->wake_ms = 0;
    event_free(event);
}

bool part_waits(const struct part *part, uint64_t now_ms)
{
    return part->letter != NULL || part->wake_ms > now_ms;
}
