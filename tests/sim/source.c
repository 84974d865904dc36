/* Requests: sent -> executed in the server -> answered. reading.c delivers rows. */
#include "source.h"

#include "reading.h"

#include <stdlib.h>
#include <string.h>

enum verb {
    VERB_TAKE,
    VERB_RENEW,
    VERB_STORE,
    VERB_RELEASE,
    VERB_TELL,
    VERB_POLL,
    VERB_PROBE,
    VERB_PAGE,
    VERB_ARM,
    VERB_DISARM,
};

static const char *const verbs[] = {"take", "renew", "store", "release", "tell",
                                    "poll", "probe", "page",  "arm",     "disarm"};

struct request {
    enum verb verb;
    uint64_t connection;
    uint64_t incarnation;
    uint64_t sent_us;
    uint64_t answer_us;
    struct claim claim;
    struct control as; /* holder, epoch; position of a store, poll, probe or page */
    bool flag;         /* synchronously; many_new */
    uint32_t max_rows;
    size_t max_bytes;
    int64_t new_from;
};

/* What comes back to the relay. */
struct answer {
    enum verb verb;
    bool yes;
    bool paused; /* of a renewal or store */
    uint64_t sent_us;
    struct lease_view view;
    char base[SNAPSHOT_TEXT];
    char target[SNAPSHOT_TEXT];
    int64_t last_id;
};

/* ---- answers ---- */

static void answer_lease(struct fake_source *s, struct answer *a)
{
    struct lease_view view = a->view;
    str_set(&view.position.base, a->base);
    str_set(&view.position.target, a->target);
    view.position.last_id = a->last_id;
    world_say(s->world, "relay %u: lease %s, epoch %lld, beat %lld", s->instance,
              view.ours   ? "ours"
              : view.free ? "free"
                          : "another's",
              (long long)view.epoch, (long long)view.beat);
    relay_on_lease(s->relay, &view);
    str_release(&view.position.base);
    str_release(&view.position.target);
}

static bool is_write(enum verb v)
{
    return v == VERB_TAKE || v == VERB_RENEW || v == VERB_STORE || v == VERB_RELEASE;
}

static void deliver(void *self, void *arg)
{
    struct fake_source *s = self;
    struct answer *a = arg;
    enum lease_answer lease = !a->yes ? LEASE_LOST : a->paused ? LEASE_PAUSED : LEASE_OURS;
    if (a->view.ours || (a->verb == VERB_RENEW && a->yes))
        s->lease_until_us = a->sent_us + MS(s->plan->params.lease_ttl_ms) * 101 / 100;
    else if ((a->verb == VERB_RENEW || a->verb == VERB_STORE) && !a->yes)
        s->lease_until_us = 0; /* it has been told */
    if (is_write(a->verb)) {   /* it has heard: while paused it asks for nothing */
        s->world->sights[SIGHT_PAUSED] += a->paused && !s->heard_pause;
        s->heard_pause = a->paused;
    }
    switch (a->verb) {
    case VERB_TAKE:
        answer_lease(s, a);
        break;
    case VERB_RENEW:
        relay_on_renewed(s->relay, lease);
        break;
    case VERB_STORE:
        relay_on_stored(s->relay, 0, lease);
        break;
    case VERB_RELEASE:
        relay_on_released(s->relay);
        break;
    case VERB_PROBE:
        s->read_busy = false;
        relay_on_probed(s->relay, MAIN_STREAM, a->yes, a->last_id);
        break;
    case VERB_ARM:
        relay_on_armed(s->relay, a->yes);
        break;
    case VERB_TELL:
    case VERB_POLL:
    case VERB_PAGE:
    case VERB_DISARM:
        break;
    }
}

static void take(struct fake_source *s, const struct request *q, struct answer *a)
{
    struct database *db = s->db;
    uint64_t before = db->control.holder;
    a->view.ours = database_take(db, &q->claim);
    if (a->view.ours && before != 0 && before != q->claim.holder)
        s->world->sights[SIGHT_TAKEN_OVER]++;
    s->world->sights[SIGHT_TAKEN_PAUSED] +=
        a->view.ours && before != q->claim.holder && db->control.paused;
    a->view.free = db->control.holder == 0;
    a->view.same_instance =
        !a->view.free && (s->plan->same_instance || db->control.instance == q->claim.instance);
    a->view.paused = db->control.paused;
    a->view.epoch = db->control.epoch;
    a->view.beat = db->control.beat;
    memcpy(a->base, db->control.base, sizeof a->base);
    memcpy(a->target, db->control.target, sizeof a->target);
    a->last_id = db->control.last_id;
}

