/* What goes wrong in the demo, drawn from a seed: every service and every relay is killed once and
 * told to end once, payment and notification stay away for a while, records of the topics come a
 * second time, and a new consumer begins with all that the topic holds. The seed decides what
 * happens when, and to whom; how it meets the work under way is different in every run. */
#ifndef OUTBOXD_EXAMPLE_FAULTS_H
#define OUTBOXD_EXAMPLE_FAULTS_H

#include "customers.h"
#include "shop.h"
#include "topics.h"

enum fault_kind { FAULT_KILL, FAULT_STOP, FAULT_LONG_STOP, FAULT_DUPLICATES, FAULT_JOIN };

enum { FAULTS_DUPLICATES = 5, FAULTS_MAX = 2 * PARTS + FAULTS_DUPLICATES + 1 };

struct fault {
    enum fault_kind kind;
    int part;
    uint32_t at_ms; /* after the start */
    uint32_t away_ms;
    size_t records; /* to come again */
    bool done;
};

/* A long stop: how many orders were taken meanwhile. */
struct absence {
    int part; /* -1: has not begun */
    bool over;
    uint64_t until_ms;
    size_t taken_before;
    size_t taken;
};

enum { ABSENCES = 2, ABSENCE_ORDERS = 10 /* at least so many are taken during one */ };

struct faults {
    struct fault fault[FAULTS_MAX];
    int count;
    struct absence absence[ABSENCES];
    struct chance chance;
    uint64_t start_ms;
};

/* Draws them, within the span. */
void faults_init(struct faults *f, uint64_t seed, uint32_t span_ms);
void faults_start(struct faults *f);

/* Does what is due, and tells it. A part that is away already is waited for. Returns true when all
 * is done and everybody is to run again. */
bool faults_turn(struct faults *f, struct shop *shop, struct topics *topics,
                 const struct customers *customers);

#endif
