#include "outbox/timer.h"

#include "base/str.h"

#include <event2/event.h>
#include <stdlib.h>

struct timer {
    struct event *ev;
    timer_fn *fn;
    void *ctx;
};

static void due(evutil_socket_t fd, short what, void *ctx)
{
    struct timer *t = ctx;

    (void)fd;
    (void)what;
    t->fn(t->ctx);
}

struct timer *timer_new(struct event_base *base, timer_fn *fn, void *ctx)
{
    struct timer *t = xcalloc(1, sizeof(*t));

    t->fn = fn;
    t->ctx = ctx;
    t->ev = event_new(base, -1, 0, due, t);
    if (t->ev == NULL)
        abort(); /* out of memory */
    return t;
}

void timer_free(struct timer *t)
{
    if (t == NULL)
        return;
    event_free(t->ev);
    free(t);
}

void timer_in_ms(struct timer *t, uint32_t ms)
{
    const struct timeval tv = {.tv_sec = (time_t)(ms / 1000),
                               .tv_usec = (suseconds_t)(ms % 1000) * 1000};

    if (event_add(t->ev, &tv) != 0)
        abort(); /* out of memory */
}

void timer_stop(struct timer *t)
{
    (void)event_del(t->ev);
}
