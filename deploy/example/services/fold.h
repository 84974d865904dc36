/* Orders folded from their events: a state is a JSON object with customerId, items, totalAmount,
 * state, reason and revision, and an event changes it. Pure: no server is asked.
 *
 * Events come in the order of their revisions for each order, but may come again (1 2 3 2 3); an
 * order is folded up to the revision that is expected. */
#ifndef EXAMPLE_FOLD_H
#define EXAMPLE_FOLD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct fold {
    json_t *expected;                 /* by order id: what the states should be */
    json_t *rebuilt;                  /* by order id: what the events make of them */
    size_t waiting;                   /* orders that are behind the expected revision */
    size_t applied, seen, newer, bad; /* events */
    bool tells;                       /* each event that is applied, on stdout */
};

void fold_init(struct fold *f, bool tells);
void fold_release(struct fold *f);

/* An order, and its state as a JSON text, before any event. */
void fold_expect(struct fold *f, const char *order_id, const char *state);
/* Events of other orders count for nothing. `type` and `payload` may be NULL. */
void fold_event(struct fold *f, const char *type, const json_t *payload);
/* Events are missing that are expected. */
bool fold_is_waiting(const struct fold *f);

#endif
