/* The operator's side of lanes on a real Postgres: what is listed, retry, skip, the way back of
 * migration 0005, and rebase. */
#include "../support/check.h"
#include "one_pg.h"

#include "outbox/admin_lanes.h"

#include <stdlib.h>

#define assert_fails(call, part)                                                                   \
    do {                                                                                           \
        assert_int_equal((call), -1);                                                              \
        assert_int_equal(err.kind, ERR_CONFIG);                                                    \
        assert_contains(err.text, part);                                                           \
    } while (0)

static struct pg_url url;
static struct command_server server;
static struct route_table routes;
static struct err err;

#define BATCH "base = '1:1:', target = pg_current_snapshot()"

/* Five events of three keys, main and a lane of each kind in the midst of them. */
static void begin(void)
{
    pg_exec(db, "SELECT outbox.rebase('orders', 'beginning'); TRUNCATE outbox.event; DELETE FROM "
                "outbox.dead; ALTER TABLE outbox.event ALTER id RESTART");
    for (int i = 0; i < 5; i++)
        pg_exec(db, "SELECT outbox.publish('order', 'k%d', 'e', '{}')", i % 3);
    pg_exec(db,
            "INSERT INTO outbox.lane (relay, id, filter, topic, key, partition, partitions, "
            "routes, base, cause, error, row_id, since) VALUES"
            "('orders', 1, 'key', 'order-events', 'k0', NULL, NULL, 0, '1:1:', "
            "'message_too_large', 'big', 1, now()),"
            "('orders', 2, 'topic', 'order-events', NULL, NULL, NULL, 0, '1:1:', NULL, NULL, 2, "
            "NULL),"
            "('orders', 7, 'partition', 'order-events', NULL, 0, 3, 0, '1:1:', "
            "'partition_gone', 'gone', 3, now())");
    pg_exec(db, "UPDATE outbox.lane SET " BATCH);
}

static size_t give_up(uint32_t lane, int64_t row_id)
{
    size_t done = 99;

    assert_ok(admin_skip(&server, &(struct admin_wish){"orders", "me", "for a reason"},
                         &(struct admin_skip){lane, row_id}, 1, &done, &err),
              &err);
    return done;
}

static int64_t epoch(void)
{
    return pg_int(db, "SELECT epoch FROM outbox.relay");
}

static void test_list(void **state)
{
    struct admin_lanes l;
    size_t done;

    (void)state;
    begin();
    assert_ok(admin_retry(&server, &(struct admin_wish){.relay = "orders", .by_whom = "me"},
                          (const uint32_t[]){7, 8}, 2, &done, &err),
              &err);
    assert_int_equal(done, 1);
    assert_ok(admin_lanes(&server, "orders", &routes, 2, &l, &err), &err);
    assert_int_equal(l.count, 3);
    assert_false(l.halted);
    assert_int_equal(l.lane[0].id, 1);
    assert_int_equal(l.lane[0].by, LANE_BY_KEY);
    assert_string_equal(str_text(&l.lane[0].key), "k0");
    assert_string_equal(l.lane[0].trouble.cause, "message_too_large");
    assert_int_equal(l.lane[0].trouble.row_id, 1);
    assert_true(l.lane[0].oldest_s >= 0 && l.lane[0].trouble_s >= 0 && l.lane[0].made_s >= 0);
    assert_int_equal(l.lane[0].waiting, 2);
    assert_false(l.lane[0].waiting_capped);
    assert_int_equal(l.lane[1].waiting, 5);
    assert_true(l.lane[1].trouble_s < 0);
    assert_int_equal(l.lane[2].partition, 0);
    assert_int_equal(l.lane[2].waiting, -1);
    assert_true(l.lane[2].asked);
    assert_string_equal(str_text(&l.lane[2].asked_by), "me");
    admin_lanes_release(&l);
    assert_fails(admin_lanes(&server, "nobody", NULL, 0, &l, &err), "nobody");
    admin_lanes_release(&l);
    assert_fails(
        admin_retry(&server, &(struct admin_wish){.relay = "nobody"}, NULL, 0, &done, &err),
        "nobody");
}

