/* Child processes of a test: started in a group of their own, output in files, gone when the test
 * is gone.
 *
 * A child gets its death signal from the kernel when the thread that started it ends
 * (PR_SET_PDEATHSIG): start children from the main thread. Whatever still runs at exit, SIGINT or
 * SIGTERM is killed, then the temporary folder is removed. */
#ifndef OUTBOXD_TESTS_PROC_H
#define OUTBOXD_TESTS_PROC_H

#include "tmp.h"

#include <stdbool.h>
#include <sys/types.h>

struct proc {
    pid_t pid;  /* 0: never started */
    int status; /* as waitpid gave it, once it has ended */
    bool ended;
    char name[64];       /* of the program, for messages */
    char log[PATH_SIZE]; /* its stderr, "" if it is ours */
};

struct proc_params {
    const char *const *argv; /* NULL-terminated; argv[0] is looked up in PATH */
    const char *const
        *env; /* NULL or NULL-terminated "NAME=value", added to ours; "NAME" alone removes it */
    const char *out_path; /* appended to; NULL: our own stdout */
    const char *err_path; /* the same for stderr; may be the same file */
    const char *cwd;      /* NULL: ours */
    const char *user;     /* NULL: ours; else become this user (needs uid 0) */
    int stdin_fd;         /* > 0: becomes stdin (still to be closed here); else /dev/null */
    int death_signal;     /* 0: SIGKILL */
};

/* Returns when the program runs; fails the test when it cannot be executed. */
void proc_start(struct proc *p, const struct proc_params *params);

bool proc_alive(struct proc *p);                          /* reaps it if it has ended */
NODISCARD bool proc_wait(struct proc *p, int timeout_ms); /* true: it has ended */
void proc_signal(struct proc *p, int sig);                /* harmless when it has ended */
/* Sends the signal and waits; what has not ended after timeout_ms is killed, and that fails the
 * test. */
void proc_stop(struct proc *p, int sig, int timeout_ms);
void proc_kill9(struct proc *p);
/* 0 to 255, or 128 + signal like the shell; fails the test while it runs. */
int proc_exit_code(const struct proc *p);

/* Runs a command to its end and returns its exit code (128 + signal); fails the test after
 * timeout_ms. Output goes to the file, or nowhere when it is NULL. */
int proc_run(const char *const *argv, const char *out_path, int timeout_ms);

long proc_rss_kib(pid_t pid);  /* resident memory; -1 when there is no such process */
long proc_peak_kib(pid_t pid); /* its high-water mark */
int proc_fd_count(pid_t pid);  /* open descriptors; -1 */
int proc_thread_count(pid_t pid);

/* Kills every child that is left and removes tmp_root(); what exit does. */
void proc_clean(void);
/* Arranges for proc_clean at exit and on SIGINT, SIGTERM, SIGHUP (where these are not handled
 * already). tmp_root calls it. */
void proc_clean_at_exit(const char *root);

#endif
