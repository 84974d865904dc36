/* What a relay does by itself: sending, acks, transactions, lease. */
#include "walk.h"

#include <string.h>

/* ---- the relay's own mind ---- */

void advance(const struct bounds *b, struct model_relay *r)
{
    while (r->main < count(b)) {
        uint8_t e = (uint8_t)(r->main + 1);

        if (!has(r->acked, e) && !has(r->lanes, key_of(b, e)))
            break;
        r->acked &= (uint8_t)~bit(e);
        r->main = e;
    }
    if (r->next <= r->main)
        r->next = (uint8_t)(r->main + 1);
}

static bool still_leads(const struct model *m, unsigned number)
{
    return m->holder == number + 1 && m->epoch == m->relay[number].epoch;
}

/* ---- sending ---- */

static bool may_send(const struct bounds *b, const struct producer *p, uint8_t event)
{
    unsigned n = length(p);

    if (n == WINDOW)
        return false;
    if (has(p->opened, partition_of(b, event)) || b->defect == DEFECT_NOT_OPENED)
        return true;
    for (unsigned i = 0; i < n; i++)
        if (partition_of(b, (uint8_t)(p->queue[i] & ~LANDED)) == partition_of(b, event))
            return false;
    return true;
}

static void send_main(struct walk *w, unsigned number)
{
    struct model_relay *r = &w->m.relay[number];
    struct producer *p = &r->producer[0];

    while (r->next <= count(w->b) && has(r->lanes, key_of(w->b, r->next)))
        r->next++;
    if (r->bad != 0 || r->next > count(w->b) || !may_send(w->b, p, r->next))
        return;
    SAY(w, "relay %u: main sends %u", number, r->next);
    p->queue[length(p)] = r->next;
    if (w->b->defect == DEFECT_SETTLE_EARLY)
        r->acked |= bit(r->next);
    r->next++;
    advance(w->b, r);
    emit(w);
}

static void send_lane(struct walk *w, unsigned number, uint8_t key)
{
    struct model_relay *r = &w->m.relay[number];
    struct producer *p = &r->producer[1 + key];
    unsigned n = length(p);
    uint8_t e = n > 0 ? (uint8_t)(p->queue[n - 1] & ~LANDED) : r->lane[key];

    if (!has(r->lanes, key))
        return;
    do
        e++;
    while (e <= count(w->b) && key_of(w->b, e) != key);
    if (e > count(w->b) || !may_send(w->b, p, e))
        return;
    SAY(w, "relay %u: lane %c sends %u", number, 'A' + key, e);
    p->queue[n] = e;
    emit(w);
}

/* ---- acks ---- */

static void ack(struct walk *w, unsigned number, unsigned producer, unsigned at)
{
    struct model_relay *r = &w->m.relay[number];
    struct producer *p = &r->producer[producer];
    uint8_t e = (uint8_t)(p->queue[at] & ~LANDED);
    uint8_t before = r->main;

    if ((p->queue[at] & LANDED) == 0)
        return;
    SAY(w, "relay %u: %u is acknowledged", number, e);
    remove_at(p, at);
    p->opened |= bit(partition_of(w->b, e));
    if (producer == 0) {
        if (e > r->main)
            r->acked |= bit(e);
        advance(w->b, r);
        if (r->main != before)
            w->m.merged &= (uint8_t)~bit(key_of(w->b, e));
    } else if (at == 0) {
        r->lane[producer - 1] = e;
        r->healthy |= bit(producer - 1);
        w->m.merged &= (uint8_t)~bit(producer - 1);
    } else {
        return; /* of one key, so of one partition: acks come in order */
    }
    emit(w);
}

/* "It takes too long": the first one on its way is forgotten, and sent again. */
static void time_out(struct walk *w, unsigned number)
{
    struct producer *p = &w->m.relay[number].producer[0];
    uint8_t e = p->queue[0];

    if (w->b->defect != DEFECT_TIME_OUT || !is_on_its_way(e))
        return;
    SAY(w, "relay %u: times %u out and sends it again", number, e);
    remove_at(p, 0);
    p->queue[length(p)] = e;
    emit(w);
}

/* ---- transactions of the leader ---- */

/* False: the epoch was raised. Then everything is forgotten. */
static bool begin(struct walk *w, unsigned number)
{
    if (still_leads(&w->m, number))
        return true;
    SAY(w, "relay %u: finds the epoch raised, and forgets everything", number);
    drop_memory(&w->m, &w->m.relay[number]);
    emit(w);
    return false;
}

static void store_main(struct walk *w, unsigned number)
{
    struct model_relay *r = &w->m.relay[number];

    if (w->b->defect != DEFECT_NO_CAS && !begin(w, number))
        return;
    if (r->main == w->m.main)
        return;
    SAY(w, "relay %u: stores main at %u", number, r->main);
    w->m.main = r->main;
    emit(w);
}

static void store_lane(struct walk *w, unsigned number, uint8_t key)
{
    struct model_relay *r = &w->m.relay[number];

    if (!has(r->lanes, key) || !begin(w, number) || r->lane[key] == w->m.lane[key])
        return;
    SAY(w, "relay %u: stores lane %c at %u", number, 'A' + key, r->lane[key]);
    w->m.lane[key] = r->lane[key];
    emit(w);
}

