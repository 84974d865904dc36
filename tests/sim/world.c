/* A binary heap of steps, a splitmix64 generator, and the two ways to tell what happened. */
#include "world.h"

#include "base/str.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void world_init(struct world *w, uint64_t seed, bool verbose)
{
    memset(w, 0, sizeof *w);
    w->chance = seed * 0x9e3779b97f4a7c15U + 1;
    w->verbose = verbose;
    w->now_us = SECONDS(1);
}

void world_release(struct world *w)
{
    for (size_t i = 0; i < w->count; i++)
        free(w->heap[i].arg);
    free(w->heap);
    w->heap = NULL;
    w->count = 0;
}

static bool earlier(const struct step *a, const struct step *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void heap_push(struct world *w, struct step s)
{
    if (w->count == w->cap) {
        w->cap = w->cap ? w->cap * 2 : 256;
        w->heap = xrealloc(w->heap, w->cap * sizeof *w->heap);
    }
    size_t i = w->count++;
    while (i > 0 && earlier(&s, &w->heap[(i - 1) / 2])) {
        w->heap[i] = w->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->heap[i] = s;
}

static struct step heap_pop(struct world *w)
{
    struct step top = w->heap[0];
    struct step last = w->heap[--w->count];
    size_t i = 0;
    for (size_t child = 1; child < w->count; child = 2 * i + 1) {
        if (child + 1 < w->count && earlier(&w->heap[child + 1], &w->heap[child]))
            child++;
        if (!earlier(&w->heap[child], &last))
            break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = last;
    return top;
}

void world_at(struct world *w, uint64_t at_us, const struct scope *scope, step_fn run, void *self,
              void *arg)
{
    struct step s = {.at_us = at_us < w->now_us ? w->now_us : at_us,
                     .order = w->order++,
                     .life = scope != NULL ? scope->life : 0,
                     .scope = scope,
                     .run = run,
                     .self = self,
                     .arg = arg};
    heap_push(w, s);
}

static bool is_paused(const struct step *s)
{
    if (s->scope == NULL)
        return false;
    const struct scope *process = s->scope->process != NULL ? s->scope->process : s->scope;
    return process->paused_until_us > s->at_us;
}

static void defer(struct world *w, struct step s)
{
    const struct scope *process = s.scope->process != NULL ? s.scope->process : s.scope;
    s.at_us = process->paused_until_us;
    s.order = w->order++;
    heap_push(w, s);
}

bool world_step(struct world *w, uint64_t until_us)
{
    if (w->count == 0 || w->heap[0].at_us >= until_us) {
        if (w->now_us < until_us)
            w->now_us = until_us;
        return false;
    }
    struct step s = heap_pop(w);
    bool alive = s.scope == NULL || s.scope->life == s.life;
    w->now_us = s.at_us;
    if (alive && is_paused(&s)) {
        defer(w, s);
        return true;
    }
    if (alive) {
        w->steps++;
        s.run(s.self, s.arg);
    }
    free(s.arg);
    return true;
}

uint64_t world_random(struct world *w)
{
    w->chance += 0x9e3779b97f4a7c15U;
    uint64_t z = w->chance;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

uint64_t world_between(struct world *w, uint64_t low, uint64_t high)
{
    return low + world_random(w) % (high - low + 1);
}

bool world_chance(struct world *w, uint32_t permille)
{
    return world_random(w) % 1000 < permille;
}

uint64_t world_delay(struct world *w, uint64_t usual_us)
{
    uint64_t delay = world_between(w, usual_us / 4, usual_us * 2);
    return world_chance(w, 20) ? delay * 10 : delay;
}

void world_fail(struct world *w, const char *fmt, ...)
{
    if (w->failure[0] != '\0')
        return;
    va_list ap;
    va_start(ap, fmt);
    int n = snprintf(w->failure, sizeof w->failure, "at %.6f s: ", (double)w->now_us / 1e6);
    vsnprintf(w->failure + n, sizeof w->failure - (size_t)n, fmt, ap);
    va_end(ap);
    world_say(w, "VIOLATION %s", w->failure);
}

void world_say(const struct world *w, const char *fmt, ...)
{
    if (!w->verbose)
        return;
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "%12.6f  ", (double)w->now_us / 1e6);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
}
