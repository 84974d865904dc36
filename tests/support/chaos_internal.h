/* What chaos.c (who breaks when) and chaos_faults.c (how it is done) share. */
#ifndef OUTBOXD_TESTS_CHAOS_INTERNAL_H
#define OUTBOXD_TESTS_CHAOS_INTERNAL_H

#include "base/str.h"
#include "chaos.h"

/* Relays, brokers and Postgres are processes and share one machine of states. */
enum chaos_state {
    CHAOS_UP,
    CHAOS_ENDING,   /* told to end; waited for */
    CHAOS_DOWN,     /* until `until_ms` */
    CHAOS_STARTING, /* until it answers */
    CHAOS_FROZEN,   /* SIGSTOP, until `until_ms` */
    CHAOS_SLOW,     /* stopped and continued in turns, until `until_ms` */
};

enum chaos_role { CHAOS_RELAY, CHAOS_BROKER, CHAOS_POSTGRES };

struct chaos_target {
    enum chaos_role role;
    int number; /* of its kind, from 0 */
    char name[24];
    struct proc *proc;
    enum chaos_state state;
    uint64_t random;
    uint64_t next_ms;     /* CHAOS_UP: of the next fault */
    uint64_t until_ms;    /* of the present one */
    uint64_t patience_ms; /* CHAOS_ENDING, CHAOS_STARTING: then something is wrong */
    uint64_t flip_ms;     /* CHAOS_SLOW: of the next turn */
    uint64_t answers_ms;  /* CHAOS_STARTING, a broker: since when its port is open */
    bool flip_stopped;
    enum chaos_fault fault;
};

/* What happens inside Postgres and the topic; one of these at a time. */
struct chaos_nuisance {
    uint64_t random;
    uint64_t next_ms;
    uint64_t until_ms; /* 0: nothing goes on */
    enum chaos_fault fault;
    PGconn *conn;     /* of the long transaction */
    pid_t frozen_pid; /* of the backend, 0: none */
    int serial;
    int growths;
};

struct chaos {
    struct chaos_params params;
    struct chaos_target *targets;
    int target_count;
    struct chaos_nuisance sessions; /* terminated, frozen */
    struct chaos_nuisance others;   /* long transactions, partitions */
    bool spare_relays;
    uint64_t start_ms;
    int counts[CHAOS_FAULT_COUNT];
    struct str timeline;
};

struct chaos_choice {
    enum chaos_fault fault;
    unsigned weight;
    unsigned min_ms, max_ms; /* how long it lasts */
};

unsigned chaos_chance(uint64_t *random, unsigned below);
unsigned chaos_between(uint64_t *random, unsigned min, unsigned max);
void chaos_fault_begins(struct chaos *c, const char *whom, enum chaos_fault fault,
                        unsigned duration_ms);

/* Draws and applies the next fault of a process. */
void chaos_break(struct chaos *c, struct chaos_target *t, uint64_t now_ms);
/* Starts it again, without waiting. */
void chaos_start_again(struct chaos *c, struct chaos_target *t, uint64_t now_ms);
/* CHAOS_STARTING: does it answer? Starts a Postgres again that found its predecessor's memory in
 * use. */
bool chaos_answers(struct chaos *c, struct chaos_target *t, uint64_t now_ms);

void chaos_sessions_tick(struct chaos *c, uint64_t now_ms);
void chaos_others_tick(struct chaos *c, uint64_t now_ms);
/* End what goes on. */
void chaos_sessions_heal(struct chaos *c);
void chaos_others_heal(struct chaos *c);

#endif
