/* closed -> connecting -> open -> (broken ->) closed
 *
 * While connecting, the socket may change at every step, so it is registered anew each time. While
 * open, the socket is watched for reading always (the server may say goodbye, or notify), except
 * while a row is held: then the rest of the COPY waits in the socket, and the server waits with it.
 *
 * How it can fail: an error of libpq or of a query, a deadline, or the caller's own verdict. All go
 * through session_fail, which keeps the first reason, goes deaf, and reports from the loop. Because
 * callbacks may close the session, every call of one is followed by a look at `life`, which is
 * different afterwards. */
#include "outbox/session_internal.h"

#include "outbox/connect.h"
#include "outbox/hosts.h"
#include "outbox/sql_texts.h"

#include <assert.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TLS_TICK_MS 50U /* belt: bytes can sit inside TLS without the socket being readable */

/* ---- life and death ---- */

static void deafen(struct session *s)
{
    if (s->io != NULL)
        event_free(s->io);
    s->io = NULL;
    timer_stop(s->deadline);
    timer_stop(s->tick);
    timer_stop(s->again);
}

void session_close(struct session *s)
{
    s->life++;
    deafen(s);
    if (s->row != NULL)
        PQfreemem(s->row);
    s->row = NULL;
    if (s->conn != NULL)
        PQfinish(s->conn);
    s->conn = NULL;
    s->state = SESSION_CLOSED;
    s->first = 0;
    s->queued = 0;
    s->out = s->preparing = s->copying = s->holding = s->discarding = false;
    s->prepared_count = 0;
}

void session_fail(struct session *s, const struct err *why)
{
    if (s->state != SESSION_CONNECTING && s->state != SESSION_OPEN)
        return;
    s->state = SESSION_BROKEN;
    s->failure = *why;
    deafen(s);
    timer_in_ms(s->again, 0);
}

void session_fail_by_libpq(struct session *s, const char *doing)
{
    struct err err;
    struct str line = {0};

    connect_one_line(PQerrorMessage(s->conn), &line);
    (void)err_problem(&err, ERR_UNAVAILABLE, PROBLEM_DATABASE_UNREACHABLE, "%s: %s", doing,
                      line.len > 0 ? line.data : "connection lost");
    str_release(&line);
    session_fail(s, &err);
}

static void report_failure(struct session *s)
{
    struct err why = s->failure;

    session_close(s);
    s->handlers.broken(s->ctx, &why);
}

static void host_is_silent(struct session *s, struct err *err)
{
    if (s->host_ms == s->params.connect_timeout_ms)
        (void)err_problem(err, ERR_UNAVAILABLE, PROBLEM_DATABASE_UNREACHABLE,
                          "connect: no answer within %u ms", s->host_ms);
    else
        (void)err_problem(err, ERR_UNAVAILABLE, PROBLEM_DATABASE_UNREACHABLE,
                          "connect: no answer within %u ms from %s:%s", s->host_ms, PQhost(s->conn),
                          PQport(s->conn));
    if (s->params.hosts != NULL)
        hosts_blame(s->params.hosts, s->conn);
}

static void deadline_passed(void *ctx)
{
    struct session *s = ctx;
    struct err err;

    if (s->state == SESSION_CONNECTING)
        host_is_silent(s, &err);
    else
        (void)err_problem(&err, ERR_UNAVAILABLE, PROBLEM_DATABASE_UNREACHABLE,
                          "query %s: no answer within %u ms", s->queue[s->first].q.name,
                          s->queue[s->first].q.timeout_ms);
    session_fail(s, &err);
}

static void again(void *ctx)
{
    struct session *s = ctx;

    if (s->state == SESSION_BROKEN)
        report_failure(s);
    else if (s->state == SESSION_OPEN)
        session_pump(s);
}

/* ---- the socket ---- */

static void socket_ready(evutil_socket_t fd, short what, void *ctx);

