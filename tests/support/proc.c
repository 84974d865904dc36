#include "proc.h"

#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* Children that have not been reaped yet: read by the signal handler, so a plain table of numbers.
 */
#define MAX_CHILDREN 256
static volatile pid_t children[MAX_CHILDREN];
static volatile int death_signals[MAX_CHILDREN];
static char clean_root[PATH_SIZE];
static volatile pid_t clean_owner;

static void remember(pid_t pid, int death_signal)
{
    for (size_t i = 0; i < MAX_CHILDREN; i++)
        if (children[i] == 0) {
            death_signals[i] = death_signal;
            children[i] = pid;
            return;
        }
    (void)kill(pid, SIGKILL);
    support_fail("too many child processes");
}

static void forget(pid_t pid)
{
    for (size_t i = 0; i < MAX_CHILDREN; i++)
        if (children[i] == pid)
            children[i] = 0;
}

/* ---- starting ---- */

/* All that the child needs, made before the fork: between fork and exec nothing may allocate. */
struct launch {
    const struct proc_params *params;
    char **env;
    int out_fd, err_fd, in_fd;
    int report_fd; /* gets errno when exec fails; closed by a successful exec */
    uid_t uid;
    gid_t gid;
    gid_t groups[64];
    int group_count;
    pid_t parent;
};

static int open_output(const char *path)
{
    int fd;

    if (path == NULL)
        return -1;
    fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0)
        support_fail("open %s: %s", path, strerror(errno));
    return fd;
}

/* Our environment without the names in `extra`, and then those of `extra` that have a value. */
static char **merge_env(const char *const *extra)
{
    size_t n = 0;
    size_t extras = 0;
    char **env;

    while (environ[n] != NULL)
        n++;
    while (extra != NULL && extra[extras] != NULL)
        extras++;
    env = xcalloc(n + extras + 1, sizeof *env);
    n = 0;
    for (size_t i = 0; environ[i] != NULL; i++) {
        bool replaced = false;
        for (size_t k = 0; k < extras; k++) {
            size_t len = strcspn(extra[k], "=");
            replaced |= strncmp(environ[i], extra[k], len) == 0 && environ[i][len] == '=';
        }
        if (!replaced)
            env[n++] = xstrdup(environ[i]);
    }
    for (size_t k = 0; k < extras; k++)
        if (strchr(extra[k], '=') != NULL)
            env[n++] = xstrdup(extra[k]);
    return env;
}

static void free_env(char **env)
{
    for (size_t i = 0; env[i] != NULL; i++)
        free(env[i]);
    free(env);
}

static void find_user(struct launch *l, const char *user)
{
    const struct passwd *pw;

    l->uid = geteuid();
    if (user == NULL)
        return;
    pw = getpwnam(user);
    if (pw == NULL)
        support_fail("no user %s on this machine", user);
    l->uid = pw->pw_uid;
    l->gid = pw->pw_gid;
    l->group_count = (int)ARRAY_LEN(l->groups);
    if (getgrouplist(user, pw->pw_gid, l->groups, &l->group_count) < 0)
        support_fail("too many groups: %s", user);
}

static int child_become(const struct launch *l)
{
    const struct proc_params *p = l->params;
    int sig = p->death_signal != 0 ? p->death_signal : SIGKILL;

    if (p->user != NULL && l->uid != geteuid() &&
        (setgroups((size_t)l->group_count, l->groups) != 0 || setgid(l->gid) != 0 ||
         setuid(l->uid) != 0))
        return -1;
    /* After setuid, which clears it. The parent may have died in between. */
    if (prctl(PR_SET_PDEATHSIG, sig) != 0)
        return -1;
    if (getppid() != l->parent)
        _exit(127);
    if (p->cwd != NULL && chdir(p->cwd) != 0)
        return -1;
    return 0;
}

