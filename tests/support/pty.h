/* A program on a terminal of its own: what it draws is collected, keys are typed, the size changes.
 */
#ifndef OUTBOXD_TESTS_PTY_H
#define OUTBOXD_TESTS_PTY_H

#include "base/str.h"

#include <sys/types.h>
#include <termios.h>

struct pty {
    int fd; /* our side */
    pid_t pid;
    int status; /* as waitpid gave it */
    bool ended;
    struct termios before; /* how the terminal was set when it started */
    struct str got;        /* everything that was written since the last pty_forget */
};

/* `argv` is NULL-terminated and argv[0] looked up in PATH; `env` is NULL or NULL-terminated
 * "NAME=value", added to ours. */
void pty_start(struct pty *p, const char *const *argv, const char *const *env, unsigned columns,
               unsigned rows);
void pty_type(struct pty *p, const char *keys);
void pty_resize(struct pty *p, unsigned columns, unsigned rows);

/* Collects until `part` is in p->got; fails the test, showing what came, after timeout_ms. */
void pty_wait(struct pty *p, const char *part, int timeout_ms);
void pty_forget(struct pty *p);

/* Waits until a signal has stopped it; fails after timeout_ms. */
void pty_wait_stopped(struct pty *p, int timeout_ms);
/* Collects until it has ended, and returns its exit code (128 + signal); fails after timeout_ms. */
int pty_wait_end(struct pty *p, int timeout_ms);
/* Whether its terminal is set as it was in the beginning: another program would find it so. */
bool pty_is_as_before(const struct pty *p);
void pty_close(struct pty *p); /* kills it if it still runs */

#endif
