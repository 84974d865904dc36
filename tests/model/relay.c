/* What a relay does by itself: sending, acks, transactions, lease. */
#include "walk.h"

#include <string.h>

/* ---- the relay's own mind ---- */

/* Whether the stream goes over the event: it is somebody else's, or given up. */
static bool passes(const struct bounds *b, const struct model_relay *r, unsigned stream, uint8_t e)
{
    uint8_t lane = owner_of(r->lanes, key_of(b, e));

    if (stream > 0)
        return lane != stream - 1;
    return lane < LANES || e == r->given_up;
}

void advance(const struct bounds *b, struct model_relay *r, unsigned stream)
{
    struct model_stream *s = &r->stream[stream];

    while (s->at + 1 < s->next) {
        uint8_t e = (uint8_t)(s->at + 1);

        if (!has(s->acked, e) && !passes(b, r, stream, e))
            break;
        s->acked &= (uint8_t)~bit(e);
        s->at = e;
    }
}

void rewind_stream(struct model_stream *s)
{
    s->acked = 0;
    s->next = (uint8_t)(s->at + 1);
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

/* What lanes own is passed when it is read: so main may be behind or ahead of each of them. */
static void send_main(struct walk *w, unsigned number)
{
    struct model_relay *r = &w->m.relay[number];
    struct model_stream *s = &r->stream[0];
    uint8_t e = s->next;

    if (s->bad != 0 || e > r->target)
        return;
    if (passes(w->b, r, 0, e)) {
        SAY(w, "relay %u: main passes %u", number, e);
    } else if (may_send(w->b, &s->producer, e)) {
        SAY(w, "relay %u: main sends %u", number, e);
        s->producer.queue[length(&s->producer)] = e;
        if (w->b->defect == DEFECT_SETTLE_EARLY)
            s->acked |= bit(e);
    } else {
        return;
    }
    s->next++;
    advance(w->b, r, 0);
    emit(w);
}

static void send_lane(struct walk *w, unsigned number, uint8_t lane)
{
    struct model_relay *r = &w->m.relay[number];
    struct model_stream *s = &r->stream[1 + lane];
    uint8_t e;

    if (!has(r->lanes, lane) || s->bad != 0)
        return;
    e = next_of(w->b, r->lanes, lane, (uint8_t)(s->next - 1));
    if (e > count(w->b) || !may_send(w->b, &s->producer, e))
        return;
    SAY(w, "relay %u: lane %s sends %u", number, lane_name(lane), e);
    s->producer.queue[length(&s->producer)] = e;
    s->next = (uint8_t)(e + 1);
    emit(w);
}

/* At the end of its batch main looks for events: for some of those that there are, or in vain. */
static void look_for_events(const struct walk *now, unsigned number)
{
    const struct model_relay *r = &now->m.relay[number];

    if (r->stream[0].bad != 0 || r->stream[0].at != r->target)
        return;
    for (uint8_t to = r->target; to <= count(now->b); to++) {
        struct walk w = *now;

        if (to < count(now->b) && !now->b->batches)
            continue;
        if (to == r->target && r->looked == r->lanes)
            continue;
        w.m.relay[number].target = to;
        w.m.relay[number].looked = r->lanes;
        SAY(&w, "relay %u: main looks, and finds events up to %u", number, to);
        emit(&w);
    }
}

/* ---- acks ---- */

static void ack(struct walk *w, unsigned number, unsigned stream, unsigned at)
{
    struct model_relay *r = &w->m.relay[number];
    struct model_stream *s = &r->stream[stream];
    uint8_t e = (uint8_t)(s->producer.queue[at] & ~LANDED);
    uint8_t before = s->at;

    if ((s->producer.queue[at] & LANDED) == 0)
        return;
    if (at > 0 && stream > 0 && stream - 1 != WIDE)
        return; /* of one key, so of one partition: acks come in order */
    SAY(w, "relay %u: %u is acknowledged", number, e);
    remove_at(&s->producer, at);
    s->producer.opened |= bit(partition_of(w->b, e));
    if (e > s->at)
        s->acked |= bit(e);
    advance(w->b, r, stream);
    if (s->at != before)
        w->m.merged &= (uint8_t) ~(bit(key_of(w->b, e)) | bit(WIDE));
    emit(w);
}

/* "It takes too long": the first one on its way is forgotten, and sent again. */
static void time_out(struct walk *w, unsigned number)
{
    struct producer *p = &w->m.relay[number].stream[0].producer;
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

static void put_main(struct walk *w, const struct model_relay *r)
{
    w->m.main = r->stream[0].at;
    w->m.target = r->target;
}

static void store_main(struct walk *w, unsigned number)
{
    struct model_relay *r = &w->m.relay[number];

    if (w->b->defect != DEFECT_NO_CAS && !begin(w, number))
        return;
    if (r->stream[0].at == w->m.main && r->target == w->m.target)
        return;
    SAY(w, "relay %u: stores main at %u of %u", number, r->stream[0].at, r->target);
    put_main(w, r);
    emit(w);
}

static void store_lane(struct walk *w, unsigned number, uint8_t lane)
{
    struct model_relay *r = &w->m.relay[number];
    uint8_t at = r->stream[1 + lane].at;

    if (!has(r->lanes, lane) || !begin(w, number) || at == w->m.lane[lane])
        return;
    SAY(w, "relay %u: stores lane %s at %u", number, lane_name(lane), at);
    w->m.lane[lane] = at;
    emit(w);
}

/* Main's, or the wide lane's. */
static void retry(struct walk *w, unsigned number, unsigned stream)
{
    struct model_stream *s = &w->m.relay[number].stream[stream];

    if (s->bad == 0)
        return;
    SAY(w, "relay %u: tries again from %u", number, s->at + 1U);
    s->bad = 0;
    s->next = (uint8_t)(s->at + 1); /* it is already, but for the defect REQUEUE */
    emit(w);
}

/* A lane is split off main (stream 0), or off the wide lane. */
static void split(struct walk *w, unsigned number, unsigned stream, uint8_t lane)
{
    struct model_relay *r = &w->m.relay[number];
    struct model_stream *from = &r->stream[stream];
    uint8_t at = from->at;

    if (from->bad == 0 || w->b->halts || has(r->lanes, lane) || !begin(w, number))
        return;
    if (w->b->defect == DEFECT_SPLIT_ABOVE)
        at = (uint8_t)(from->bad - 1);
    if (w->b->defect == DEFECT_NARROW_AT_MAIN)
        at = r->stream[0].at;
    if (stream == 0)
        put_main(w, r);
    else
        w->m.lane[stream - 1] = from->at;
    w->m.lane[lane] = at;
    w->m.lanes |= bit(lane);
    SAY(w, "relay %u: lane %s begins behind %u, where it came from is at %u", number,
        lane_name(lane), at, from->at);
    r->lanes |= bit(lane);
    r->looked &= (uint8_t)~bit(lane);
    r->stream[1 + lane] = (struct model_stream){.at = at, .next = (uint8_t)(at + 1)};
    from->bad = 0;
    rewind_stream(from);
    emit(w);
}

static void splits(const struct walk *now, unsigned number)
{
    const struct model_relay *r = &now->m.relay[number];
    static const unsigned from[] = {0, 1 + WIDE};

    for (unsigned i = 0; i < 2; i++) {
        uint8_t bad = r->stream[from[i]].bad;
        struct walk w = *now;

        if (bad == 0)
            continue;
        split(&w, number, from[i], key_of(now->b, bad));
        w = *now;
        if (from[i] == 0 && now->b->wide)
            split(&w, number, 0, WIDE);
    }
}

/* Held in the way of main, and told so. */
static void tell_halted(struct walk *w, unsigned number)
{
    uint8_t bad = w->m.relay[number].stream[0].bad;

    if (!w->b->halts || bad == 0 || w->m.halted == bad || !begin(w, number))
        return;
    SAY(w, "relay %u: tells that %u is in main's way", number, bad);
    w->m.halted = bad;
    emit(w);
}

static bool may_merge(const struct bounds *b, const struct model_relay *r, uint8_t lane)
{
    const struct model_stream *main = &r->stream[0];
    const struct model_stream *s = &r->stream[1 + lane];
    uint8_t low = s->at < main->at ? s->at : main->at;
    uint8_t high = s->at < main->at ? main->at : s->at;

    if (!has(r->lanes, lane) || main->bad != 0 || s->bad != 0 || length(&main->producer) > 0 ||
        length(&s->producer) > 0)
        return false;
    if (b->defect != DEFECT_NARROW_UNDER_WIDE && lane != WIDE && has(r->lanes, WIDE))
        return false;
    if (b->defect != DEFECT_MERGE_BEHIND && next_of(b, r->lanes, lane, low) <= high)
        return false;
    /* What was refused lies before the end of main's batch of that time: at a later batch's end
     * without an event between them, the lane has published it. */
    return (main->at == r->target && has(r->looked, lane)) || b->defect == DEFECT_MERGE_AT_ONCE;
}

static void merge(struct walk *w, unsigned number, uint8_t lane)
{
    struct model_relay *r = &w->m.relay[number];

    if (!may_merge(w->b, r, lane) || !begin(w, number))
        return;
    SAY(w, "relay %u: lane %s at %u is merged, main goes on from %u", number, lane_name(lane),
        r->stream[1 + lane].at, r->stream[0].at);
    if (has(w->m.merged, lane) && has(w->m.lanes, lane))
        w->broken = "split and merge follow each other for ever";
    w->m.lanes &= (uint8_t)~bit(lane);
    w->m.lane[lane] = 0;
    put_main(w, r);
    w->m.merged |= bit(lane);
    r->lanes &= (uint8_t)~bit(lane);
    r->looked &= (uint8_t)~bit(lane);
    r->stream[1 + lane] = (struct model_stream){0};
    rewind_stream(&r->stream[0]);
    emit(w);
}

/* ---- lease ---- */

static void load(const struct model *m, struct model_relay *r)
{
    r->target = m->target;
    r->lanes = m->lanes;
    r->looked = 0;
    r->given_up = m->given_up;
    r->stream[0] = (struct model_stream){.at = m->main, .next = (uint8_t)(m->main + 1)};
    for (uint8_t i = 0; i < LANES; i++)
        if (has(m->lanes, i))
            r->stream[1 + i] =
                (struct model_stream){.at = m->lane[i], .next = (uint8_t)(m->lane[i] + 1)};
}

static bool leader_lives(const struct model *m)
{
    for (unsigned i = 0; i < RELAYS; i++)
        if (m->relay[i].phase == LEADS && still_leads(m, i))
            return true;
    return false;
}

/* The routes have changed, and with them what a lane means: main goes back to the one that is
 * furthest behind, and there is no lane any more. */
static void fold(struct model *m, const struct bounds *b)
{
    for (uint8_t i = 0; i < LANES; i++)
        if (has(m->lanes, i) && m->lane[i] < m->main && b->defect != DEFECT_FOLD_AT_MAIN)
            m->main = m->lane[i];
    m->folds--;
    m->target = m->main;
    m->lanes = 0;
    m->merged = 0;
    memset(m->lane, 0, sizeof m->lane);
}

static void take_over(struct walk *w, unsigned number, bool folds)
{
    struct model_relay *r = &w->m.relay[number];

    if (folds && (w->m.folds == 0 || w->m.lanes == 0))
        return;
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
    if (folds)
        fold(&w->m, w->b);
    r->epoch = ++w->m.epoch;
    w->m.holder = (uint8_t)(number + 1);
    if (r->phase == IDLE)
        load(&w->m, r);
    r->phase = LEADS;
    SAY(w, "relay %u: takes epoch %u%s, main at %u", number, r->epoch,
        folds ? ", gives the lanes up" : "", r->stream[0].at);
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
        TRY(take_over(&w, number, false));
        TRY(take_over(&w, number, true));
        return;
    }
    TRY(crash(&w, number));
    TRY(send_main(&w, number));
    look_for_events(now, number);
    TRY(store_main(&w, number));
    TRY(retry(&w, number, 0));
    TRY(retry(&w, number, 1 + WIDE));
    splits(now, number);
    TRY(tell_halted(&w, number));
    TRY(time_out(&w, number));
    for (uint8_t lane = 0; lane < LANES; lane++) {
        TRY(send_lane(&w, number, lane));
        TRY(store_lane(&w, number, lane));
        TRY(merge(&w, number, lane));
    }
    for (unsigned stream = 0; stream < 1 + LANES; stream++)
        for (unsigned at = 0; at < WINDOW; at++) {
            broker_steps(now, number, stream, at);
            TRY(ack(&w, number, stream, at));
        }
#undef TRY
}
