/* The simulated world's clock, chance and order of events. Everything that happens is a step in one
 * queue, ordered by virtual time; the seed decides all else, so that a run can be repeated exactly.
 *
 * A step belongs to a scope (a process, its database sessions, its producer) or to none (a server).
 * Ending a scope's life forgets its steps; a paused process gets its steps, in order, when it
 * wakes. */
#ifndef OUTBOXD_SIM_WORLD_H
#define OUTBOXD_SIM_WORLD_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MS(n)      ((uint64_t)(n)*1000) /* virtual time is kept in microseconds */
#define SECONDS(n) ((uint64_t)(n)*1000000)

struct scope {
    uint64_t life;               /* raise it, and all steps scheduled before are forgotten */
    uint64_t paused_until_us;    /* of a process */
    const struct scope *process; /* whose pause counts; NULL: its own */
};

typedef void (*step_fn)(void *self, void *arg);

struct step {
    uint64_t at_us;
    uint64_t order; /* among steps of the same time: as they were scheduled */
    uint64_t life;
    const struct scope *scope;
    step_fn run;
    void *self;
    void *arg;
};

/* What a run comes across. The test asserts that all of them are met: a simulation that never gets
 * there proves nothing. */
enum sight {
#define SIGHTS(X)                                                                                  \
    X(LATE_REQUEST, "late requests of dead producers that landed")                                 \
    X(DEDUPLICATED, "batches that a broker had already")                                           \
    X(OUT_OF_ORDER, "batches refused for their sequence number")                                   \
    X(FORGOTTEN, "producers that a broker had forgotten")                                          \
    X(TOO_LARGE, "records refused as too large")                                                   \
    X(NO_PRODUCER, "producers that could not be made")                                             \
    X(UNSENDABLE, "rows that cannot become a message")                                             \
    X(REFUSED_APPENDED, "batches refused and appended all the same")                               \
    X(XIDS_REUSED, "crashes after which xids were used again")                                     \
    X(COMMITS_LOST, "events lost by a crash of the database")                                      \
    X(STORES_LOST, "events whose stored position was lost by a crash")                             \
    X(GHOST_WRITE, "statements of broken sessions that were executed")                             \
    X(STALE_WRITE, "writes that came with an old epoch")                                           \
    X(TAKEN_OVER, "leases taken from another holder")                                              \
    X(GREW, "partition counts that grew")                                                          \
    X(HELD, "rows held")                                                                           \
    X(DROPPED, "fetches whose rest was dropped")                                                   \
    X(MANY_NEW, "backlogs read along the id")                                                      \
    X(BELL_BUSY, "bells that could not be armed")                                                  \
    X(RUNG, "commits that rang")                                                                   \
    X(HALTED, "halts")                                                                             \
    X(EXPIRED, "leases not renewed in time")                                                       \
    X(PAUSED, "pauses that a leader heard of")                                                     \
    X(TAKEN_PAUSED, "takeovers of a paused relay")                                                 \
    X(LIMITED, "sends while a limited rate was more than half used up")                            \
    X(FORBIDDEN, "batches refused since the topic is forbidden")                                   \
    X(SPLIT_KEY, "lanes made for a key")                                                           \
    X(SPLIT_PARTITION, "lanes made for a partition")                                               \
    X(SPLIT_TOPIC, "lanes made for a topic")                                                       \
    X(SPLIT_OFF_A_LANE, "lanes made off a wider lane")                                             \
    X(SPLIT_SILENT, "lanes made for a partition that was silent while others were not")            \
    X(TRY_FAILED, "lanes tried in vain")                                                           \
    X(LANE_STORED, "positions stored of lanes that flow")                                          \
    X(LANES_TAKEN, "takeovers with lanes")                                                         \
    X(LANE_PAGE_BOUND, "lane pages that did not look at all rows")                                 \
    X(GHOST_CHANGE, "changes of lanes that a broken session made")                                 \
    X(STALE_CHANGE, "changes of lanes that came with an old epoch")                                \
    X(ASKED, "lanes that an operator wanted tried")                                                \
    X(GIVEN_UP, "events given up by an operator")                                                  \
    X(SKIPPED, "events skipped by the relay")                                                      \
    X(FOLDED, "lanes given up for changed routes")                                                 \
    X(MERGED, "lanes merged")
#define X(name, text) SIGHT_##name,
    SIGHTS(X)
#undef X
        SIGHT_COUNT
};

struct world {
    uint64_t now_us;
    uint64_t chance; /* state of the generator */
    uint64_t order;
    uint64_t steps;
    struct step *heap;
    size_t count;
    size_t cap;
    bool verbose;
    uint64_t sights[SIGHT_COUNT];
    char failure[512]; /* the first violation; "" while all is well */
};

void world_init(struct world *w, uint64_t seed, bool verbose);
void world_release(struct world *w);

/* Schedules a step. `scope` may be NULL. `arg` is NULL or from malloc; the world frees it after the
 * step. */
void world_at(struct world *w, uint64_t at_us, const struct scope *scope, step_fn run, void *self,
              void *arg);

/* Takes the next step if it is due before `until_us` (one that is forgotten or paused does
 * nothing); otherwise moves the clock there and returns false. */
bool world_step(struct world *w, uint64_t until_us);

uint64_t world_random(struct world *w);
uint64_t world_between(struct world *w, uint64_t low, uint64_t high); /* both included */
bool world_chance(struct world *w, uint32_t permille);
/* A delay that is mostly near `usual_us` and now and then ten times as long. */
uint64_t world_delay(struct world *w, uint64_t usual_us);

/* Notes a violation (the first one counts), so that the run ends. */
void world_fail(struct world *w, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* One line of the story, only with VERBOSE. */
void world_say(const struct world *w, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
