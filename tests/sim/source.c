/* The ops and the sessions; server.c executes and answers, reading.c delivers rows. */
#include "source.h"

#include "reading.h"
#include "request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- requests ---- */

static struct request *request_new(struct fake_source *s, enum verb verb)
{
    bool lane = verb == VERB_CHANGE || verb == VERB_PAGE;
    struct request *q = xcalloc(1, lane ? sizeof *q : offsetof(struct request, change));
    q->verb = verb;
    q->connection = s->connection;
    q->sent_us = s->world->now_us;
    q->incarnation = s->db->incarnation;
    q->holder = s->holder;
    return q;
}

static void send_request(struct fake_source *s, enum session session, struct request *q)
{
    struct world *w = s->world;
    uint64_t start = s->free_us[session] > w->now_us ? s->free_us[session] : w->now_us;
    uint64_t at = start + world_delay(w, 150);
    if (world_chance(w, s->plan->slow_permille)) {
        at += MS(world_between(w, 100, 3000));
        oracle_excuse(s->db->oracle, 0, "a statement is slow");
    }
    q->answer_us = at + world_delay(w, 150);
    if (q->answer_us < s->answer_us[session])
        q->answer_us = s->answer_us[session];
    s->free_us[session] = at;
    s->answer_us[session] = q->answer_us;
    if (at - w->now_us > MS(100))
        world_say(w, "relay %u: a slow %s: %llu ms", s->instance, verb_name(q->verb),
                  (unsigned long long)((at - w->now_us) / 1000));
    world_at(w, at, NULL, server_execute, s, q);
}

static void copy_position(struct place *to, const struct position *from)
{
    if (from->base.len >= SNAPSHOT_TEXT || from->target.len >= SNAPSHOT_TEXT)
        abort();
    memcpy(to->base, str_text(&from->base), from->base.len + 1);
    memcpy(to->target, str_text(&from->target), from->target.len + 1);
    to->last_id = from->last_id;
}

static void copy_slice(char *to, size_t size, struct slice from)
{
    if (from.len >= size)
        abort();
    memset(to, 0, size);
    if (from.len > 0)
        memcpy(to, from.ptr, from.len);
}

static void copy_filter(struct lane_row *l, const struct lane_filter *f)
{
    l->by = f->by;
    copy_slice(l->topic, sizeof l->topic, f->topic);
    copy_slice(l->key, sizeof l->key, f->key);
    l->partition = f->partition;
    l->partitions = f->partitions;
}

static void copy_trouble(struct fake_source *s, struct lane_row *l, const struct trouble *t)
{
    memcpy(l->cause, t->cause, sizeof l->cause);
    memcpy(l->event_id, t->event_id, sizeof l->event_id);
    l->row_id = t->row_id;
    l->attempts = t->attempts;
    l->next_try_us = s->world->now_us + MS(t->next_try_ms);
    if ((t->event_id[0] == '\0') != (t->row_id == 0))
        world_fail(s->world, "relay %u: lane %u: event '%s' and row %lld", s->instance, l->id,
                   t->event_id, (long long)t->row_id);
}

static struct reading *begin_reading(struct fake_source *s, uint32_t stream)
{
    struct reading *r = &s->readings[stream != MAIN_STREAM];
    if (r->busy)
        world_fail(s->world, "relay %u: a read is asked for while another is under way",
                   s->instance);
    if (s->heard_pause)
        world_fail(s->world, "relay %u: reads although it has heard that it is paused",
                   s->instance);
    r->busy = true;
    r->stream = stream;
    return r;
}

static void once(struct fake_source *s, bool *out, const char *what)
{
    if (*out)
        world_fail(s->world, "relay %u: a %s is asked for while another is under way", s->instance,
                   what);
    *out = true;
}

static void op_take(void *ctx, enum take_mode mode, int64_t seen_epoch, int64_t seen_beat)
{
    struct fake_source *s = ctx;
    struct request *q = request_new(s, VERB_TAKE);
    q->claim = (struct claim){.holder = s->holder,
                              .routes = s->routes,
                              .instance = s->instance,
                              .mode = mode,
                              .seen_epoch = seen_epoch,
                              .seen_beat = seen_beat};
    send_request(s, SESSION_CONTROL, q);
}

static void op_renew(void *ctx, int64_t epoch)
{
    struct fake_source *s = ctx;
    struct request *q = request_new(s, VERB_RENEW);
    q->epoch = epoch;
    once(s, &s->renew_out, "renewal");
    send_request(s, SESSION_CONTROL, q);
}

