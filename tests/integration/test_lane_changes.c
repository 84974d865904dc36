/* What the relay writes about lanes, on a real Postgres: each change, what a takeover reads of it,
 * and that nothing is written by who does not hold the lease any more. */
#include "../support/check.h"
#include "../support/source_user.h"
#include "one_pg.h"

#include <stdlib.h>

static struct route_table routes;

static void open_relay(struct source_user *u)
{
    struct pg_url url = pg_url(&pg, "relay", "postgres");
    struct outbox_params params = source_user_params(url.text);

    params.routes = &routes;
    source_user_init(u, &params);
    source_user_open(u);
}

/* A relay as new, taken by `u`. */
static void begin(struct source_user *u)
{
    pg_exec(db, "SELECT outbox.rebase('orders', 'beginning')");
    pg_exec(db, "UPDATE outbox.relay SET holder = NULL, paused_at = NULL, last_lane = 0");
    pg_exec(db, "DELETE FROM outbox.dead");
    open_relay(u);
    assert_true(source_user_take(u, TAKE_IF_FREE, 0, 0)->ours);
}

static const struct lane_filter by_key = {
    .by = LANE_BY_KEY, .topic = {"order-events", 12}, .key = {"it's \\ 4711", 11}};
static const struct lane_filter by_topic = {.by = LANE_BY_TOPIC, .topic = {"order-events", 12}};
static const struct lane_filter by_partition = {
    .by = LANE_BY_PARTITION, .topic = {"t", 1}, .partition = 3, .partitions = 6};

static const struct trouble poison = {.cause = "message_too_large",
                                      .text = "it's too large",
                                      .event_id = "01000000-0000-0000-0000-0000000000ff",
                                      .row_id = 8,
                                      .topic = "order-events",
                                      .attempts = 2,
                                      .next_try_ms = 60000};

static struct position at(const char *base, const char *target, int64_t last_id)
{
    static struct str texts[8];
    static unsigned next;
    struct position p = {.last_id = last_id};

    str_set(&texts[next % 8], base);
    p.base = texts[next++ % 8];
    str_set(&texts[next % 8], target);
    p.target = texts[next++ % 8];
    return p;
}

static enum lease_answer change(struct source_user *u, int64_t epoch, const struct lane_change *c)
{
    unsigned was = u->changes;

    SOURCE_OP(u, change(u->source, epoch, c));
    source_user_wait(u, &u->changes, was);
    return u->answer;
}

static enum lease_answer split(struct source_user *u, uint32_t lane, uint32_t from,
                               const struct lane_filter *filter)
{
    struct position p = at("10:20:15", "20:30:", 7);

    return change(u, u->view.epoch,
                  &(struct lane_change){.kind = CHANGE_SPLIT,
                                        .lane = lane,
                                        .from = from,
                                        .filter = filter,
                                        .trouble = &poison,
                                        .events = 5,
                                        .position = &p});
}

static enum lease_answer make(struct source_user *u, enum lane_change_kind kind, uint32_t lane,
                              const struct position *p)
{
    return change(u, u->view.epoch,
                  &(struct lane_change){.kind = kind,
                                        .lane = lane,
                                        .filter = &by_topic,
                                        .trouble = &poison,
                                        .dead_letter_topic = "dead",
                                        .events = 2,
                                        .position = p});
}

static enum lease_answer store(struct source_user *u, uint32_t lane, uint64_t events,
                               const struct position *p)
{
    unsigned was = u->stores;

    SOURCE_OP(u, store(u->source, u->view.epoch,
                       &(struct store_request){.lane = lane, .events = events, .position = p}));
    source_user_wait(u, &u->stores, was);
    assert_int_equal(u->stored_lane, lane);
    return u->answer;
}

/* What is stored, whole. */
static char *picture(void)
{
    return strdup(pg_scalar(
        db, "SELECT (SELECT json_agg(l ORDER BY l.id)::text FROM outbox.lane l WHERE relay = "
            "'orders') || coalesce((SELECT json_agg(d)::text FROM outbox.dead d), '')"));
}

static const char *lane_text(uint32_t lane)
{
    return pg_scalar(
        db,
        "SELECT concat_ws(' ', state, coalesce(cause, '-'), base, coalesce(target::text, "
        "'-'), last_id, published, attempts, coalesce(row_id, 0), asked_at IS NULL) "
        "FROM outbox.lane WHERE relay = 'orders' AND id = %u",
        lane);
}

