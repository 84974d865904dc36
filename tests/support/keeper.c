#include "keeper.h"

#include "check.h"
#include "log_catch.h"
#include "outbox/session.h"
#include "outbox/timer.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#define WAIT_MS 20000

static void connected(void *ctx)
{
    struct keeper *k = ctx;

    k->job.start(k->job.ctx);
}

static void broken(void *ctx, const struct err *why)
{
    struct keeper *k = ctx;

    k->job.forget(k->job.ctx);
    k->why = *why;
    k->broken = true;
}

/* Wakes the loop, so that a turn ends in time. */
static void beat(void *ctx)
{
    struct keeper *k = ctx;

    timer_in_ms(k->beat, 5);
}

void keeper_init(struct keeper *k, const struct pg_server *pg)
{
    static const struct session_handlers handlers = {.connected = connected, .broken = broken};
    struct pg_url url = pg_url(pg, "relay", "postgres");

    memset(k, 0, sizeof(*k));
    k->base = event_base_new();
    if (k->base == NULL)
        support_fail("no event base");
    k->beat = timer_new(k->base, beat, k);
    beat(k);
    k->session = session_new(&(struct session_params){.base = k->base,
                                                      .url = url.text,
                                                      .application_name = "keeper",
                                                      .connect_timeout_ms = 5000},
                             &handlers, k);
}

void keeper_open(struct keeper *k, const struct keeper_job *job)
{
    k->job = *job;
    session_open(k->session);
}

void keeper_release(struct keeper *k)
{
    if (k->broken || !session_is_open(k->session))
        support_fail("the session has not lived: %s", k->why.text);
    session_free(k->session);
    timer_free(k->beat);
    event_base_free(k->base);
}

void keeper_turn(struct keeper *k, unsigned ms)
{
    uint64_t end = test_now_ms() + ms;

    while (test_now_ms() < end)
        (void)event_base_loop(k->base, EVLOOP_ONCE);
    if (k->broken)
        support_fail("broken: %s", k->why.text);
}

void keeper_wait_for_log(struct keeper *k, const char *part)
{
    uint64_t end = test_now_ms() + WAIT_MS;

    while (!log_has_caught(part)) {
        keeper_turn(k, 5);
        if (test_now_ms() >= end)
            support_fail("not told within %d ms: %s", WAIT_MS, part);
    }
}

unsigned statements_seen(const struct pg_server *pg, const char *part)
{
    char *text = file_read(pg->log);
    unsigned n = (unsigned)occurrences(text, part);

    free(text);
    return n;
}

void keeper_wait_for_statements(struct keeper *k, const struct pg_server *pg, const char *part,
                                unsigned more)
{
    uint64_t end = test_now_ms() + WAIT_MS;
    unsigned until = statements_seen(pg, part) + more;

    while (statements_seen(pg, part) < until) {
        keeper_turn(k, 10);
        if (test_now_ms() >= end)
            support_fail("not asked within %d ms: %s", WAIT_MS, part);
    }
}
