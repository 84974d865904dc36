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
/* The lane that the key belongs to, the narrower first; LANES: none, so it is main's. */
uint8_t owner_of(uint8_t lanes, uint8_t key);
unsigned length(const struct producer *p);
void remove_at(struct producer *p, unsigned at);
bool is_on_its_way(uint8_t entry);
/* The relay lets go of it: what is on its way stays on its way, acks are not taken any more. */
void abandon(struct model *m, struct producer *p);
void drop_memory(struct model *m, struct model_relay *r);
bool is_settled(const struct model *m, const struct bounds *b, uint8_t e);
/* The step is over: judged, and handed on. */
void emit(struct walk *w);

/* The first event of the lane behind `from`; one more than there are: none. */
uint8_t next_of(const struct bounds *b, uint8_t lanes, uint8_t lane, uint8_t from);

const char *lane_name(uint8_t lane);

/* relay.c */
/* The settled prefix of a stream (0: main, else lane + 1) moves over what is acknowledged, and over
 * what it has passed: given up, or of a narrower lane that is durable. */
void advance(const struct bounds *b, struct model_relay *r, unsigned stream);
void rewind_stream(struct model_stream *s);
void relay_steps(const struct walk *now, unsigned number);

/* broker.c */
void broker_steps(const struct walk *now, unsigned number, unsigned stream, unsigned at);
void late_steps(const struct walk *now, unsigned number, unsigned at);

#endif