/* ---- what is written, and read again ---- */

static void test_split_is_taken_over(void **state)
{
    struct source_user u;
    const struct lane_view *v;

    (void)state;
    begin(&u);
    assert_int_equal(u.view.last_lane, 0);
    assert_int_equal(u.view.lane_count, 0);
    assert_int_equal(split(&u, 1, 0, &by_key), LEASE_OURS);
    assert_int_equal(split(&u, 2, 0, &by_topic), LEASE_OURS);
    assert_int_equal(split(&u, 3, 2, &by_partition), LEASE_OURS);
    assert_string_equal(lane_text(0), "open - 10:20:15 20:30: 7 10 0 0 t");
    assert_string_equal(lane_text(1), "waiting message_too_large 10:20:15 20:30: 7 0 2 8 t");
    assert_string_equal(lane_text(2), "waiting message_too_large 10:20:15 20:30: 7 5 2 8 t");

    assert_true(source_user_take(&u, TAKE_OWN, 0, 0)->ours);
    assert_int_equal(u.view.last_lane, 3);
    assert_int_equal(u.view.lane_count, 3);
    assert_false(u.view.folded);
    v = &u.view.lanes[0];
    assert_int_equal(v->id, 1);
    assert_int_equal(v->filter.by, LANE_BY_KEY);
    assert_true(slice_is(v->filter.topic, "order-events"));
    assert_true(slice_is(v->filter.key, "it's \\ 4711"));
    assert_string_equal(str_text(&v->position.base), "10:20:15");
    assert_string_equal(str_text(&v->position.target), "20:30:");
    assert_int_equal(v->position.last_id, 7);
    assert_string_equal(v->trouble.cause, poison.cause);
    assert_string_equal(v->trouble.text, poison.text);
    assert_string_equal(v->trouble.event_id, poison.event_id);
    assert_int_equal(v->trouble.row_id, 8);
    assert_int_equal(v->trouble.attempts, 2);
    assert_int_equal(v->trouble.lane, 1);
    assert_in_range(v->trouble.next_try_ms, 1, 60000);
    assert_false(v->asked);
    v = &u.view.lanes[2];
    assert_int_equal(v->filter.by, LANE_BY_PARTITION);
    assert_int_equal(v->filter.partition, 3);
    assert_int_equal(v->filter.partitions, 6);
    source_user_release(&u);
}

static void test_life_of_a_lane(void **state)
{
    struct source_user u;
    struct position p;

    (void)state;
    begin(&u);
    assert_int_equal(split(&u, 1, 0, &by_key), LEASE_OURS);

    pg_exec(db, "SELECT outbox.retry_lanes('orders', ARRAY[1, 9], 'me')");
    assert_true(source_user_renew(&u, u.view.epoch));
    assert_int_equal(u.asked_count, 1);
    assert_int_equal(u.asked_lane, 1);
    p = at("10:20:15", "", 8);
    assert_int_equal(make(&u, CHANGE_FAIL, 1, &p), LEASE_OURS);
    assert_string_equal(lane_text(1), "waiting message_too_large 10:20:15 - 8 2 2 8 t");
    u.asked_count = 0;
    assert_true(source_user_renew(&u, u.view.epoch));
    assert_int_equal(u.asked_count, 0);

    /* a position alone changes nothing else; acknowledged events do */
    assert_int_equal(store(&u, 1, 0, &p), LEASE_OURS);
    assert_string_equal(lane_text(1), "waiting message_too_large 10:20:15 - 8 2 2 8 t");
    assert_int_equal(make(&u, CHANGE_SKIP, 1, &p), LEASE_OURS);
    assert_string_equal(lane_text(1), "waiting - 10:20:15 - 8 4 0 0 t");
    assert_string_equal(pg_scalar(db,
                                  "SELECT concat_ws(' ', row_id, event_id, topic, cause, error, "
                                  "attempts, lane, dead_letter_topic, by_whom) FROM outbox.dead"),
                        "8 01000000-0000-0000-0000-0000000000ff order-events message_too_large "
                        "it's too large 2 1 dead");
    assert_int_equal(make(&u, CHANGE_FAIL, 1, &p), LEASE_OURS);
    pg_exec(db, "SELECT outbox.retry_lanes('orders', ARRAY[1], 'me')");
    p = at("20:30:", "", 0);
    assert_int_equal(store(&u, 1, 3, &p), LEASE_OURS);
    assert_string_equal(lane_text(1), "flowing - 20:30: - 0 9 0 0 t");
    assert_int_equal(make(&u, CHANGE_MERGE, 1, &p), LEASE_OURS);
    assert_string_equal(lane_text(0), "open - 20:30: - 0 16 0 0 t");
    assert_int_equal(pg_int(db, "SELECT count(*) FROM outbox.lane"), 1);
    assert_int_equal(pg_int(db, "SELECT last_lane FROM outbox.relay"), 1);
    source_user_release(&u);
}

