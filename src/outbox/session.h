/* One asynchronous session with Postgres on the loop: connect, then one query at a time from a
 * short queue.
 *
 * Happy path: session_open -> connected -> session_query ... -> result, row, done. Any error breaks
 * the session: everything in the queue is forgotten, and `broken` comes once, from the loop, never
 * from within a call into this file. After that only session_open and session_close make sense. No
 * function blocks, except that libpq looks host names up by itself while it connects. */
#ifndef OUTBOXD_OUTBOX_SESSION_H
#define OUTBOXD_OUTBOX_SESSION_H

#include "base/err.h"
#include "base/str.h"

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_base;
struct hosts;
struct session;

struct session_params {
    struct event_base *base;
    const char *url;              /* URL or key=value; "": the libpq environment */
    const char *password;         /* NULL or "": none beside the url's */
    const char *application_name; /* shown in pg_stat_activity */
    struct hosts *hosts;          /* shared order of several hosts; NULL: as in the url */
    uint32_t connect_timeout_ms; /* for all hosts and addresses together; each host has its share */
};

struct session_handlers {
    void (*connected)(void *ctx); /* queries may be asked from now on */
    /* kind ERR_CONFIG: the server refused us as we are (password, role, database, pg_hba.conf);
     * else ERR_UNAVAILABLE. */
    void (*broken)(void *ctx, const struct err *why);
    void (*notified)(void *ctx); /* one or more notifications came; may be NULL */
};

#define SESSION_MAX_VALUES 12
#define SESSION_MAX_QUEUE  16

/* Either the query `name` of src/outbox/sql, prepared at its first use (binary results), or the
 * statements of `text` in one message (text results, and COPY TO STDOUT); then the name is only for
 * messages. The callbacks may be NULL but for `row` with COPY. */
struct session_query {
    const char *name;          /* must stay valid */
    const char *const *values; /* texts, NULL for SQL NULL; copied */
    size_t count;
    const char *text;      /* NULL: a prepared query; copied */
    uint32_t timeout_ms;   /* until the next sign of life of this query; 0: none */
    bool may_be_cancelled; /* SQLSTATE 57014 ends it as if it had come to its end */
    /* One result of the query, to be freed by the callee with PQclear. */
    void (*result)(void *ctx, PGresult *result);
    /* One message of COPY data, lent for the call. false: hold it, it is offered again after
     * session_resume. */
    bool (*row)(void *ctx, struct slice data);
    /* For `text` without COPY: the server refused the statement, with a SQLSTATE and a text lent
     * for the call. Its transaction is rolled back, `done` follows, and the session goes on. NULL:
     * it breaks. An error that ends the session breaks it all the same. */
    void (*refused)(void *ctx, const char *sqlstate, const char *text);
    /* The query is through and its transaction has ended. */
    void (*done)(void *ctx);
    void *ctx;
};

struct session *session_new(const struct session_params *params,
                            const struct session_handlers *handlers, void *ctx);
void session_free(struct session *s); /* NULL is harmless; not within a callback of this session */

/* Connects; `connected` or `broken` follows. */
void session_open(struct session *s);
/* Ends the session at once; no callback comes any more. Allowed within callbacks, and when nothing
 * is open. */
void session_close(struct session *s);

/* Queues the query. More than SESSION_MAX_QUEUE waiting ones break the session; on a closed one it
 * is forgotten. */
void session_query(struct session *s, const struct session_query *q);

/* A row was held: it is offered again, from the loop. */
void session_resume(struct session *s);
/* A row was held: it and the rest of the COPY are read and forgotten; `done` follows. */
void session_discard(struct session *s);

/* Breaks the session with an error of the caller: `broken` follows from the loop. */
void session_fail(struct session *s, const struct err *why);

bool session_is_open(const struct session *s);       /* connected and not broken */
bool session_is_broken(const struct session *s);     /* `broken` is about to be called */
int session_server_version(const struct session *s); /* 150004 for 15.4; 0 before it is connected */

#endif
