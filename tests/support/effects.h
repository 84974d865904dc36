/* The oracle of the inbox (I6): the effects in a consumer's database equal the events that were
 * sent, once each, in order per key; what had to fail lies in the dead-letter topic and is
 * recorded, and nothing else is.
 *
 * tools/inbox_member.c writes the effects, and what it does with an event besides is a word that
 * travels with it (header "do", or by the event's id), so that the oracle knows what must become of
 * it. Each effect is a row, and an addition to its key's total in the same statement: a balance
 * that shows what rows may hide. */
#ifndef OUTBOXD_TESTS_EFFECTS_H
#define OUTBOXD_TESTS_EFFECTS_H

#include "pg.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a handler does after it has written the effect. These end in the dead-letter topic:
 *   fail  asks for another try      reject  rejects           abort  a statement that fails
 *   late  COMMIT is refused         commit, rollback, close, reset: breaks its contract
 *   stray commits, begins, and writes the effect once more    bad    no event at all (has a mark)
 * and with a "2" behind the word only the first two attempts fail. These take effect:
 *   company fails among others      conflict fails by 40001 every other time  slow  takes 30 ms */
#define EFFECTS_DEAD_SQL                                                                           \
    "IN ('fail', 'reject', 'abort', 'late', 'commit', 'rollback', 'close', 'reset', 'stray', "     \
    "'bad')"

/* For events that come from a load: the last four digits of the id, modulo 128, say it. */
#define EFFECTS_BY_ID(X)                                                                           \
    X(3, "fail2")                                                                                  \
    X(17, "abort2")                                                                                \
    X(29, "company")                                                                               \
    X(41, "conflict")                                                                              \
    X(53, "commit2")                                                                               \
    X(64, "close2")                                                                                \
    X(70, "slow")                                                                                  \
    X(77, "reject")                                                                                \
    X(90, "fail")                                                                                  \
    X(101, "stray")                                                                                \
    X(115, "late")

static inline const char *effects_by_id(const char *event_id)
{
    switch (strtoul(event_id + strlen(event_id) - 4, NULL, 16) % 128) {
#define EFFECTS_CASE_(number, what)                                                                \
    case number:                                                                                   \
        return what;
        EFFECTS_BY_ID(EFFECTS_CASE_)
#undef EFFECTS_CASE_
    default:
        return "";
    }
}

/* The tables effect, total, sent, dead; once per server, after pg_apply_inbox. */
void effects_prepare(PGconn *conn);
/* Empty tables for the next test. No member may be at work. */
void effects_reset(PGconn *conn);

/* From now on every COMMIT with an effect waits while somebody holds effects_close_gate's lock. */
void effects_build_gate(PGconn *conn);
void effects_close_gate(PGconn *conn); /* by this session, until it opens it or ends */
void effects_open_gate(PGconn *conn);
void effects_remove_gate(PGconn *conn);

/* All rows of outbox.event (in the same database) were sent; what they do is told by their ids. */
void effects_expect_outbox(PGconn *conn);

struct effects_params {
    PGconn *conn; /* superuser, to the database of the effects and of the table sent */
    const char *brokers;
    const char *consumer;
    const char *const *topics;       /* NULL-terminated */
    const char *const *dead_letters; /* NULL-terminated, too */
    bool any_order;                  /* keys are spread over partitions */
    int wait_ms;                     /* how long to wait for what is missing; 0: not at all */
};

#define EFFECTS_COUNTS(X)                                                                          \
    X(missing, "sent, but no effect")                                                              \
    X(twice, "more than one effect")                                                               \
    X(ghosts, "an effect of what was never sent, or must not take effect")                         \
    X(inverted, "out of order for its key")                                                        \
    X(wrong, "another key or number than was sent, or a total that is not the sum")                \
    X(unclaimed, "an effect without a claim, or a claim without an effect")                        \
    X(lost_letters, "had to fail, but no dead letter")                                             \
    X(false_letters, "a dead letter of what took effect, or of nothing that was sent")             \
    X(unrecorded, "dead-lettered, but not recorded as a failure, or the other way round")          \
    X(lag, "records below the log's end that the group has not done")

struct effects_report {
    int64_t sent, effects, letters;
#define EFFECTS_COUNT_(name, text) int64_t name;
    EFFECTS_COUNTS(EFFECTS_COUNT_)
#undef EFFECTS_COUNT_
    int64_t elapsed_ms;
};

void effects_judge(struct effects_report *r, const struct effects_params *p);
bool effects_are_right(const struct effects_report *r);
void effects_print(const struct effects_report *r, FILE *out);
/* Judges; prints the report and fails the test when something is wrong. */
struct effects_report effects_assert(const struct effects_params *p);

/* effects_topic.c: the group's committed offsets against the logs' ends, summed up; the dead
 * letters of a topic into the table dead. */
int64_t effects_lag(const struct effects_params *p);
void effects_read_letters(const struct effects_params *p);
/* Puts the offsets of a group without members back to the beginning. */
void effects_rewind(const char *brokers, const char *consumer, const char *const *topics);

#endif
