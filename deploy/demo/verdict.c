#include "verdict.h"

#include "../../tests/support/tmp.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the service's log ---- */

static int by_event_id(const void *a, const void *b)
{
    return strcmp(((const struct told *)a)->event_id, ((const struct told *)b)->event_id);
}

static struct told *find(const struct ledger *l, const char *event_id)
{
    struct told key = {0};

    (void)snprintf(key.event_id, sizeof key.event_id, "%s", event_id);
    return l->count == 0 ? NULL : bsearch(&key, l->told, l->count, sizeof *l->told, by_event_id);
}

/* "committed|rolledback EVENT_ID ORDER_ID VERSION TYPE MICROSECONDS"; the line is cut into its
 * words. */
static struct told parse_line(char *line)
{
    struct told t = {0};
    char *words[6] = {0};
    char *rest = NULL;

    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        words[i] = strtok_r(i == 0 ? line : NULL, " ", &rest);
    if (words[5] == NULL)
        support_fail("demo: a line of the order service's log is not complete: %s", line);
    t.committed = strcmp(words[0], "committed") == 0;
    (void)snprintf(t.event_id, sizeof t.event_id, "%s", words[1]);
    (void)snprintf(t.key, sizeof t.key, "%s", words[2]);
    t.version = (int)strtol(words[3], NULL, 10);
    t.at_us = strtoll(words[5], NULL, 10);
    return t;
}

void ledger_read(struct ledger *l, const char *path)
{
    char *text = file_read(path);
    size_t room = 0;
    char *end;

    memset(l, 0, sizeof *l);
    for (char *line = text; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = '\0';
        if (l->count == room) {
            room = room == 0 ? 4096 : 2 * room;
            l->told = xrealloc(l->told, room * sizeof *l->told);
        }
        l->told[l->count] = parse_line(line);
        l->committed += l->told[l->count].committed != 0;
        l->count++;
    }
    free(text);
    if (l->count > 0)
        qsort(l->told, l->count, sizeof *l->told, by_event_id);
}

void ledger_release(struct ledger *l)
{
    free(l->told);
    memset(l, 0, sizeof *l);
}

/* Marks what has come; returns the number of committed events that have not. */
size_t ledger_missing(struct ledger *l, const struct consumer *c)
{
    size_t missing = l->committed;

    for (size_t i = 0; i < l->count; i++)
        l->told[i].seen_us = 0;
    for (size_t i = 0; i < c->count; i++) {
        struct told *t = find(l, c->seen[i].event_id);
        if (t == NULL || !t->committed || t->seen_us != 0)
            continue;
        t->seen_us = c->seen[i].at_us;
        missing--;
    }
    return missing;
}

/* ---- judging ---- */

/* A first occurrence, sorted by key and then as it came. */
struct arrival {
    const struct told *told;
    int32_t partition;
    int64_t offset;
};

static int by_key_and_offset(const void *a, const void *b)
{
    const struct arrival *x = a;
    const struct arrival *y = b;
    int order = strcmp(x->told->key, y->told->key);

    if (order == 0)
        order = (x->offset > y->offset) - (x->offset < y->offset);
    return order;
}

static long count_out_of_order(struct arrival *arrivals, size_t count)
{
    long wrong = 0;

    if (count > 0)
        qsort(arrivals, count, sizeof *arrivals, by_key_and_offset);
    for (size_t i = 1; i < count; i++) {
        const struct arrival *before = &arrivals[i - 1];
        const struct arrival *now = &arrivals[i];
        if (strcmp(before->told->key, now->told->key) == 0 &&
            (before->partition != now->partition || before->told->version > now->told->version))
            wrong++;
    }
    return wrong;
}

static int by_number(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a;
    const int64_t y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static void measure(struct verdict *v, const struct ledger *l, int64_t from_us, int64_t until_us)
{
    int64_t *waits = xcalloc(l->count + 1, sizeof *waits);
    size_t count = 0;

    for (size_t i = 0; i < l->count; i++) {
        const struct told *t = &l->told[i];
        /* The consumer can be quicker than COMMIT's answer to the service. */
        const int64_t wait = t->seen_us > t->at_us ? t->seen_us - t->at_us : 0;
        if (!t->committed || t->seen_us == 0)
            continue;
        if (t->seen_us >= from_us && t->at_us <= until_us)
            v->worst_us = wait > v->worst_us ? wait : v->worst_us;
        else
            waits[count++] = wait;
    }
    qsort(waits, count, sizeof *waits, by_number);
    if (count > 0) {
        v->p50_us = waits[count / 2];
        v->p99_us = waits[count * 99 / 100];
    }
    free(waits);
}

struct verdict judge(struct ledger *l, const struct consumer *c, int64_t from_us, int64_t until_us)
{
    struct verdict v = {.committed = (long)l->committed,
                        .rolled_back = (long)(l->count - l->committed)};
    struct arrival *arrivals = xcalloc(c->count + 1, sizeof *arrivals);
    size_t firsts = 0;

    for (size_t i = 0; i < l->count; i++)
        l->told[i].seen_us = 0;
    for (size_t i = 0; i < c->count; i++) {
        const struct seen *s = &c->seen[i];
        struct told *t = find(l, s->event_id);
        if (t == NULL || !t->committed || strcmp(t->key, s->key) != 0)
            v.ghosts++;
        else if (t->seen_us != 0)
            v.duplicates++;
        else {
            t->seen_us = s->at_us;
            arrivals[firsts++] =
                (struct arrival){.told = t, .partition = s->partition, .offset = s->offset};
        }
    }
    v.published = (long)firsts;
    v.lost = v.committed - v.published;
    v.out_of_order = count_out_of_order(arrivals, firsts);
    measure(&v, l, from_us, until_us);
    free(arrivals);
    return v;
}
