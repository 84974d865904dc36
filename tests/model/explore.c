/* Breadth first, so that the story of a counterexample is the shortest. States are kept whole in
 * one array, found by an open hash table of numbers; edges are kept for the question of progress.
 */
#include "explore.h"

#include "base/str.h"

#include <stdlib.h>
#include <string.h>

struct edge {
    uint32_t from;
    uint32_t to;
};

struct explorer {
    const struct bounds *b;
    struct model *states;
    uint32_t *parents;
    uint32_t *table; /* number + 1; 0: free */
    size_t table_size;
    size_t count;
    size_t max;
    struct edge *edges; /* those that need no help first come from `plain` */
    bool *helps;
    size_t edge_count;
    size_t edge_capacity;
    uint32_t present; /* the state whose steps are being made */
    bool too_many;
    const char *broken;
    struct step last; /* the step that broke it */
};

static uint64_t hash_of(const struct model *m)
{
    const unsigned char *bytes = (const unsigned char *)m;
    uint64_t h = 14695981039346656037ULL; /* FNV-1a */

    for (size_t i = 0; i < sizeof *m; i++)
        h = (h ^ bytes[i]) * 1099511628211ULL;
    return h ^ (h >> 32);
}

/* The state's number; UINT32_MAX when there is no room. */
static uint32_t number_of(struct explorer *x, const struct model *m)
{
    size_t at = hash_of(m) & (x->table_size - 1);

    for (; x->table[at] != 0; at = (at + 1) & (x->table_size - 1))
        if (memcmp(&x->states[x->table[at] - 1], m, sizeof *m) == 0)
            return x->table[at] - 1;
    if (x->count == x->max) {
        x->too_many = true;
        return UINT32_MAX;
    }
    x->states[x->count] = *m;
    x->parents[x->count] = x->present;
    x->table[at] = (uint32_t)++x->count;
    return (uint32_t)x->count - 1;
}

static void add_edge(struct explorer *x, uint32_t to, bool helps)
{
    if (x->edge_count == x->edge_capacity) {
        x->edge_capacity = x->edge_capacity == 0 ? 1 << 16 : x->edge_capacity * 2;
        x->edges = xrealloc(x->edges, x->edge_capacity * sizeof x->edges[0]);
        x->helps = xrealloc(x->helps, x->edge_capacity * sizeof x->helps[0]);
    }
    x->edges[x->edge_count] = (struct edge){x->present, to};
    x->helps[x->edge_count++] = helps;
}

static void take(void *ctx, const struct model *m, const struct step *step, const char *broken)
{
    struct explorer *x = ctx;
    uint32_t to;

    if (x->broken != NULL)
        return;
    if (broken != NULL) {
        x->broken = broken;
        x->last = *step;
        return;
    }
    to = number_of(x, m);
    if (to != UINT32_MAX)
        add_edge(x, to, step->helps);
}

/* ---- progress ---- */

/* Marks the states from which a marked one can be reached; edges that need help count only with
 * `with_help`. */
static void spread_back(const struct explorer *x, bool *marked, bool with_help)
{
    uint32_t *first = xcalloc(x->count + 1, sizeof first[0]);
    uint32_t *froms = xcalloc(x->edge_count + 1, sizeof froms[0]);
    uint32_t *stack = xcalloc(x->count + 1, sizeof stack[0]);
    size_t depth = 0;

    for (size_t i = 0; i < x->edge_count; i++)
        if (with_help || !x->helps[i])
            first[x->edges[i].to]++;
    for (size_t i = 1; i <= x->count; i++)
        first[i] += first[i - 1];
    for (size_t i = 0; i < x->edge_count; i++)
        if (with_help || !x->helps[i])
            froms[--first[x->edges[i].to]] = x->edges[i].from;
    for (uint32_t i = 0; i < x->count; i++)
        if (marked[i])
            stack[depth++] = i;
    while (depth > 0) {
        uint32_t to = stack[--depth];

        for (uint32_t i = first[to]; i < first[to + 1]; i++)
            if (!marked[froms[i]]) {
                marked[froms[i]] = true;
                stack[depth++] = froms[i];
            }
    }
    free(stack);
    free(froms);
    free(first);
}

/* The first state from which no `done` one can be reached; count: there is none. */
static size_t find_stuck(const struct explorer *x, bool with_help,
                         bool (*done)(const struct model *, const struct bounds *))
{
    bool *marked = xcalloc(x->count, sizeof marked[0]);
    size_t stuck = 0;

    for (size_t i = 0; i < x->count; i++)
        marked[i] = done(&x->states[i], x->b);
    spread_back(x, marked, with_help);
    while (stuck < x->count && marked[stuck])
        stuck++;
    free(marked);
    return stuck;
}

/* ---- the story ---- */

struct search {
    const struct model *to;
    struct step found;
};

static void search_step(void *ctx, const struct model *m, const struct step *step,
                        const char *broken)
{
    struct search *s = ctx;

    (void)broken;
    if (memcmp(m, s->to, sizeof *m) == 0)
        s->found = *step;
}

static char *tell_story(const struct explorer *x, uint32_t end, const char *last)
{
    struct str story = {0};
    uint32_t *way = xcalloc(x->count + 1, sizeof way[0]);
    size_t length = 0;

    for (uint32_t at = end; at != 0; at = x->parents[at])
        way[length++] = at;
    while (length > 0) {
        uint32_t at = way[--length];
        struct search s = {.to = &x->states[at]};

        model_steps(&x->states[x->parents[at]], x->b, search_step, &s);
        str_printf(&story, "  %s\n", s.found.text);
    }
    str_printf(&story, "  %s\n", last);
    free(way);
    return story.data;
}

static void judge_progress(const struct explorer *x, struct finding *out)
{
    size_t stuck = find_stuck(x, true, model_is_done);

    if (stuck < x->count) {
        out->broken = "from here an event can never be published";
    } else if (!x->b->halts) {
        stuck = find_stuck(x, false, model_others_are_done);
        if (stuck < x->count)
            out->broken = "from here other keys wait until somebody mends the poison event";
    }
    if (out->broken != NULL)
        out->story = tell_story(x, (uint32_t)stuck, out->broken);
}

void explore(const struct bounds *b, size_t max_states, struct finding *out)
{
    struct explorer x = {.b = b, .max = max_states, .table_size = 1};
    struct model start;

    *out = (struct finding){0};
    while (x.table_size < max_states * 2)
        x.table_size *= 2;
    x.states = xcalloc(max_states, sizeof x.states[0]);
    x.parents = xcalloc(max_states, sizeof x.parents[0]);
    x.table = xcalloc(x.table_size, sizeof x.table[0]);
    model_begin(&start, b);
    (void)number_of(&x, &start);
    for (; x.present < x.count && x.broken == NULL; x.present++)
        model_steps(&x.states[x.present], b, take, &x);
    out->states = x.count;
    out->steps = x.edge_count;
    out->too_many = x.too_many;
    if (x.broken != NULL) {
        out->broken = x.broken;
        out->story = tell_story(&x, x.present - 1, x.last.text);
    } else if (!x.too_many) {
        judge_progress(&x, out);
    }
    free(x.edges);
    free(x.helps);
    free(x.table);
    free(x.parents);
    free(x.states);
}

void finding_release(struct finding *f)
{
    free(f->story);
    *f = (struct finding){0};
}
