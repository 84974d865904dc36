/* What the fake server makes of a statement, and how the answer comes back. A statement of a broken
 * session may be executed all the same: nobody learns of it. */
#include "reading.h"
#include "request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What comes back to the relay. */
struct answer {
    enum verb verb;
    bool yes;
    bool paused; /* of a write */
    uint32_t stream;
    uint32_t lane; /* of a store */
    uint64_t sent_us;
    struct lease_view view;
    struct place at;
    int64_t min_new_id;
    uint32_t lane_count; /* of a takeover or renewal */
    struct lane_row lanes[];
};

const char *verb_name(enum verb v)
{
    static const char *const verbs[] = {"take", "renew", "store", "change", "release", "tell",
                                        "poll", "probe", "page",  "arm",    "disarm"};
    return verbs[v];
}

static bool is_write(enum verb v)
{
    return v == VERB_TAKE || v == VERB_RENEW || v == VERB_STORE || v == VERB_CHANGE ||
           v == VERB_RELEASE;
}

/* ---- answers ---- */

static void set_position(struct position *p, const struct place *at)
{
    str_set(&p->base, at->base);
    str_set(&p->target, at->target);
    p->last_id = at->last_id;
}

static void release_position(struct position *p)
{
    str_release(&p->base);
    str_release(&p->target);
}

static void show_lane(const struct fake_source *s, const struct lane_row *l, struct lane_view *v)
{
    uint64_t now_us = s->world->now_us;
    *v = (struct lane_view){
        .id = l->id,
        .filter = {.by = l->by,
                   .topic = slice_of(l->topic),
                   .key = slice_of(l->key),
                   .partition = l->partition,
                   .partitions = l->partitions},
        .trouble = {.row_id = l->row_id, .attempts = l->attempts, .lane = l->id, .lane_by = l->by},
        .asked = l->asked};
    memcpy(v->trouble.cause, l->cause, sizeof v->trouble.cause);
    memcpy(v->trouble.event_id, l->event_id, sizeof v->trouble.event_id);
    snprintf(v->trouble.topic, sizeof v->trouble.topic, "%s", l->topic);
    if (l->next_try_us > now_us)
        v->trouble.next_try_ms = (uint32_t)((l->next_try_us - now_us) / 1000 + 1);
    set_position(&v->position, &l->at);
}

static void answer_lease(struct fake_source *s, struct answer *a)
{
    struct lease_view view = a->view;
    struct lane_view *lanes = xcalloc(a->lane_count + 1, sizeof *lanes);
    set_position(&view.position, &a->at);
    for (uint32_t i = 0; i < a->lane_count; i++)
        show_lane(s, &a->lanes[i], &lanes[i]);
    view.lanes = lanes;
    view.lane_count = a->lane_count;
    world_say(s->world, "relay %u: lease %s, epoch %lld, beat %lld, %u lanes", s->instance,
              view.ours   ? "ours"
              : view.free ? "free"
                          : "another's",
              (long long)view.epoch, (long long)view.beat, view.lane_count);
    s->world->sights[SIGHT_LANES_TAKEN] += view.lane_count > 0;
    relay_on_lease(s->relay, &view);
    for (uint32_t i = 0; i < a->lane_count; i++)
        release_position(&lanes[i].position);
    release_position(&view.position);
    free(lanes);
}

static void answer_renewal(struct fake_source *s, const struct answer *a, enum lease_answer lease)
{
    uint32_t asked[LANES_MAX];
    size_t count = 0;
    uint64_t connection = s->connection;
    s->renew_out = false;
    for (uint32_t i = 0; i < a->lane_count; i++) {
        if (a->lanes[i].asked)
            asked[count++] = a->lanes[i].id;
    }
    if (count > 0)
        relay_on_asked(s->relay, asked, count);
    if (s->connection == connection)
        relay_on_renewed(s->relay, lease);
}

