#include "walk.h"

#include <string.h>

uint8_t bit(unsigned n)
{
    return (uint8_t)(1U << n);
}

uint8_t count(const struct bounds *b)
{
    return (uint8_t)strlen(b->keys);
}

uint8_t key_of(const struct bounds *b, uint8_t event)
{
    return (uint8_t)(b->keys[event - 1] - 'A');
}

uint8_t partition_of(const struct bounds *b, uint8_t event)
{
    return b->one_partition ? 0 : key_of(b, event);
}

bool has(uint8_t bits, unsigned n)
{
    return (bits & bit(n)) != 0;
}

uint8_t owner_of(uint8_t lanes, uint8_t key)
{
    if (has(lanes, key))
        return key;
    return has(lanes, WIDE) ? WIDE : LANES;
}

const char *lane_name(uint8_t lane)
{
    static const char *const names[LANES] = {"A", "B", "AB"};

    return names[lane];
}

uint8_t next_of(const struct bounds *b, uint8_t lanes, uint8_t lane, uint8_t from)
{
    uint8_t e = (uint8_t)(from + 1);

    while (e <= count(b) && owner_of(lanes, key_of(b, e)) != lane)
        e++;
    return e;
}

/* ---- producers ---- */

unsigned length(const struct producer *p)
{
    unsigned n = 0;

    while (n < WINDOW && p->queue[n] != 0)
        n++;
    return n;
}

void remove_at(struct producer *p, unsigned at)
{
    for (unsigned i = at; i + 1 < WINDOW; i++)
        p->queue[i] = p->queue[i + 1];
    p->queue[WINDOW - 1] = 0;
}

bool is_on_its_way(uint8_t entry)
{
    return entry != 0 && (entry & LANDED) == 0;
}

void abandon(struct model *m, struct producer *p)
{
    struct producer rest = *p;

    memset(p, 0, sizeof *p);
    rest.opened = 0;
    for (unsigned i = 0; i < WINDOW;)
        if ((rest.queue[i] & LANDED) != 0)
            remove_at(&rest, i);
        else
            i++;
    if (rest.queue[0] == 0)
        return;
    for (unsigned i = 0; i < DEAD; i++)
        if (m->dead[i].queue[0] == 0) {
            m->dead[i] = rest;
            return;
        }
    /* more than DEAD of them: that these requests never arrive is one of the possible ends */
}

void drop_memory(struct model *m, struct model_relay *r)
{
    for (unsigned i = 0; i < 1 + LANES; i++)
        abandon(m, &r->stream[i].producer);
    memset(r, 0, sizeof *r);
}

/* ---- the end of a step ---- */

bool is_settled(const struct model *m, const struct bounds *b, uint8_t e)
{
    uint8_t lane = owner_of(m->lanes, key_of(b, e));

    return e <= (lane < LANES ? m->lane[lane] : m->main);
}

static const char *look(const struct walk *w)
{
    for (uint8_t e = 1; e <= count(w->b); e++)
        if (is_settled(&w->m, w->b, e) && !has(w->m.landed, e) && !has(w->m.skipped, e))
            return "an event is settled and stands nowhere: lost";
    return NULL;
}

void emit(struct walk *w)
{
    if (w->broken == NULL)
        w->broken = look(w);
    w->take(w->ctx, &w->m, &w->step, w->broken);
}
