/* accept -> read until the empty line -> answer -> shut our side down -> read away what still comes
 * -> close
 *
 * How it can fail: the address is taken: told once, tried again. The process is out of descriptors:
 * nobody is accepted for a moment. A client is slow, sends too much, or stays: its time ends. */
#include "ops/http.h"

#include "base/log.h"
#include "ops/request.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPTS_TURN 8 /* in one turn of the loop, which has other work, too */
#define BACKLOG      128

struct client {
    struct http *http;
    struct bufferevent *stream;
    struct event *deadline;
    bool answered;
    bool finished; /* the other side sends no more */
    size_t ignored;
};

struct http {
    struct http_params params;
    int fd; /* -1: not listening */
    struct event *acceptable;
    struct event *tick; /* pending: accepts are being counted */
    struct event *retry;
    uint32_t accepts;                         /* since the last tick */
    bool told;                                /* the log says that the address cannot be had */
    struct client *clients[HTTP_CLIENTS_MAX]; /* the oldest first */
    size_t client_count;
    struct str body;
};

static void in_ms(struct event *timer, uint32_t ms)
{
    struct timeval tv = {.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000) * 1000};

    (void)evtimer_add(timer, &tv);
}

/* ---- clients ---- */

/* Also from within its own callbacks: libevent keeps the stream until they have returned. */
static void client_end(struct client *c)
{
    struct http *h = c->http;
    size_t i = 0;

    while (h->clients[i] != c)
        i++;
    for (h->client_count--; i < h->client_count; i++)
        h->clients[i] = h->clients[i + 1];
    event_free(c->deadline);
    bufferevent_free(c->stream);
    free(c);
}

static const struct http_page *find_page(const struct http *h, const char *path)
{
    for (size_t i = 0; i < h->params.page_count; i++)
        if (strcmp(h->params.pages[i].path, path) == 0)
            return &h->params.pages[i];
    return NULL;
}

static void send_answer(struct client *c, const struct http_answer *a, bool with_body)
{
    struct evbuffer *out = bufferevent_get_output(c->stream);

    c->answered = true;
    (void)evbuffer_add_printf(out,
                              "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s%s"
                              "Cache-Control: no-store\r\nConnection: close\r\n\r\n",
                              a->status, request_reason(a->status), a->type, a->body->len,
                              a->status == 405 ? "Allow: GET, HEAD\r\n" : "",
                              c->http->params.header);
    if (with_body)
        (void)evbuffer_add(out, str_text(a->body), a->body->len);
}

static void send_refusal(struct client *c, int status)
{
    struct http_answer a = {
        .status = status, .type = "text/plain; charset=utf-8", .body = &c->http->body};

    str_reset(a.body);
    str_printf(a.body, "%d %s\n", status, request_reason(status));
    send_answer(c, &a, true);
}

static void serve(struct client *c, char *head)
{
    struct http *h = c->http;
    struct http_answer a = {.status = 200, .type = "text/plain; charset=utf-8", .body = &h->body};
    const struct http_page *page;
    struct request q;
    int refusal = request_parse(head, &q);

    page = refusal == 0 ? find_page(h, q.path) : NULL;
    if (refusal == 0 && page == NULL)
        refusal = 404;
    if (refusal == 0 && q.method == REQUEST_OTHER)
        refusal = 405;
    if (refusal != 0) {
        send_refusal(c, refusal);
        return;
    }
    str_reset(a.body);
    page->render(h->params.ctx, &a);
    send_answer(c, &a, q.method == REQUEST_GET);
}

static void read_away(struct client *c)
{
    struct evbuffer *in = bufferevent_get_input(c->stream);

    c->ignored += evbuffer_get_length(in);
    (void)evbuffer_drain(in, evbuffer_get_length(in));
    if (c->ignored > HTTP_LINGER_BYTES)
        client_end(c);
}

static void on_read(struct bufferevent *stream, void *ctx)
{
    struct client *c = ctx;
    struct evbuffer *in = bufferevent_get_input(stream);
    char head[HTTP_REQUEST_MAX + 1];
    ev_ssize_t len;

    if (!c->answered) {
        len = evbuffer_copyout(in, head, HTTP_REQUEST_MAX);
        if (len < 0)
            return;
        head[len] = '\0';
        if (request_is_whole(head, (size_t)len))
            serve(c, head);
        else if (len >= (ev_ssize_t)HTTP_REQUEST_MAX)
            send_refusal(c, 431);
    }
    if (c->answered)
        read_away(c);
}

/* The answer is with the kernel. Closing now, with something unread, would reset the connection and
 * could take the answer with it. */
static void on_written(struct bufferevent *stream, void *ctx)
{
    struct client *c = ctx;

    if (!c->answered || evbuffer_get_length(bufferevent_get_output(stream)) > 0)
        return;
    if (c->finished) {
        client_end(c);
        return;
    }
    (void)shutdown(bufferevent_getfd(stream), SHUT_WR);
    in_ms(c->deadline, HTTP_LINGER_MS);
}

