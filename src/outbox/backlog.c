/* stopped -> connecting -> set up -> (prepare, unsent -> transactions -> days, once a minute ->
 * pause)...
 *
 * Each question is a statement of its own, so that one which the server refuses costs only its own
 * answer: that becomes unknown (-1), or, for the count of unsent events, stays what it was and
 * ages. How it can fail: the session breaks, for whatever reason; it is opened again later. */
#include "outbox/backlog.h"

#include "outbox/session.h"
#include "outbox/sql_fill.h"
#include "outbox/sql_texts.h"
#include "outbox/timer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNTED_ROWS   "10001"
#define SHARE          50U    /* asking takes at most a fiftieth of the time */
#define DAYS_EVERY_MS  60000U /* days change slowly */
#define MAX_TIMEOUT_MS 5000U

enum question { PREPARE, UNSENT, TRANSACTIONS, DAYS, QUESTIONS };

struct backlog_watch {
    struct backlog_params params;
    char *relay;
    struct session *session;
    struct timer *timer;
    bool running;
    enum question question; /* that is out */
    bool answered;          /* it */
    bool prepared;          /* UNSENT is, in this session */
    bool counted;           /* this look has counted the unsent events */
    uint64_t look_began_ms;
    uint64_t days_asked_ms; /* 0: never */

    struct backlog last;
    uint64_t last_at_ms;
};

static void ask(struct backlog_watch *b);

/* ---- answers ---- */

static int64_t number(const PGresult *result, int column)
{
    return strtoll(PQgetvalue(result, 0, column), NULL, 10);
}

/* NULL is -1. */
static double seconds(const PGresult *result, int column)
{
    return PQgetisnull(result, 0, column) ? -1 : strtod(PQgetvalue(result, 0, column), NULL);
}

/* Comes for SET, too, which has no rows. */
static void take_answer(void *ctx, PGresult *result)
{
    struct backlog_watch *b = ctx;
    struct backlog *last = &b->last;

    if (PQntuples(result) == 1) {
        b->answered = true;
        switch (b->question) {
        case UNSENT:
            last->unsent_events = number(result, 0);
            last->estimated = PQgetvalue(result, 0, 1)[0] == 't';
            last->oldest_unsent_s = seconds(result, 2);
            b->counted = true;
            break;
        case TRANSACTIONS:
            last->lanes = number(result, 0);
            last->oldest_transaction_s = seconds(result, 1);
            last->sees_transactions = PQgetvalue(result, 0, 2)[0] == 't';
            last->oldest_lane_s = seconds(result, 3);
            break;
        case DAYS:
            last->overdue_days = number(result, 0);
            last->default_rows = number(result, 1) > 0;
            break;
        case PREPARE:
        case QUESTIONS:
            break;
        }
    }
    if (b->question == PREPARE)
        b->prepared = PQresultStatus(result) == PGRES_COMMAND_OK;
    PQclear(result);
}

static void not_answered(struct backlog_watch *b)
{
    switch (b->question) {
    case PREPARE:
    case UNSENT: /* the old answer ages */
    case QUESTIONS:
        break;
    case TRANSACTIONS:
        b->last.lanes = -1;
        b->last.oldest_lane_s = -1;
        b->last.oldest_transaction_s = -1;
        break;
    case DAYS:
        b->last.overdue_days = -1;
        b->last.default_rows = -1;
        break;
    }
}

static void look_ends(struct backlog_watch *b)
{
    uint64_t now = b->params.now_ms();
    uint64_t took = now - b->look_began_ms;
    uint64_t pause = took * SHARE;

    if (b->counted) {
        b->last.known = true;
        b->last_at_ms = now;
    }
    timer_in_ms(b->timer, pause > b->params.every_ms ? (uint32_t)pause : b->params.every_ms);
}

static bool days_are_due(const struct backlog_watch *b)
{
    return b->days_asked_ms == 0 || b->params.now_ms() - b->days_asked_ms >= DAYS_EVERY_MS;
}

static void question_through(void *ctx)
{
    struct backlog_watch *b = ctx;

    if (!b->answered)
        not_answered(b);
    b->question++;
    if (b->question == DAYS && !days_are_due(b))
        b->question++;
    if (b->question < QUESTIONS)
        ask(b);
    else
        look_ends(b);
}

/* Whatever the reason, the answer is missing, and `done` follows. */
static void refused(void *ctx, const char *sqlstate, const char *text)
{
    (void)ctx;
    (void)sqlstate;
    (void)text;
}

/* ---- questions ---- */

