/* `outboxd parked` as a program, with a real Postgres and no relay beside it: what it lists, what
 * it asks, what it writes. The SQL beneath is in test_lane_sql.c. */
#include "../support/check.h"

#include "../support/outboxd.h"
#include "one_pg.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static struct outboxd outboxd;
static char out[OUTBOXD_OUT]; /* of the last command */

/* The command must end so; its output stays in `out`. */
static void runs(int code, const char *const *more)
{
    int rc = outboxd_command(&outboxd, "parked", more, out);

    CHECK(rc == code, "parked %s ended with %d, not %d: %s", more[0], rc, code, out);
}

static int64_t number(const char *sql)
{
    return pg_int(db, "%s", sql);
}

/* Five events of three keys, and a lane of each kind in the midst of them. */
static int begin(void **state)
{
    (void)state;
    pg_exec(db,
            "SELECT outbox.rebase('orders', 'beginning'); TRUNCATE outbox.event; DELETE FROM "
            "outbox.dead; DELETE FROM outbox.lane WHERE id > 0; ALTER TABLE outbox.event ALTER "
            "id RESTART; UPDATE outbox.relay SET trouble_halted = false, trouble_row_id = NULL");
    for (int i = 0; i < 5; i++)
        pg_exec(db, "SELECT outbox.publish('order', 'k\"%d', 'e', '{}')", i % 3);
    pg_exec(db,
            "INSERT INTO outbox.lane (relay, id, filter, topic, key, partition, partitions, "
            "routes, base, cause, error, row_id, since, attempts) VALUES"
            "('orders', 1, 'key', 'order-events', 'k\"0', NULL, NULL, 0, '1:1:', "
            "'message_too_large', 'it is big', 1, now(), 4),"
            "('orders', 2, 'topic', 'order-events', NULL, NULL, NULL, 0, '1:1:', 'topic_missing', "
            "'no such topic', 2, now(), 1),"
            "('orders', 7, 'partition', 'order-events', NULL, 0, 3, 0, '1:1:', "
            "'partition_gone', 'no leader', 3, now(), 2)");
    pg_exec(db, "UPDATE outbox.lane SET base = '1:1:', target = pg_current_snapshot()");
    pg_exec(db, "UPDATE outbox.lane SET event_id = e.event_id FROM outbox.event e WHERE e.id = "
                "row_id");
    return 0;
}

static void lists_and_shows(void **state)
{
    (void)state;
    runs(0, WORDS("list"));
    assert_contains(out, "relay orders: 3 lanes\n");
    assert_contains(out, "lane 1    key \"k\\\"0\" of topic order-events, made ");
    assert_contains(out, ": message_too_large (it is big), tried 4 times, again in ");
    assert_contains(out, "(row 1)\n          2 events wait, the oldest for ");
    assert_contains(out, "lane 7    partition 0 of topic order-events");
    runs(0, WORDS("show", "2"));
    assert_contains(out, "lane 2    topic order-events");
    assert_contains(out, "5 events wait");
    CHECK(strstr(out, "lane 1 ") == NULL, "%s", out);
    runs(64, WORDS("show", "3"));
    assert_contains(out, "there is no lane 3");
}

static void lists_as_json(void **state)
{
    json_t *doc;
    const json_t *lane;

    (void)state;
    runs(0, WORDS("list", "--json"));
    doc = json_loads(out, 0, NULL);
    CHECK(doc != NULL, "%s", out);
    assert_int_equal(json_array_size(json_object_get(doc, "lanes")), 3);
    lane = json_array_get(json_object_get(doc, "lanes"), 0);
    assert_string_equal(json_string_value(json_object_get(lane, "key")), "k\"0");
    assert_string_equal(json_string_value(json_object_get(lane, "by")), "key");
    assert_int_equal(json_integer_value(json_object_get(lane, "row_id")), 1);
    assert_int_equal(json_integer_value(json_object_get(lane, "waiting")), 2);
    assert_true(json_is_null(json_object_get(lane, "partition")));
    json_decref(doc);
}

/* Status tells of them, without keys. */
static void status_tells_of_lanes(void **state)
{
    json_t *doc;

    (void)state;
    assert_int_equal(outboxd_command(&outboxd, "status", NULL, out), 0);
    assert_contains(out, "lanes        wait: 1 key, 1 partition, 1 topic; see `outboxd parked");
    pg_exec(db, "UPDATE outbox.lane SET state = 'flowing', cause = NULL WHERE id = 2");
    assert_int_equal(outboxd_command(&outboxd, "status", NULL, out), 0);
    assert_contains(out, "wait: 1 key, 1 partition; 1 catch up");
    assert_int_equal(outboxd_command(&outboxd, "status", WORDS("--json"), out), 0);
    CHECK(strstr(out, "k\\\"0") == NULL, "a key is shown: %s", out);
    doc = json_loads(out, 0, NULL);
    CHECK(doc != NULL, "%s", out);
    assert_int_equal(json_array_size(json_object_get(doc, "lanes")), 3);
    json_decref(doc);
    pg_exec(db, "DELETE FROM outbox.lane WHERE id > 0");
    assert_int_equal(outboxd_command(&outboxd, "status", NULL, out), 0);
    CHECK(strstr(out, "lanes") == NULL, "%s", out);
}