static _Noreturn void child_run(const struct launch *l)
{
    sigset_t none;
    int error;

    (void)setpgid(0, 0);
    /* No socket or lock of ours may live on in a server. */
    (void)close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_DFL);
    if (dup2(l->in_fd, 0) >= 0 && (l->out_fd < 0 || dup2(l->out_fd, 1) >= 0) &&
        (l->err_fd < 0 || dup2(l->err_fd, 2) >= 0) && child_become(l) == 0) {
        union {
            const char *const *from;
            char *const *to;
        } argv = {l->params->argv};
        (void)execvpe(argv.to[0], argv.to, l->env);
    }
    error = errno;
    if (write(l->report_fd, &error, sizeof error) < 0)
        _exit(126);
    _exit(127);
}

static pid_t launch(struct launch *l)
{
    int report[2];
    int error = 0;
    ssize_t n;
    pid_t pid;
    sigset_t all;
    sigset_t before;

    if (pipe2(report, O_CLOEXEC) != 0)
        support_fail("pipe: %s", strerror(errno));
    l->report_fd = report[1];
    l->parent = getpid();
    fflush(stdout);
    /* A signal that ends us must find the child in the table, or no child. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &before);
    pid = fork();
    if (pid == 0)
        child_run(l);
    if (pid > 0)
        remember(pid, l->params->death_signal != 0 ? l->params->death_signal : SIGKILL);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pid < 0)
        support_fail("fork: %s", strerror(errno));
    (void)close(report[1]);
    do
        n = read(report[0], &error, sizeof error);
    while (n < 0 && errno == EINTR);
    (void)close(report[0]);
    if (n == (ssize_t)sizeof error) {
        (void)waitpid(pid, NULL, 0);
        forget(pid);
        support_fail("cannot run %s: %s", l->params->argv[0], strerror(error));
    }
    return pid;
}

void proc_start(struct proc *p, const struct proc_params *params)
{
    struct launch l = {.params = params};
    const char *slash = strrchr(params->argv[0], '/');

    memset(p, 0, sizeof *p);
    (void)snprintf(p->name, sizeof p->name, "%s", slash != NULL ? slash + 1 : params->argv[0]);
    (void)snprintf(p->log, sizeof p->log, "%s", params->err_path != NULL ? params->err_path : "");
    (void)tmp_root(); /* so that the clean-up is in place before the first child */
    find_user(&l, params->user);
    l.env = merge_env(params->env);
    l.out_fd = open_output(params->out_path);
    l.err_fd = open_output(params->err_path);
    l.in_fd = params->stdin_fd > 0 ? params->stdin_fd : open("/dev/null", O_RDONLY | O_CLOEXEC);
    p->pid = launch(&l);
    if (l.out_fd >= 0)
        (void)close(l.out_fd);
    if (l.err_fd >= 0)
        (void)close(l.err_fd);
    if (params->stdin_fd <= 0)
        (void)close(l.in_fd);
    free_env(l.env);
}

/* ---- ending ---- */

bool proc_alive(struct proc *p)
{
    pid_t got;

    if (p->pid == 0 || p->ended)
        return false;
    got = waitpid(p->pid, &p->status, WNOHANG);
    if (got == 0 || (got < 0 && errno == EINTR))
        return true;
    if (got < 0)
        p->status = 0;
    p->ended = true;
    forget(p->pid);
    return false;
}

bool proc_wait(struct proc *p, int timeout_ms)
{
    const uint64_t end = test_now_ms() + (uint64_t)timeout_ms;

    while (proc_alive(p)) {
        if (test_now_ms() >= end)
            return false;
        test_sleep_ms(1);
    }
    return true;
}

void proc_signal(struct proc *p, int sig)
{
    if (proc_alive(p))
        (void)kill(p->pid, sig);
}

void proc_kill9(struct proc *p)
{
    proc_signal(p, SIGKILL);
    if (!proc_wait(p, 10000))
        support_fail("%s (pid %d) survives SIGKILL", p->name, (int)p->pid);
}

void proc_stop(struct proc *p, int sig, int timeout_ms)
{
    proc_signal(p, sig);
    if (proc_wait(p, timeout_ms))
        return;
    proc_kill9(p);
    support_fail("%s did not end within %d ms of signal %d; log: %s", p->name, timeout_ms, sig,
                 p->log);
}

int proc_exit_code(const struct proc *p)
{
    if (!p->ended)
        support_fail("%s (pid %d) is still running", p->name, (int)p->pid);
    return WIFEXITED(p->status) ? WEXITSTATUS(p->status) : 128 + WTERMSIG(p->status);
}

