#include "proxy.h"

#include "loopback.h"
#include "tmp.h"

#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_LINKS   256
#define CHUNK_BYTES 65536

/* Bytes on their way from one end to the other. */
struct flow {
    size_t start, end; /* of what is in `bytes` and not written yet */
    uint64_t due_ms;   /* when it may go on */
    bool ended;        /* the end it comes from has closed */
    bool told;         /* and the other end has been told */
    char bytes[CHUNK_BYTES];
};

struct link {
    int client, target; /* target -1: not connected yet */
    bool forgotten;
    struct flow up, down; /* to the target, to the client */
};

struct proxy {
    int port, target_port;
    int wake; /* eventfd: something is asked of the thread */
    pthread_t thread;
    pthread_mutex_t lock; /* of the next eight */
    pthread_cond_t done;
    unsigned asked, answered;
    enum proxy_mode mode;
    unsigned delay_ms;
    bool forget, stop;
    bool deaf; /* the port was taken while we were closed */
    int open_links;
    /* the thread's own */
    int listener;        /* -1: closed */
    enum proxy_mode now; /* the mode in force */
    unsigned now_delay_ms;
    int count;
    struct link *links[MAX_LINKS];
};

/* ---- sockets ---- */

static int listen_on(int port)
{
    const struct sockaddr_in at = loopback_address(port);
    const int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        bind(fd, (const struct sockaddr *)&at, sizeof at) == 0 && listen(fd, 128) == 0)
        return fd;
    if (fd >= 0)
        (void)close(fd);
    return -1;
}

static void set_no_delay(int fd)
{
    const int on = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* The kernel throws away all packets that come for this socket before TCP sees them, or stops
 * doing so. */
static void lose_packets(int fd, bool lose)
{
    struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
    const struct sock_fprog program = {.len = 1, .filter = &nothing};
    const int unused = 0;

    if (fd < 0)
        return;
    if (lose)
        (void)setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
    else
        (void)setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof unused);
}

/* Unread or unsent bytes do not matter: the other end gets RST. */
static void reset_socket(int fd)
{
    const struct linger now = {.l_onoff = 1, .l_linger = 0};

    if (fd < 0)
        return;
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    (void)close(fd);
}

