#include "app/ask.h"

#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define ANSWER_MAX ((size_t)1024 * 1024) /* whoever sends more is not outboxd */

/* One exchange: the socket and what it may cost. */
struct exchange {
    int fd;
    uint64_t deadline_ms;
    struct str got;
};

void ask_answer_release(struct ask_answer *out)
{
    str_release(&out->head);
    str_release(&out->body);
    out->status = 0;
}

int ask_address(const char *http_listen, struct address *out, struct err *err)
{
    if (http_listen[0] == '\0')
        return err_problem(err, ERR_CONFIG, PROBLEM_CONFIGURATION,
                           "http.listen is empty, so that the process cannot be asked; set it, "
                           "such as 127.0.0.1:9464, or let `outboxd status` ask the database");
    if (address_parse(http_listen, out, err) != 0)
        return -1;
    address_to_ask(out);
    return 0;
}

static int wait_for(const struct exchange *x, short what, struct err *err)
{
    struct pollfd p = {.fd = x->fd, .events = what};
    uint64_t now = clock_now_ms();
    int rc = now < x->deadline_ms ? poll(&p, 1, (int)(x->deadline_ms - now)) : 0;

    if (rc > 0)
        return 0;
    if (rc < 0 && errno == EINTR)
        return wait_for(x, what, err);
    return err_set(err, ERR_UNAVAILABLE, "no answer in time");
}

static int open_socket(struct exchange *x, const struct address *address, struct err *err)
{
    int error = 0;
    socklen_t len = sizeof error;

    x->fd = socket(address->socket.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (x->fd < 0)
        return err_set(err, ERR_UNAVAILABLE, "no socket: %s", strerror(errno));
    if (connect(x->fd, &address->socket.any, address->len) == 0)
        return 0;
    if (errno != EINPROGRESS)
        return err_set(err, ERR_UNAVAILABLE, "%s", strerror(errno));
    if (wait_for(x, POLLOUT, err) != 0)
        return -1;
    if (getsockopt(x->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0)
        return err_set(err, ERR_UNAVAILABLE, "%s", strerror(error));
    return 0;
}

/* The request is one small piece, which an empty socket takes whole. */
static int say(struct exchange *x, const char *path, struct err *err)
{
    char request[256];
    int len = snprintf(request, sizeof request,
                       "GET %s HTTP/1.1\r\nHost: outboxd\r\nConnection: close\r\n\r\n", path);

    if (len < 0 || (size_t)len >= sizeof request)
        return err_set(err, ERR_SOFTWARE, "the path is too long");
    if (wait_for(x, POLLOUT, err) != 0)
        return -1;
    if (send(x->fd, request, (size_t)len, MSG_NOSIGNAL) != len)
        return err_set(err, ERR_UNAVAILABLE, "%s", strerror(errno));
    return 0;
}

/* Until the other side closes: outboxd always does. */
static int hear(struct exchange *x, struct err *err)
{
    char piece[8192];
    ssize_t n;

    for (;;) {
        if (wait_for(x, POLLIN, err) != 0)
            return -1;
        n = recv(x->fd, piece, sizeof piece, 0);
        if (n == 0)
            return 0;
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return err_set(err, ERR_UNAVAILABLE, "%s", strerror(errno));
        if (n > 0)
            str_put(&x->got, piece, (size_t)n);
        if (x->got.len > ANSWER_MAX)
            return err_set(err, ERR_UNAVAILABLE, "the answer is endless");
    }
}

static int take_apart(const struct str *got, struct ask_answer *out, struct err *err)
{
    const char *text = str_text(got);
    const char *end = memmem(text, got->len, "\r\n\r\n", 4);

    if (end == NULL || strncmp(text, "HTTP/1.", 7) != 0 || strspn(text + 9, "0123456789") != 3)
        return err_set(err, ERR_UNAVAILABLE, "what answers there does not speak HTTP");
    out->status = (int)strtol(text + 9, NULL, 10);
    str_put(&out->head, text, (size_t)(end - text) + 2);
    str_put(&out->body, end + 4, got->len - (size_t)(end + 4 - text));
    return 0;
}

int ask_http(const struct address *address, const char *path, uint32_t timeout_ms,
             struct ask_answer *out, struct err *err)
{
    struct exchange x = {.fd = -1, .deadline_ms = clock_now_ms() + timeout_ms};
    int rc = -1;

    out->status = 0;
    str_reset(&out->head);
    str_reset(&out->body);
    if (open_socket(&x, address, err) == 0 && say(&x, path, err) == 0 && hear(&x, err) == 0)
        rc = take_apart(&x.got, out, err);
    if (x.fd >= 0)
        (void)close(x.fd);
    str_release(&x.got);
    return rc;
}

bool ask_head_has(const struct ask_answer *a, const char *name, const char *value)
{
    size_t name_len = strlen(name);
    size_t value_len = strlen(value);

    for (const char *line = str_text(&a->head); line != NULL && *line != '\0';) {
        const char *end = strstr(line, "\r\n");

        if (end != NULL && (size_t)(end - line) == name_len + 2 + value_len &&
            strncasecmp(line, name, name_len) == 0 && line[name_len] == ':' &&
            memcmp(line + name_len + 2, value, value_len) == 0)
            return true;
        line = end == NULL ? NULL : end + 2;
    }
    return false;
}