/* The bell's lock belongs to the session: it goes when the sessions go. */
static void ask_bell(struct fake_source *s, const struct request *q, struct answer *a)
{
    struct database *db = s->db;
    if (q->verb == VERB_DISARM) {
        if (db->bell_owner == s)
            db->bell_owner = NULL;
        return;
    }
    if (db->bell_owner == NULL && db->bell_shared == 0)
        db->bell_owner = s;
    db->rung_us = 0;
    a->yes = db->bell_owner == s;
    s->world->sights[SIGHT_BELL_BUSY] += !a->yes;
}

static void execute_write(struct fake_source *s, const struct request *q, struct answer *a)
{
    if (q->verb == VERB_TAKE)
        take(s, q, a);
    else if (q->verb == VERB_RENEW)
        a->yes = database_renew(s->db, q->as.holder, q->as.epoch);
    else if (q->verb == VERB_STORE)
        a->yes = database_store(s->db, &q->as, q->flag);
    else if (q->verb == VERB_RELEASE)
        a->yes = database_release_lease(s->db, q->as.holder);
    a->paused = s->db->control.paused && (q->verb != VERB_TAKE || a->view.ours);
}

static void execute_read(struct fake_source *s, const struct request *q, struct answer *a)
{
    if (q->verb == VERB_PROBE) {
        a->yes = reading_probe(s, &q->as, q->max_rows, &a->last_id);
        return;
    }
    struct reading_limits limits = {.max_rows = q->max_rows,
                                    .max_bytes = q->max_bytes,
                                    .many_new = q->flag,
                                    .new_from = q->new_from};
    if (q->verb == VERB_POLL)
        reading_poll(s, q->as.base, &limits);
    else
        reading_page(s, &q->as, &limits);
}

static void execute(void *self, void *arg)
{
    struct fake_source *s = self;
    const struct request *q = arg;
    bool alive = q->connection == s->connection && s->connected;
    bool same_server = q->incarnation == s->db->incarnation && s->db->up;
    if (s->plan->defect == DEFECT_UNTOLD_CRASH)
        same_server = s->db->up;
    if (!same_server || (!alive && !(is_write(q->verb) && world_chance(s->world, 500))))
        return;
    if (!alive) {
        s->world->sights[SIGHT_GHOST_WRITE]++;
        world_say(s->world, "database: a %s of a broken session is executed", verbs[q->verb]);
    }
    struct answer *a = xcalloc(1, sizeof *a);
    a->verb = q->verb;
    a->sent_us = q->sent_us;
    if (is_write(q->verb))
        execute_write(s, q, a);
    else if (q->verb == VERB_ARM || q->verb == VERB_DISARM)
        ask_bell(s, q, a);
    else if (q->verb == VERB_TELL)
        database_tell(s->db, &q->as);
    else
        execute_read(s, q, a);
    if (!alive || q->verb == VERB_TELL || q->verb == VERB_DISARM) {
        free(a);
    } else if (q->verb == VERB_POLL || q->verb == VERB_PAGE) {
        free(a);
        world_at(s->world, q->answer_us, &s->scope, reading_deliver, s, NULL);
    } else {
        world_at(s->world, q->answer_us, &s->scope, deliver, s, a);
    }
}

/* ---- requests ---- */

static struct request *request_new(struct fake_source *s, enum verb verb)
{
    struct request *q = xcalloc(1, sizeof *q);
    q->verb = verb;
    q->connection = s->connection;
    q->sent_us = s->world->now_us;
    q->incarnation = s->db->incarnation;
    q->as.holder = s->holder;
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
        world_say(w, "relay %u: a slow %s: %llu ms", s->instance, verbs[q->verb],
                  (unsigned long long)((at - w->now_us) / 1000));
    world_at(w, at, NULL, execute, s, q);
}