static void test_counting(void **state)
{
    struct admin_lanes l;

    (void)state;
    begin();
    /* one settled, three in the batch, and then what came later */
    pg_exec(db, "UPDATE outbox.lane SET last_id = 1");
    pg_exec(db, "SELECT outbox.publish('order', 'k0', 'e', '{}')");
    assert_ok(admin_lanes(&server, "orders", &routes, 9, &l, &err), &err);
    assert_int_equal(l.lane[0].waiting, 2);
    assert_int_equal(l.lane[1].waiting, 5);
    admin_lanes_release(&l);
    pg_exec(db,
            "INSERT INTO outbox.event (aggregate_type, aggregate_id, event_type) SELECT 'order', "
            "'x', 'e' FROM generate_series(1, 10001)");
    assert_ok(admin_lanes(&server, "orders", &routes, 9, &l, &err), &err);
    assert_int_equal(l.lane[0].waiting, 2);
    assert_int_equal(l.lane[1].waiting, ADMIN_LANE_COUNT);
    assert_true(l.lane[1].waiting_capped);
    admin_lanes_release(&l);
}

static void test_skip(void **state)
{
    int64_t before;

    (void)state;
    begin();
    before = epoch();
    assert_int_equal(give_up(1, 1), 1);
    assert_int_equal(epoch(), before + 1);
    assert_string_equal(
        pg_scalar(db, "SELECT concat_ws(' ', last_id, coalesce(cause, '-'), coalesce(row_id, 0), "
                      "attempts) FROM outbox.lane WHERE id = 1"),
        "1 - 0 0");
    assert_string_equal(pg_scalar(db,
                                  "SELECT concat_ws(' ', row_id, topic, cause, error, lane, key, "
                                  "reason, by_whom) FROM outbox.dead"),
                        "1 order-events message_too_large big 1 k0 for a reason me");
    assert_int_equal(pg_int(db, "SELECT (d.event_id = e.event_id)::integer FROM outbox.dead d JOIN "
                                "outbox.event e ON e.id = d.row_id"),
                     1);
    assert_int_equal(give_up(1, 1), 0); /* again: it is not the next any more */
    assert_int_equal(epoch(), before + 1);
}

static void test_what_is_not_skipped(void **state)
{
    static const char *const spoil[] = {
        "UPDATE outbox.lane SET row_id = 4 WHERE id = 1",  /* the lane has gone on */
        "UPDATE outbox.lane SET last_id = 1 WHERE id = 1", /* it is settled */
        "UPDATE outbox.lane SET base = target WHERE id = 1",
        "UPDATE outbox.lane SET target = NULL WHERE id = 1",
        "UPDATE outbox.lane SET target = '1:1:' WHERE id = 1", /* not in the batch */
        "DELETE FROM outbox.event WHERE id = 1",
        "DELETE FROM outbox.lane WHERE id = 1",
    };
    int64_t before;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(spoil); i++) {
        begin();
        before = epoch();
        pg_exec(db, "%s", spoil[i]);
        CHECK(give_up(1, 1) == 0, "skipped after %s", spoil[i]);
        assert_int_equal(epoch(), before);
        assert_int_equal(pg_int(db, "SELECT count(*) FROM outbox.dead"), 0);
    }
}

static void test_skip_several(void **state)
{
    const struct admin_skip skips[] = {{1, 1}, {2, 9}, {7, 3}};
    int64_t before;
    size_t done;

    (void)state;
    begin();
    before = epoch();
    assert_ok(admin_skip(&server, &(struct admin_wish){.relay = "orders", .by_whom = "me"}, skips,
                         3, &done, &err),
              &err);
    assert_int_equal(done, 2);
    assert_int_equal(epoch(), before + 1);
    assert_int_equal(pg_int(db, "SELECT count(*) FROM outbox.dead"), 2);
    assert_int_equal(pg_int(db, "SELECT last_id FROM outbox.lane WHERE id = 2"), 0);
    assert_int_equal(pg_int(db, "SELECT last_id FROM outbox.lane WHERE id = 7"), 3);
}

