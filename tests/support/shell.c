#include "shell.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void say(struct shell *s, const char *line)
{
    for (size_t left = strlen(line); left > 0;) {
        ssize_t n = write(s->fd, line, left);

        if (n < 0 && errno != EINTR)
            support_fail("the shell does not read: %s", strerror(errno));
        if (n > 0) {
            line += n;
            left -= (size_t)n;
        }
    }
}

void shell_open(struct shell *s, const char *const *env, const char *cwd)
{
    static const char *const argv[] = {"bash", "--norc", "--noprofile", NULL};
    char log[PATH_SIZE];
    char line[PATH_SIZE + 64];
    int ends[2];

    *s = (struct shell){0};
    tmp_folder("shell", s->folder);
    path_join(log, s->folder, "log");
    if (pipe2(ends, O_CLOEXEC) != 0)
        support_fail("pipe: %s", strerror(errno));
    proc_start(&s->proc, &(struct proc_params){.argv = argv,
                                               .env = env,
                                               .out_path = log,
                                               .err_path = log,
                                               .cwd = cwd,
                                               .stdin_fd = ends[0],
                                               .death_signal = SIGTERM});
    (void)close(ends[0]);
    s->fd = ends[1];
    /* What it has started is in its group, and ends with it, however it ends. */
    (void)snprintf(line, sizeof line, "trap 'kill -9 0' EXIT\ntrap 'failed_=$?' ERR\ntyped_='%s'\n",
                   s->folder);
    say(s, line);
}

/* The path of a file of the present command. */
static void step_path(char out[PATH_SIZE], const struct shell *s, const char *kind)
{
    char name[32];

    (void)snprintf(name, sizeof name, "%d.%s", s->typed, kind);
    path_join(out, s->folder, name);
}

int shell_type(struct shell *s, const char *text, int timeout_ms)
{
    const uint64_t end_ms = test_now_ms() + (uint64_t)timeout_ms;
    char typed[PATH_SIZE];
    char printed[PATH_SIZE];
    char code[PATH_SIZE];
    char line[256];
    char *answer;
    int failed;

    s->typed++;
    step_path(typed, s, "sh");
    step_path(printed, s, "out");
    step_path(code, s, "code");
    file_write(typed, "%s", text);
    (void)snprintf(line, sizeof line,
                   "n_=$typed_/%d; failed_=0; . \"$n_.sh\" > \"$n_.out\" 2>&1 < /dev/null; "
                   "echo $failed_ > \"$n_.part\"; mv \"$n_.part\" \"$n_.code\"\n",
                   s->typed);
    say(s, line);
    while (access(code, F_OK) != 0) {
        if (!proc_alive(&s->proc))
            support_fail("the shell ended at:\n%s\n%s", text, file_read(printed));
        if (test_now_ms() >= end_ms)
            support_fail("no end within %d ms of:\n%s\n%s", timeout_ms, text, file_read(printed));
        test_sleep_ms(5);
    }
    free(s->printed);
    s->printed = file_read(printed);
    answer = file_read(code);
    failed = (int)strtol(answer, NULL, 10);
    free(answer);
    return failed;
}

void shell_close(struct shell *s)
{
    if (s->fd > 0) {
        proc_stop(&s->proc, SIGTERM, 15000);
        (void)close(s->fd);
    }
    free(s->printed);
    *s = (struct shell){0};
}