static void send_text(struct backlog_watch *b, const char *name, const char *text,
                      void (*done)(void *ctx))
{
    session_query(b->session, &(struct session_query){.name = name,
                                                      .text = text,
                                                      .timeout_ms = 2 * b->params.timeout_ms,
                                                      .result = take_answer,
                                                      .refused = refused,
                                                      .done = done,
                                                      .ctx = b});
}

static void ask(struct backlog_watch *b)
{
    static const char *const names[QUESTIONS] = {"prepare", "unsent", "backlog", "backlog_days"};
    struct str relay = {0};
    struct str sql = {0};
    char keep[24];

    sql_put_quoted(&relay, b->relay);
    (void)snprintf(keep, sizeof keep, "%" PRId64, b->params.retention_keep_ms);
    const struct sql_value values[] = {{"relay", relay.data}, {"keep_ms", keep}};
    if (b->question == PREPARE)
        str_printf(&sql, "PREPARE unsent (text, bigint) AS %s", sql_query("status_unsent"));
    else if (b->question == UNSENT)
        str_printf(&sql, "EXECUTE unsent (%s, %s)", relay.data, COUNTED_ROWS);
    else
        sql_fill(&sql, names[b->question], values, ARRAY_LEN(values));
    if (b->question == DAYS)
        b->days_asked_ms = b->params.now_ms();
    b->answered = false;
    send_text(b, names[b->question], sql.data, question_through);
    str_release(&sql);
    str_release(&relay);
}

static void look(struct backlog_watch *b)
{
    b->look_began_ms = b->params.now_ms();
    b->counted = false;
    b->question = b->prepared ? UNSENT : PREPARE;
    ask(b);
}

/* ---- the session ---- */

static void set_up(void *ctx)
{
    look(ctx);
}

static void connected(void *ctx)
{
    struct backlog_watch *b = ctx;
    struct str sql = {0};
    char timeout[16];
    const struct sql_value values[] = {{"timeout_ms", timeout}};

    (void)snprintf(timeout, sizeof timeout, "%" PRIu32, b->params.timeout_ms);
    sql_fill(&sql, "setup_backlog", values, ARRAY_LEN(values));
    b->question = QUESTIONS;
    b->prepared = false;
    send_text(b, "setup_backlog", sql.data, set_up);
    str_release(&sql);
}

static void broken(void *ctx, const struct err *why)
{
    struct backlog_watch *b = ctx;

    (void)why; /* what keeps the relay's own sessions from working is told by them */
    timer_in_ms(b->timer, 2 * b->params.every_ms);
}

static void on_timer(void *ctx)
{
    struct backlog_watch *b = ctx;

    if (!b->running)
        return;
    if (session_is_open(b->session))
        look(b);
    else
        session_open(b->session);
}

/* ---- life ---- */

struct backlog_watch *backlog_new(const struct backlog_params *params)
{
    static const struct session_handlers handlers = {.connected = connected, .broken = broken};
    struct backlog_watch *b = xcalloc(1, sizeof *b);
    struct str name = {0};

    b->params = *params;
    if (b->params.timeout_ms > MAX_TIMEOUT_MS)
        b->params.timeout_ms = MAX_TIMEOUT_MS;
    b->relay = xstrdup(params->relay);
    b->params.relay = b->relay;
    b->last.overdue_days = b->last.default_rows = -1;
    str_printf(&name, "outboxd %s backlog", params->relay);
    b->session =
        session_new(&(struct session_params){.base = params->base,
                                             .url = params->url,
                                             .password = params->password,
                                             .application_name = name.data,
                                             .hosts = params->hosts,
                                             .connect_timeout_ms = params->connect_timeout_ms},
                    &handlers, b);
    str_release(&name);
    b->params.url = NULL; /* the session has its own */
    b->params.password = NULL;
    b->timer = timer_new(params->base, on_timer, b);
    return b;
}

void backlog_free(struct backlog_watch *b)
{
    if (b == NULL)
        return;
    session_free(b->session);
    timer_free(b->timer);
    free(b->relay);
    free(b);
}

void backlog_start(struct backlog_watch *b)
{
    b->running = true;
    timer_in_ms(b->timer, b->params.first_ms);
}

void backlog_forget(struct backlog_watch *b)
{
    b->running = false;
    timer_stop(b->timer);
    session_close(b->session);
}

void backlog_get(const struct backlog_watch *b, struct backlog *out)
{
    *out = b->last;
    if (!out->known)
        return;
    out->age_s = (double)(b->params.now_ms() - b->last_at_ms) / 1000;
    /* what was the oldest has grown older, or has been sent: the next answer tells */
}
