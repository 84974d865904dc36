/* The oracle: what the writers committed against what the topics hold. It is told of every fact as
 * it happens, and objects at the first moment when a promise is broken:
 *  - no ghost: nothing of an uncommitted transaction is appended;
 *  - order: per key, first occurrences ascend;
 *  - no loss: nothing is settled that is not in its topic, and in the end everything is there;
 *  - duplicates: none without a fault, and at most the window for each fault;
 *  - the others go on: what nothing is wrong with is not held up by what waits in a lane. */
#ifndef OUTBOXD_SIM_ORACLE_H
#define OUTBOXD_SIM_ORACLE_H

#include "plan.h"
#include "world.h"

enum fate {
    FATE_OPEN,
    FATE_COMMITTED,
    FATE_ROLLED_BACK,
    FATE_LOST, /* committed without waiting for the disk, and lost by a crash of the database */
};

/* One event that a writer has written. Its number is its index, and the tail of its event id. */
struct fact {
    uint32_t key;
    uint32_t version; /* ascends per key, in the order in which the writers took turns */
    enum fate fate;
    uint32_t appends;
    uint64_t committed_us;
    int32_t partition; /* of the last append; -1 before */
    bool poison;       /* cannot be published ... */
    bool cured;        /* ... until it was mended */
    bool odd;          /* its topic is no name: never mended, only given up */
    bool given_up;     /* not promised any more: it may be there, at any place, or not */
    uint32_t burials;  /* appended to the dead-letter topic */
};

struct oracle {
    struct world *world;
    const struct plan *plan;
    struct fact *facts;
    uint32_t count;
    uint32_t cap;
    uint32_t last_version[MAX_KEYS]; /* of the first occurrences */
    uint32_t unsettled;              /* appended, and not covered by the stored position */
    uint32_t missing;                /* committed, not given up, and not yet appended */
    bool troubled[MAX_KEYS];         /* something was wrong with the key, its partition or topic */
    uint64_t disturbed_until_us;     /* until then all may have had to wait */
    uint64_t moved_us;               /* the latest append that was main's */
    uint64_t still_max_us;           /* they may, for so long */
    uint64_t longest_still_us;    /* that events waited without a reason, and main appended none */
    uint64_t tries;               /* of lanes that were in vain */
    uint64_t tries_allowed_x1000; /* by what has happened, and the time that lanes were there */
    uint64_t duplicates;
    uint64_t allowed; /* duplicates that the faults so far excuse */
    uint64_t faults;
};

void oracle_init(struct oracle *o, struct world *w, const struct plan *plan);
void oracle_release(struct oracle *o);

uint32_t oracle_wrote(struct oracle *o, uint32_t key, uint32_t version);
void oracle_committed(struct oracle *o, uint32_t fact);
void oracle_rolled_back(struct oracle *o, uint32_t fact);
void oracle_lost(struct oracle *o, uint32_t fact);
void oracle_appended(struct oracle *o, uint32_t fact, int32_t partition);
void oracle_buried(struct oracle *o, uint32_t fact);
/* By an operator, or as its route says: it is promised no more. */
void oracle_given_up(struct oracle *o, uint32_t fact);
/* It cannot be published now. */
bool oracle_is_poison(const struct oracle *o, uint32_t fact);
void oracle_disturbed(struct oracle *o, uint64_t for_us);
/* Called now and then: how long have events waited with which nothing is wrong? */
void oracle_judge_waiting(struct oracle *o);
/* Lanes may be tried so many times more. */
void oracle_allow_tries(struct oracle *o, uint64_t tries_x1000);
void oracle_tried(struct oracle *o);
/* Something broke: one window of duplicates is excused, and `more` beyond it. */
void oracle_excuse(struct oracle *o, uint64_t more, const char *why);
/* The same of a lane, whose window is a quarter of main's. */
void oracle_excuse_lane(struct oracle *o, const char *why);
void oracle_end(struct oracle *o);

#endif
