/* Work that the relay does beside publishing, by itself: a loop, one session of the relay's role,
 * and the job that uses it (days, retention), with pauses as short as the test wants them. */
#ifndef OUTBOXD_TESTS_KEEPER_H
#define OUTBOXD_TESTS_KEEPER_H

#include "base/err.h"
#include "pg.h"

#include <stdbool.h>

struct event_base;
struct session;

/* The job starts when the session is connected, and forgets it when it breaks. */
struct keeper_job {
    void *ctx;
    void (*start)(void *ctx);
    void (*forget)(void *ctx);
};

struct keeper {
    struct event_base *base;
    struct session *session; /* not open before keeper_open */
    struct timer *beat;
    struct keeper_job job;
    struct err why;
    bool broken;
};

void keeper_init(struct keeper *k, const struct pg_server *pg);
void keeper_open(struct keeper *k, const struct keeper_job *job);
/* The session must be open still; the job must be freed before. */
void keeper_release(struct keeper *k);

/* The loop for so long; a session that breaks fails the test. */
void keeper_turn(struct keeper *k, unsigned ms);
/* Until that stands in what log_catch has caught; fails the test after 20 s. */
void keeper_wait_for_log(struct keeper *k, const char *part);
/* Until so many further statements that hold the part have come to the server, whatever came of
 * them; role relay must log them all. */
void keeper_wait_for_statements(struct keeper *k, const struct pg_server *pg, const char *part,
                                unsigned more);
/* How many have come. */
unsigned statements_seen(const struct pg_server *pg, const char *part);

#endif
