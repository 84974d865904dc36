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

enum err_kind {
    ERR_NONE = 0,
    ERR_USAGE = 64,       /* the command line is wrong */
    ERR_UNAVAILABLE = 69, /* a server does not answer or refuses; waiting may help */
    ERR_SOFTWARE = 70,    /* a defect, or the machine is out of something we need */
    ERR_TEMPFAIL = 75,    /* try again: someone else is at it, or it was interrupted */
    ERR_CONFIG =
        78, /* only a person can repair it: configuration, grants, schema, a foreign database */
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
