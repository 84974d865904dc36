/* The relay's core between fakes that a test scripts by hand: every op writes one word into `said`,
 * every answer is a call in the test. Time moves only when the test says so. Header only. */
#ifndef OUTBOXD_TESTS_UNIT_RELAY_SCRIPT_H
#define OUTBOXD_TESTS_UNIT_RELAY_SCRIPT_H

#include "relay/relay.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TOPICS 4

struct script {
    struct relay *relay;
    struct relay_params params;
    struct route_table routes;
    uint64_t now;
    uint64_t wake; /* 0: never */
    struct str said;
    struct trouble told;
    int32_t partitions[TOPICS]; /* as main's producer knows them ... */
    int32_t lane_partitions;    /* ... and those of lanes, of any topic */
    int send_rc;
    struct send_refusal send_refusal;
    bool reset_fails;
    bool learns; /* diagnose */
    enum refusal learnt;
    bool lease_by_hand; /* renewals are said, and answered by the test; else pass_ms answers them */
    bool renewing;
    bool stores_answered; /* by pass_ms, and not said */
    bool storing;
    uint64_t stored_events; /* of the last store */
    bool paused;            /* what pass_ms answers */
    struct trouble parked;  /* of the last change */
    unsigned notes[RELAY_NOTE_STOPPED + 1];
};

static struct script script;

static inline const char *slice_text(struct slice s)
{
    return s.ptr == NULL ? "" : s.ptr;
}

#define SAY(...) str_printf(&script.said, __VA_ARGS__)

/* What another stream than main's asks for begins with its number. */
static inline const char *of(uint32_t stream)
{
    static char text[16];

    if (stream == MAIN_STREAM)
        return "";
    (void)snprintf(text, sizeof text, "%u:", stream);
    return text;
}

/* ---- the ops ---- */

static inline void say_open(void *ctx)
{
    (void)ctx;
    SAY("open ");
}

static inline void say_close(void *ctx)
{
    (void)ctx;
    SAY("close ");
}

static inline void say_take(void *ctx, enum take_mode mode, int64_t epoch, int64_t beat)
{
    (void)ctx;
    if (mode == TAKE_IF_UNCHANGED)
        SAY("take-unchanged(%lld,%lld) ", (long long)epoch, (long long)beat);
    else
        SAY(mode == TAKE_OWN ? "take-own " : "take-free ");
}

static inline void say_renew(void *ctx, int64_t epoch)
{
    (void)ctx;
    script.renewing = true;
    if (script.lease_by_hand)
        SAY("renew(%lld) ", (long long)epoch);
}

static inline void say_store(void *ctx, int64_t epoch, const struct store_request *q)
{
    const struct position *p = q->position;

    (void)ctx;
    (void)epoch;
    script.stored_events = q->events;
    script.storing = q->lane == 0;
    if (q->lane == 0 && script.stores_answered)
        return;
    if (q->lane != 0)
        SAY("%u:", q->lane);
    SAY("store%s(%s|%s|%lld) ", q->synchronously ? "-sync" : "", str_text(&p->base),
        str_text(&p->target), (long long)p->last_id);
}

/* Which lane, where it stands, and what else matters: what a split covers, why a try failed. */
static inline void say_change(void *ctx, int64_t epoch, const struct lane_change *c)
{
    static const char *const words[] = {[CHANGE_SPLIT] = "split",
                                        [CHANGE_FAIL] = "fail",
                                        [CHANGE_SKIP] = "skip",
                                        [CHANGE_MERGE] = "merge"};
    const struct position *p = c->position;

    (void)ctx;
    (void)epoch;
    if (c->trouble != NULL)
        script.parked = *c->trouble;
    script.stored_events = c->events;
    SAY("%s(%u ", words[c->kind], c->lane);
    if (c->kind == CHANGE_SPLIT)
        SAY("from %u by %s %.*s/%.*s ", c->from, lane_by_name(c->filter->by),
            (int)c->filter->topic.len, slice_text(c->filter->topic), (int)c->filter->key.len,
            slice_text(c->filter->key));
    if (c->kind == CHANGE_FAIL)
        SAY("%s, row %lld, attempt %u, ", c->trouble->cause, (long long)c->trouble->row_id,
            c->trouble->attempts);
    if (c->kind == CHANGE_SKIP)
        SAY("row %lld to %s ", (long long)c->trouble->row_id,
            c->dead_letter_topic == NULL ? "nowhere" : c->dead_letter_topic);
    SAY("at %s|%s|%lld) ", str_text(&p->base), str_text(&p->target), (long long)p->last_id);
}