static void copy_position(struct control *to, const struct position *from)
{
    if (from->base.len >= SNAPSHOT_TEXT || from->target.len >= SNAPSHOT_TEXT)
        abort();
    memcpy(to->base, str_text(&from->base), from->base.len + 1);
    memcpy(to->target, str_text(&from->target), from->target.len + 1);
    to->last_id = from->last_id;
}

static void begin_reading(struct fake_source *s)
{
    if (s->read_busy)
        world_fail(s->world, "relay %u: a read is asked for while another is under way",
                   s->instance);
    if (s->heard_pause)
        world_fail(s->world, "relay %u: reads although it has heard that it is paused",
                   s->instance);
    s->read_busy = true;
}

static void op_take(void *ctx, enum take_mode mode, int64_t seen_epoch, int64_t seen_beat)
{
    struct fake_source *s = ctx;
    struct request *q = request_new(s, VERB_TAKE);
    q->claim = (struct claim){.holder = s->holder,
                              .instance = s->instance,
                              .mode = mode,
                              .seen_epoch = seen_epoch,
                              .seen_beat = seen_beat};
    send_request(s, SESSION_CONTROL, q);
}

static void op_renew(void *ctx, int64_t epoch)
{
    struct request *q = request_new(ctx, VERB_RENEW);
    q->as.epoch = epoch;
    send_request(ctx, SESSION_CONTROL, q);
}

static void op_store(void *ctx, int64_t epoch, const struct store_request *request)
{
    struct fake_source *s = ctx;
    struct request *q = request_new(s, VERB_STORE);
    q->as.epoch = epoch;
    copy_position(&q->as, request->position);
    q->as.published = request->events;
    q->flag = request->synchronously;
    world_say(s->world, "relay %u: store %s / %s / %lld", s->instance, q->as.base, q->as.target,
              (long long)q->as.last_id);
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
    q->as.epoch = epoch;
    memcpy(q->as.trouble, trouble->cause, sizeof q->as.trouble);
    world_say(s->world, "relay %u: trouble '%s' %s", s->instance, trouble->cause, trouble->text);
    send_request(s, SESSION_CONTROL, q);
}

static void op_poll(void *ctx, const struct str *base, uint32_t max_rows, size_t max_bytes)
{
    struct fake_source *s = ctx;
    struct position from = {.base = *base};
    begin_reading(s);
    struct request *q = request_new(s, VERB_POLL);
    copy_position(&q->as, &from);
    q->max_rows = max_rows;
    q->max_bytes = max_bytes;
    send_request(s, SESSION_READ, q);
}

static void op_probe(void *ctx, uint32_t stream, const struct position *position, uint32_t few_rows)
{
    struct fake_source *s = ctx;
    (void)stream;
    begin_reading(s);
    struct request *q = request_new(s, VERB_PROBE);
    copy_position(&q->as, position);
    q->max_rows = few_rows;
    send_request(s, SESSION_READ, q);
}

static void op_page(void *ctx, uint32_t stream, const struct page_request *request)
{
    struct fake_source *s = ctx;
    (void)stream;
    begin_reading(s);
    struct request *q = request_new(s, VERB_PAGE);
    copy_position(&q->as, request->position);
    q->flag = request->many_new;
    q->new_from = request->new_from;
    q->max_rows = request->max_rows;
    send_request(s, SESSION_READ, q);
}

static void op_resume(void *ctx, uint32_t stream)
{
    (void)stream;
    reading_resume(ctx, false);
}

static void op_drop_rest(void *ctx, uint32_t stream)
{
    struct fake_source *s = ctx;
    (void)stream;
    s->world->sights[SIGHT_DROPPED]++;
    reading_resume(ctx, true);
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
    s->read_busy = false;
    s->reading.open = false;
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
    free(s->reading.rows);
    str_release(&s->payload);
}

const struct source_ops fake_source_ops = {
    .open = op_open,
    .close = op_close,
    .take = op_take,
    .renew = op_renew,
    .store = op_store,
    .release = op_release,
    .tell = op_tell,
    .poll = op_poll,
    .probe = op_probe,
    .page = op_page,
    .resume = op_resume,
    .drop_rest = op_drop_rest,
    .arm = op_arm,
    .disarm = op_disarm,
};