static void deliver(void *self, void *arg)
{
    struct fake_source *s = self;
    struct answer *a = arg;
    enum lease_answer lease = !a->yes ? LEASE_LOST : a->paused ? LEASE_PAUSED : LEASE_OURS;
    if (a->view.ours || (a->verb == VERB_RENEW && a->yes))
        s->lease_until_us = a->sent_us + MS(s->plan->params.lease_ttl_ms) * 101 / 100;
    else if ((a->verb == VERB_RENEW || a->verb == VERB_STORE || a->verb == VERB_CHANGE) && !a->yes)
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
        answer_renewal(s, a, lease);
        break;
    case VERB_STORE:
        s->store_out[a->lane != 0] = false;
        relay_on_stored(s->relay, a->lane, lease);
        break;
    case VERB_CHANGE:
        s->change_out = false;
        relay_on_changed(s->relay, lease);
        break;
    case VERB_RELEASE:
        relay_on_released(s->relay);
        break;
    case VERB_PROBE:
        s->readings[a->stream != MAIN_STREAM].busy = false;
        relay_on_probed(s->relay, a->stream, a->yes, a->min_new_id);
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

/* ---- in the server ---- */

static void take(struct fake_source *s, const struct request *q, struct answer *a)
{
    const struct control *c = &s->db->control;
    uint64_t before = c->holder;
    a->view.ours = database_take(s->db, &q->claim, &a->view.folded);
    if (a->view.ours && before != 0 && before != q->claim.holder)
        s->world->sights[SIGHT_TAKEN_OVER]++;
    s->world->sights[SIGHT_TAKEN_PAUSED] += a->view.ours && before != q->claim.holder && c->paused;
    a->view.free = c->holder == 0;
    a->view.same_instance =
        !a->view.free && (s->plan->same_instance || c->instance == q->claim.instance);
    a->view.paused = c->paused;
    a->view.epoch = c->epoch;
    a->view.beat = c->beat;
    a->view.last_lane = c->last_lane;
    a->view.given_up = c->given_up;
    a->at = c->at;
    if (!a->view.ours || a->view.folded)
        a->lane_count = 0;
    if (s->plan->defect == DEFECT_LANE_FORGOTTEN && a->lane_count > 0)
        a->lane_count--;
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
        a->yes = database_renew(s->db, q->holder, q->epoch);
    else if (q->verb == VERB_STORE)
        a->yes = database_store(s->db, &q->store);
    else if (q->verb == VERB_CHANGE)
        a->yes = database_change(s->db, &q->change);
    else if (q->verb == VERB_RELEASE)
        a->yes = database_release_lease(s->db, q->holder);
    s->world->sights[SIGHT_STALE_CHANGE] += q->verb == VERB_CHANGE && !a->yes;
    a->paused = s->db->control.paused && (q->verb != VERB_TAKE || a->view.ours);
}

static void execute_read(struct fake_source *s, const struct request *q, struct answer *a)
{
    if (q->verb == VERB_PROBE) {
        a->yes = reading_probe(s, &q->store.at, q->max_rows, &a->min_new_id);
        return;
    }
    struct reading_limits limits = {.max_rows = q->max_rows,
                                    .max_bytes = q->max_bytes,
                                    .many_new = q->many_new,
                                    .new_from = q->new_from,
                                    .filter = q->filtered ? &q->change.lane : NULL,
                                    .scan_rows = q->scan_rows};
    if (q->verb == VERB_POLL)
        reading_poll(s, q->store.at.base, &limits);
    else
        reading_page(&s->readings[q->stream != MAIN_STREAM], &q->store.at, &limits);
}

/* A takeover reads the lanes that were committed while it waited for the row: those of now. */
static struct answer *answer_new(const struct fake_source *s, const struct request *q)
{
    const struct lane_set *set = s->db->control.lanes;
    uint32_t count = q->verb == VERB_TAKE || q->verb == VERB_RENEW ? set->count : 0;
    struct answer *a = xcalloc(1, sizeof *a + count * sizeof a->lanes[0]);
    a->verb = q->verb;
    a->sent_us = q->sent_us;
    a->stream = q->stream;
    a->lane = q->store.lane;
    a->lane_count = count;
    memcpy(a->lanes, set->rows, count * sizeof a->lanes[0]);
    return a;
}

static void answer(struct fake_source *s, const struct request *q, struct answer *a)
{
    if (q->verb == VERB_TELL || q->verb == VERB_DISARM) {
        free(a);
    } else if (q->verb == VERB_POLL || q->verb == VERB_PAGE) {
        free(a);
        world_at(s->world, q->answer_us, &s->scope, reading_deliver,
                 &s->readings[q->stream != MAIN_STREAM], NULL);
    } else {
        world_at(s->world, q->answer_us, &s->scope, deliver, s, a);
    }
}

void server_execute(void *self, void *arg)
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
        s->world->sights[q->verb == VERB_CHANGE ? SIGHT_GHOST_CHANGE : SIGHT_GHOST_WRITE]++;
        world_say(s->world, "database: a %s of a broken session is executed", verb_name(q->verb));
    }
    struct answer *a = answer_new(s, q);
    if (is_write(q->verb))
        execute_write(s, q, a);
    else if (q->verb == VERB_ARM || q->verb == VERB_DISARM)
        ask_bell(s, q, a);
    else if (q->verb == VERB_TELL)
        database_tell(s->db, &q->tell);
    else
        execute_read(s, q, a);
    if (alive)
        answer(s, q, a);
    else
        free(a);
}
