#include "outbox/progress.h"

#include "outbox/changes.h"
#include "outbox/lane_views.h"
#include "outbox/session.h"
#include "outbox/sql_fill.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define UUID_TEXT 37

/* The columns of the look in take.sql. */
enum look {
    LOOK_FREE,
    LOOK_SAME_INSTANCE,
    LOOK_PAUSED,
    LOOK_EPOCH,
    LOOK_BEAT,
    LOOK_BELL,
    LOOK_BASE,
    LOOK_TARGET,
    LOOK_LAST_ID,
    LOOK_LAST_LANE,
    LOOK_GIVEN_UP,
    LOOKS
};

/* A store that is out: one of main and one of all lanes together may be. */
struct storing {
    struct progress *progress;
    uint32_t lane;
    enum lease_answer answer;
};

struct progress {
    struct progress_params params;
    char *relay;
    char holder[UUID_TEXT];
    struct str relay_literal;
    struct str instance_literal;
    struct str holder_literal;
    struct str sql; /* reused */
    void (*setup_done)(void *ctx);
    void *setup_ctx;

    struct changes *changes;
    uint64_t life; /* of the sessions: a callback may have closed them */

    bool look_came;
    struct lease_view view; /* owns the position's strings */
    struct lane_views lanes;
    bool take_failed; /* the session was told */
    enum lease_answer renewed;
    uint32_t *asked; /* lanes that an operator wants tried, of the last renewal */
    size_t asked_count;
    struct storing main_store;
    struct storing lane_store;

    bool telling; /* a tell is out; the newest of those that came meanwhile follows it */
    bool tell_again;
    int64_t tell_epoch;
    struct trouble trouble;
};

static void random_uuid(char out[UUID_TEXT])
{
    uint8_t b[16];

    if (getrandom(b, sizeof(b), 0) != (ssize_t)sizeof(b))
        abort(); /* cannot be: fewer than 256 bytes are never cut short */
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    (void)snprintf(out, UUID_TEXT,
                   "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
                   b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
                   b[14], b[15]);
}

/* A prepared statement of the control session whose first values are relay, epoch and holder. */
static void ask(struct progress *p, const char *name, const char *const *values, size_t count,
                const struct session_query *answer)
{
    struct session_query q = *answer;

    q.name = name;
    q.values = values;
    q.count = count;
    q.timeout_ms = p->params.timeout_ms;
    if (q.ctx == NULL)
        q.ctx = p;
    session_query(p->params.control, &q);
}

/* Of renew.sql and store.sql: no row when the lease is not ours, else whether it is paused. */
static enum lease_answer answer_of(const PGresult *result)
{
    if (PQntuples(result) != 1)
        return LEASE_LOST;
    return PQgetvalue(result, 0, 0)[0] == 't' ? LEASE_PAUSED : LEASE_OURS;
}

/* ---- setup ---- */

static void setup_through(void *ctx)
{
    struct progress *p = ctx;

    p->setup_done(p->setup_ctx);
}

void progress_setup(struct progress *p, void (*done)(void *ctx), void *ctx)
{
    char timeout[16];
    const struct sql_value values[] = {{"timeout_ms", timeout}};

    p->setup_done = done;
    p->setup_ctx = ctx;
    (void)snprintf(timeout, sizeof(timeout), "%" PRIu32, p->params.timeout_ms);
    str_reset(&p->sql);
    sql_fill(&p->sql, "setup_control", values, ARRAY_LEN(values));
    session_query(p->params.control, &(struct session_query){.name = "setup_control",
                                                             .text = p->sql.data,
                                                             .timeout_ms = p->params.timeout_ms,
                                                             .done = setup_through,
                                                             .ctx = p});
}

/* ---- lease ---- */

static void set_text(struct str *to, const PGresult *result, int column)
{
    str_set(to, PQgetisnull(result, 0, column) ? "" : PQgetvalue(result, 0, column));
}