static void test_the_same_trouble_keeps_its_time(void **state)
{
    struct source_user u;
    struct position p = at("10:20:15", "", 8);
    struct trouble other = poison;
    const char *since = "SELECT (since < clock_timestamp() - interval '1 day')::integer FROM "
                        "outbox.lane WHERE id = 1";

    (void)state;
    begin(&u);
    assert_int_equal(split(&u, 1, 0, &by_key), LEASE_OURS);
    pg_exec(db, "UPDATE outbox.lane SET since = since - interval '2 days' WHERE id = 1");
    assert_int_equal(make(&u, CHANGE_FAIL, 1, &p), LEASE_OURS);
    assert_int_equal(pg_int(db, "%s", since), 1);
    (void)snprintf(other.cause, sizeof other.cause, "message_invalid");
    assert_int_equal(change(&u, u.view.epoch,
                            &(struct lane_change){
                                .kind = CHANGE_FAIL, .lane = 1, .trouble = &other, .position = &p}),
                     LEASE_OURS);
    assert_int_equal(pg_int(db, "%s", since), 0);
    source_user_release(&u);
}

/* ---- who may ---- */

static void nothing_may_be_written(struct source_user *u, uint32_t lane)
{
    struct position p = at("77:77:", "", 0);
    char *before = picture();
    char *after;

    for (int kind = CHANGE_SPLIT; kind <= CHANGE_MERGE; kind++)
        CHECK((kind == CHANGE_SPLIT ? split(u, 9, lane, &by_key)
                                    : make(u, (enum lane_change_kind)kind, lane, &p)) == LEASE_LOST,
              "change %d was made", kind);
    assert_int_equal(store(u, lane, 1, &p), LEASE_LOST);
    after = picture();
    assert_string_equal(after, before);
    free(before);
    free(after);
}

static void test_lost_leases(void **state)
{
    struct source_user u;

    (void)state;
    begin(&u);
    assert_int_equal(split(&u, 1, 0, &by_key), LEASE_OURS);
    nothing_may_be_written(&u, 5); /* there is no such lane */
    pg_exec(db, "UPDATE outbox.relay SET epoch = epoch + 1");
    nothing_may_be_written(&u, 1);
    pg_exec(db, "UPDATE outbox.relay SET epoch = epoch - 1, holder = gen_random_uuid()");
    nothing_may_be_written(&u, 1);
    pg_exec(db, "UPDATE outbox.relay SET holder = NULL");
    nothing_may_be_written(&u, 1);
    source_user_release(&u);
}

static void test_paused(void **state)
{
    struct source_user u;
    struct position p = at("10:20:15", "", 8);

    (void)state;
    begin(&u);
    pg_exec(db, "SELECT outbox.pause('orders')");
    assert_int_equal(split(&u, 1, 0, &by_key), LEASE_PAUSED);
    assert_int_equal(make(&u, CHANGE_FAIL, 1, &p), LEASE_PAUSED);
    assert_int_equal(make(&u, CHANGE_SKIP, 1, &p), LEASE_PAUSED);
    assert_int_equal(store(&u, 1, 1, &p), LEASE_PAUSED);
    assert_int_equal(make(&u, CHANGE_MERGE, 1, &p), LEASE_PAUSED);
    source_user_release(&u);
}

