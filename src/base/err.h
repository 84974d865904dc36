/* Errors: one struct that tells the story, filled where it happens and wrapped on the way up.
 *
 * A fallible function returns 0, or -1 with the struct filled. The kind decides what the process
 * does about it (and its exit code, which follows sysexits.h); the text is for the person who reads
 * the log. An error is logged once, at the top. Texts never hold secrets or payloads. */
#ifndef OUTBOXD_BASE_ERR_H
#define OUTBOXD_BASE_ERR_H

#include "base/problem.h"

#define NODISCARD         __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))
#define ARRAY_LEN(a)      (sizeof(a) / sizeof((a)[0]))

/* name, exit code (sysexits.h), in short for --help, what it means and what to do. The kind
 * ERR_NONE, 0, is no error. */
#define ERR_KINDS(X)                                                                               \
    X(USAGE, 64, "wrong usage",                                                                    \
      "The command line makes no sense; nothing was done. The message names the nearest word "     \
      "that does. A supervisor need not try again.")                                               \
    X(FINDINGS, 65, "verify found something wrong",                                                \
      "`outboxd verify` found lost events, ghosts or a broken order; they are on stdout. Nothing " \
      "is wrong with the command itself.")                                                         \
    X(UNAVAILABLE, 69, "a server is unavailable",                                                  \
      "A server does not answer, or refuses for now: waiting may help. Only the commands end so; " \
      "`run` waits and goes on.")                                                                  \
    X(SOFTWARE, 70, "internal error",                                                              \
      "A defect of outboxd, or the machine is out of something it needs (memory, descriptors). "   \
      "Start it again, and report the log.")                                                       \
    X(TEMPFAIL, 75, "try again",                                                                   \
      "Somebody else is at it, or it was interrupted: the same command may succeed a little "      \
      "later.")                                                                                    \
    X(CONFIG, 78, "the configuration or the database needs a person",                              \
      "Trying again cannot help: configuration, grants, schema, or a database that the position "  \
      "does not belong to. The last line says what to do.")

enum err_kind {
    ERR_NONE = 0,
#define X(name, code, short_text, meaning) ERR_##name = (code),
    ERR_KINDS(X)
#undef X
};

struct err {
    enum err_kind kind;
    enum problem problem; /* the entry of the table that fits it; PROBLEM_NONE: none does */
    char text[768];       /* one line, no newline at its end; cut when longer */
};

/* Sets kind and text, and no problem; returns -1, so that `return err_set(...)` reads well. `e` may
 * not be NULL. */
int err_set(struct err *e, enum err_kind kind, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The same with an entry of the table of problems. Keep its word out of the text: it is told beside
 * it. */
int err_problem(struct err *e, enum err_kind kind, enum problem problem, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* Puts "context: " before the text and keeps kind and problem; returns -1. */
int err_wrap(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

void err_clear(struct err *e);

#endif