static int64_t number_of(const PGresult *result, int column)
{
    return strtoll(PQgetvalue(result, 0, column), NULL, 10);
}

static void take_lanes(struct progress *p, PGresult *result)
{
    struct err err;

    if (lane_views_take(&p->lanes, result, &err) == 0)
        return;
    p->take_failed = true;
    session_fail(p->params.control, &err);
}

/* Comes for each statement of take.sql, which differ by the number of their columns: SET, UPDATE
 * ... RETURNING (a row: we have it), whether the lanes were folded, the look, and the lanes. */
static void take_result(void *ctx, PGresult *result)
{
    struct progress *p = ctx;
    struct lease_view *v = &p->view;

    if (PQnfields(result) == LANE_VIEW_COLUMNS) {
        take_lanes(p, result);
        return;
    }
    if (PQnfields(result) == 1) {
        v->ours = PQntuples(result) == 1;
    } else if (PQnfields(result) == 2) {
        v->folded = PQntuples(result) == 1 && PQgetvalue(result, 0, 0)[0] == 't';
    } else if (PQnfields(result) == LOOKS && PQntuples(result) == 1) {
        p->look_came = !PQgetisnull(result, 0, LOOK_BASE);
        v->free = PQgetvalue(result, 0, LOOK_FREE)[0] == 't';
        v->same_instance = PQgetvalue(result, 0, LOOK_SAME_INSTANCE)[0] == 't';
        v->paused = PQgetvalue(result, 0, LOOK_PAUSED)[0] == 't';
        v->epoch = number_of(result, LOOK_EPOCH);
        v->beat = number_of(result, LOOK_BEAT);
        v->bell = (uint32_t)number_of(result, LOOK_BELL);
        set_text(&v->position.base, result, LOOK_BASE);
        set_text(&v->position.target, result, LOOK_TARGET);
        v->position.last_id = number_of(result, LOOK_LAST_ID);
        v->last_lane = (uint32_t)number_of(result, LOOK_LAST_LANE);
        v->given_up = number_of(result, LOOK_GIVEN_UP);
    }
    PQclear(result);
}

static void take_through(void *ctx)
{
    struct progress *p = ctx;
    struct err err;

    if (p->take_failed)
        return;
    if (p->look_came) {
        p->view.lanes = p->lanes.lane;
        p->view.lane_count = p->lanes.count;
        p->params.events->lease(p->params.ctx, &p->view);
        return;
    }
    (void)err_problem(&err, ERR_CONFIG, PROBLEM_RELAY_MISSING,
                      "relay \"%s\" has no row in outbox.relay or outbox.lane any more",
                      p->params.relay);
    session_fail(p->params.control, &err);
}

static void put_condition(const struct progress *p, enum take_mode mode, int64_t seen_epoch,
                          int64_t seen_beat, struct str *out)
{
    switch (mode) {
    case TAKE_IF_FREE:
        str_printf(out, "holder IS NULL OR holder = %s::uuid", p->holder_literal.data);
        return;
    case TAKE_IF_UNCHANGED:
        str_printf(out, "epoch = %" PRId64 " AND beat = %" PRId64, seen_epoch, seen_beat);
        return;
    case TAKE_OWN:
        str_printf(out, "holder = %s::uuid", p->holder_literal.data);
        return;
    }
}

