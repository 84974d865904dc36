/* The consumer's connection to its database: connected, watched while a handler has it, and the
 * statements around a transaction. Waits for the server, but not for ever, and not against
 * inbox_stop. */
#ifndef OUTBOXD_INBOX_SESSION_H
#define OUTBOXD_INBOX_SESSION_H

#include "inbox/event.h"
#include "inbox/fault.h"
#include "inbox/say.h"

#include <stdatomic.h>

/* How a step with the database ended. */
enum db {
    DB_OK,
    DB_OUTAGE,   /* not reachable, lost, full, shutting down: wait, then the same again */
    DB_CONFLICT, /* serialization failure, deadlock, or a claim that was held for too long */
    DB_REFUSED,  /* the handler's work is refused: a constraint at the commit, say */
    DB_BROKEN,   /* the handler has ended the transaction or closed the connection */
    DB_FATAL,    /* schema or grants: a person is needed */
};

struct session {
    const char *conninfo; /* borrowed, may be NULL */
    const char *consumer; /* borrowed */
    struct say *say;
    const atomic_bool *stopping;
    int stop_fd; /* readable once it is to stop */
    PGconn *conn;
    uint64_t connects;
    bool unprepared; /* prepared statements do not last here */
    /* while a handler has the connection */
    bool watched;
    bool ended; /* it did something that ends or begins a transaction, or closed the connection */
    char sqlstate[6]; /* of the last statement that failed since session_begin */
    char xid[24];     /* of the transaction that holds the claims; "" while there is none */
};

/* True when there is a usable connection; else makes one, which takes up to some seconds. DB_OK,
 * DB_OUTAGE or DB_FATAL; but DB_OUTAGE, too, for a wrong password: that can be mended while we
 * wait. */
NODISCARD enum db session_ready(struct session *s, struct inbox_error *e);

/* BEGIN, under guard: only session_commit can commit. In the same round trip it claims `count`
 * events (at least one), and takes failure records of theirs away; answer[i] becomes 't' (first
 * time), 'f' (seen) or 'n' (too old: then the transaction may have failed, and is to be rolled
 * back). */
NODISCARD enum db session_begin(struct session *s, struct inbox_event *const *events, size_t count,
                                bool accept_old, char *answer, struct inbox_error *e);

/* Between these two the handler has s->conn. session_unwatch says what it left: DB_OK: a
 * transaction that can go on, as far as can be seen. */
void session_watch(struct session *s);
NODISCARD enum db session_unwatch(struct session *s, struct inbox_error *e);

/* COMMIT, after a look whether it is still the transaction that was begun. DB_OUTAGE: it may have
 * been committed or not; the claims will tell. */
NODISCARD enum db session_commit(struct session *s, struct inbox_error *e);
void session_rollback(struct session *s);

struct failure {
    const struct inbox_event *event;
    const char *class;
    const char *text;
    int attempts;
    int64_t next_try_ms;           /* from now; < 0: none, it has been given up */
    const char *dead_letter_topic; /* where it went, or NULL */
};

/* Records the failure in a transaction of its own. A failure of this is told and not more.
 * DB_OUTAGE when it should be tried again. */
NODISCARD enum db session_record(struct session *s, const struct failure *f);

void session_close(struct session *s);

#endif
