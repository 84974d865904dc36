#include "source_user.h"

#include "check.h"
#include "outbox/timer.h"

#include <event2/event.h>

static struct source_user *user(void *ctx)
{
    struct source_user *u = ctx;

    CHECK(!u->in_op, "the source answers within an op");
    return u;
}

static void opened(void *ctx)
{
    user(ctx)->opened++;
}

static void lost(void *ctx, const struct err *why)
{
    user(ctx)->why = *why;
    user(ctx)->lost++;
}

static void lease(void *ctx, const struct lease_view *view)
{
    struct source_user *u = user(ctx);
    struct position mine = u->view.position;

    u->view = *view;
    str_copy(&mine.base, &view->position.base);
    str_copy(&mine.target, &view->position.target);
    mine.last_id = view->position.last_id;
    u->view.position = mine;
    u->leases++;
}

static void renewed(void *ctx, enum lease_answer answer)
{
    user(ctx)->answer = answer;
    user(ctx)->still_ours = answer != LEASE_LOST;
    user(ctx)->renewals++;
}

static void asked(void *ctx, const uint32_t *lanes, size_t count)
{
    user(ctx)->asked_lane = count > 0 ? lanes[0] : 0;
    user(ctx)->asked_count = count;
}

static void stored(void *ctx, uint32_t lane, enum lease_answer answer)
{
    user(ctx)->stored_lane = lane;
    user(ctx)->answer = answer;
    user(ctx)->still_ours = answer != LEASE_LOST;
    user(ctx)->stores++;
}

static void changed(void *ctx, enum lease_answer answer)
{
    user(ctx)->answer = answer;
    user(ctx)->still_ours = answer != LEASE_LOST;
    user(ctx)->changes++;
}

static void released(void *ctx)
{
    user(ctx)->releases++;
}

static void batch(void *ctx, struct slice snapshot, bool complete)
{
    struct source_user *u = user(ctx);

    str_reset(&u->snapshot);
    str_put_slice(&u->snapshot, snapshot);
    u->complete = complete;
    u->batches++;
}

static void probed(void *ctx, uint32_t stream, bool many_new, int64_t min_new_id)
{
    struct source_user *u = user(ctx);

    u->stream = stream;
    u->many_new = many_new;
    u->min_new_id = min_new_id;
    u->probes++;
}

static enum row_verdict row(void *ctx, uint32_t stream, const struct event *e)
{
    struct source_user *u = user(ctx);
    enum row_verdict verdict = u->row != NULL ? u->row(u->row_ctx, e) : ROW_TAKEN;

    u->stream = stream;
    if (verdict == ROW_TAKEN)
        u->seen_rows++;
    return verdict;
}

static void fetched(void *ctx, uint32_t stream, const struct fetched *f)
{
    struct source_user *u = user(ctx);

    u->stream = stream;
    u->rows = f->rows;
    u->dropped = f->dropped;
    u->read_to = f->read_to;
    u->fetches++;
}

static void armed(void *ctx, bool is_armed)
{
    user(ctx)->armed = is_armed;
    user(ctx)->arms++;
}

static void bell(void *ctx)
{
    user(ctx)->bells++;
}

struct outbox_params source_user_params(const char *url)
{
    return (struct outbox_params){.url = url,
                                  .relay = "orders",
                                  .instance = "a",
                                  .now_ms = test_now_ms,
                                  .lease_ttl_ms = 10000,
                                  .connect_timeout_ms = 5000,
                                  .statement_timeout_ms = 5000,
                                  .max_event_bytes = 10 << 20,
                                  .doorbell = true};
}

/* The loop never sleeps for long, so that waiting can give up. */
static void beat(void *ctx)
{
    struct source_user *u = ctx;

    timer_in_ms(u->heartbeat, 20);
}

void source_user_init(struct source_user *u, const struct outbox_params *params)
{
    static const struct source_events events = {opened, lost,    lease,    asked, renewed,
                                                stored, changed, released, batch, probed,
                                                row,    fetched, armed,    bell};

    memset(u, 0, sizeof(*u));
    u->base = event_base_new();
    assert_non_null(u->base);
    u->heartbeat = timer_new(u->base, beat, u);
    beat(u);
    u->source = outbox_source_new(params, u->base, &events, u);
}

void source_user_begin(struct source_user *u, const struct pg_server *pg)
{
    struct outbox_params params = source_user_params(pg_url(pg, "relay", "postgres").text);

    source_user_init(u, &params);
    source_user_open(u);
}

void source_user_release(struct source_user *u)
{
    outbox_source_free(u->source);
    timer_free(u->heartbeat);
    event_base_free(u->base);
    str_release(&u->view.position.base);
    str_release(&u->view.position.target);
    str_release(&u->snapshot);
}

void source_user_turn(struct source_user *u, unsigned ms)
{
    uint64_t end = test_now_ms() + ms;

    while (test_now_ms() < end)
        (void)event_base_loop(u->base, EVLOOP_ONCE);
}

void source_user_wait(struct source_user *u, const unsigned *counter, unsigned was)
{
    uint64_t end = test_now_ms() + 10000;
    unsigned lost_before = u->lost;

    while (*counter == was) {
        (void)event_base_loop(u->base, EVLOOP_ONCE);
        CHECK(test_now_ms() < end, "no answer of the source within 10 s");
        CHECK(counter == &u->lost || u->lost == lost_before, "lost: %s", u->why.text);
    }
}