void progress_take(struct progress *p, enum take_mode mode, int64_t seen_epoch, int64_t seen_beat)
{
    struct str condition = {0};
    char ttl[16];
    char mark[32];

    put_condition(p, mode, seen_epoch, seen_beat, &condition);
    (void)snprintf(ttl, sizeof(ttl), "%" PRIu32, p->params.lease_ttl_ms);
    (void)snprintf(mark, sizeof(mark), "'%" PRId64 "'::bigint", p->params.routes_mark);
    const struct sql_value values[] = {{"relay", p->relay_literal.data},
                                       {"holder", p->holder_literal.data},
                                       {"instance", p->instance_literal.data},
                                       {"ttl_ms", ttl},
                                       {"mark", mark},
                                       {"condition", str_text(&condition)}};
    p->look_came = p->take_failed = false;
    p->view.ours = p->view.folded = false;
    lane_views_release(&p->lanes);
    str_reset(&p->sql);
    sql_fill(&p->sql, "take", values, ARRAY_LEN(values));
    str_release(&condition);
    session_query(p->params.control, &(struct session_query){.name = "take",
                                                             .text = p->sql.data,
                                                             .timeout_ms = p->params.timeout_ms,
                                                             .result = take_result,
                                                             .done = take_through,
                                                             .ctx = p});
}

/* Ids with a blank between them. */
static void take_asked(struct progress *p, const char *ids)
{
    size_t room = 1;
    char *end;

    for (const char *at = ids; *at != '\0'; at++)
        room += *at == ' ';
    p->asked = xrealloc(p->asked, room * sizeof *p->asked);
    for (; *ids != '\0'; ids = end) {
        p->asked[p->asked_count++] = (uint32_t)strtoul(ids, &end, 10);
        if (end == ids)
            abort(); /* the query gives nothing else */
    }
}

static void renew_result(void *ctx, PGresult *result)
{
    struct progress *p = ctx;

    p->renewed = answer_of(result);
    p->asked_count = 0;
    if (p->renewed != LEASE_LOST)
        take_asked(p, PQgetvalue(result, 0, 1));
    PQclear(result);
}

static void renew_through(void *ctx)
{
    struct progress *p = ctx;

    uint64_t life = p->life;

    if (p->asked_count > 0)
        p->params.events->asked(p->params.ctx, p->asked, p->asked_count);
    if (p->life == life)
        p->params.events->renewed(p->params.ctx, p->renewed);
}

void progress_renew(struct progress *p, int64_t epoch)
{
    char epoch_text[24];
    const char *const values[] = {p->params.relay, epoch_text, p->holder};

    (void)snprintf(epoch_text, sizeof(epoch_text), "%" PRId64, epoch);
    ask(p, "renew", values, ARRAY_LEN(values),
        &(struct session_query){.result = renew_result, .done = renew_through});
}

static void ignore_result(void *ctx, PGresult *result)
{
    (void)ctx;
    PQclear(result);
}

static void release_through(void *ctx)
{
    struct progress *p = ctx;

    p->params.events->released(p->params.ctx);
}

void progress_release(struct progress *p)
{
    const char *const values[] = {p->params.relay, p->holder};

    ask(p, "release", values, ARRAY_LEN(values),
        &(struct session_query){.result = ignore_result, .done = release_through});
}

/* ---- position ---- */

static void store_result(void *ctx, PGresult *result)
{
    struct storing *s = ctx;

    s->answer = answer_of(result);
    PQclear(result);
}

static void store_through(void *ctx)
{
    struct storing *s = ctx;
    const struct progress *p = s->progress;

    p->params.events->stored(p->params.ctx, s->lane, s->answer);
}

void progress_store(struct progress *p, int64_t epoch, const struct store_request *request)
{
    const struct position *position = request->position;
    struct storing *storing = request->lane == 0 ? &p->main_store : &p->lane_store;
    char epoch_text[24];
    char last_id[24];
    char count[24];
    char lane[16];
    const char *target = position->target.len > 0 ? position->target.data : NULL;
    const char *const values[] = {p->params.relay,
                                  epoch_text,
                                  p->holder,
                                  str_text(&position->base),
                                  target,
                                  last_id,
                                  request->synchronously ? "on" : "off",
                                  count,
                                  lane};

    *storing = (struct storing){.progress = p, .lane = request->lane};
    (void)snprintf(epoch_text, sizeof(epoch_text), "%" PRId64, epoch);
    (void)snprintf(last_id, sizeof(last_id), "%" PRId64, position->last_id);
    (void)snprintf(count, sizeof(count), "%" PRIu64, request->events);
    (void)snprintf(lane, sizeof(lane), "%" PRIu32, request->lane);
    ask(p, request->lane == 0 ? "store" : "store_lane", values,
        ARRAY_LEN(values) - (request->lane == 0 ? 1 : 0),
        &(struct session_query){.result = store_result, .done = store_through, .ctx = storing});
}