static void op_store(void *ctx, int64_t epoch, const struct store_request *request)
{
    struct fake_source *s = ctx;
    struct request *q = request_new(s, VERB_STORE);
    q->store.holder = s->holder;
    q->store.epoch = epoch;
    q->store.lane = request->lane;
    q->store.events = request->events;
    q->store.synchronously = request->synchronously;
    copy_position(&q->store.at, request->position);
    once(s, &s->store_out[request->lane != 0], "store");
    if (request->lane != 0)
        s->stored_lane = request->lane;
    if (s->change_out && (s->changing[0] == request->lane || s->changing[1] == request->lane))
        world_fail(s->world, "relay %u: stores lane %u while it is being changed", s->instance,
                   request->lane);
    world_say(s->world, "relay %u: store lane %u %s / %s / %lld", s->instance, request->lane,
              q->store.at.base, q->store.at.target, (long long)q->store.at.last_id);
    send_request(s, SESSION_CONTROL, q);
}

static bool is_storing(const struct fake_source *s, uint32_t lane)
{
    return lane == 0 ? s->store_out[0] : s->store_out[1] && s->stored_lane == lane;
}

static void op_change(void *ctx, int64_t epoch, const struct lane_change *change)
{
    struct fake_source *s = ctx;
    struct request *q = request_new(s, VERB_CHANGE);
    struct change *c = &q->change;
    c->holder = s->holder;
    c->epoch = epoch;
    c->kind = change->kind;
    c->from = change->from;
    c->events = change->events;
    c->dead_letter = change->dead_letter_topic != NULL;
    c->lane.id = change->lane;
    copy_position(&c->lane.at, change->position);
    if (change->kind == CHANGE_SPLIT) {
        copy_filter(&c->lane, change->filter);
        c->lane.routes = s->routes;
    }
    if (change->kind != CHANGE_MERGE)
        copy_trouble(s, &c->lane, change->trouble);
    once(s, &s->change_out, "change");
    s->changing[0] = change->lane;
    s->changing[1] = change->kind == CHANGE_SPLIT   ? change->from
                     : change->kind == CHANGE_MERGE ? 0
                                                    : change->lane;
    if (is_storing(s, s->changing[0]) || is_storing(s, s->changing[1]))
        world_fail(s->world, "relay %u: changes lane %u while a position is being stored",
                   s->instance, change->lane);
    world_say(s->world, "relay %u: asks for a change of lane %u", s->instance, c->lane.id);
    send_request(s, SESSION_CONTROL, q);
}

static void op_release(void *ctx)
{
    struct request *q = request_new(ctx, VERB_RELEASE);

    send_request(ctx, SESSION_CONTROL, q);
}

static void op_tell(void *ctx, int64_t epoch, const struct trouble *trouble)
{
    struct fake_source *s = ctx;
    struct request *q = request_new(s, VERB_TELL);
    q->tell = (struct telling){
        .holder = s->holder, .epoch = epoch, .halted = trouble->halted, .row_id = trouble->row_id};
    memcpy(q->tell.cause, trouble->cause, sizeof q->tell.cause);
    if (trouble->lane != 0)
        world_fail(s->world, "relay %u: tells a trouble of lane %u", s->instance, trouble->lane);
    world_say(s->world, "relay %u: trouble '%s' %s", s->instance, trouble->cause, trouble->text);
    send_request(s, SESSION_CONTROL, q);
}

static void op_poll(void *ctx, const struct str *base, uint32_t max_rows, size_t max_bytes)
{
    struct fake_source *s = ctx;
    struct position from = {.base = *base};
    begin_reading(s, MAIN_STREAM);
    struct request *q = request_new(s, VERB_POLL);
    copy_position(&q->store.at, &from);
    q->max_rows = max_rows;
    q->max_bytes = max_bytes;
    send_request(s, SESSION_READ, q);
}

/* A lane's read waits until there is a session for it. */
static void send_read(struct fake_source *s, struct request *q)
{
    if (q->stream == MAIN_STREAM) {
        send_request(s, SESSION_READ, q);
        return;
    }
    if (!s->lanes_opened)
        s->free_us[SESSION_LANES] = s->world->now_us + world_delay(s->world, MS(5));
    s->lanes_opened = true;
    send_request(s, SESSION_LANES, q);
}

static void op_probe(void *ctx, uint32_t stream, const struct position *position, uint32_t few_rows)
{
    struct fake_source *s = ctx;
    begin_reading(s, stream);
    struct request *q = request_new(s, VERB_PROBE);
    copy_position(&q->store.at, position);
    q->stream = stream;
    q->max_rows = few_rows;
    send_read(s, q);
}

static void op_page(void *ctx, uint32_t stream, const struct page_request *request)
{
    struct fake_source *s = ctx;
    begin_reading(s, stream);
    struct request *q = request_new(s, VERB_PAGE);
    copy_position(&q->store.at, request->position);
    q->stream = stream;
    q->many_new = request->many_new;
    q->new_from = request->new_from;
    q->max_rows = request->max_rows;
    q->filtered = request->filter != NULL;
    q->scan_rows = request->scan_rows > 2 ? request->scan_rows : 2;
    if (q->filtered)
        copy_filter(&q->change.lane, request->filter);
    if (q->filtered != (stream != MAIN_STREAM))
        world_fail(s->world, "relay %u: stream %u: a page %s filter", s->instance, stream,
                   q->filtered ? "with a" : "without");
    send_read(s, q);
}

