/* A shell into which commands are typed one after the other, as somebody would who follows a page:
 * what one of them exports, starts or changes into is there for the next. */
#ifndef OUTBOXD_TESTS_SHELL_H
#define OUTBOXD_TESTS_SHELL_H

#include "proc.h"

struct shell {
    struct proc proc;
    int fd;                 /* its stdin */
    char folder[PATH_SIZE]; /* of what was typed and printed */
    int typed;              /* how many commands so far */
    char *printed;          /* by the last one, of both kinds */
};

/* A bash with these variables beside ours (as proc_params.env), in the folder `cwd`. Whatever it
 * starts ends with it. */
void shell_open(struct shell *s, const char *const *env, const char *cwd);

/* Runs a text to its end and returns the exit code of the last of its commands that failed, 0 when
 * none did. What it printed is in s->printed. Fails the test after timeout_ms, and when the shell
 * itself has ended. */
int shell_type(struct shell *s, const char *text, int timeout_ms);

void shell_close(struct shell *s);

#endif
