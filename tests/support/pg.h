/* A private Postgres: its own data folder, loopback and a free port, gone with the test.
 *
 * Superuser "postgres", database "postgres", no passwords asked. When the tests run as root, the
 * server runs as the user postgres. fsync is off unless asked for: a crash of the server loses
 * nothing while the machine lives. */
#ifndef OUTBOXD_TESTS_PG_H
#define OUTBOXD_TESTS_PG_H

#include "proc.h"

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

struct pg_params {
    const char *const
        *settings; /* NULL or NULL-terminated "name = value" lines of postgresql.conf, after ours */
    const char *hba; /* NULL: trust everybody; else the text of pg_hba.conf */
    bool fsync;
    int disk_mib; /* > 0: a disk of its own of that size, if this machine lets us mount one */
};

struct pg_server {
    struct proc proc;
    char dir[PATH_SIZE]; /* holds the rest; its sockets are here too */
    char data[PATH_SIZE];
    char log[PATH_SIZE];
    int port;
    bool has_disk;  /* `dir` is a disk of its own */
    int other_port; /* 0, or where its standby listens: URLs then name both */
};

void pg_create(struct pg_server *s,
               const struct pg_params *params); /* params may be NULL; started when it returns */
void pg_start(
    struct pg_server *s); /* after a stop or a crash; waits until it accepts connections */
void pg_start_nowait(struct pg_server *s);
bool pg_is_ready(const struct pg_server *s);
void pg_stop(struct pg_server *s);  /* fast: sessions are ended, everything is written */
void pg_crash(struct pg_server *s); /* immediate: no checkpoint, what synchronous_commit=off had not
                                       flushed is lost */
void pg_kill9(
    struct pg_server *s); /* SIGKILL to the postmaster; its children follow when they notice */
void pg_restart(struct pg_server *s); /* fast stop, start */
void pg_drop(struct pg_server *s);    /* ends it and removes its folder; harmless twice */

/* For pg_faults.h. A program as the server's user to its end; argv[0] is a path, or the name of one
 * beside `postgres`. Fails the test when it fails. */
void pg_tool(const struct pg_server *s, const char *const *argv);
/* What pg_create does first, names, folder and port, and last, the settings. */
void pg_place(struct pg_server *s, const struct pg_params *params);
void pg_settle(const struct pg_server *s, const struct pg_params *params);

/* psql -X -v ON_ERROR_STOP=1 with a file or a command (the other is NULL); returns the exit code,
 * output in `log`. */
int pg_psql(const struct pg_server *s, const char *user, const char *file, const char *command,
            const char *log);

/* sql/outbox/NNNN_name.up.sql of the sources in order, the roles `svc` (a service: member of
 * outbox_writer) and `relay` (member of outbox_relay), days created ahead, and the relay row
 * 'orders' which starts at the beginning. */
void pg_apply_schema(const struct pg_server *s);
/* sql/inbox/NNNN_name.up.sql, and the role `consumer` (member of inbox_consumer). */
void pg_apply_inbox(const struct pg_server *s);

/* A URL of the server. To be used within the full expression, as in pg_url(&s, "svc",
 * "postgres").text. */
struct pg_url {
    char text[256];
};
struct pg_url pg_url(const struct pg_server *s, const char *user, const char *dbname);

/* ---- sessions ---- */

PGconn *pg_open(const struct pg_server *s,
                const char *user); /* fails the test; user NULL: postgres */
/* NULL when the server does not answer; safe in threads. Gives up after connect_timeout_s. */
PGconn *pg_try_open(const struct pg_server *s, const char *user, int connect_timeout_s);

/* Each takes a printf format (write %% for %) and fails the test with the server's text. Not in
 * threads. */
void pg_exec(PGconn *conn, const char *fmt, ...) PRINTF_LIKE(2, 3);
PGresult *pg_query(PGconn *conn, const char *fmt, ...)
    PRINTF_LIKE(2, 3); /* to be cleared by the caller */
int64_t pg_int(PGconn *conn, const char *fmt, ...)
    PRINTF_LIKE(2, 3); /* one value that is not NULL */
/* One value as text, NULL for NULL and for no row; good until the sixteenth call after this one. */
const char *pg_scalar(PGconn *conn, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The statement must fail: returns its SQLSTATE, and the message in `message` (of size PG_MESSAGE,
 * may be NULL). */
#define PG_MESSAGE 1024
const char *pg_expect_error(PGconn *conn, char *message, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