static inline void say_release(void *ctx)
{
    (void)ctx;
    SAY("release ");
}

static inline void say_tell(void *ctx, int64_t epoch, const struct trouble *t)
{
    (void)ctx;
    (void)epoch;
    script.told = *t;
    SAY("tell(%s%s) ", t->cause, t->halted ? "!" : "");
}

static inline void say_poll(void *ctx, const struct str *base, uint32_t rows, size_t bytes)
{
    (void)ctx;
    (void)bytes;
    SAY("poll(%s,%u) ", str_text(base), rows);
}

static inline void say_probe(void *ctx, uint32_t stream, const struct position *p, uint32_t few)
{
    (void)ctx;
    (void)few;
    SAY("%sprobe(%s|%s|%lld) ", of(stream), str_text(&p->base), str_text(&p->target),
        (long long)p->last_id);
}

static inline void say_page(void *ctx, uint32_t stream, const struct page_request *q)
{
    (void)ctx;
    if ((stream == MAIN_STREAM) != (q->filter == NULL))
        fail_msg("a page of a lane has a filter, and no other");
    SAY("%spage(%s|%s|%lld,from %lld%s,%u) ", of(stream), str_text(&q->position->base),
        str_text(&q->position->target), (long long)q->position->last_id, (long long)q->new_from,
        q->many_new ? " many" : "", q->max_rows);
}

static inline void say_resume(void *ctx, uint32_t stream)
{
    (void)ctx;
    SAY("%sresume ", of(stream));
}

static inline void say_drop(void *ctx, uint32_t stream)
{
    (void)ctx;
    SAY("%sdrop ", of(stream));
}

static inline void say_rest(void *ctx)
{
    (void)ctx;
    SAY("rest ");
}

static inline void say_arm(void *ctx, uint32_t bell)
{
    (void)ctx;
    SAY("arm(%u) ", bell);
}

static inline void say_disarm(void *ctx, uint32_t bell)
{
    (void)ctx;
    SAY("disarm(%u) ", bell);
}

static const struct source_ops script_source = {
    .open = say_open,
    .close = say_close,
    .take = say_take,
    .renew = say_renew,
    .store = say_store,
    .change = say_change,
    .release = say_release,
    .tell = say_tell,
    .poll = say_poll,
    .probe = say_probe,
    .page = say_page,
    .resume = say_resume,
    .drop_rest = say_drop,
    .rest = say_rest,
    .arm = say_arm,
    .disarm = say_disarm,
};

static inline void say_topic(void *ctx, uint32_t stream, uint32_t topic, const char *name)
{
    (void)ctx;
    assert_true(topic < TOPICS);
    SAY("%stopic(%u,%s) ", of(stream), topic, name);
}

static inline int32_t tell_partitions(void *ctx, uint32_t stream, uint32_t topic)
{
    (void)ctx;
    return stream == MAIN_STREAM ? script.partitions[topic] : script.lane_partitions;
}

static inline int say_send(void *ctx, uint32_t stream, const struct sending *to,
                           const struct message *m, struct send_refusal *why)
{
    (void)ctx;
    (void)m;
    if (script.send_rc != 0) {
        *why = script.send_refusal;
        SAY("%ssend-refused ", of(stream));
        return script.send_rc;
    }
    SAY("%ssend(%u/%d,%llu) ", of(stream), to->topic, (int)to->partition,
        (unsigned long long)to->seq);
    return 0;
}

