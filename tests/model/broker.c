/* What the broker does with what is on its way: takes it, or refuses it. */
#include "walk.h"

/* Whether entry `at` is the next one that the broker sees in its partition. */
static bool is_first(const struct bounds *b, const struct producer *p, unsigned at)
{
    for (unsigned i = 0; i < at; i++)
        if (is_on_its_way(p->queue[i]) &&
            partition_of(b, p->queue[i]) == partition_of(b, p->queue[at]))
            return false;
    return true;
}

static void land(struct walk *w, struct producer *p, unsigned at, const char *whose)
{
    uint8_t e = p->queue[at];

    SAY(w, "broker: takes %u of %s", e, whose);
    p->known |= bit(partition_of(w->b, e));
    p->queue[at] = e | LANDED;
    if (!has(w->m.landed, e)) {
        for (uint8_t later = (uint8_t)(e + 1); later <= count(w->b); later++)
            if (key_of(w->b, later) == key_of(w->b, e) && has(w->m.landed, later) &&
                !has(w->m.skipped, e))
                w->broken = "a later event of its key stands before it: out of order";
        w->m.landed |= bit(e);
        w->m.merged &= (uint8_t) ~(bit(key_of(w->b, e)) | bit(WIDE));
    }
}

/* What the broker drops with a refusal: everything behind it in the partition, if it knows the
 * producer's sequence; else only the event itself. Returns the last one of the event's key. */
static uint8_t refuse(struct walk *w, struct producer *p, unsigned at)
{
    uint8_t e = p->queue[at];
    uint8_t last = e;
    bool all = has(p->known, partition_of(w->b, e));

    remove_at(p, at);
    for (unsigned i = at; all && i < WINDOW && p->queue[i] != 0;) {
        if (is_on_its_way(p->queue[i]) &&
            partition_of(w->b, p->queue[i]) == partition_of(w->b, e)) {
            if (key_of(w->b, p->queue[i]) == key_of(w->b, e))
                last = p->queue[i];
            remove_at(p, i);
        } else {
            i++;
        }
    }
    return last;
}

/* 0: it cannot be refused; else why. */
static const char *cause(struct walk *w, uint8_t e)
{
    if (e == w->b->poison && !w->m.healed)
        return "poison";
    if (w->m.refusals == 0)
        return NULL;
    w->m.refusals--;
    return "it passes";
}

static void refused(struct walk *w, unsigned number, unsigned stream, uint8_t e, uint8_t last)
{
    struct model_relay *r = &w->m.relay[number];
    struct model_stream *s = &r->stream[stream];
    struct producer *p = &s->producer;

    if (stream > 0) {
        abandon(&w->m, p);
        rewind_stream(s);
        if (stream == 1 + WIDE)
            s->bad = e;
    } else if (w->b->defect == DEFECT_SKIP_REFUSED) {
        s->acked |= bit(e);
        advance(w->b, r, 0);
    } else if (w->b->defect == DEFECT_REQUEUE) {
        if (last != e) /* refused with it, as it came behind */
            p->queue[length(p)] = last;
        else if (s->next <= r->target && length(p) == 0)
            p->queue[0] = s->next++;
        if (length(p) < WINDOW)
            p->queue[length(p)] = e;
        else
            s->bad = e;
    } else {
        abandon(&w->m, p);
        rewind_stream(s);
        s->bad = w->b->defect == DEFECT_SPLIT_ABOVE ? last : e;
    }
}

void broker_steps(const struct walk *now, unsigned number, unsigned stream, unsigned at)
{
    const struct producer *p = &now->m.relay[number].stream[stream].producer;
    struct walk w = *now;
    uint8_t e = p->queue[at];
    const char *why;

    if (!is_on_its_way(e) || !is_first(now->b, p, at))
        return;
    why = cause(&w, e);
    if (why != NULL) {
        uint8_t last = refuse(&w, &w.m.relay[number].stream[stream].producer, at);

        SAY(&w, "broker: refuses %u of relay %u's %s (%s)", e, number,
            stream == 0 ? "main" : "lane", why);
        refused(&w, number, stream, e, last);
        emit(&w);
    }
    if (e == now->b->poison && !now->m.healed)
        return;
    w = *now;
    land(&w, &w.m.relay[number].stream[stream].producer, at, stream == 0 ? "main" : "a lane");
    emit(&w);
}

void late_steps(const struct walk *now, unsigned number, unsigned at)
{
    const struct producer *p = &now->m.dead[number];
    struct walk w = *now;
    uint8_t e = p->queue[at];

    if (!is_on_its_way(e) || !is_first(now->b, p, at))
        return;
    if (e == now->b->poison && !now->m.healed) {
        (void)refuse(&w, &w.m.dead[number], at);
        SAY(&w, "broker: refuses %u of a dead producer", e);
    } else {
        land(&w, &w.m.dead[number], at, "a dead producer");
        remove_at(&w.m.dead[number], at);
    }
    if (w.m.dead[number].queue[0] == 0)
        w.m.dead[number] = (struct producer){0};
    emit(&w);
}
