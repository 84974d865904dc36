/* Shared by the files of the protocol: one step on its way. */
#ifndef OUTBOXD_TESTS_MODEL_WALK_H
#define OUTBOXD_TESTS_MODEL_WALK_H

#include "protocol.h"

#include <stdio.h>

/* One look at a state: the copy that is being changed, and whom to give it to. */
struct walk {
    const struct bounds *b;
    struct model m;
    struct step step;
    const char *broken;
    model_take *take;
    void *ctx;
};

#define SAY(w, ...) ((void)snprintf((w)->step.text, sizeof(w)->step.text, __VA_ARGS__))

/* walk.c */
uint8_t bit(unsigned n);
bool has(uint8_t bits, unsigned n);
uint8_t count(const struct bounds *b);
uint8_t key_of(const struct bounds *b, uint8_t event);
uint8_t partition_of(const struct bounds *b, uint8_t event);
/* Whether an event of the key lies behind `from`, up to `to`. */
bool lies_between(const struct bounds *b, uint8_t key, uint8_t from, uint8_t to);
unsigned length(const struct producer *p);
void remove_at(struct producer *p, unsigned at);
bool is_on_its_way(uint8_t entry);
/* The relay lets go of it: what is on its way stays on its way, acks are not taken any more. */
void abandon(struct model *m, struct producer *p);
void drop_memory(struct model *m, struct model_relay *r);
bool is_settled(const struct model *m, const struct bounds *b, uint8_t e);
/* The step is over: judged, and handed on. */
void emit(struct walk *w);

/* relay.c */
/* The settled prefix moves over what is acknowledged, and over keys with a durable lane. */
void advance(const struct bounds *b, struct model_relay *r);
void relay_steps(const struct walk *now, unsigned number);

/* broker.c */
void broker_steps(const struct walk *now, unsigned number, unsigned producer, unsigned at);
void late_steps(const struct walk *now, unsigned number, unsigned at);

#endif