static void watch(struct session *s, short what)
{
    if (s->io != NULL && s->io_what == what)
        return;
    if (s->io != NULL)
        event_free(s->io);
    s->io = NULL;
    s->io_what = what;
    if (what == 0)
        return;
    s->io =
        event_new(s->params.base, PQsocket(s->conn), (short)(what | EV_PERSIST), socket_ready, s);
    if (s->io == NULL || event_add(s->io, NULL) != 0)
        abort(); /* out of memory */
}

void session_settle_socket(struct session *s)
{
    int left = PQflush(s->conn);

    if (left < 0) {
        session_fail_by_libpq(s, "send");
        return;
    }
    watch(s, (short)((s->holding ? 0 : EV_READ) | (left > 0 ? EV_WRITE : 0)));
    if (s->out && !s->holding && PQsslInUse(s->conn))
        timer_in_ms(s->tick, TLS_TICK_MS);
    else
        timer_stop(s->tick);
}

static void connect_failed(struct session *s)
{
    struct err err;

    connect_explain(s->conn, &err);
    (void)err_wrap(&err, "connect");
    session_fail(s, &err);
}

/* A host that is tried now begins with the whole of its share, whatever those before it took. */
static void try_host(struct session *s)
{
    if (s->trying == PQhost(s->conn))
        return;
    s->trying = PQhost(s->conn);
    timer_in_ms(s->deadline, s->host_ms);
}

static void connect_step(struct session *s)
{
    /* libpq may close this socket and open another with the same number */
    watch(s, 0);
    switch (PQconnectPoll(s->conn)) {
    case PGRES_POLLING_READING:
        try_host(s);
        watch(s, EV_READ);
        return;
    case PGRES_POLLING_WRITING:
        try_host(s);
        watch(s, EV_WRITE);
        return;
    case PGRES_POLLING_OK:
        break;
    case PGRES_POLLING_FAILED:
    case PGRES_POLLING_ACTIVE:
        connect_failed(s);
        return;
    }
    if (PQsetnonblocking(s->conn, 1) != 0) {
        connect_failed(s);
        return;
    }
    (void)PQsetErrorVerbosity(s->conn, PQERRORS_DEFAULT);
    timer_stop(s->deadline);
    s->state = SESSION_OPEN;
    watch(s, EV_READ);
    s->handlers.connected(s->ctx);
}

static void socket_ready(evutil_socket_t fd, short what, void *ctx)
{
    struct session *s = ctx;

    (void)fd;
    (void)what;
    if (s->state == SESSION_CONNECTING)
        connect_step(s);
    else if (s->state == SESSION_OPEN)
        session_pump(s);
}

void session_open(struct session *s)
{
    struct err err;

    session_close(s);
    s->state = SESSION_CONNECTING;
    s->conn = connect_start(&s->params, &err);
    if (s->conn == NULL) {
        session_fail(s, &err);
        return;
    }
    if (PQstatus(s->conn) == CONNECTION_BAD) {
        connect_failed(s);
        return;
    }
    s->host_ms = s->params.connect_timeout_ms / hosts_count(s->conn);
    s->trying = PQhost(s->conn);
    timer_in_ms(s->deadline, s->host_ms);
    watch(s, EV_WRITE);
}

/* ---- the queue ---- */

void session_arm_deadline(struct session *s)
{
    uint32_t ms = s->queue[s->first].q.timeout_ms;

    if (ms > 0 && !s->holding)
        timer_in_ms(s->deadline, ms);
    else
        timer_stop(s->deadline);
}

static bool is_prepared(const struct session *s, const char *name)
{
    for (size_t i = 0; i < s->prepared_count; i++) {
        if (strcmp(s->prepared[i], name) == 0)
            return true;
    }
    return false;
}

static int send_prepared(struct session *s, const struct request *r)
{
    const char *values[SESSION_MAX_VALUES];

    for (size_t i = 0; i < r->q.count; i++)
        values[i] = r->is_null[i] ? NULL : r->text.data + r->offsets[i];
    return PQsendQueryPrepared(s->conn, r->q.name, (int)r->q.count, values, NULL, NULL, 1);
}

