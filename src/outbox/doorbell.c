#include "outbox/doorbell.h"

#include "outbox/session.h"
#include "outbox/sql_fill.h"
#include "outbox/timer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define RING_PAUSE_MS      5U /* 200 a second */
#define IDLE_TIMEOUT_SINCE 140000

struct doorbell {
    struct doorbell_params params;
    struct timer *pause; /* between two reports */
    struct timer *touch;
    struct timer *refuse; /* arm without a session */
    bool pausing;
    bool rung; /* during the pause */
    bool arming;
    bool armed;  /* the lock is ours */
    bool disarm; /* give it back as soon as it is */
    uint32_t bell;
    void (*setup_done)(void *ctx);
    void *setup_ctx;
};

static void clear_result(void *ctx, PGresult *result)
{
    (void)ctx;
    PQclear(result);
}

/* ---- setup and signs of life ---- */

static void touched(void *ctx)
{
    struct doorbell *d = ctx;

    timer_in_ms(d->touch, d->params.lease_ttl_ms);
}

static void touch_due(void *ctx)
{
    struct doorbell *d = ctx;

    session_query(d->params.session, &(struct session_query){.name = "touch",
                                                             .timeout_ms = d->params.timeout_ms,
                                                             .result = clear_result,
                                                             .done = touched,
                                                             .ctx = d});
}

static void setup_through(void *ctx)
{
    struct doorbell *d = ctx;

    timer_in_ms(d->touch, d->params.lease_ttl_ms);
    d->setup_done(d->setup_ctx);
}

void doorbell_setup(struct doorbell *d, void (*done)(void *ctx), void *ctx)
{
    struct str sql = {0};
    char timeout[16];
    char idle[64] = "";
    const struct sql_value values[] = {{"timeout_ms", timeout}, {"idle", idle}};

    d->setup_done = done;
    d->setup_ctx = ctx;
    (void)snprintf(timeout, sizeof(timeout), "%" PRIu32, d->params.timeout_ms);
    if (session_server_version(d->params.session) >= IDLE_TIMEOUT_SINCE)
        (void)snprintf(idle, sizeof(idle), "SET idle_session_timeout = %" PRIu64 ";",
                       (uint64_t)d->params.lease_ttl_ms * 2);
    sql_fill(&sql, "setup_bell", values, ARRAY_LEN(values));
    session_query(d->params.session, &(struct session_query){.name = "setup_bell",
                                                             .text = sql.data,
                                                             .timeout_ms = d->params.timeout_ms,
                                                             .done = setup_through,
                                                             .ctx = d});
    str_release(&sql);
}

/* ---- ringing ---- */

static void ring(struct doorbell *d)
{
    d->rung = false;
    d->pausing = true;
    timer_in_ms(d->pause, RING_PAUSE_MS);
    d->params.events->bell(d->params.ctx);
}

void doorbell_notified(struct doorbell *d)
{
    if (d->pausing)
        d->rung = true;
    else
        ring(d);
}

static void pause_over(void *ctx)
{
    struct doorbell *d = ctx;

    d->pausing = false;
    if (d->rung)
        ring(d);
}

/* ---- arming ---- */

static void unlock(struct doorbell *d)
{
    char bell[16];
    const char *const values[] = {bell};

    d->armed = false;
    d->disarm = false;
    (void)snprintf(bell, sizeof(bell), "%" PRIu32, d->bell);
    session_query(d->params.session, &(struct session_query){.name = "disarm",
                                                             .values = values,
                                                             .count = ARRAY_LEN(values),
                                                             .timeout_ms = d->params.timeout_ms,
                                                             .result = clear_result,
                                                             .ctx = d});
}

static void arm_result(void *ctx, PGresult *result)
{
    struct doorbell *d = ctx;

    /* a binary boolean is one byte */
    d->armed = PQntuples(result) == 1 && PQgetlength(result, 0, 0) == 1 &&
               PQgetvalue(result, 0, 0)[0] == 1;
    PQclear(result);
}

static void arm_through(void *ctx)
{
    struct doorbell *d = ctx;
    bool armed = d->armed;

    d->arming = false;
    if (armed && d->disarm)
        unlock(d);
    d->params.events->armed(d->params.ctx, armed);
}

void doorbell_arm(struct doorbell *d, uint32_t bell)
{
    char text[16];
    const char *const values[] = {text};

    if (d->params.session == NULL) {
        timer_in_ms(d->refuse, 0);
        return;
    }
    if (d->armed)
        unlock(d); /* a lock that is taken twice must be given back twice */
    d->bell = bell;
    d->arming = true;
    d->disarm = false;
    (void)snprintf(text, sizeof(text), "%" PRIu32, bell);
    session_query(d->params.session, &(struct session_query){.name = "arm",
                                                             .values = values,
                                                             .count = ARRAY_LEN(values),
                                                             .timeout_ms = d->params.timeout_ms,
                                                             .result = arm_result,
                                                             .done = arm_through,
                                                             .ctx = d});
}

void doorbell_disarm(struct doorbell *d, uint32_t bell)
{
    (void)bell; /* the one that was armed */
    if (d->arming)
        d->disarm = true;
    else if (d->armed)
        unlock(d);
}

static void refuse(void *ctx)
{
    struct doorbell *d = ctx;

    d->params.events->armed(d->params.ctx, false);
}

/* ---- life ---- */

struct doorbell *doorbell_new(const struct doorbell_params *params)
{
    struct doorbell *d = xcalloc(1, sizeof(*d));

    d->params = *params;
    d->pause = timer_new(params->base, pause_over, d);
    d->touch = timer_new(params->base, touch_due, d);
    d->refuse = timer_new(params->base, refuse, d);
    return d;
}

void doorbell_forget(struct doorbell *d)
{
    timer_stop(d->pause);
    timer_stop(d->touch);
    timer_stop(d->refuse);
    d->pausing = d->rung = d->arming = d->armed = d->disarm = false;
}

void doorbell_free(struct doorbell *d)
{
    if (d == NULL)
        return;
    timer_free(d->pause);
    timer_free(d->touch);
    timer_free(d->refuse);
    free(d);
}
