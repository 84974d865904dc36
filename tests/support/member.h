/* A member of a consumer group as a process: tools/inbox_member.c, which stands on libinbox. */
#ifndef OUTBOXD_TESTS_MEMBER_H
#define OUTBOXD_TESTS_MEMBER_H

#include "proc.h"

#include <stdbool.h>
#include <stdint.h>

struct member {
    struct proc proc;
    char log[PATH_SIZE]; /* of this run, all levels */
    char out[PATH_SIZE]; /* its counters, when it has ended properly */
};

/* name=value for the program, NULL-terminated; `more` (may be NULL) follows `common`. */
void member_start(struct member *m, const char *const *common, const char *const *more);
/* SIGTERM; its exit code. Fails the test when it takes more than 30 s. */
int member_stop(struct member *m);
void member_kill9(struct member *m);

/* It has stopped itself (then=stop); wakes it. */
bool member_is_parked(const struct member *m);
void member_wake(struct member *m);

int member_log_count(const struct member *m, const char *text);
/* A counter of its output by the metric's name; fails the test when it has not written any. */
int64_t member_counter(const struct member *m, const char *metric);

#endif