static struct reading *reading_of(struct fake_source *s, uint32_t stream)
{
    struct reading *r = &s->readings[stream != MAIN_STREAM];
    if (r->stream != stream)
        world_fail(s->world, "relay %u: stream %u has no rows, stream %u has", s->instance, stream,
                   r->stream);
    return r;
}

static void op_resume(void *ctx, uint32_t stream)
{
    reading_resume(reading_of(ctx, stream), false);
}

static void op_drop_rest(void *ctx, uint32_t stream)
{
    struct fake_source *s = ctx;
    s->world->sights[SIGHT_DROPPED]++;
    reading_resume(reading_of(s, stream), true);
}

/* Nothing of a lane's may be out. */
static void op_rest(void *ctx)
{
    const struct fake_source *s = ctx;

    if (s->readings[1].busy)
        world_fail(s->world, "relay %u: nobody reads for lanes, but stream %u does", s->instance,
                   s->readings[1].stream);
}

static void op_arm(void *ctx, uint32_t bell)
{
    (void)bell;
    send_request(ctx, SESSION_BELL, request_new(ctx, VERB_ARM));
}

static void op_disarm(void *ctx, uint32_t bell)
{
    (void)bell;
    send_request(ctx, SESSION_BELL, request_new(ctx, VERB_DISARM));
}

/* ---- sessions ---- */

static void forget(struct fake_source *s)
{
    s->scope.life++;
    s->connection++;
    s->opening = false;
    s->connected = false;
    s->lanes_opened = false;
    s->change_out = false;
    s->renew_out = false;
    for (int i = 0; i < READERS; i++) {
        s->readings[i].busy = false;
        s->readings[i].open = false;
        s->store_out[i] = false;
    }
    s->heard_pause = false;
    if (s->db->bell_owner == s)
        s->db->bell_owner = NULL;
}

static void lost(void *self, void *arg)
{
    struct fake_source *s = self;
    (void)arg;
    struct err why;
    err_set(&why, ERR_UNAVAILABLE, "server closed the connection unexpectedly");
    world_say(s->world, "relay %u: database lost", s->instance);
    relay_on_lost(s->relay, &why);
}

static void opened(void *self, void *arg)
{
    struct fake_source *s = self;
    (void)arg;
    s->opening = false;
    if (!s->db->up) {
        lost(s, NULL);
        return;
    }
    s->connected = true;
    for (int i = 0; i < SESSIONS; i++)
        s->free_us[i] = s->answer_us[i] = 0;
    relay_on_opened(s->relay);
}

static void op_open(void *ctx)
{
    struct fake_source *s = ctx;
    if (s->opening || s->connected)
        world_fail(s->world, "relay %u: open while open", s->instance);
    forget(s);
    s->opening = true;
    world_at(s->world, s->world->now_us + world_delay(s->world, MS(5)), &s->scope, opened, s, NULL);
}

static void op_close(void *ctx)
{
    forget(ctx);
}

void source_break(struct fake_source *s, const char *why)
{
    if (!s->connected)
        return;
    world_say(s->world, "relay %u: sessions break: %s", s->instance, why);
    forget(s);
    world_at(s->world, s->world->now_us + world_delay(s->world, MS(1)), &s->scope, lost, s, NULL);
}

static void ring(void *self, void *arg)
{
    struct fake_source *s = self;
    (void)arg;
    relay_on_bell(s->relay);
}

void source_rung(struct fake_source *s)
{
    if (s->connected)
        world_at(s->world, s->world->now_us + world_delay(s->world, 100), &s->scope, ring, s, NULL);
}

void source_init(struct fake_source *s, struct world *w, const struct plan *plan,
                 struct database *db, const struct scope *process)
{
    memset(s, 0, sizeof *s);
    s->world = w;
    s->plan = plan;
    s->db = db;
    s->scope.process = process;
    for (int i = 0; i < READERS; i++)
        s->readings[i].source = s;
}

void source_attach(struct fake_source *s, struct relay *relay, uint64_t holder, uint32_t instance)
{
    s->relay = relay;
    s->holder = holder;
    s->instance = instance;
}

void source_detach(struct fake_source *s)
{
    forget(s);
    s->relay = NULL;
}

void source_release(struct fake_source *s)
{
    for (int i = 0; i < READERS; i++)
        free(s->readings[i].rows);
    str_release(&s->payload);
}

const struct source_ops fake_source_ops = {
    .open = op_open,
    .close = op_close,
    .take = op_take,
    .renew = op_renew,
    .store = op_store,
    .change = op_change,
    .release = op_release,
    .tell = op_tell,
    .poll = op_poll,
    .probe = op_probe,
    .page = op_page,
    .resume = op_resume,
    .drop_rest = op_drop_rest,
    .rest = op_rest,
    .arm = op_arm,
    .disarm = op_disarm,
};