static void test_skip_of_a_halted_relay(void **state)
{
    struct admin_lanes l;

    (void)state;
    begin();
    pg_exec(db, "UPDATE outbox.relay SET trouble_cause = 'event_invalid', trouble_row_id = 2, "
                "trouble_topic = 'order-events'");
    assert_int_equal(give_up(0, 2), 0); /* it is not halted */
    pg_exec(db, "UPDATE outbox.relay SET trouble_halted = true");
    assert_ok(admin_lanes(&server, "orders", NULL, 0, &l, &err), &err);
    assert_true(l.halted);
    assert_int_equal(l.trouble.row_id, 2);
    admin_lanes_release(&l);
    assert_int_equal(give_up(0, 3), 0);
    assert_int_equal(give_up(0, 2), 1);
    assert_int_equal(pg_int(db, "SELECT given_up FROM outbox.lane WHERE id = 0"), 2);
    assert_int_equal(pg_int(db, "SELECT last_id FROM outbox.lane WHERE id = 0"), 0);
    assert_string_equal(pg_scalar(db, "SELECT concat_ws(' ', row_id, topic, cause, lane, key) FROM "
                                      "outbox.dead"),
                        "2 order-events event_invalid 0 k1");
    assert_int_equal(pg_int(db, "SELECT trouble_halted::integer FROM outbox.relay"), 0);
    pg_exec(db, "SELECT outbox.rebase('orders', 'now')");
    assert_int_equal(pg_int(db, "SELECT count(*) FROM outbox.lane WHERE given_up IS NULL"), 1);
}

static void test_filters_are_whole(void **state)
{
    static const char *const wrong[] = {
        "'key', 't', NULL, NULL, NULL, 0",      "'partition', 't', NULL, 3, 3, 0",
        "'partition', 't', NULL, NULL, 3, 0",   "'topic', '', NULL, NULL, NULL, 0",
        "'topic', 't', NULL, NULL, NULL, NULL", "'other', 't', 'k', 1, 2, 0",
        "'partition', 't', NULL, -1, 3, 0"};

    (void)state;
    begin();
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        assert_string_equal(
            pg_expect_error(db, NULL,
                            "INSERT INTO outbox.lane (relay, id, filter, topic, key, partition, "
                            "partitions, routes, base) VALUES ('orders', 9, %s, '1:1:')",
                            wrong[i]),
            "23514");
}

static void run(const char *file)
{
    char path[PATH_SIZE];
    char log[PATH_SIZE];

    path_join(path, source_root(), file);
    path_join(log, tmp_root(), "psql.log");
    assert_int_equal(pg_psql(&pg, "postgres", path, NULL, log), 0);
}

static void test_there_and_back(void **state)
{
    char path[PATH_SIZE];
    char log[PATH_SIZE];
    char *held;

    (void)state;
    begin();
    path_join(path, source_root(), "sql/outbox/down/0005_lanes.down.sql");
    path_join(log, tmp_root(), "down.log");
    assert_int_not_equal(pg_psql(&pg, "postgres", path, NULL, log), 0);
    pg_exec(db, "DELETE FROM outbox.lane WHERE id > 0");
    run("sql/outbox/down/0005_lanes.down.sql");
    assert_int_equal(pg_int(db, "SELECT max(version) FROM outbox.migration"), 4);
    held = strdup(pg_scalar(db, "SELECT md5(prosrc) FROM pg_proc WHERE proname = 'held_by'"));
    run("sql/outbox/0003_retention.up.sql");
    assert_string_equal(pg_scalar(db, "SELECT md5(prosrc) FROM pg_proc WHERE proname = 'held_by'"),
                        held);
    free(held);
    run("sql/outbox/0005_lanes.up.sql");
    run("sql/outbox/0005_lanes.up.sql");
    begin();
}

static int setup(void **state)
{
    (void)setup_pg(state);
    route_table_init(&routes);
    url = pg_url(&pg, "relay", "postgres");
    server.url = url.text;
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
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_counting),
        cmocka_unit_test(test_skip),
        cmocka_unit_test(test_what_is_not_skipped),
        cmocka_unit_test(test_skip_several),
        cmocka_unit_test(test_skip_of_a_halted_relay),
        cmocka_unit_test(test_filters_are_whole),
        cmocka_unit_test(test_there_and_back),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