static void retry(struct walk *w, unsigned number)
{
    struct model_relay *r = &w->m.relay[number];

    if (r->bad == 0)
        return;
    SAY(w, "relay %u: tries again from %u", number, r->main + 1U);
    r->bad = 0;
    r->next = (uint8_t)(r->main + 1);
    emit(w);
}

static void split(struct walk *w, unsigned number)
{
    struct model_relay *r = &w->m.relay[number];
    uint8_t key;

    if (r->bad == 0 || has(r->lanes, key = key_of(w->b, r->bad)) || !begin(w, number))
        return;
    w->m.main = r->main;
    r->lane[key] = w->b->defect == DEFECT_SPLIT_ABOVE ? (uint8_t)(r->bad - 1) : r->main;
    w->m.lane[key] = r->lane[key];
    w->m.lanes |= bit(key);
    SAY(w, "relay %u: lane %c begins behind %u, main at %u", number, 'A' + key, r->lane[key],
        r->main);
    r->lanes |= bit(key);
    r->healthy &= (uint8_t)~bit(key);
    r->bad = 0;
    r->next = (uint8_t)(r->main + 1);
    advance(w->b, r);
    emit(w);
}

static bool may_merge(const struct bounds *b, const struct model *m, const struct model_relay *r,
                      uint8_t key)
{
    /* Just split, both stand at the same place in the database: nothing lies between. */
    uint8_t main = b->defect == DEFECT_MERGE_AT_ONCE ? m->main : r->main;
    uint8_t low = r->lane[key] < main ? r->lane[key] : main;
    uint8_t high = r->lane[key] < main ? main : r->lane[key];

    if (!has(r->lanes, key) || r->bad != 0 || length(&r->producer[0]) > 0 ||
        length(&r->producer[1 + key]) > 0)
        return false;
    if (b->defect != DEFECT_MERGE_BEHIND && lies_between(b, key, low, high))
        return false;
    return has(r->healthy, key) || b->defect == DEFECT_MERGE_AT_ONCE ||
           !lies_between(b, key, r->lane[key], count(b));
}

static void merge(struct walk *w, unsigned number, uint8_t key)
{
    struct model_relay *r = &w->m.relay[number];

    if (!may_merge(w->b, &w->m, r, key) || !begin(w, number))
        return;
    if (w->b->defect == DEFECT_MERGE_AT_ONCE)
        r->main = w->m.main;
    SAY(w, "relay %u: lane %c at %u is merged, main goes back to %u", number, 'A' + key,
        r->lane[key], r->main);
    w->m.lanes &= (uint8_t)~bit(key);
    w->m.lane[key] = 0;
    w->m.main = r->main;
    if (has(w->m.merged, key))
        w->broken = "split and merge follow each other for ever";
    w->m.merged |= bit(key);
    r->lanes &= (uint8_t)~bit(key);
    r->healthy &= (uint8_t)~bit(key);
    r->lane[key] = 0;
    r->acked = 0;
    r->next = (uint8_t)(r->main + 1);
    r->producer[1 + key] = (struct producer){0};
    emit(w);
}

/* ---- lease ---- */

static void load(const struct model *m, struct model_relay *r)
{
    r->main = m->main;
    r->next = (uint8_t)(m->main + 1);
    r->lanes = m->lanes;
    memcpy(r->lane, m->lane, sizeof r->lane);
}

static bool leader_lives(const struct model *m)
{
    for (unsigned i = 0; i < RELAYS; i++)
        if (m->relay[i].phase == LEADS && still_leads(m, i))
            return true;
    return false;
}

static void take_over(struct walk *w, unsigned number)
{
    struct model_relay *r = &w->m.relay[number];

    if (w->b->defect == DEFECT_READ_OUTSIDE && r->phase == IDLE) {
        SAY(w, "relay %u: reads main %u and the lanes", number, w->m.main);
        r->phase = READ;
        load(&w->m, r);
        emit(w);
        return;
    }
    if (leader_lives(&w->m)) {
        if (w->m.rivals == 0)
            return;
        w->m.rivals--;
    }
    r->epoch = ++w->m.epoch;
    w->m.holder = (uint8_t)(number + 1);
    if (r->phase == IDLE)
        load(&w->m, r);
    r->phase = LEADS;
    advance(w->b, r);
    SAY(w, "relay %u: takes epoch %u, main at %u", number, r->epoch, r->main);
    emit(w);
}

static void crash(struct walk *w, unsigned number)
{
    if (w->m.crashes == 0)
        return;
    w->m.crashes--;
    SAY(w, "relay %u: crashes", number);
    drop_memory(&w->m, &w->m.relay[number]);
    emit(w);
}

/* ---- everything that a relay may do now ---- */

void relay_steps(const struct walk *now, unsigned number)
{
    struct walk w;

#define TRY(call) (w = *now, (call))
    if (now->m.relay[number].phase != LEADS) {
        TRY(take_over(&w, number));
        return;
    }
    TRY(crash(&w, number));
    TRY(send_main(&w, number));
    TRY(store_main(&w, number));
    TRY(retry(&w, number));
    TRY(split(&w, number));
    TRY(time_out(&w, number));
    for (uint8_t key = 0; key < KEYS; key++) {
        TRY(send_lane(&w, number, key));
        TRY(store_lane(&w, number, key));
        TRY(merge(&w, number, key));
    }
    for (unsigned p = 0; p < 1 + KEYS; p++)
        for (unsigned at = 0; at < WINDOW; at++) {
            broker_steps(now, number, p, at);
            TRY(ack(&w, number, p, at));
        }
#undef TRY
}