void progress_change(struct progress *p, int64_t epoch, const struct lane_change *change)
{
    changes_make(p->changes, epoch, change);
}

/* ---- trouble ---- */

static void send_trouble(struct progress *p);

static void tell_through(void *ctx)
{
    struct progress *p = ctx;

    p->telling = false;
    if (p->tell_again)
        send_trouble(p);
}

static const char *or_null(const char *text)
{
    return text[0] != '\0' ? text : NULL;
}

static void send_trouble(struct progress *p)
{
    const struct trouble *t = &p->trouble;
    char epoch_text[24];
    char row_id[24];
    char attempts[16];
    char next_try[16];
    const char *cause = or_null(t->cause);
    const char *const values[] = {p->params.relay,
                                  epoch_text,
                                  p->holder,
                                  cause,
                                  cause != NULL ? or_null(t->text) : NULL,
                                  cause != NULL ? or_null(t->event_id) : NULL,
                                  cause != NULL && t->row_id != 0 ? row_id : NULL,
                                  cause != NULL ? or_null(t->topic) : NULL,
                                  attempts,
                                  cause != NULL && t->next_try_ms != 0 ? next_try : NULL,
                                  cause != NULL && t->halted ? "t" : "f"};

    (void)snprintf(epoch_text, sizeof(epoch_text), "%" PRId64, p->tell_epoch);
    (void)snprintf(row_id, sizeof(row_id), "%" PRId64, t->row_id);
    (void)snprintf(attempts, sizeof(attempts), "%" PRIu32, cause != NULL ? t->attempts : 0);
    (void)snprintf(next_try, sizeof(next_try), "%" PRIu32, t->next_try_ms);
    p->telling = true;
    p->tell_again = false;
    ask(p, "tell", values, ARRAY_LEN(values),
        &(struct session_query){.result = ignore_result, .done = tell_through});
}

void progress_tell(struct progress *p, int64_t epoch, const struct trouble *trouble)
{
    p->trouble = *trouble;
    p->tell_epoch = epoch;
    p->tell_again = true;
    if (!p->telling)
        send_trouble(p);
}

/* ---- life ---- */

struct progress *progress_new(const struct progress_params *params)
{
    struct progress *p = xcalloc(1, sizeof(*p));

    p->params = *params;
    p->relay = xstrdup(params->relay);
    p->params.relay = p->relay;
    p->params.instance = NULL; /* only its literal is needed */
    random_uuid(p->holder);
    sql_put_quoted(&p->relay_literal, params->relay);
    sql_put_quoted(&p->instance_literal, params->instance);
    sql_put_quoted(&p->holder_literal, p->holder);
    p->changes = changes_new(&(struct changes_params){.control = params->control,
                                                      .events = params->events,
                                                      .ctx = params->ctx,
                                                      .relay = p->relay_literal.data,
                                                      .holder = p->holder_literal.data,
                                                      .mark = params->routes_mark,
                                                      .timeout_ms = params->timeout_ms});
    return p;
}

void progress_forget(struct progress *p)
{
    p->life++;
    p->telling = false;
    p->tell_again = false;
}

void progress_free(struct progress *p)
{
    if (p == NULL)
        return;
    str_release(&p->relay_literal);
    str_release(&p->instance_literal);
    str_release(&p->holder_literal);
    str_release(&p->sql);
    str_release(&p->view.position.base);
    str_release(&p->view.position.target);
    lane_views_release(&p->lanes);
    changes_free(p->changes);
    free(p->asked);
    free(p->relay);
    free(p);
}