void session_start_next(struct session *s)
{
    const struct request *r = &s->queue[s->first];
    int sent;

    if (s->out || s->queued == 0 || s->state != SESSION_OPEN)
        return;
    s->preparing = !r->is_text && !is_prepared(s, r->q.name);
    if (s->preparing)
        sent = PQsendPrepare(s->conn, r->q.name, sql_query(r->q.name), 0, NULL);
    else if (r->is_text)
        sent = PQsendQuery(s->conn, r->text.data);
    else
        sent = send_prepared(s, r);
    if (sent != 1) {
        session_fail_by_libpq(s, r->q.name);
        return;
    }
    s->out = true;
    s->discarding = false;
    session_arm_deadline(s);
    session_settle_socket(s);
}

void session_query(struct session *s, const struct session_query *q)
{
    struct request *r = &s->queue[(s->first + s->queued) % SESSION_MAX_QUEUE];
    struct err err;

    if (s->state != SESSION_OPEN)
        return;
    if (s->queued == SESSION_MAX_QUEUE || q->count > SESSION_MAX_VALUES) {
        (void)err_problem(&err, ERR_SOFTWARE, PROBLEM_INTERNAL_ERROR,
                          "query %s: too many queries or values at once", q->name);
        session_fail(s, &err);
        return;
    }
    r->q = *q;
    r->q.values = NULL;
    r->q.text = NULL;
    r->is_text = q->text != NULL;
    str_reset(&r->text);
    if (r->is_text)
        str_puts(&r->text, q->text);
    for (size_t i = 0; i < q->count; i++) {
        r->is_null[i] = q->values[i] == NULL;
        r->offsets[i] = r->text.len;
        if (!r->is_null[i])
            str_put(&r->text, q->values[i], strlen(q->values[i]) + 1);
    }
    s->queued++;
    session_start_next(s);
}

/* ---- holding ---- */

void session_resume(struct session *s)
{
    if (!s->holding)
        return;
    s->holding = false;
    session_arm_deadline(s);
    timer_in_ms(s->again, 0);
}

void session_discard(struct session *s)
{
    s->discarding = true;
    session_resume(s);
}

bool session_is_open(const struct session *s)
{
    return s->state == SESSION_OPEN;
}

bool session_is_broken(const struct session *s)
{
    return s->state == SESSION_BROKEN;
}

int session_server_version(const struct session *s)
{
    return s->state == SESSION_OPEN ? PQserverVersion(s->conn) : 0;
}

static void tick(void *ctx)
{
    again(ctx);
}

struct session *session_new(const struct session_params *params,
                            const struct session_handlers *handlers, void *ctx)
{
    struct session *s = xcalloc(1, sizeof(*s));

    s->params = *params;
    s->params.url = xstrdup(params->url != NULL ? params->url : "");
    s->params.password = params->password != NULL ? xstrdup(params->password) : NULL;
    s->params.application_name = xstrdup(params->application_name);
    s->handlers = *handlers;
    s->ctx = ctx;
    s->deadline = timer_new(params->base, deadline_passed, s);
    s->tick = timer_new(params->base, tick, s);
    s->again = timer_new(params->base, again, s);
    return s;
}

static void free_text(const char *owned)
{
    union {
        const char *in;
        char *out;
    } text = {.in = owned};

    free(text.out);
}

void session_free(struct session *s)
{
    if (s == NULL)
        return;
    session_close(s);
    for (size_t i = 0; i < SESSION_MAX_QUEUE; i++)
        str_release(&s->queue[i].text);
    timer_free(s->deadline);
    timer_free(s->tick);
    timer_free(s->again);
    free_text(s->params.url);
    free_text(s->params.password);
    free_text(s->params.application_name);
    free(s);
}
