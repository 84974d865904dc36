/* A terminal that shows one picture after the other: its own screen, keys without Enter, signals as
 * events. Whatever ends the program in order leaves the terminal as it was. */
#ifndef OUTBOXD_APP_TERMINAL_H
#define OUTBOXD_APP_TERMINAL_H

#include "base/str.h"

#include <signal.h>
#include <stdbool.h>
#include <termios.h>

struct terminal {
    int signals; /* signalfd */
    sigset_t mask_before;
    struct termios before;
    bool has_keys; /* stdin is a terminal, too; `before` is valid */
    bool entered;  /* the other screen is on */
};

enum terminal_event { TERMINAL_TIME, TERMINAL_REDRAW, TERMINAL_QUIT };

/* stdout must be a terminal. Blocks the signals that it handles until terminal_close. */
NODISCARD int terminal_open(struct terminal *t, struct err *err);
void terminal_close(struct terminal *t);

/* Waits until the time is over, somebody wants to quit (q, SIGINT, SIGTERM, SIGHUP, no more input),
 * or the picture must be drawn again (its size has changed, or it was stopped and goes on). */
enum terminal_event terminal_wait(struct terminal *t, uint32_t timeout_ms);

/* 80 x 24 when it does not say. */
void terminal_size(unsigned *columns, unsigned *rows);

/* Shows the lines from the top on, and the footer in the last row. Returns false when the terminal
 * is gone. */
bool terminal_show(const struct str *lines, const char *footer);

#endif
