#include "protocol.h"

#include "walk.h"

#include <assert.h>
#include <string.h>

static const char *const defect_texts[DEFECT_COUNT] = {
#define X(name, text) [DEFECT_##name] = (text),
    DEFECTS(X)
#undef X
};

const char *defect_text(enum defect d)
{
    return defect_texts[d];
}

/* ---- the operator ---- */

static void skip(struct walk *w, uint8_t lane)
{
    uint8_t e = next_of(w->b, w->m.lanes, lane, w->m.lane[lane]);

    if (!has(w->m.lanes, lane))
        return;
    if (w->b->defect == DEFECT_SKIP_AHEAD)
        e = next_of(w->b, w->m.lanes, lane, e);
    if (e > count(w->b))
        return;
    w->m.skipped |= bit(e);
    w->m.lane[lane] = e;
    w->m.epoch++;
    SAY(w, "somebody skips %u of lane %s", e, lane_name(lane));
    emit(w);
}

static void give_up(struct walk *w)
{
    uint8_t e = w->m.halted;

    if (e == 0)
        return;
    w->m.skipped |= bit(e);
    w->m.given_up = e;
    w->m.halted = 0;
    w->m.epoch++;
    if (w->b->defect == DEFECT_GIVE_UP_BEFORE)
        w->m.main = w->m.target = e;
    SAY(w, "somebody gives %u up, which is in main's way", e);
    emit(w);
}

static void operator_steps(const struct walk *now)
{
    struct walk w = *now;

    w.step.helps = true;
    if (now->b->poison != 0 && !now->m.healed) {
        w.m.healed = 1;
        SAY(&w, "somebody mends what refused %u", now->b->poison);
        emit(&w);
    }
    w = *now;
    w.step.helps = true;
    give_up(&w);
    for (uint8_t lane = 0; now->b->skips && lane < LANES; lane++) {
        w = *now;
        w.step.helps = true;
        skip(&w, lane);
    }
}

/* ---- everything that may happen now ---- */

void model_steps(const struct model *m, const struct bounds *b, model_take *take, void *ctx)
{
    struct walk now = {.b = b, .m = *m, .take = take, .ctx = ctx};

    for (unsigned i = 0; i < RELAYS; i++)
        relay_steps(&now, i);
    for (unsigned i = 0; i < DEAD; i++) {
        struct walk w = now;

        for (unsigned at = 0; at < WINDOW; at++)
            late_steps(&now, i, at);
        if (w.m.dead[i].queue[0] == 0)
            continue;
        w.m.dead[i] = (struct producer){0};
        SAY(&w, "the requests of a dead producer never arrive");
        emit(&w);
    }
    operator_steps(&now);
}

void model_begin(struct model *m, const struct bounds *b)
{
    assert(count(b) <= EVENTS_MAX);
    *m = (struct model){
        .crashes = b->crashes, .rivals = b->rivals, .refusals = b->refusals, .folds = b->folds};
}

bool model_is_done(const struct model *m, const struct bounds *b)
{
    return m->main == count(b) && m->lanes == 0;
}

bool model_others_are_done(const struct model *m, const struct bounds *b)
{
    for (uint8_t e = 1; e <= count(b); e++)
        if (b->poison != 0 && key_of(b, e) == key_of(b, b->poison))
            continue;
        else if (!is_settled(m, b, e))
            return false;
    return true;
}