int proc_run(const char *const *argv, const char *out_path, int timeout_ms)
{
    struct proc p;
    const char *out = out_path != NULL ? out_path : "/dev/null";

    proc_start(&p, &(struct proc_params){.argv = argv, .out_path = out, .err_path = out});
    if (!proc_wait(&p, timeout_ms)) {
        proc_kill9(&p);
        support_fail("%s did not end within %d ms", argv[0], timeout_ms);
    }
    return proc_exit_code(&p);
}

/* ---- looking at processes ---- */

/* The number behind a name in /proc/<pid>/status, or -1. */
static long status_number(pid_t pid, const char *name)
{
    char path[64];
    char line[256];
    long value = -1;
    FILE *f;

    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    f = fopen(path, "re");
    if (f == NULL)
        return -1;
    while (value < 0 && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, name, strlen(name)) == 0)
            value = strtol(line + strlen(name), NULL, 10);
    (void)fclose(f);
    return value;
}

long proc_rss_kib(pid_t pid)
{
    return status_number(pid, "VmRSS:");
}

long proc_peak_kib(pid_t pid)
{
    return status_number(pid, "VmHWM:");
}

int proc_thread_count(pid_t pid)
{
    return (int)status_number(pid, "Threads:");
}

int proc_fd_count(pid_t pid)
{
    char path[64];
    int n = 0;
    DIR *d;

    (void)snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    d = opendir(path);
    if (d == NULL)
        return -1;
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d))
        n += e->d_name[0] != '.';
    (void)closedir(d);
    return pid == getpid() ? n - 1 : n; /* without the one just opened */
}

/* ---- leaving nothing behind ---- */

/* A child with a death signal of its own (a postmaster, whose children would outlive it) gets two
 * seconds for it. */
static void end_child(pid_t pid, int sig)
{
    for (int i = 0; sig != SIGKILL && i < 200; i++) {
        if (waitpid(pid, NULL, WNOHANG) != 0)
            return;
        test_sleep_ms(10);
    }
    (void)kill(-pid, SIGKILL);
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
}

/* Only async-signal-safe calls: it runs in a signal handler too. A forked copy of us must not clean
 * up the original's. */
static void clean_up(void)
{
    pid_t rm;

    if (clean_owner != getpid())
        return;
    clean_owner = 0;
    for (size_t i = 0; i < MAX_CHILDREN; i++)
        if (children[i] != 0)
            (void)kill(children[i], death_signals[i]);
    for (size_t i = 0; i < MAX_CHILDREN; i++)
        if (children[i] != 0) {
            end_child(children[i], death_signals[i]);
            children[i] = 0;
        }
    if (clean_root[0] == '\0')
        return;
    rm = _Fork(); /* fork itself could wait for a lock of what the signal interrupted */
    if (rm == 0) {
        (void)execl("/bin/rm", "rm", "-rf", "--", clean_root, (char *)NULL);
        _exit(127);
    }
    if (rm > 0)
        (void)waitpid(rm, NULL, 0);
}

void proc_clean(void)
{
    clean_up();
}

static void on_signal(int sig)
{
    clean_up();
    (void)signal(sig, SIG_DFL);
    (void)raise(sig);
}

void proc_clean_at_exit(const char *root)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    static bool registered;

    if (getenv("KEEP") != NULL)
        (void)fprintf(stderr, "KEEP is set: %s stays\n", root);
    else
        (void)snprintf(clean_root, sizeof clean_root, "%s", root);
    if (clean_owner != getpid())
        memset((void *)(uintptr_t)children, 0, sizeof children);
    clean_owner = getpid();
    if (!registered && atexit(proc_clean) != 0)
        support_fail("atexit failed");
    registered = true;
    for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
        struct sigaction old;
        struct sigaction mine = {.sa_handler = on_signal};
        (void)sigfillset(&mine.sa_mask); /* a second one waits until the first has cleaned up */
        if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler == SIG_DFL)
            (void)sigaction(signals[i], &mine, NULL);
    }
}