/* A takeover that has the row but has not committed: each change waits, and then sees it. */
static void test_a_takeover_in_between(void **state)
{
    struct source_user u;
    struct position p = at("77:77:", "", 0);
    PGconn *other = pg_open(&pg, "postgres");

    (void)state;
    for (int kind = CHANGE_SPLIT; kind <= CHANGE_MERGE; kind++) {
        struct lane_change c = {.kind = (enum lane_change_kind)kind,
                                .lane = kind == CHANGE_SPLIT ? 2 : 1,
                                .filter = &by_topic,
                                .trouble = &poison,
                                .position = &p};
        unsigned was;
        char *before;
        char *after;

        begin(&u);
        assert_int_equal(split(&u, 1, 0, &by_key), LEASE_OURS);
        before = picture();
        was = u.changes;
        pg_exec(other, "BEGIN; UPDATE outbox.relay SET epoch = epoch + 1");
        SOURCE_OP(&u, change(u.source, u.view.epoch, &c));
        WAIT_UNTIL((source_user_turn(&u, 5),
                    pg_int(db, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = "
                               "'Lock' AND application_name LIKE 'outboxd%%'") == 1),
                   10000);
        assert_int_equal(u.changes, was);
        pg_exec(other, "COMMIT");
        source_user_wait(&u, &u.changes, was);
        assert_int_equal(u.answer, LEASE_LOST);
        after = picture();
        assert_string_equal(after, before);
        free(before);
        free(after);
        source_user_release(&u);
    }
    PQfinish(other);
}

/* The other way round: a takeover waits for a split that has not committed, and reads its lane. */
static void test_a_takeover_waits_for_a_split(void **state)
{
    struct source_user u;
    PGconn *other = pg_open(&pg, "postgres");
    unsigned was;

    (void)state;
    begin(&u);
    was = u.leases;
    pg_exec(other,
            "BEGIN; UPDATE outbox.relay SET last_lane = 4;"
            "INSERT INTO outbox.lane (relay, id, filter, topic, routes, base)"
            " VALUES ('orders', 4, 'topic', 't', %lld, '5:5:')",
            (long long)(int64_t)route_table_mark(&routes));
    SOURCE_OP(&u, take(u.source, TAKE_OWN, 0, 0));
    source_user_turn(&u, 100);
    assert_int_equal(u.leases, was);
    pg_exec(other, "COMMIT");
    source_user_wait(&u, &u.leases, was);
    assert_true(u.view.ours);
    assert_int_equal(u.view.lane_count, 1);
    assert_int_equal(u.view.lanes[0].id, 4);
    assert_int_equal(u.view.last_lane, 4);
    source_user_release(&u);
    PQfinish(other);
}

static void test_who_only_looks_reads_no_lanes(void **state)
{
    struct source_user u, standby;

    (void)state;
    begin(&u);
    assert_int_equal(split(&u, 1, 0, &by_key), LEASE_OURS);
    open_relay(&standby);
    assert_false(source_user_take(&standby, TAKE_IF_FREE, 0, 0)->ours);
    assert_int_equal(standby.view.lane_count, 0);
    source_user_release(&standby);
    source_user_release(&u);
}

static void test_the_same_lane_twice_is_a_defect(void **state)
{
    struct source_user u;
    struct position p = at("10:20:15", "", 7);
    unsigned was;

    (void)state;
    begin(&u);
    assert_int_equal(split(&u, 1, 0, &by_key), LEASE_OURS);
    was = u.lost;
    SOURCE_OP(&u, change(u.source, u.view.epoch,
                         &(struct lane_change){.kind = CHANGE_SPLIT,
                                               .lane = 1,
                                               .filter = &by_topic,
                                               .trouble = &poison,
                                               .position = &p}));
    source_user_wait(&u, &u.lost, was);
    assert_contains(u.why.text, "23505");
    assert_string_equal(lane_text(1), "waiting message_too_large 10:20:15 20:30: 7 0 2 8 t");
    source_user_release(&u);
}

/* ---- other routes ---- */

