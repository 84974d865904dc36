#include "oracle_set.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void oracle_set_release(struct oracle_set *s)
{
    for (int32_t i = 0; i < s->topic_count; i++)
        free(s->topics[i]);
    free(s->topics);
    free(s->events);
    free(s->index);
    free(s->turns);
    memset(s, 0, sizeof *s);
}

/* FNV-1a with a last mix, because places in tables are taken from the low bits. */
uint64_t oracle_hash(const void *data, size_t len, uint64_t start)
{
    const uint8_t *p = data;
    uint64_t h = start ^ 0xcbf29ce484222325ULL;

    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * 0x100000001b3ULL;
    h = (h ^ (h >> 32)) * 0xd6e8feb86659fd93ULL;
    return h ^ (h >> 32);
}

int32_t oracle_set_topic(struct oracle_set *s, const char *name, size_t len)
{
    for (int32_t i = 0; i < s->topic_count; i++)
        if (strlen(s->topics[i]) == len && memcmp(s->topics[i], name, len) == 0)
            return i;
    s->topics = xrealloc(s->topics, ((size_t)s->topic_count + 1) * sizeof *s->topics);
    s->topics[s->topic_count] = xstrndup(name, len);
    return s->topic_count++;
}

/* ---- events ---- */

static size_t event_place(const struct oracle_set *s, const uint8_t id[16])
{
    size_t at = oracle_hash(id, 16, 0) & (s->index_size - 1);

    while (s->index[at] != 0 && memcmp(s->events[s->index[at] - 1].id, id, 16) != 0)
        at = (at + 1) & (s->index_size - 1);
    return at;
}

static void grow_events(struct oracle_set *s)
{
    s->cap = s->cap == 0 ? 4096 : s->cap * 2;
    s->events = xrealloc(s->events, s->cap * sizeof *s->events);
    free(s->index);
    s->index_size = s->cap * 2;
    s->index = xcalloc(s->index_size, sizeof *s->index);
    for (size_t i = 0; i < s->count; i++)
        s->index[event_place(s, s->events[i].id)] = (uint32_t)i + 1;
}

struct oracle_event *oracle_set_add(struct oracle_set *s, const uint8_t id[16])
{
    struct oracle_event *e;
    size_t at;

    if (s->count == s->cap)
        grow_events(s);
    at = event_place(s, id);
    if (s->index[at] != 0)
        support_fail("oracle: two rows with the same event_id");
    e = &s->events[s->count++];
    memset(e, 0, sizeof *e);
    memcpy(e->id, id, 16);
    s->index[at] = (uint32_t)s->count;
    s->unseen++;
    return e;
}

struct oracle_event *oracle_set_find(const struct oracle_set *s, const uint8_t id[16])
{
    size_t at;

    if (s->count == 0)
        return NULL;
    at = event_place(s, id);
    return s->index[at] != 0 ? &s->events[s->index[at] - 1] : NULL;
}

/* ---- turns ---- */

static size_t turn_place(const struct oracle_set *s, uint64_t lane)
{
    size_t at = lane & (s->turns_size - 1);

    while (s->turns[at].lane != 0 && s->turns[at].lane != lane)
        at = (at + 1) & (s->turns_size - 1);
    return at;
}

static void grow_turns(struct oracle_set *s)
{
    struct oracle_turn *old = s->turns;
    const size_t old_size = s->turns_size;

    s->turns_size = old_size == 0 ? 1024 : old_size * 2;
    s->turns = xcalloc(s->turns_size, sizeof *s->turns);
    for (size_t i = 0; i < old_size; i++)
        if (old[i].lane != 0)
            s->turns[turn_place(s, old[i].lane)] = old[i];
    free(old);
}

int64_t *oracle_set_turn(struct oracle_set *s, uint64_t lane)
{
    size_t at;

    if (s->turn_count * 2 >= s->turns_size)
        grow_turns(s);
    lane |= 1;
    at = turn_place(s, lane);
    if (s->turns[at].lane == 0) {
        s->turns[at] = (struct oracle_turn){.lane = lane, .seq = INT64_MIN};
        s->turn_count++;
    }
    return &s->turns[at].seq;
}

/* ---- records ---- */

static void put_field(struct str *out, const char *name, struct slice value)
{
    if (value.ptr == NULL)
        str_printf(out, "%s=NULL\n", name);
    else
        str_printf(out, "%s[%zu]=", name, value.len);
    if (value.ptr != NULL) {
        str_put_slice(out, value);
        str_put_char(out, '\n');
    }
}

void oracle_canon_begin(struct str *out, struct slice key, struct slice value)
{
    str_reset(out);
    put_field(out, "key", key);
    put_field(out, "value", value);
}

void oracle_canon_header(struct str *out, struct slice name, struct slice value)
{
    put_field(out, "header", name);
    put_field(out, "is", value);
}

void oracle_example(struct oracle_report *r, int64_t kind_count, const char *fmt, ...)
{
    va_list ap;

    if (kind_count > 3 || r->example_count == ORACLE_EXAMPLES)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(r->example[r->example_count], sizeof r->example[0], fmt, ap);
    va_end(ap);
    r->example_count++;
}