void source_user_open(struct source_user *u)
{
    unsigned was = u->opened;

    SOURCE_OP(u, open(u->source));
    source_user_wait(u, &u->opened, was);
}

void source_user_open_fails(struct source_user *u, enum err_kind kind, const char *part)
{
    unsigned was = u->lost;

    SOURCE_OP(u, open(u->source));
    source_user_wait(u, &u->lost, was);
    assert_contains(u->why.text, part);
    CHECK(u->why.kind == kind, "kind %d, expected %d: %s", u->why.kind, kind, u->why.text);
}

const struct lease_view *source_user_take(struct source_user *u, enum take_mode mode, int64_t epoch,
                                          int64_t beat)
{
    unsigned was = u->leases;

    SOURCE_OP(u, take(u->source, mode, epoch, beat));
    source_user_wait(u, &u->leases, was);
    return &u->view;
}

bool source_user_renew(struct source_user *u, int64_t epoch)
{
    unsigned was = u->renewals;

    SOURCE_OP(u, renew(u->source, epoch));
    source_user_wait(u, &u->renewals, was);
    return u->still_ours;
}

bool source_user_store(struct source_user *u, int64_t epoch, const struct position *at,
                       bool synchronously)
{
    unsigned was = u->stores;

    SOURCE_OP(u, store(u->source, epoch,
                       &(struct store_request){
                           .position = at, .events = 1, .synchronously = synchronously}));
    source_user_wait(u, &u->stores, was);
    return u->still_ours;
}

bool source_user_arm(struct source_user *u, uint32_t number)
{
    unsigned was = u->arms;

    SOURCE_OP(u, arm(u->source, number));
    source_user_wait(u, &u->arms, was);
    return u->armed;
}

/* The rest of a backlog whose target is set. */
static uint32_t read_pages(struct source_user *u, struct position *at, uint32_t page_rows, int many)
{
    uint32_t total = 0;
    unsigned was = u->probes;

    SOURCE_OP(u, probe(u->source, MAIN_STREAM, at, 500));
    source_user_wait(u, &u->probes, was);
    do {
        struct page_request request = {.position = at,
                                       .new_from = u->min_new_id > 0 ? u->min_new_id - 1 : 0,
                                       .many_new = many < 0 ? u->many_new : many != 0,
                                       .max_rows = page_rows};

        was = u->fetches;
        SOURCE_OP(u, page(u->source, MAIN_STREAM, &request));
        source_user_wait(u, &u->fetches, was);
        total += u->rows;
        at->last_id = u->view.position.last_id;
    } while (u->rows == page_rows || u->dropped);
    return total;
}

struct noting {
    struct source_user *u;
    source_row_fn *row;
    void *ctx;
};

static enum row_verdict note_id(void *ctx, const struct event *e)
{
    struct noting *n = ctx;
    enum row_verdict verdict = n->row != NULL ? n->row(n->ctx, e) : ROW_TAKEN;

    if (verdict == ROW_TAKEN) {
        CHECK(e->id > n->u->view.position.last_id, "id %lld after %lld", (long long)e->id,
              (long long)n->u->view.position.last_id);
        n->u->view.position.last_id = e->id;
    }
    return verdict;
}

uint32_t source_user_read(struct source_user *u, struct position *at, uint32_t poll_rows,
                          uint32_t page_rows, int many)
{
    struct noting n = {u, u->row, u->row_ctx};
    unsigned was = u->fetches;
    uint32_t rows;

    u->row = note_id;
    u->row_ctx = &n;
    u->view.position.last_id = at->last_id;
    SOURCE_OP(u, poll(u->source, &at->base, poll_rows, 1 << 20));
    source_user_wait(u, &u->fetches, was);
    rows = u->rows;
    str_copy(&at->target, &u->snapshot);
    if (!u->complete)
        rows = read_pages(u, at, page_rows, many);
    str_copy(&at->base, &at->target);
    str_reset(&at->target);
    at->last_id = 0;
    u->row = n.row;
    u->row_ctx = n.ctx;
    return rows;
}

bool source_user_poll(struct source_user *u, const struct position *at, uint32_t max_rows,
                      size_t max_bytes)
{
    unsigned was = u->fetches;

    SOURCE_OP(u, poll(u->source, &at->base, max_rows, max_bytes));
    source_user_wait(u, &u->fetches, was);
    return u->complete;
}

void position_now(struct position *at, PGconn *conn)
{
    memset(at, 0, sizeof(*at));
    str_set(&at->base, pg_scalar(conn, "SELECT pg_current_snapshot()"));
    str_reset(&at->target);
}

void position_release(struct position *at)
{
    str_release(&at->base);
    str_release(&at->target);
}

void insert_events(PGconn *conn, int events, int payload_bytes)
{
    pg_exec(conn,
            "INSERT INTO outbox.event (aggregate_type, aggregate_id, event_type, payload)"
            " SELECT 'bulk', 'k' || g, 'e', to_json(repeat(md5(g::text), %d / 32)) FROM "
            "generate_series(1, %d) g",
            payload_bytes, events);
}