static void test_other_routes_fold(void **state)
{
    struct source_user u;
    struct position p;

    (void)state;
    begin(&u);
    assert_int_equal(split(&u, 1, 0, &by_key), LEASE_OURS); /* 10:20:15 20:30: 7 */
    assert_int_equal(split(&u, 2, 0, &by_topic), LEASE_OURS);
    p = at("10:20:15", "20:30:", 5);
    assert_int_equal(make(&u, CHANGE_FAIL, 2, &p), LEASE_OURS);
    p = at("20:30:", "40:41:", 9);
    assert_int_equal(store(&u, 0, 3, &p), LEASE_OURS);
    pg_exec(db, "UPDATE outbox.lane SET routes = routes + 1 WHERE id = 2");
    /* both that are left in the earliest batch have read it up to 5 */
    assert_true(source_user_take(&u, TAKE_OWN, 0, 0)->ours);
    assert_true(u.view.folded);
    assert_int_equal(u.view.lane_count, 0);
    assert_int_equal(u.view.last_lane, 2);
    assert_string_equal(str_text(&u.view.position.base), "10:20:15");
    assert_string_equal(str_text(&u.view.position.target), "20:30:");
    assert_int_equal(u.view.position.last_id, 5);
    assert_string_equal(lane_text(0), "open - 10:20:15 20:30: 5 15 0 0 t");

    /* one has another batch from the same base: only the base counts */
    assert_int_equal(split(&u, 3, 0, &by_key), LEASE_OURS);
    assert_int_equal(split(&u, 4, 0, &by_topic), LEASE_OURS);
    p = at("10:20:15", "35:35:", 9);
    assert_int_equal(make(&u, CHANGE_FAIL, 4, &p), LEASE_OURS);
    pg_exec(db, "UPDATE outbox.lane SET routes = routes + 1 WHERE id = 3");
    assert_true(source_user_take(&u, TAKE_OWN, 0, 0)->folded);
    assert_string_equal(str_text(&u.view.position.base), "10:20:15");
    assert_int_equal(u.view.position.target.len, 0);
    assert_int_equal(u.view.position.last_id, 0);

    assert_false(source_user_take(&u, TAKE_OWN, 0, 0)->folded);
    source_user_release(&u);
}

/* ---- many, and a crash ---- */

static void test_many_are_read_quickly(void **state)
{
    struct source_user u;
    uint64_t began;

    (void)state;
    begin(&u);
    pg_exec(db,
            "INSERT INTO outbox.lane (relay, id, filter, topic, key, routes, base, error) SELECT "
            "'orders', g, 'key', 't', 'k' || g, %lld, '5:5:', repeat('x', 300) FROM "
            "generate_series(1, 256) g",
            (long long)(int64_t)route_table_mark(&routes));
    began = test_now_ms();
    assert_true(source_user_take(&u, TAKE_OWN, 0, 0)->ours);
    printf("# 256 lanes taken over in %llu ms\n", (unsigned long long)(test_now_ms() - began));
    assert_int_equal(u.view.lane_count, 256);
    assert_int_equal(u.view.lanes[255].id, 256);
    source_user_release(&u);
}

static void test_an_answer_means_on_disk(void **state)
{
    struct source_user u;
    struct position p = at("20:30:", "", 0);

    (void)state;
    begin(&u);
    for (int kind = CHANGE_SPLIT; kind <= CHANGE_MERGE; kind++) {
        char *before;
        char *after;

        assert_int_equal(kind == CHANGE_SPLIT ? split(&u, 1, 0, &by_key)
                                              : make(&u, (enum lane_change_kind)kind, 1, &p),
                         LEASE_OURS);
        before = picture();
        PQfinish(db);
        pg_crash(&pg);
        pg_start(&pg);
        db = pg_open(&pg, "postgres");
        after = picture();
        assert_string_equal(after, before);
        free(before);
        free(after);
        source_user_open(&u);
        assert_true(source_user_take(&u, TAKE_IF_FREE, 0, 0)->ours);
    }
    source_user_release(&u);
}

static int setup(void **state)
{
    (void)setup_pg(state);
    route_table_init(&routes);
    return 0;
}

static int teardown(void **state)
{
    (void)teardown_pg(state);
    route_table_release(&routes);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split_is_taken_over),
        cmocka_unit_test(test_life_of_a_lane),
        cmocka_unit_test(test_the_same_trouble_keeps_its_time),
        cmocka_unit_test(test_lost_leases),
        cmocka_unit_test(test_paused),
        cmocka_unit_test(test_a_takeover_in_between),
        cmocka_unit_test(test_a_takeover_waits_for_a_split),
        cmocka_unit_test(test_who_only_looks_reads_no_lanes),
        cmocka_unit_test(test_the_same_lane_twice_is_a_defect),
        cmocka_unit_test(test_other_routes_fold),
        cmocka_unit_test(test_many_are_read_quickly),
        cmocka_unit_test(test_an_answer_means_on_disk),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
