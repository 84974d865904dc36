/* How it can fail: the session breaks (session.c reports it, source.c closes everything and calls
 * reader_forget), or a row has not the form that rows.c expects: then the reader breaks the session
 * itself. Callbacks may close the source, so each is followed by a look at `life`. */
#include "outbox/reader.h"

#include "outbox/lane_page.h"
#include "outbox/lane_where.h"
#include "outbox/rows.h"
#include "outbox/session.h"
#include "outbox/sql_fill.h"
#include "outbox/timer.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum poll_column { POLL_SNAPSHOT = ROW_COLUMNS, POLL_COMPLETE };

/* The column "last" of a lane's rows. */
enum last { LAST_NOT, LAST_OF_LANE, LAST_OF_OTHERS };

enum task { TASK_NONE, TASK_POLL, TASK_PROBE, TASK_PAGE };

struct reader {
    struct reader_params params;
    uint64_t life;
    int backend_pid;
    void (*setup_done)(void *ctx);
    void *setup_ctx;

    uint32_t stream_number; /* of the request */
    bool ready;             /* the session is set up */
    bool waiting;           /* the request is in `sql`, until it is */

    enum task task;
    uint32_t taken; /* rows of this request that the relay took */
    bool held;      /* a row waits for resume or drop_rest */
    bool dropped;
    bool ended;          /* the server has sent everything */
    bool cancelling;     /* the control session has not answered yet */
    struct timer *go_on; /* TASK_POLL: offers the rows after a resume, reports after a drop */

    PGresult *polled; /* TASK_POLL: the snapshot of a peek, then head and rows */
    int next_row;
    bool found_nothing; /* the last poll */
    struct str poll_base;
    char poll_rows[16];
    char poll_bytes[24];
    struct copy_stream stream; /* TASK_PAGE */
    size_t piece_used;         /* of the piece whose row is held */
    struct event held_event;   /* borrows that piece */
    bool filtered;             /* TASK_PAGE of a lane: rows have the column "last" */
    bool bounded;              /* no row beyond the one with id last_id was looked at */
    int64_t taken_id;          /* the last row that was taken, before any the position's */
    int64_t last_id;           /* the same, or where looking ended */
    uint32_t max_rows;
    bool many_new; /* TASK_PROBE */
    int64_t min_new_id;
    bool probe_answered;

    struct str sql; /* reused */
    struct str branches;
    struct str where;
    struct str base;
    struct str target;
    struct str xmax;
};

static void break_session(struct reader *r, const struct err *why)
{
    session_fail(r->params.read, why);
}

static void begin(struct reader *r, uint32_t stream, enum task task)
{
    assert(r->task == TASK_NONE);
    r->task = task;
    r->stream_number = stream;
    r->filtered = r->bounded = false;
    r->taken = 0;
    r->held = r->dropped = r->ended = r->cancelling = false;
    r->piece_used = 0;
    r->probe_answered = false;
}

/* Of a page with a filter (struct fetched in relay/relay.h). */
static int64_t read_to(const struct reader *r)
{
    if (!r->filtered)
        return 0;
    if (r->dropped)
        return r->taken_id;
    if (r->bounded || r->taken == r->max_rows)
        return r->last_id;
    return INT64_MAX;
}

/* The last word on a poll or a page. */
static void fetched(struct reader *r)
{
    if (!r->ended || r->cancelling)
        return;
    PQclear(r->polled);
    r->polled = NULL;
    r->task = TASK_NONE;
    r->params.events->fetched(
        r->params.ctx, r->stream_number,
        &(struct fetched){.rows = r->taken, .dropped = r->dropped, .read_to = read_to(r)});
}

static void probe_result(void *ctx, PGresult *result);
static void probe_through(void *ctx);
static bool page_row(void *ctx, struct slice data);
static void page_through(void *ctx);

/* ---- setup ---- */

