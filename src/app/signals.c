/* handler -> eventfd -> loop -> user
 *
 * How it can fail: the loop does not come to it. libpq looks host names up synchronously, and
 * librdkafka's threads, which are joined at the end, do so too; a dead name server costs tens of
 * seconds. A log line into a full pipe that nobody reads costs any time. Hence the alarm: what is
 * not stored by then is sent again by the next process, which is what the promise allows, and the
 * lease is taken over after its ttl. */
#include "app/signals.h"

#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* What a handler may touch. */
static struct {
    volatile sig_atomic_t wake_fd;
    volatile sig_atomic_t stop_limit_s;
    volatile sig_atomic_t stops;
    volatile sig_atomic_t last_stop;
    volatile sig_atomic_t reload;
} caught = {.wake_fd = -1};

/* What only the loop touches. */
static struct {
    struct event *wake;
    struct signals_user user;
    int stops_told;
} told;

static void fill_set(sigset_t *set)
{
    (void)sigemptyset(set);
    (void)sigaddset(set, SIGTERM);
    (void)sigaddset(set, SIGINT);
    (void)sigaddset(set, SIGHUP);
}

void signals_block(void)
{
    sigset_t set;

    fill_set(&set);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
}

static void on_alarm(int sig)
{
    static const char line[] = "outboxd: the time for stopping is over\n";
    struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};

    (void)sig;
    /* a full pipe that nobody reads may be what the loop hangs in */
    if (poll(&out, 1, 0) == 1 && write(STDERR_FILENO, line, sizeof line - 1) < 0)
        _exit(0);
    _exit(0);
}

static void wake_loop(void)
{
    uint64_t one = 1;
    int saved = errno;

    /* it fails only when the loop is over */
    if (write(caught.wake_fd, &one, sizeof one) < 0)
        errno = saved;
    errno = saved;
}

static void on_stop(int sig)
{
    caught.last_stop = sig;
    caught.stops++;
    if (caught.stops > 2)
        _exit(0);
    (void)alarm(caught.stops == 1 ? (unsigned)caught.stop_limit_s : 1);
    wake_loop();
}

static void on_reload(int sig)
{
    (void)sig;
    caught.reload = 1;
    wake_loop();
}

static void on_wake(evutil_socket_t fd, short what, void *ctx)
{
    uint64_t count;
    const struct signals_user *user = ctx;

    (void)what;
    if (read(fd, &count, sizeof count) < 0)
        return;
    while (told.stops_told < caught.stops) {
        told.stops_told++;
        user->stop(user->ctx, caught.last_stop);
    }
    if (caught.reload) {
        caught.reload = 0;
        user->reload(user->ctx);
    }
}

static void handle(int sig, void (*handler)(int sig))
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};

    (void)sigfillset(&action.sa_mask);
    (void)sigaction(sig, &action, NULL);
}

void signals_set_stop_limit(uint32_t stop_limit_ms)
{
    /* at least one, because alarm(0) would mean never */
    caught.stop_limit_s = (sig_atomic_t)(stop_limit_ms / 1000 + 1);
}

int signals_watch(struct event_base *base, const struct signals_user *user, uint32_t stop_limit_ms,
                  struct err *err)
{
    sigset_t set;

    told.user = *user;
    caught.wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (caught.wake_fd < 0)
        return err_set(err, ERR_SOFTWARE, "eventfd: %s", strerror(errno));
    told.wake = event_new(base, caught.wake_fd, EV_READ | EV_PERSIST, on_wake, &told.user);
    if (told.wake == NULL || event_add(told.wake, NULL) != 0)
        return err_set(err, ERR_SOFTWARE, "cannot watch signals");
    signals_set_stop_limit(stop_limit_ms);
    handle(SIGALRM, on_alarm);
    handle(SIGTERM, on_stop);
    handle(SIGINT, on_stop);
    handle(SIGHUP, on_reload);
    fill_set(&set);
    (void)sigprocmask(SIG_UNBLOCK, &set, NULL);
    return 0;
}

void signals_leaving(void)
{
    if (caught.stops > 0)
        (void)alarm(2);
}

void signals_release(void)
{
    int fd = caught.wake_fd;

    if (told.wake != NULL)
        event_free(told.wake);
    told.wake = NULL;
    caught.wake_fd = -1;
    if (fd >= 0)
        (void)close(fd);
}
