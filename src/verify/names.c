#include "verify/names.h"

#include "message/murmur2.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_SLOTS = 64 };

void names_init(struct names *n, size_t limit)
{
    *n = (struct names){.limit = limit < NAMES_MAX ? limit : NAMES_MAX,
                        .slots = xcalloc(FIRST_SLOTS, sizeof(uint32_t)),
                        .slot_count = FIRST_SLOTS};
}

void names_release(struct names *n)
{
    for (size_t i = 0; i < n->count; i++)
        free(n->text[i]);
    free(n->text);
    free(n->slots);
    *n = (struct names){0};
}

/* The slot that holds the name, or the free one where it belongs. The table is never full. */
static uint32_t *find_slot(const struct names *n, struct slice name)
{
    size_t at = murmur2(name.ptr, name.len) & (n->slot_count - 1);

    while (n->slots[at] != 0 && !slice_is(name, n->text[n->slots[at] - 1]))
        at = (at + 1) & (n->slot_count - 1);
    return &n->slots[at];
}

static void grow(struct names *n)
{
    n->slot_count *= 2;
    free(n->slots);
    n->slots = xcalloc(n->slot_count, sizeof n->slots[0]);
    for (size_t i = 0; i < n->count; i++)
        *find_slot(n, slice_of(n->text[i])) = (uint32_t)i + 1;
}

int32_t names_number(struct names *n, struct slice name)
{
    uint32_t *slot = find_slot(n, name);

    if (*slot != 0)
        return (int32_t)(*slot - 1);
    if (n->count == n->limit)
        return -1;
    if (2 * (n->count + 1) > n->slot_count) {
        grow(n);
        slot = find_slot(n, name);
    }
    n->text = xrealloc(n->text, (n->count + 1) * sizeof n->text[0]);
    n->text[n->count] = xstrndup(name.ptr, name.len);
    *slot = (uint32_t)++n->count;
    return (int32_t)(n->count - 1);
}
