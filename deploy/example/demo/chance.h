/* Chance from a seed: the same seed draws the same numbers on every machine (splitmix64). */
#ifndef OUTBOXD_EXAMPLE_CHANCE_H
#define OUTBOXD_EXAMPLE_CHANCE_H

#include <stdint.h>

struct chance {
    uint64_t state;
};

/* A number from 0 to below - 1; `below` is at least 1 and small. */
static inline uint32_t chance_below(struct chance *c, uint32_t below)
{
    uint64_t z = c->state += 0x9e3779b97f4a7c15U;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return (uint32_t)((z ^ (z >> 31)) % below);
}

static inline uint32_t chance_between(struct chance *c, uint32_t low, uint32_t high)
{
    return low + chance_below(c, high - low + 1);
}

#endif
