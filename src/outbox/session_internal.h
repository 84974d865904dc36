/* The session's state, shared by session.c (life, socket, queue) and session_answers.c (what comes
 * back). */
#ifndef OUTBOXD_OUTBOX_SESSION_INTERNAL_H
#define OUTBOXD_OUTBOX_SESSION_INTERNAL_H

#include "outbox/session.h"
#include "outbox/timer.h"

#define MAX_PREPARED 16U

enum session_state { SESSION_CLOSED, SESSION_CONNECTING, SESSION_OPEN, SESSION_BROKEN };

/* A queued query; its strings stay allocated from one use to the next. */
struct request {
    struct session_query q;
    bool is_text;
    struct str text; /* of q.text, or the values one after the other, each with its NUL */
    size_t offsets[SESSION_MAX_VALUES];
    bool is_null[SESSION_MAX_VALUES];
};

struct session {
    struct session_params params;
    struct session_handlers handlers;
    void *ctx;
    enum session_state state;
    uint64_t life; /* rises with every open and close */
    PGconn *conn;
    struct event *io;
    short io_what;
    struct timer *deadline; /* of the host that is tried, or of the query that is out */
    uint32_t host_ms;       /* the share of each host in the time to connect */
    const char *trying;  /* libpq's name of the host, which is another one's at another address */
    struct timer *tick;  /* TLS_TICK_MS */
    struct timer *again; /* go on reading, or report the failure */
    struct err failure;

    struct request queue[SESSION_MAX_QUEUE];
    size_t first;
    size_t queued;  /* including the one that is out */
    bool out;       /* the first of the queue was sent */
    bool preparing; /* what is out is its PREPARE */
    bool copying;
    bool holding; /* the row below is not taken yet */
    bool discarding;
    char *row; /* of PQgetCopyData */
    int row_len;
    const char *prepared[MAX_PREPARED];
    size_t prepared_count;
};

/* Reads what has come and works it off, until nothing more is there. */
void session_pump(struct session *s);

/* Breaks the session with libpq's present message. */
void session_fail_by_libpq(struct session *s, const char *doing);
/* Sends what libpq still has, and watches for what there is to wait for. */
void session_settle_socket(struct session *s);
/* Starts the deadline of the query that is out anew; stops it while a row is held. */
void session_arm_deadline(struct session *s);
/* Sends the first of the queue, unless it is out. */
void session_start_next(struct session *s);

#endif