static inline int say_reset(void *ctx, uint32_t stream, struct err *err)
{
    (void)ctx;
    if (stream == MAIN_STREAM)
        memset(script.partitions, 0, sizeof script.partitions);
    if (script.reset_fails) {
        SAY("%sreset-fails ", of(stream));
        return err_set(err, ERR_UNAVAILABLE, "no producer");
    }
    SAY("%sreset ", of(stream));
    return 0;
}

static inline void say_end(void *ctx, uint32_t stream)
{
    (void)ctx;
    SAY("%send ", of(stream));
}

static inline bool say_diagnose(void *ctx, uint32_t stream, const struct sending *what,
                                struct err *err, enum refusal *cause)
{
    (void)ctx;
    SAY("%sdiagnose(%d) ", of(stream), (int)what->topic);
    if (script.learns) {
        *cause = script.learnt;
        (void)err_set(err, ERR_UNAVAILABLE, "learnt");
    }
    return script.learns;
}

static const struct sink_ops script_sink = {
    .topic = say_topic,
    .partitions = tell_partitions,
    .send = say_send,
    .reset = say_reset,
    .close = say_end,
    .diagnose = say_diagnose,
};

static inline uint64_t script_now(void *ctx)
{
    (void)ctx;
    return script.now;
}

static inline int64_t script_wall(void *ctx)
{
    (void)ctx;
    return (int64_t)script.now * 1000;
}

static inline uint32_t script_random(void *ctx)
{
    (void)ctx;
    return 0; /* pauses are half of their longest */
}

static inline void script_wake(void *ctx, uint64_t at_ms)
{
    (void)ctx;
    script.wake = at_ms;
}

static inline void script_note(void *ctx, enum relay_note note, const struct trouble *trouble)
{
    (void)ctx;
    (void)trouble;
    script.notes[note]++;
}

static const struct host_ops script_host = {
    .now_ms = script_now,
    .wall_us = script_wall,
    .random = script_random,
    .wake_at = script_wake,
    .note = script_note,
};

/* ---- life, time, expectation ---- */

static inline int script_setup(void **state)
{
    (void)state;
    memset(&script, 0, sizeof script);
    script.now = 1000;
    script.params = (struct relay_params){
        .routes = &script.routes,
        .window_events = 100,
        .window_bytes = 1U << 20,
        .lease_ttl_ms = 10000,
        .shutdown_timeout_ms = 4000,
        .stall_after_ms = 5000,
        .wakeup = WAKEUP_DOORBELL,
        .poll_max_ms = 100,
        .fallback_ms = 1000,
        .quiet_ms = 30,
    };
    route_table_init(&script.routes);
    script.routes.routes[0].on_error = ON_ERROR_HALT;
    return 0;
}

static inline void script_begin(void)
{
    const struct relay_world world = {
        .source = &script_source, .sink = &script_sink, .host = &script_host};

    script.relay = relay_new(&script.params, &world);
}

static inline int script_teardown(void **state)
{
    (void)state;
    relay_free(script.relay);
    route_table_release(&script.routes);
    str_release(&script.said);
    return 0;
}

/* What the core has asked for since the last time, and nothing else. */
static inline void expect_at(const char *want, const char *file, int line)
{
    relay_check(script.relay);
    if (strcmp(str_text(&script.said), want) != 0) {
        (void)fprintf(stderr, "got  %s\nwant %s\n", str_text(&script.said), want);
        _fail(file, line);
    }
    str_reset(&script.said);
}

#define expect(want) expect_at((want), __FILE__, __LINE__)

static inline void forget_said(void)
{
    relay_check(script.relay);
    str_reset(&script.said);
}