/* -1: nobody listens there. A connection that is still on its way counts as made. */
static int connect_to(int port)
{
    const struct sockaddr_in at = loopback_address(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -1;
    if (connect(fd, (const struct sockaddr *)&at, sizeof at) != 0 && errno != EINPROGRESS) {
        (void)close(fd);
        return -1;
    }
    set_no_delay(fd);
    return fd;
}

/* ---- links ---- */

static void drop_link(struct proxy *p, int i, bool reset)
{
    struct link *l = p->links[i];

    if (reset) {
        reset_socket(l->client);
        reset_socket(l->target);
    } else {
        (void)close(l->client);
        if (l->target >= 0)
            (void)close(l->target);
    }
    free(l);
    p->links[i] = p->links[--p->count];
}

static void drop_all(struct proxy *p, bool reset)
{
    while (p->count > 0)
        drop_link(p, p->count - 1, reset);
}

static void accept_links(struct proxy *p)
{
    int fd;

    while ((fd = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        struct link *l = p->count < MAX_LINKS ? calloc(1, sizeof *l) : NULL;
        if (p->now == PROXY_RESET || l == NULL) {
            reset_socket(fd);
            free(l);
            continue;
        }
        set_no_delay(fd);
        l->client = fd;
        l->target = -1;
        p->links[p->count++] = l;
    }
}

/* Takes what is there if the flow is empty. False: the connection is broken. */
static bool take_in(struct proxy *p, struct flow *f, int from, uint64_t now_ms)
{
    ssize_t n;

    if (f->start < f->end || f->ended)
        return true;
    n = recv(from, f->bytes, sizeof f->bytes, MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    f->ended = n == 0;
    f->start = 0;
    f->end = (size_t)n;
    f->due_ms = now_ms + (p->now == PROXY_DELAY ? p->now_delay_ms : 0);
    return true;
}

static bool give_out(struct flow *f, int to, uint64_t now_ms)
{
    ssize_t n;

    if (f->due_ms > now_ms)
        return true;
    while (f->start < f->end) {
        n = send(to, f->bytes + f->start, f->end - f->start, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR;
        f->start += (size_t)n;
    }
    if (f->ended && !f->told) {
        f->told = true;
        (void)shutdown(to, SHUT_WR);
    }
    return true;
}

static bool is_still(const struct proxy *p, const struct link *l)
{
    return l->forgotten || p->now == PROXY_BLACKHOLE || p->now == PROXY_CUT;
}

/* Moves what can move. False: the link is over. */
static bool serve_link(struct proxy *p, struct link *l, uint64_t now_ms)
{
    if (is_still(p, l))
        return true;
    if (l->target < 0)
        l->target = connect_to(p->target_port);
    if (l->target < 0)
        return false;
    if (!take_in(p, &l->up, l->client, now_ms) || !give_out(&l->up, l->target, now_ms) ||
        !take_in(p, &l->down, l->target, now_ms) || !give_out(&l->down, l->client, now_ms))
        return false;
    return !(l->up.told && l->down.told);
}

/* ---- the thread ---- */

/* What poll should watch of one end: `in` comes from it, `out` goes to it. */
static short events_of(const struct flow *in, const struct flow *out, uint64_t now_ms)
{
    int events = 0;

    if (in->start == in->end && !in->ended)
        events |= POLLIN;
    if (out->start < out->end && out->due_ms <= now_ms)
        events |= POLLOUT;
    return (short)events;
}

static void wait_soonest(const struct flow *f, uint64_t now_ms, int *timeout_ms)
{
    if ((f->start < f->end || (f->ended && !f->told)) && f->due_ms > now_ms &&
        (*timeout_ms < 0 || f->due_ms - now_ms < (uint64_t)*timeout_ms))
        *timeout_ms = (int)(f->due_ms - now_ms);
}

/* An end of which nothing is wanted is left out, because poll would tell of its close for ever. */
static struct pollfd watch(int fd, short events)
{
    return (struct pollfd){.fd = events != 0 ? fd : -1, .events = events};
}

static void wait_for_work(const struct proxy *p)
{
    struct pollfd fds[2 + 2 * MAX_LINKS];
    const uint64_t now_ms = test_now_ms();
    int timeout_ms = -1;
    nfds_t n = 0;

    fds[n++] = watch(p->wake, POLLIN);
    fds[n++] = watch(p->listener, POLLIN);
    for (int i = 0; i < p->count; i++) {
        const struct link *l = p->links[i];
        if (is_still(p, l))
            continue;
        fds[n++] = watch(l->client, events_of(&l->up, &l->down, now_ms));
        fds[n++] = watch(l->target, events_of(&l->down, &l->up, now_ms));
        wait_soonest(&l->up, now_ms, &timeout_ms);
        wait_soonest(&l->down, now_ms, &timeout_ms);
    }
    (void)poll(fds, n, timeout_ms);
}

static void forget_all(struct proxy *p)
{
    for (int i = 0; i < p->count; i++) {
        reset_socket(p->links[i]->target);
        p->links[i]->target = -1;
        p->links[i]->forgotten = true;
        lose_packets(p->links[i]->client, true);
    }
}

static void change_mode(struct proxy *p)
{
    p->now = p->mode;
    p->now_delay_ms = p->delay_ms;
    if (p->now == PROXY_CLOSED && p->listener >= 0) {
        (void)close(p->listener);
        p->listener = -1;
    }
    if (p->now == PROXY_CLOSED || p->now == PROXY_RESET)
        drop_all(p, p->now == PROXY_RESET);
    if (p->now != PROXY_CLOSED && p->listener < 0)
        p->listener = listen_on(p->port);
    lose_packets(p->listener, p->now == PROXY_CUT);
    for (int i = 0; i < p->count; i++)
        lose_packets(p->links[i]->client, p->now == PROXY_CUT || p->links[i]->forgotten);
    p->deaf = p->now != PROXY_CLOSED && p->listener < 0;
    if (p->now != PROXY_DELAY)
        for (int i = 0; i < p->count; i++)
            p->links[i]->up.due_ms = p->links[i]->down.due_ms = 0;
}

/* Does what was asked since the last turn. False: the end. */
static bool obey(struct proxy *p)
{
    uint64_t token;
    bool stop;

    (void)!read(p->wake, &token, sizeof token);
    (void)pthread_mutex_lock(&p->lock);
    if (p->asked != p->answered) {
        if (p->forget)
            forget_all(p);
        p->forget = false;
        change_mode(p);
        p->answered = p->asked;
        (void)pthread_cond_broadcast(&p->done);
    }
    p->open_links = p->count;
    stop = p->stop;
    (void)pthread_mutex_unlock(&p->lock);
    return !stop;
}

static void *run(void *ctx)
{
    struct proxy *p = ctx;

    while (obey(p)) {
        const uint64_t now_ms = test_now_ms();
        if (p->listener >= 0)
            accept_links(p);
        for (int i = p->count - 1; i >= 0; i--)
            if (!serve_link(p, p->links[i], now_ms))
                drop_link(p, i, !(p->links[i]->up.told && p->links[i]->down.told));
        (void)pthread_mutex_lock(&p->lock);
        p->open_links = p->count;
        (void)pthread_mutex_unlock(&p->lock);
        wait_for_work(p);
    }
    drop_all(p, true);
    if (p->listener >= 0)
        (void)close(p->listener);
    return NULL;
}

/* ---- the test's side ---- */

static void ring(const struct proxy *p)
{
    const uint64_t one = 1;

    (void)!write(p->wake, &one, sizeof one);
}

struct proxy *proxy_start(int listen_port, int target_port)
{
    struct proxy *p = xcalloc(1, sizeof *p);
    sigset_t all, before;

    p->port = listen_port != 0 ? listen_port : port_free();
    p->target_port = target_port;
    p->listener = listen_on(p->port);
    p->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (p->listener < 0 || p->wake < 0)
        support_fail("proxy: cannot listen on port %d: %s", p->port, strerror(errno));
    (void)pthread_mutex_init(&p->lock, NULL);
    (void)pthread_cond_init(&p->done, NULL);
    /* the test's handlers clean up: not in this thread */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&p->thread, NULL, run, p) != 0)
        support_fail("proxy: no thread");
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return p;
}

void proxy_stop(struct proxy *p)
{
    if (p == NULL)
        return;
    (void)pthread_mutex_lock(&p->lock);
    p->stop = true;
    (void)pthread_mutex_unlock(&p->lock);
    ring(p);
    (void)pthread_join(p->thread, NULL);
    (void)close(p->wake);
    (void)pthread_cond_destroy(&p->done);
    (void)pthread_mutex_destroy(&p->lock);
    free(p);
}

int proxy_port(const struct proxy *p)
{
    return p->port;
}

/* With the lock held: asks, and waits until it is done. */
static void ask(struct proxy *p)
{
    const unsigned mine = ++p->asked;

    ring(p);
    while ((int)(p->answered - mine) < 0)
        (void)pthread_cond_wait(&p->done, &p->lock);
}

void proxy_set(struct proxy *p, enum proxy_mode mode, unsigned delay_ms)
{
    bool deaf;

    (void)pthread_mutex_lock(&p->lock);
    p->mode = mode;
    p->delay_ms = delay_ms;
    ask(p);
    deaf = p->deaf;
    (void)pthread_mutex_unlock(&p->lock);
    if (deaf)
        support_fail("proxy: cannot listen on port %d again", p->port);
}

void proxy_forget(struct proxy *p)
{
    (void)pthread_mutex_lock(&p->lock);
    p->forget = true;
    ask(p);
    (void)pthread_mutex_unlock(&p->lock);
}

int proxy_connections(struct proxy *p)
{
    int n;

    (void)pthread_mutex_lock(&p->lock);
    n = p->open_links;
    (void)pthread_mutex_unlock(&p->lock);
    return n;
}
