/* The server in a process of its own, with three pages, and what clients of every kind do. Header
 * only. */
#ifndef OUTBOXD_TESTS_UNIT_OPS_HTTP_GROUND_H
#define OUTBOXD_TESTS_UNIT_OPS_HTTP_GROUND_H

#include "../../support/check.h"

#include "base/log.h"
#include "ops/http.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HUGE_BODY ((size_t)8 * 1024 * 1024)

static pid_t server;
static struct address address;
static char listen_at[64];

/* ---- the server ---- */

static inline void render_small(void *ctx, struct http_answer *out)
{
    (void)ctx;
    str_puts(out->body, "small\n");
}

static inline void render_huge(void *ctx, struct http_answer *out)
{
    (void)ctx;
    out->type = "application/octet-stream";
    for (size_t i = 0; i < HUGE_BODY / 64; i++)
        str_puts(out->body, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\n");
}

static inline void render_sad(void *ctx, struct http_answer *out)
{
    (void)ctx;
    out->status = 503;
    out->type = "application/json";
    str_puts(out->body, "{}\n");
}

static const struct http_page pages[] = {
    {"/small", render_small}, {"/huge", render_huge}, {"/sad", render_sad}};

static inline void serve_until_killed(void)
{
    struct event_base *base = event_base_new();
    struct err err;
    struct http_params params = {.base = base,
                                 .listen = listen_at,
                                 .address = address,
                                 .pages = pages,
                                 .page_count = ARRAY_LEN(pages),
                                 .header = "X-Test: yes\r\n"};

    log_setup(LOG_SILENT, LOG_LOGFMT);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)signal(SIGPIPE, SIG_IGN);
    if (base == NULL || http_new(&params, &err) == NULL)
        _exit(1);
    (void)event_base_dispatch(base);
    _exit(2);
}

/* A port that was free a moment ago. */
static inline void choose_address(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct err err;
    int on = 1;

    assert_ok(address_parse("127.0.0.1:1", &address, &err), &err);
    address.socket.ip4.sin_port = 0;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    assert_int_equal(bind(fd, &address.socket.any, address.len), 0);
    assert_int_equal(getsockname(fd, &address.socket.any, &address.len), 0);
    (void)snprintf(listen_at, sizeof listen_at, "127.0.0.1:%u",
                   (unsigned)ntohs(address.socket.ip4.sin_port));
    (void)close(fd);
}

static inline int setup(void **state)
{
    (void)state;
    choose_address();
    server = fork();
    if (server == 0)
        serve_until_killed();
    return server > 0 ? 0 : -1;
}

static inline int teardown(void **state)
{
    (void)state;
    (void)kill(server, SIGKILL);
    (void)waitpid(server, NULL, 0);
    return 0;
}

static inline int server_fds(void)
{
    char path[64];
    DIR *dir;
    int n = 0;

    (void)snprintf(path, sizeof path, "/proc/%d/fd", (int)server);
    dir = opendir(path);
    assert_non_null(dir);
    while (readdir(dir) != NULL)
        n++;
    (void)closedir(dir);
    return n - 2;
}

/* The number behind so many blanks of a file in /proc/<server>/. */
static inline long server_number(const char *file, int blanks)
{
    char path[64];
    char line[1024] = "";
    const char *at = line;
    FILE *f;

    (void)snprintf(path, sizeof path, "/proc/%d/%s", (int)server, file);
    f = fopen(path, "r");
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof line, f));
    (void)fclose(f);
    for (int i = 0; i < blanks && at != NULL; i++)
        at = strchr(at + 1, ' ');
    return at == NULL ? -1 : strtol(at, NULL, 10);
}

static inline long server_kib(void)
{
    return server_number("statm", 1) * sysconf(_SC_PAGESIZE) / 1024;
}

/* User and system. */
static inline double server_cpu_s(void)
{
    return (double)(server_number("stat", 13) + server_number("stat", 14)) /
           (double)sysconf(_SC_CLK_TCK);
}

/* ---- clients ---- */

static inline uint64_t now_ms(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static inline void pause_ms(int ms)
{
    (void)poll(NULL, 0, ms);
}

/* Waits for the server to come up, if need be. */
static inline int connect_to_it(void)
{
    uint64_t end = now_ms() + 10000;

    for (;;) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        assert_true(fd >= 0);
        if (connect(fd, &address.socket.any, address.len) == 0)
            return fd;
        (void)close(fd);
        CHECK(now_ms() < end, "cannot connect: %s", strerror(errno));
        pause_ms(5);
    }
}

static inline void say(int fd, const char *text)
{
    (void)send(fd, text, strlen(text), MSG_NOSIGNAL);
}

/* All until the end, as a string in a static buffer; what does not end in order, within 20 s,
 * fails.
 */
static inline const char *hear(int fd)
{
    static char got[65536];
    size_t len = 0;
    ssize_t n = 1;
    uint64_t end = now_ms() + 20000;

    while (n > 0 && len < sizeof got - 1) {
        struct pollfd p = {.fd = fd, .events = POLLIN};

        CHECK(poll(&p, 1, 1000) >= 0 && now_ms() < end, "no end of: %.*s", (int)len, got);
        n = p.revents == 0 ? 1 : recv(fd, got + len, sizeof got - 1 - len, 0);
        CHECK(n >= 0, "cut off after: %.*s", (int)len, got);
        if (p.revents != 0)
            len += (size_t)n;
    }
    got[len] = '\0';
    (void)close(fd);
    return got;
}

static inline const char *ask(const char *request)
{
    int fd = connect_to_it();

    say(fd, request);
    return hear(fd);
}

static inline void assert_served(void)
{
    const char *got = ask("GET /small HTTP/1.1\r\nHost: x\r\n\r\n");

    CHECK(strncmp(got, "HTTP/1.1 200 OK\r\n", 17) == 0, "%s", got);
    assert_contains(got, "\r\n\r\nsmall\n");
}

static inline void assert_status(const char *request, const char *status)
{
    const char *got = ask(request);
    char line[64];

    (void)snprintf(line, sizeof line, "HTTP/1.1 %s\r\n", status);
    CHECK(strncmp(got, line, strlen(line)) == 0, "to %.60s: %s", request, got);
}

static inline bool is_closed(int fd)
{
    char c;
    ssize_t n = recv(fd, &c, 1, MSG_DONTWAIT | MSG_PEEK);

    return n == 0 || (n < 0 && errno != EAGAIN);
}

static inline void wait_for_fds(int most)
{
    uint64_t end = now_ms() + 20000;

    while (server_fds() > most) {
        CHECK(now_ms() < end, "%d descriptors, expected %d", server_fds(), most);
        pause_ms(20);
    }
}

#endif