/* Moves time on, with every wake-up that comes in between. */
static inline void pass_ms(uint64_t ms)
{
    uint64_t until = script.now + ms;
    unsigned turns = 0;

    while (script.wake != 0 && script.wake <= until) {
        assert_true(turns++ < 20000); /* else it spins */
        if (script.wake > script.now)
            script.now = script.wake;
        script.wake = 0;
        relay_tick(script.relay);
        if (script.renewing && !script.lease_by_hand)
            relay_on_renewed(script.relay, script.paused ? LEASE_PAUSED : LEASE_OURS);
        script.renewing = false;
        if (script.storing && script.stores_answered)
            relay_on_stored(script.relay, 0, script.paused ? LEASE_PAUSED : LEASE_OURS);
        script.storing = false;
        relay_check(script.relay);
    }
    script.now = until;
}

/* ---- answers ---- */

static inline void answer_lease(const struct lease_view *v)
{
    relay_on_lease(script.relay, v);
}

/* The lease is ours: epoch, and base|target|last_id. */
static inline void grant(int64_t epoch, const char *base, const char *target, int64_t last_id)
{
    struct lease_view v = {.ours = true, .epoch = epoch, .beat = epoch};

    str_set(&v.position.base, base);
    str_set(&v.position.target, target);
    v.position.last_id = last_id;
    relay_on_lease(script.relay, &v);
    str_release(&v.position.base);
    str_release(&v.position.target);
}

static inline enum row_verdict row_to(uint32_t stream, int64_t id, const char *type,
                                      const char *topic, const char *key)
{
    struct event e = {
        .id = id,
        .aggregate_type = slice_of(type),
        .aggregate_id = slice_of(key),
        .event_type = SLICE_LIT("happened"),
        .event_version = SLICE_LIT("1.0"),
        .payload = SLICE_LIT("{}"),
        .topic = slice_of(topic),
    };

    e.event_id[15] = (uint8_t)id;
    return relay_on_row(script.relay, stream, &e);
}

static inline enum row_verdict row_of_key(int64_t id, const char *type, const char *topic,
                                          const char *key)
{
    return row_to(MAIN_STREAM, id, type, topic, key);
}

static inline enum row_verdict row_of(int64_t id, const char *type, const char *topic)
{
    return row_of_key(id, type, topic, "k");
}

static inline enum row_verdict row(int64_t id)
{
    return row_of(id, "a", NULL);
}

/* A row that can never become a message: its topic is no legal name. */
static inline enum row_verdict bad_row(int64_t id)
{
    return row_of(id, "a", "not a topic");
}

static inline void batch(const char *snapshot, bool complete)
{
    relay_on_batch(script.relay, slice_of(snapshot), complete);
}

static inline void fetched(uint32_t rows, bool dropped)
{
    relay_on_fetched(script.relay, MAIN_STREAM,
                     &(struct fetched){.rows = rows, .dropped = dropped});
}

/* A look that finds nothing. */
static inline void nothing(const char *snapshot)
{
    batch(snapshot, true);
    fetched(0, false);
}

static inline void ack(uint64_t seq)
{
    relay_on_acked(script.relay, MAIN_STREAM, seq, 0);
}

static inline void refuse(uint64_t seq, enum refusal why)
{
    relay_on_refused(script.relay, MAIN_STREAM, seq, why, "refused");
}

/* From nothing to the first look, as holder of epoch 1 with everything in 10:10: settled. */
static inline void lead(void)
{
    script_begin();
    relay_start(script.relay);
    relay_on_opened(script.relay);
    grant(1, "10:10:", "", 0);
    forget_said();
}

/* One row through the topic's opening: partition 0 of topic 0 is open afterwards, all is stored. */
static inline void open_topic(void)
{
    lead();
    batch("11:11:", true);
    assert_int_equal(row(1), ROW_TAKEN);
    fetched(1, false);
    script.partitions[0] = 1;
    ack(0);
    pass_ms(100);
    relay_on_stored(script.relay, 0, LEASE_OURS);
    pass_ms(900);
    forget_said();
}

#endif
