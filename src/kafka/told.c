#include "kafka/told.h"

#include <stdio.h>
#include <string.h>

static const struct timeval AGAIN = {.tv_sec = 10};
/* Longer than librdkafka is silent about an error that comes again. */
static const struct timeval DOUBTFUL = {.tv_sec = 60};

static void on_again(evutil_socket_t fd, short what, void *arg)
{
    /* Only that it is no longer pending matters: see told_acked. */
    (void)fd;
    (void)what;
    (void)arg;
}

static void on_doubtful(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    told_answered(arg);
}

int told_init(struct told *t, struct event_base *base)
{
    t->again = evtimer_new(base, on_again, t);
    t->doubtful = evtimer_new(base, on_doubtful, t);
    return t->again == NULL || t->doubtful == NULL ? -1 : 0;
}

void told_release(struct told *t)
{
    if (t->again != NULL)
        event_free(t->again);
    if (t->doubtful != NULL)
        event_free(t->doubtful);
    t->again = t->doubtful = NULL;
}

bool told_before(struct told *t, rd_kafka_resp_err_t code)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->codes[i] == code)
            return true;
    if (t->count < TOLD_CODES)
        t->codes[t->count++] = code;
    (void)evtimer_add(t->again, &AGAIN);
    return false;
}

void told_acked(struct told *t)
{
    if (t->count > 0 && !evtimer_pending(t->again, NULL))
        t->count = 0;
    t->denied[0] = '\0';
}

void told_forget(struct told *t)
{
    t->count = 0;
}

void told_deny(struct told *t, const char *why)
{
    (void)snprintf(t->denied, sizeof t->denied, "%s", why);
    (void)evtimer_add(t->doubtful, &DOUBTFUL);
}

void told_answered(struct told *t)
{
    t->denied[0] = '\0';
}
