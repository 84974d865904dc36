#include "fold.h"

#include <stdio.h>
#include <string.h>

static const struct step {
    const char *type;
    const char *state; /* after the event */
} steps[] = {
    {"order.placed", "PENDING"},  {"order.confirmed", "PLACED"},    {"order.paid", "PAID"},
    {"order.shipped", "SHIPPED"}, {"order.cancelled", "CANCELLED"},
};

/* Taken from an event's payload into the state when they are there. */
static const char *const members[] = {"customerId", "items", "totalAmount", "reason"};

void fold_init(struct fold *f, bool tells)
{
    *f = (struct fold){.expected = json_object(), .rebuilt = json_object(), .tells = tells};
}

void fold_release(struct fold *f)
{
    json_decref(f->expected);
    json_decref(f->rebuilt);
}

void fold_expect(struct fold *f, const char *order_id, const char *state)
{
    (void)json_object_set_new(f->expected, order_id, json_loads(state, 0, NULL));
    f->waiting++;
}

bool fold_is_waiting(const struct fold *f)
{
    return f->waiting > 0;
}

static json_int_t revision_of(const json_t *object)
{
    return json_integer_value(json_object_get(object, "revision"));
}

static const struct step *step_of(const char *type)
{
    for (size_t i = 0; type != NULL && i < sizeof steps / sizeof steps[0]; i++)
        if (strcmp(steps[i].type, type) == 0)
            return &steps[i];
    return NULL;
}

/* The state after the event, a new one for the first. */
static void apply(struct fold *f, const char *order_id, const struct step *step,
                  const json_t *payload)
{
    json_t *state = json_object_get(f->rebuilt, order_id);

    if (state == NULL) {
        state = json_pack("{s:n}", "reason");
        (void)json_object_set_new(f->rebuilt, order_id, state);
    }
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        json_t *value = json_object_get(payload, members[i]);

        if (value != NULL)
            (void)json_object_set(state, members[i], value);
    }
    (void)json_object_set_new(state, "state", json_string(step->state));
    (void)json_object_set_new(state, "revision", json_integer(revision_of(payload)));
    f->applied++;
    if (f->tells)
        (void)printf("%3lld  %-16s %s\n", (long long)revision_of(payload), step->type, step->state);
}

void fold_event(struct fold *f, const char *type, const json_t *payload)
{
    const char *order_id = json_string_value(json_object_get(payload, "orderId"));
    const json_t *expected = order_id == NULL ? NULL : json_object_get(f->expected, order_id);
    const json_int_t revision = revision_of(payload);
    const struct step *step = step_of(type);
    json_int_t have;

    if (order_id == NULL || step == NULL) {
        f->bad++;
        return;
    }
    if (expected == NULL)
        return;
    have = revision_of(json_object_get(f->rebuilt, order_id));
    if (revision <= have) {
        f->seen++;
    } else if (revision > revision_of(expected)) {
        f->newer++;
    } else if (revision != have + 1) {
        f->bad++; /* the events before it are gone */
    } else {
        apply(f, order_id, step, payload);
        if (revision == revision_of(expected))
            f->waiting--;
    }
}