static void on_end(struct bufferevent *stream, short what, void *ctx)
{
    struct client *c = ctx;

    c->finished = true;
    if ((what & BEV_EVENT_ERROR) != 0 || evbuffer_get_length(bufferevent_get_output(stream)) == 0)
        client_end(c);
}

static void on_deadline(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    client_end(ctx);
}

static void client_begin(struct http *h, int fd)
{
    struct client *c = xcalloc(1, sizeof *c);

    if (h->client_count == HTTP_CLIENTS_MAX)
        client_end(h->clients[0]);
    c->http = h;
    c->stream = bufferevent_socket_new(h->params.base, fd, BEV_OPT_CLOSE_ON_FREE);
    c->deadline = evtimer_new(h->params.base, on_deadline, c);
    if (c->stream == NULL || c->deadline == NULL) {
        if (c->deadline != NULL)
            event_free(c->deadline);
        if (c->stream != NULL)
            bufferevent_free(c->stream);
        else
            (void)close(fd);
        free(c);
        return;
    }
    h->clients[h->client_count++] = c;
    bufferevent_setcb(c->stream, on_read, on_written, on_end, c);
    bufferevent_setwatermark(c->stream, EV_READ, 0, HTTP_REQUEST_MAX);
    (void)bufferevent_enable(c->stream, EV_READ | EV_WRITE);
    in_ms(c->deadline, HTTP_CLIENT_MS);
}

/* ---- the door ---- */

/* Until the next tick. */
static void close_door(struct http *h)
{
    (void)event_del(h->acceptable);
    h->accepts = HTTP_ACCEPTS_TICK;
}

static void on_acceptable(evutil_socket_t fd, short what, void *ctx)
{
    struct http *h = ctx;

    (void)what;
    if (!evtimer_pending(h->tick, NULL))
        in_ms(h->tick, HTTP_TICK_MS);
    for (int i = 0; i < ACCEPTS_TURN && h->accepts < HTTP_ACCEPTS_TICK; i++) {
        int client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (client >= 0) {
            h->accepts++;
            client_begin(h, client);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            close_door(h); /* it would be reported at once again */
        }
    }
    if (h->accepts >= HTTP_ACCEPTS_TICK)
        close_door(h);
}

static void on_tick(evutil_socket_t fd, short what, void *ctx)
{
    struct http *h = ctx;

    (void)fd;
    (void)what;
    h->accepts = 0;
    (void)event_add(h->acceptable, NULL);
}

static int open_socket(const struct address *a)
{
    int on = 1;
    int error;
    int fd = socket(a->socket.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, &a->socket.any, a->len) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    error = errno;
    (void)close(fd);
    errno = error;
    return -1;
}

static void try_to_listen(struct http *h)
{
    h->fd = open_socket(&h->params.address);
    if (h->fd >= 0)
        h->acceptable = event_new(h->params.base, h->fd, EV_READ | EV_PERSIST, on_acceptable, h);
    if (h->acceptable != NULL) {
        (void)event_add(h->acceptable, NULL);
        log_info("http: listening", LOG_S("address", h->params.listen));
        return;
    }
    if (!h->told)
        log_warn("http: cannot listen", LOG_S("address", h->params.listen),
                 LOG_S("problem", problem_word(PROBLEM_HTTP_PORT_TAKEN)),
                 LOG_S("error", strerror(errno)),
                 LOG_S("advice", problem_advice(PROBLEM_HTTP_PORT_TAKEN)));
    h->told = true;
    if (h->fd >= 0)
        (void)close(h->fd);
    h->fd = -1;
    in_ms(h->retry, HTTP_RETRY_MS);
}

static void on_retry(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    try_to_listen(ctx);
}

struct http *http_new(const struct http_params *params, struct err *err)
{
    struct http *h = xcalloc(1, sizeof *h);

    h->params = *params;
    h->fd = -1;
    h->tick = evtimer_new(params->base, on_tick, h);
    h->retry = evtimer_new(params->base, on_retry, h);
    if (h->tick == NULL || h->retry == NULL) {
        (void)err_set(err, ERR_SOFTWARE, "http: no timer");
        http_free(h);
        return NULL;
    }
    try_to_listen(h);
    return h;
}

void http_free(struct http *h)
{
    if (h == NULL)
        return;
    while (h->client_count > 0)
        client_end(h->clients[h->client_count - 1]);
    if (h->acceptable != NULL)
        event_free(h->acceptable);
    if (h->tick != NULL)
        event_free(h->tick);
    if (h->retry != NULL)
        event_free(h->retry);
    if (h->fd >= 0)
        (void)close(h->fd);
    str_release(&h->body);
    free(h);
}