static void setup_result(void *ctx, PGresult *result)
{
    struct reader *r = ctx;

    if (PQntuples(result) == 1)
        r->backend_pid = (int)strtol(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
}

static void setup_through(void *ctx)
{
    struct reader *r = ctx;

    r->ready = true;
    r->setup_done(r->setup_ctx);
}

/* The request is in `sql`. */
static void send(struct reader *r)
{
    struct session_query page = {.name = "page",
                                 .text = r->sql.data,
                                 .timeout_ms = r->params.timeout_ms,
                                 .may_be_cancelled = true,
                                 .row = page_row,
                                 .done = page_through,
                                 .ctx = r};
    struct session_query probe = {.name = "probe",
                                  .text = r->sql.data,
                                  .result = probe_result,
                                  .done = probe_through,
                                  .ctx = r};

    r->waiting = !r->ready;
    if (r->ready)
        session_query(r->params.read, r->task == TASK_PAGE ? &page : &probe);
}

void reader_go(struct reader *r)
{
    if (r->waiting)
        send(r);
}

void reader_setup(struct reader *r, void (*done)(void *ctx), void *ctx)
{
    struct str sql = {0}; /* a request may wait in r->sql */
    char timeout[16];
    const struct sql_value values[] = {{"timeout_ms", timeout}};

    r->setup_done = done;
    r->setup_ctx = ctx;
    (void)snprintf(timeout, sizeof(timeout), "%" PRIu32, r->params.timeout_ms);
    sql_fill(&sql, "setup_read", values, ARRAY_LEN(values));
    session_query(r->params.read, &(struct session_query){.name = "setup_read",
                                                          .text = sql.data,
                                                          .timeout_ms = r->params.timeout_ms,
                                                          .result = setup_result,
                                                          .done = setup_through,
                                                          .ctx = r});
    str_release(&sql);
}

/* ---- poll ---- */

static struct slice field_of(const PGresult *result, int row, int column)
{
    if (PQgetisnull(result, row, column))
        return (struct slice){NULL, 0};
    return (struct slice){PQgetvalue(result, row, column),
                          (size_t)PQgetlength(result, row, column)};
}

/* Offers the rows from next_row on, until one is held. */
static void offer_polled(struct reader *r)
{
    int rows = PQntuples(r->polled);
    uint64_t life = r->life;
    struct slice fields[ROW_COLUMNS];
    struct event e;
    struct err err;

    for (; r->next_row < rows; r->next_row++) {
        for (int c = 0; c < ROW_COLUMNS; c++)
            fields[c] = field_of(r->polled, r->next_row, c);
        if (row_to_event(fields, &e, &err) != 0) {
            break_session(r, &err);
            return;
        }
        r->held = r->params.events->row(r->params.ctx, r->stream_number, &e) == ROW_HOLD;
        if (r->life != life || r->held)
            return;
        r->taken++;
    }
    r->ended = true;
    fetched(r);
}

static void poll_result(void *ctx, PGresult *result)
{
    struct reader *r = ctx;

    PQclear(r->polled);
    r->polled = result;
}

static void poll_through(void *ctx)
{
    struct reader *r = ctx;
    uint64_t life = r->life;
    struct slice complete;
    struct err err;

    if (r->polled == NULL || PQntuples(r->polled) < 1 ||
        PQnfields(r->polled) != POLL_COMPLETE + 1) {
        (void)err_problem(&err, ERR_SOFTWARE, PROBLEM_INTERNAL_ERROR,
                          "query poll: no head in its answer");
        break_session(r, &err);
        return;
    }
    complete = field_of(r->polled, 0, POLL_COMPLETE);
    r->params.events->batch(r->params.ctx, field_of(r->polled, 0, POLL_SNAPSHOT),
                            complete.len == 1 && complete.ptr[0] == 1);
    if (r->life != life)
        return;
    r->found_nothing = PQntuples(r->polled) == 1;
    r->next_row = 1;
    offer_polled(r);
}

static void ask(struct reader *r, const char *name, size_t count, void (*done)(void *ctx))
{
    const char *const values[] = {str_text(&r->poll_base), r->poll_rows, r->poll_bytes};

    session_query(r->params.read, &(struct session_query){.name = name,
                                                          .values = values,
                                                          .count = count,
                                                          .timeout_ms = r->params.timeout_ms,
                                                          .result = poll_result,
                                                          .done = done,
                                                          .ctx = r});
}

/* The same snapshot as the base: then the poll's answer is known, its head alone. */
static void peek_through(void *ctx)
{
    struct reader *r = ctx;
    uint64_t life = r->life;

    if (r->polled == NULL || PQntuples(r->polled) != 1 ||
        !slice_eq(field_of(r->polled, 0, 0), str_slice(&r->poll_base))) {
        ask(r, "poll", 3, poll_through);
        return;
    }
    r->params.events->batch(r->params.ctx, str_slice(&r->poll_base), true);
    if (r->life != life)
        return;
    r->next_row = 1;
    offer_polled(r);
}

static void go_on(void *ctx)
{
    struct reader *r = ctx;

    if (r->task != TASK_POLL)
        return;
    if (r->dropped) {
        r->ended = true;
        fetched(r);
    } else {
        offer_polled(r);
    }
}

void reader_poll(struct reader *r, const struct str *base, uint32_t max_rows, size_t max_bytes)
{
    begin(r, MAIN_STREAM, TASK_POLL);
    if (max_bytes > r->params.max_event_bytes)
        max_bytes = r->params.max_event_bytes; /* then no event of a poll is above its own limit */
    (void)snprintf(r->poll_rows, sizeof(r->poll_rows), "%" PRIu32, max_rows);
    (void)snprintf(r->poll_bytes, sizeof(r->poll_bytes), "%zu", max_bytes);
    str_copy(&r->poll_base, base);
    if (r->found_nothing)
        ask(r, "peek", 0, peek_through);
    else /* more of them is likely: no round trip to ask */
        ask(r, "poll", 3, poll_through);
}

/* ---- the texts of probe and page ---- */

/* Quotes the snapshots; false, with the session broken, when they are none. */
static bool set_position(struct reader *r, const struct position *at, bool *has_xip)
{
    struct slice xmax;
    struct slice unused;
    bool ignored;
    struct err err;

    if (!sql_snapshot_parse(str_text(&at->base), &xmax, has_xip) ||
        !sql_snapshot_parse(str_text(&at->target), &unused, &ignored)) {
        (void)err_problem(&err, ERR_SOFTWARE, PROBLEM_INTERNAL_ERROR,
                          "position is no pair of snapshots: base \"%.100s\", target \"%.100s\"",
                          str_text(&at->base), str_text(&at->target));
        break_session(r, &err);
        return false;
    }
    str_reset(&r->base);
    sql_put_quoted(&r->base, at->base.data);
    str_reset(&r->target);
    sql_put_quoted(&r->target, at->target.data);
    str_reset(&r->xmax);
    str_printf(&r->xmax, "'%.*s'", SLICE_FMT(xmax));
    return true;
}

static void probe_result(void *ctx, PGresult *result)
{
    struct reader *r = ctx;

    if (PQntuples(result) == 1 && PQnfields(result) == 2) {
        r->many_new = PQgetvalue(result, 0, 0)[0] == 't';
        r->min_new_id = strtoll(PQgetvalue(result, 0, 1), NULL, 10);
        r->probe_answered = true;
    }
    PQclear(result);
}

static void probe_through(void *ctx)
{
    struct reader *r = ctx;
    struct err err;

    if (!r->probe_answered) {
        (void)err_problem(&err, ERR_SOFTWARE, PROBLEM_INTERNAL_ERROR,
                          "query probe: no answer in its result");
        break_session(r, &err);
        return;
    }
    r->task = TASK_NONE;
    r->params.events->probed(r->params.ctx, r->stream_number, r->many_new, r->min_new_id);
}

void reader_probe(struct reader *r, uint32_t stream, const struct position *position,
                  uint32_t few_rows)
{
    char last_id[24];
    char few[16];
    bool has_xip;

    begin(r, stream, TASK_PROBE);
    if (!set_position(r, position, &has_xip))
        return;
    (void)snprintf(last_id, sizeof(last_id), "%" PRId64, position->last_id);
    (void)snprintf(few, sizeof(few), "%" PRIu32, few_rows);
    const struct sql_value values[] = {
        {"xmax", r->xmax.data}, {"target", r->target.data}, {"last_id", last_id}, {"few", few}};
    str_reset(&r->sql);
    sql_fill(&r->sql, "probe", values, ARRAY_LEN(values));
    send(r);
}

/* ---- page ---- */

/* The next row that is to be offered: 1, or 0 at the end of the piece, -1 with `err`. Of a lane's
 * rows what comes behind the bound is left out: there may be others between them. A bound that is
 * none of the lane's in one branch may be one in the other, which then begins the next page. */
static int next_row(struct reader *r, struct slice *piece, struct event *e, struct err *err)
{
    struct slice fields[ROW_COLUMNS + 1];
    int got;
    int last;

    if (!r->filtered)
        return copy_stream_next(&r->stream, piece, e, err);
    while ((got = copy_stream_fields(&r->stream, piece, fields, ARRAY_LEN(fields), err)) > 0) {
        if (r->bounded)
            continue;
        if (row_to_event(fields, e, err) != 0)
            return -1;
        last = fields[ROW_COLUMNS].len == 2 ? fields[ROW_COLUMNS].ptr[1] : 0;
        r->bounded = last != LAST_NOT;
        if (r->bounded)
            r->last_id = last == LAST_OF_LANE || e->id == r->taken_id ? e->id : e->id - 1;
        if (last != LAST_OF_OTHERS)
            return 1;
    }
    return got;
}

static bool page_row(void *ctx, struct slice data)
{
    struct reader *r = ctx;
    struct slice piece = {data.ptr + r->piece_used, data.len - r->piece_used};
    uint64_t life = r->life;
    struct event e;
    struct err err;
    int got = 1;

    for (;;) {
        if (r->held) {
            e = r->held_event; /* its piece is still the same memory */
            r->held = false;
        } else {
            got = next_row(r, &piece, &e, &err);
        }
        if (got <= 0)
            break;
        if (r->params.events->row(r->params.ctx, r->stream_number, &e) == ROW_HOLD &&
            r->life == life) {
            r->held = true;
            r->held_event = e;
            r->piece_used = data.len - piece.len;
            return false;
        }
        if (r->life != life)
            return true;
        r->taken++;
        r->last_id = r->taken_id = e.id;
    }
    if (got < 0)
        break_session(r, &err);
    r->piece_used = 0;
    return true;
}

static void page_through(void *ctx)
{
    struct reader *r = ctx;
    struct err err;

    if (!r->stream.ended && !r->dropped) {
        (void)err_problem(&err, ERR_UNAVAILABLE, PROBLEM_DATABASE_ERROR,
                          "query page: cut short (cancelled by somebody else?)");
        break_session(r, &err);
        return;
    }
    r->ended = true;
    fetched(r);
}

static void fill_branches(struct reader *r, bool many_new, bool has_xip,
                          const struct sql_value *values, size_t count)
{
    if (has_xip) {
        sql_fill(&r->branches, "page_stragglers", values, count);
        str_puts(&r->branches, "UNION ALL");
    }
    sql_fill(&r->branches, many_new ? "page_new_by_id" : "page_new_by_xid", values, count);
}

/* Fills the text of a page; the last three of `values` are for us to set. */
static void fill_page(struct reader *r, const struct page_request *request, bool has_xip,
                      struct sql_value *values, size_t count)
{
    str_reset(&r->where);
    if (r->filtered)
        lane_where(&r->where, r->params.routes, request->filter);
    values[count - 3] = (struct sql_value){"lane", str_text(&r->where)};
    values[count - 2] = (struct sql_value){"more_columns", r->filtered ? ", last" : ""};
    str_reset(&r->branches);
    if (r->filtered)
        lane_page_branches(&r->branches, request->many_new, has_xip, values, count - 1);
    else
        fill_branches(r, request->many_new, has_xip, values, count - 1);
    values[count - 1] = (struct sql_value){"branches", r->branches.data};
    str_reset(&r->sql);
    sql_fill(&r->sql, "page", values, count);
}

void reader_page(struct reader *r, uint32_t stream, const struct page_request *request)
{
    const struct position *at = request->position;
    int64_t from = request->new_from > at->last_id ? request->new_from : at->last_id;
    char last_id[24];
    char from_id[24];
    char max_rows[16];
    char max_bytes[24];
    char scan_rows[16];
    bool has_xip;

    begin(r, stream, TASK_PAGE);
    copy_stream_init(&r->stream);
    r->filtered = request->filter != NULL;
    r->max_rows = request->max_rows;
    r->last_id = r->taken_id = at->last_id;
    if (!set_position(r, at, &has_xip))
        return;
    (void)snprintf(last_id, sizeof(last_id), "%" PRId64, at->last_id);
    (void)snprintf(from_id, sizeof(from_id), "%" PRId64, from);
    (void)snprintf(max_rows, sizeof(max_rows), "%" PRIu32, request->max_rows);
    (void)snprintf(max_bytes, sizeof(max_bytes), "%zu", r->params.max_event_bytes);
    /* of two the second is beyond the next id: so that every page goes on */
    (void)snprintf(scan_rows, sizeof(scan_rows), "%" PRIu32,
                   request->scan_rows > 2 ? request->scan_rows : 2);
    struct sql_value values[11] = {{"base", r->base.data},         {"target", r->target.data},
                                   {"xmax", r->xmax.data},         {"last_id", last_id},
                                   {"from_id", from_id},           {"max_rows", max_rows},
                                   {"max_event_bytes", max_bytes}, {"scan_rows", scan_rows}};
    fill_page(r, request, has_xip, values, ARRAY_LEN(values));
    send(r);
}

/* ---- holding ---- */

void reader_resume(struct reader *r)
{
    if (!r->held)
        return;
    if (r->task == TASK_PAGE) {
        session_resume(r->params.read); /* page_row offers the held event again */
        return;
    }
    r->held = false;
    timer_in_ms(r->go_on, 0);
}

/* Both answers must be in before the next query may go out on the session of the COPY: the
 * cancellation would hit it. */
static void cancelled(void *ctx)
{
    struct reader *r = ctx;

    r->cancelling = false;
    fetched(r);
}

static void cancel_result(void *ctx, PGresult *result)
{
    (void)ctx;
    PQclear(result);
}

void reader_drop_rest(struct reader *r)
{
    char pid[16];
    const char *const values[] = {pid};

    if (!r->held)
        return;
    r->held = false;
    r->dropped = true;
    if (r->task == TASK_POLL) {
        timer_in_ms(r->go_on, 0);
        return;
    }
    r->cancelling = true;
    (void)snprintf(pid, sizeof(pid), "%d", r->backend_pid);
    session_query(r->params.control, &(struct session_query){.name = "cancel",
                                                             .values = values,
                                                             .count = ARRAY_LEN(values),
                                                             .timeout_ms = r->params.timeout_ms,
                                                             .result = cancel_result,
                                                             .done = cancelled,
                                                             .ctx = r});
    session_discard(r->params.read);
}

/* ---- life ---- */

struct reader *reader_new(const struct reader_params *params)
{
    struct reader *r = xcalloc(1, sizeof(*r));

    r->params = *params;
    r->go_on = timer_new(params->base, go_on, r);
    return r;
}

void reader_forget(struct reader *r)
{
    r->life++;
    r->task = TASK_NONE;
    r->ready = r->waiting = false;
    r->held = false;
    r->found_nothing = false;
    timer_stop(r->go_on);
    PQclear(r->polled);
    r->polled = NULL;
}

void reader_free(struct reader *r)
{
    if (r == NULL)
        return;
    reader_forget(r);
    timer_free(r->go_on);
    str_release(&r->sql);
    str_release(&r->branches);
    str_release(&r->where);
    str_release(&r->poll_base);
    str_release(&r->base);
    str_release(&r->target);
    str_release(&r->xmax);
    free(r);
}
