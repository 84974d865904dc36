#include "pty.h"

#include "tmp.h"

#include <errno.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utmp.h>

/* In the child: becomes the program. */
static void become(const char *const *argv, const char *const *env)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)setenv("TERM", "xterm", 1);
    for (; env != NULL && *env != NULL; env++)
        (void)putenv(strdup(*env));
    (void)execvp(argv[0], (char *const *)(uintptr_t)argv);
    (void)fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

void pty_start(struct pty *p, const char *const *argv, const char *const *env, unsigned columns,
               unsigned rows)
{
    const struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};

    int theirs;

    *p = (struct pty){.fd = -1};
    (void)tmp_root(); /* cleaning is arranged for before there is a child */
    if (openpty(&p->fd, &theirs, NULL, NULL, &size) != 0 || tcgetattr(p->fd, &p->before) != 0)
        support_fail("openpty: %s", strerror(errno));
    p->pid = fork();
    if (p->pid < 0)
        support_fail("fork: %s", strerror(errno));
    if (p->pid == 0) {
        (void)close(p->fd);
        (void)login_tty(theirs);
        become(argv, env);
    }
    (void)close(theirs);
}

void pty_type(struct pty *p, const char *keys)
{
    size_t len = strlen(keys);

    if (write(p->fd, keys, len) != (ssize_t)len)
        support_fail("pty: cannot type: %s", strerror(errno));
}

void pty_resize(struct pty *p, unsigned columns, unsigned rows)
{
    const struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};

    if (ioctl(p->fd, TIOCSWINSZ, &size) != 0)
        support_fail("pty: cannot resize: %s", strerror(errno));
}

/* Takes what is there, waiting a little for it; false when the other side is closed. */
static bool collect(struct pty *p)
{
    struct pollfd fd = {.fd = p->fd, .events = POLLIN};
    char piece[4096];
    ssize_t n;

    if (poll(&fd, 1, 20) <= 0)
        return true;
    n = read(p->fd, piece, sizeof piece);
    if (n > 0)
        str_put(&p->got, piece, (size_t)n);
    return n > 0 || (n < 0 && errno == EINTR);
}

static void reap(struct pty *p)
{
    if (!p->ended && waitpid(p->pid, &p->status, WNOHANG) == p->pid)
        p->ended = true;
}

void pty_wait(struct pty *p, const char *part, int timeout_ms)
{
    uint64_t end = test_now_ms() + (uint64_t)timeout_ms;

    while (strstr(str_text(&p->got), part) == NULL) {
        bool more = collect(p);

        if ((!more && strstr(str_text(&p->got), part) == NULL) || test_now_ms() >= end)
            support_fail("pty: no \"%s\" within %d ms in:\n%s", part, timeout_ms,
                         str_text(&p->got));
    }
}

void pty_forget(struct pty *p)
{
    str_reset(&p->got);
}

static bool is_stopped(pid_t pid)
{
    siginfo_t info = {.si_pid = 0};

    return waitid(P_PID, (id_t)pid, &info, WSTOPPED | WNOHANG) == 0 && info.si_pid == pid;
}

void pty_wait_stopped(struct pty *p, int timeout_ms)
{
    WAIT_UNTIL(is_stopped(p->pid), timeout_ms);
}

int pty_wait_end(struct pty *p, int timeout_ms)
{
    uint64_t end = test_now_ms() + (uint64_t)timeout_ms;

    for (reap(p); !p->ended; reap(p)) {
        if (!collect(p))
            test_sleep_ms(2);
        if (test_now_ms() >= end)
            support_fail("pty: it does not end within %d ms; it wrote:\n%s", timeout_ms,
                         str_text(&p->got));
    }
    while (collect(p) && test_now_ms() < end) {
        struct pollfd fd = {.fd = p->fd, .events = POLLIN};

        if (poll(&fd, 1, 0) <= 0)
            break;
    }
    return WIFEXITED(p->status) ? WEXITSTATUS(p->status) : 128 + WTERMSIG(p->status);
}

bool pty_is_as_before(const struct pty *p)
{
    const struct termios *was = &p->before;
    struct termios now;

    return tcgetattr(p->fd, &now) == 0 && now.c_iflag == was->c_iflag &&
           now.c_oflag == was->c_oflag && now.c_cflag == was->c_cflag &&
           now.c_lflag == was->c_lflag && memcmp(now.c_cc, was->c_cc, sizeof now.c_cc) == 0;
}

void pty_close(struct pty *p)
{
    reap(p);
    if (!p->ended && p->pid > 0) {
        (void)kill(p->pid, SIGKILL);
        (void)waitpid(p->pid, &p->status, 0);
        p->ended = true;
    }
    if (p->fd >= 0)
        (void)close(p->fd);
    p->fd = -1;
    str_release(&p->got);
}
