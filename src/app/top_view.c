#include "app/top_view.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

/* ---- texts
 * ---------------------------------------------------------------------------------------------------
 */

/* The code point at `p` of valid UTF-8, and how many bytes it takes. */
static uint32_t code_point(const unsigned char *p, size_t *len)
{
    static const unsigned char masks[] = {0x7f, 0x1f, 0x0f, 0x07};
    uint32_t c;

    *len = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    c = p[0] & masks[*len - 1];
    for (size_t i = 1; i < *len; i++)
        c = c << 6 | (p[i] & 0x3f);
    return c;
}

static bool is_obeyed(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c || (c >= 0x200b && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff;
}

void top_clean(char *out, size_t size, const char *text)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t used = 0;
    size_t len;

    for (; *p != '\0'; p += len) {
        bool obeyed = is_obeyed(code_point(p, &len));
        size_t takes = obeyed ? 1 : len;

        if (used + takes + 1 > size)
            break;
        memcpy(out + used, obeyed ? (const void *)" " : p, takes);
        used += takes;
    }
    out[used] = '\0';
}

/* ---- members
 * -------------------------------------------------------------------------------------------------
 */

static double number(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);

    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

static bool is_true(const json_t *object, const char *name)
{
    return json_is_true(json_object_get(object, name));
}

static void text(const json_t *object, const char *name, char *out, size_t size)
{
    const char *value = json_string_value(json_object_get(object, name));

    top_clean(out, size, value == NULL ? "" : value);
}

/* The sum of an object's numbers; NAN when there is no such object. */
static double sum(const json_t *object, const char *name)
{
    json_t *parts = json_object_get(object, name);
    const char *key;
    json_t *value;
    double total = 0;

    if (!json_is_object(parts))
        return (double)NAN;
    json_object_foreach(parts, key, value) total += json_number_value(value);
    return total;
}

static void take_problem(struct top_problem *p, const json_t *from)
{
    text(from, "word", p->word, sizeof p->word);
    text(from, "text", p->text, sizeof p->text);
    if (p->text[0] == '\0')
        text(from, "what", p->text, sizeof p->text);
    text(from, "todo", p->todo, sizeof p->todo);
    text(from, "topic", p->topic, sizeof p->topic);
    text(from, "event_id", p->event_id, sizeof p->event_id);
    p->since_s = number(from, "since_seconds");
    p->attempts = number(from, "attempts");
    p->next_try_s = number(from, "next_try_seconds");
}

static void take_latency(struct top_latency *l, const json_t *from)
{
    l->count = number(from, "count");
    l->p50_s = number(from, "p50_seconds");
    l->p90_s = number(from, "p90_seconds");
    l->p99_s = number(from, "p99_seconds");
}

static void take_backlog(struct top_view *v, const json_t *from)
{
    v->backlog_known = json_is_object(from);
    v->backlog_age_s = number(from, "age_seconds");
    v->unsent_events = number(from, "unsent_events");
    v->unsent_estimated = is_true(from, "estimated");
    v->oldest_unsent_s = number(from, "oldest_unsent_seconds");
    v->lanes = number(from, "lanes");
    v->oldest_transaction_s = number(from, "oldest_transaction_seconds");
    v->overdue_days = number(from, "overdue_days");
    v->default_has_events = is_true(from, "default_partition_has_events");
}

static void take_counters(struct top_view *v, const json_t *from)
{
    json_t *errors = json_object_get(from, "errors");
    const char *word;
    json_t *count;

    v->takeovers = number(from, "takeovers");
    v->recoveries = sum(from, "recoveries");
    v->reconnects = number(json_object_get(from, "reconnects"), "postgres");
    v->duplicates_possible = number(from, "duplicates_possible");
    json_object_foreach(errors, word, count)
    {
        struct top_count *e = &v->errors[v->error_count];

        if (v->error_count == TOP_ERRORS)
            break;
        if (!json_is_number(count) || json_number_value(count) <= 0)
            continue;
        top_clean(e->word, sizeof e->word, word);
        e->count = json_number_value(count);
        v->error_count++;
    }
}

static void take_notes(struct top_view *v, const json_t *from)
{
    for (size_t i = 0; i < json_array_size(from) && i < TOP_NOTES; i++) {
        const json_t *note = json_array_get(from, i);
        struct top_note *n = &v->notes[v->note_count++];

        n->age_s = number(note, "age_seconds");
        n->times = number(note, "times");
        text(note, "text", n->text, sizeof n->text);
        text(note, "error", n->error, sizeof n->error);
    }
}

static void take_whole(struct top_view *v, const json_t *doc)
{
    const json_t *published = json_object_get(doc, "published");
    const json_t *latency = json_object_get(doc, "latency");
    const json_t *window = json_object_get(doc, "window");
    const json_t *process = json_object_get(doc, "process");

    text(doc, "version", v->version, sizeof v->version);
    text(doc, "relay", v->relay, sizeof v->relay);
    text(doc, "instance", v->instance, sizeof v->instance);
    text(doc, "state", v->state, sizeof v->state);
    v->ready = is_true(doc, "ready");
    v->leader = is_true(doc, "leader");
    v->paused = is_true(doc, "paused");
    v->halted = is_true(doc, "halted");
    v->epoch = number(doc, "epoch");
    v->uptime_s = number(doc, "uptime_seconds");
    take_problem(&v->problem, json_object_get(doc, "problem"));
    v->published_events = number(published, "events");
    v->published_bytes = number(published, "bytes");
    v->rate_1s = number(published, "rate_1s");
    v->rate_10s = number(published, "rate_10s");
    v->rate_60s = number(published, "rate_60s");
    take_latency(&v->last_minute, json_object_get(latency, "last_minute"));
    take_latency(&v->since_start, json_object_get(latency, "since_start"));
    v->window_events = number(window, "events");
    v->window_capacity = number(window, "capacity");
    v->window_bytes = number(window, "bytes");
    v->window_bytes_capacity = number(window, "bytes_capacity");
    take_backlog(v, json_object_get(doc, "backlog"));
    take_counters(v, json_object_get(doc, "counters"));
    v->cpu_s = number(process, "cpu_seconds");
    v->resident_bytes = number(process, "resident_bytes");
    v->open_fds = number(process, "open_fds");
    take_notes(v, json_object_get(doc, "notes"));
}

int top_view_parse(struct top_view *v, struct slice json, struct err *err)
{
    json_t *doc = json_loadb(json.ptr == NULL ? "" : json.ptr, json.len, 0, NULL);
    int rc = 0;

    *v = (struct top_view){0};
    take_whole(v, doc);
    if (v->relay[0] == '\0')
        rc = err_set(err, ERR_UNAVAILABLE, "what answers there is no outboxd");
    json_decref(doc);
    return rc;
}