#define ASKED "SELECT count(*) FROM outbox.lane WHERE asked_at IS NOT NULL"

static void retry_asks_for_those_that_are_meant(void **state)
{
    (void)state;
    runs(64, WORDS("retry", "--all"));
    assert_contains(out, "lane 7 ");
    assert_contains(out, "nothing was changed: say --yes");
    runs(0, WORDS("retry", "--all", "--dry-run"));
    assert_contains(out, "--dry-run");
    runs(0, WORDS("retry", "--error", "timeout", "--yes"));
    assert_contains(out, "No lane is meant");
    runs(64, WORDS("retry", "1", "9", "--yes"));
    assert_contains(out, "there is no lane 9");
    runs(64, WORDS("retry", "0", "--yes"));
    assert_int_equal(number(ASKED), 0);
    runs(0, WORDS("retry", "--topic", "order-events", "--error", "topic_missing", "--yes"));
    assert_contains(out, "no relay runs");
    assert_int_equal(number("SELECT id FROM outbox.lane WHERE asked_at IS NOT NULL"), 2);
    assert_contains(pg_scalar(db, "SELECT asked_by FROM outbox.lane WHERE id = 2"), "@");
    runs(0, WORDS("retry", "--key", "k\"0", "--yes"));
    assert_int_equal(number(ASKED), 2);
    runs(0, WORDS("retry", "7", "--yes"));
    assert_int_equal(number(ASKED), 3);
    runs(0, WORDS("list"));
    assert_contains(out, "wants it tried");
}

static void skip_records_who_and_why(void **state)
{
    int64_t epoch = number("SELECT epoch FROM outbox.relay");

    (void)state;
    runs(64, WORDS("skip", "1", "--reason", "poison"));
    runs(0, WORDS("skip", "1", "--dry-run"));
    assert_contains(out, "will NOT be published");
    assert_int_equal(number("SELECT count(*) FROM outbox.dead"), 0);
    assert_int_equal(number("SELECT epoch FROM outbox.relay"), epoch);
    runs(0, WORDS("skip", "1", "7", "--reason", "poison", "--yes"));
    assert_contains(out, "2 events given up");
    assert_int_equal(number("SELECT count(*) FROM outbox.dead WHERE reason = 'poison' AND by_whom "
                            "LIKE '%@%' AND lane IN (1, 7)"),
                     2);
    assert_int_equal(number("SELECT last_id FROM outbox.lane WHERE id = 1"), 1);
    assert_int_equal(number("SELECT epoch FROM outbox.relay"), epoch + 1);
    /* Nobody has read their next ones yet. */
    runs(75, WORDS("skip", "1", "--yes"));
    assert_contains(out, "1 of 1 were left alone");
    assert_int_equal(number("SELECT count(*) FROM outbox.dead"), 2);
}

static void skip_of_what_halts_the_rest(void **state)
{
    (void)state;
    runs(64, WORDS("skip", "0", "--yes"));
    assert_contains(out, "no event halts that");
    pg_exec(db, "UPDATE outbox.relay SET trouble_halted = true, trouble_row_id = 5, "
                "trouble_cause = 'event_invalid', trouble_text = 'no name'");
    runs(0, WORDS("list"));
    assert_contains(out, "lane 0    all the rest: halted by event_invalid (no name)");
    runs(0, WORDS("skip", "0", "--yes"));
    assert_contains(out, "1 event given up");
    assert_int_equal(number("SELECT given_up FROM outbox.lane WHERE id = 0"), 5);
    runs(64, WORDS("skip", "0", "--yes"));
}

static int setup(void **state)
{
    char text[512];

    (void)setup_pg(state);
    (void)snprintf(text, sizeof text,
                   "postgres: {url: \"postgres://relay@127.0.0.1:%d/postgres\"}\n"
                   "kafka: {brokers: \"127.0.0.1:1\"}\nrelay: {name: orders}\n",
                   pg.port);
    outboxd_configure_text(&outboxd, text);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(lists_and_shows, begin),
        cmocka_unit_test_setup(lists_as_json, begin),
        cmocka_unit_test_setup(status_tells_of_lanes, begin),
        cmocka_unit_test_setup(retry_asks_for_those_that_are_meant, begin),
        cmocka_unit_test_setup(skip_records_who_and_why, begin),
        cmocka_unit_test_setup(skip_of_what_halts_the_rest, begin),
    };

    cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests_name("parked", tests, setup, teardown_pg);
}
