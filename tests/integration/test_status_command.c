/* `outboxd status` as people and scripts see it: the text fits 80 columns, the JSON says the same,
 * and the exit code tells well or waiting (0), not to be asked (69), refused (78). And the log of a
 * relay whose servers are away: a few lines, and one at the end that says how long it was. */
#include "../support/check.h"
#include "../support/outboxd.h"
#include "../support/tmp.h"

#include "base/problem.h"
#include "outbox/migrate.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOBODY_HOME "127.0.0.1:1"

static struct pg_server pg;
static PGconn *db; /* superuser */
static struct outboxd relay;
static char out[OUTBOXD_OUT];
static json_t *json;

static int start_server(void **state)
{
    (void)state;
    pg_create(&pg, NULL);
    pg_apply_schema(&pg);
    db = pg_open(&pg, NULL);
    outboxd_configure(&relay, &pg, NOBODY_HOME, "", NULL);
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    json_decref(json);
    PQfinish(db);
    pg_drop(&pg);
    return 0;
}

/* ---- asking ---- */

static const char *text_at(const char *path, const char *name)
{
    const json_t *at = json;

    if (path[0] != '\0')
        at = json_object_get(json, path);
    return json_is_string(json_object_get(at, name)) ? json_string_value(json_object_get(at, name))
                                                     : "(none)";
}

/* Both forms, with this exit code; the text stays in `out`. */
static void ask(int code)
{
    static const char *const as_json[] = {"--json", NULL};
    int got = outboxd_command(&relay, "status", as_json, out);

    CHECK(got == code, "status --json: exit code %d, expected %d: %s", got, code, out);
    json_decref(json);
    json = json_loads(out, JSON_DISABLE_EOF_CHECK, NULL);
    CHECK(json != NULL, "no JSON: %s", out);
    got = outboxd_command(&relay, "status", NULL, out);
    CHECK(got == code, "status: exit code %d, expected %d: %s", got, code, out);
}

/* Everything but the last line of an error, which is one line for scripts. */
static void assert_fits(void)
{
    const char *line = out;

    while (*line != '\0' && strncmp(line, "outboxd: ", 9) != 0) {
        size_t len = strcspn(line, "\n");

        CHECK(len <= 80, "%zu columns: %.*s", len, (int)len, line);
        line += len + (line[len] == '\n');
    }
}

static bool lists(const char *word)
{
    size_t i;
    json_t *p;

    json_array_foreach(json_object_get(json, "problems"), i,
                       p) if (strcmp(json_string_value(json_object_get(p, "word")), word) ==
                              0) return true;
    return false;
}

/* ---- what is told ---- */

static void test_nobody_leads(void **state)
{
    (void)state;
    ask(0);
    assert_contains(out, "relay orders: no leader\n");
    assert_contains(out, "  problem      no_leader\n");
    assert_contains(out, "  what to do   start `outboxd run`");
    assert_contains(out, "  unsent       0 events\n");
    assert_contains(out, "GRANT pg_read_all_stats");
    assert_fits();
    assert_string_equal(text_at("", "verdict"), "no leader");
    assert_string_equal(text_at("problem", "word"), "no_leader");
    assert_string_equal(text_at("problem", "class"), "person");
    assert_string_equal(text_at("", "what_to_do"), problem_advice(PROBLEM_NO_LEADER));
    assert_true(json_is_null(json_object_get(json, "paused")));
    assert_true(json_is_null(json_object_get(json_object_get(json, "published"), "per_second")));
    assert_int_equal(json_array_size(json_object_get(json, "problems")), 1);
}

/* As a leader would have it that is halted for long, with texts of any length. */
static void test_halted(void **state)
{
    (void)state;
    pg_exec(db, "UPDATE outbox.relay SET holder = gen_random_uuid(), instance = 'here', epoch = 3, "
                "renewed_at = clock_timestamp(), ttl_ms = 600000, "
                "trouble_cause = 'message_too_large', trouble_text = repeat('a long text ', 40), "
                "trouble_event_id = '11111111-2222-7333-8444-555555555555', trouble_row_id = 5, "
                "trouble_topic = 'order-events', "
                "trouble_since = clock_timestamp() - interval '250 min', "
                "trouble_attempts = 501, trouble_halted = true, "
                "trouble_next_try = clock_timestamp() + interval '30 s'");
    ask(0);
    assert_contains(out, "relay orders: halted\n");
    assert_contains(out, "  problem      message_too_large, for 4 h 10 min\n");
    assert_contains(out, "  topic        order-events\n");
    assert_contains(out, "  event        11111111-2222-7333-8444-555555555555 (id 5)\n");
    assert_contains(out, "  attempts     501\n");
    assert_contains(out, "  next try     in 2");
    assert_fits();
    assert_string_equal(text_at("", "verdict"), "halted");
    assert_string_equal(text_at("problem", "word"), "message_too_large");
    assert_string_equal(text_at("trouble", "cause"), "message_too_large");
}

/* Paused while halted. */
static void test_halted_and_paused(void **state)
{
    (void)state;
    pg_exec(db, "SELECT outbox.pause('orders', 'the warehouse counts its shelves', 'ann')");
    ask(0);
    assert_contains(out, "relay orders: halted\n");
    assert_contains(out, "by ann, ");
    assert_contains(out, ": the warehouse counts its shelves\n");
    assert_contains(out, "  problem      paused\n");
    assert_fits();
    assert_true(lists("paused"));
    assert_string_equal(text_at("paused", "by"), "ann");
    assert_string_equal(text_at("paused", "reason"), "the warehouse counts its shelves");
}

/* Only paused, then well, then waiting. */
static void test_paused_well_and_waiting(void **state)
{
    (void)state;
    pg_exec(db, "UPDATE outbox.relay SET trouble_cause = NULL, trouble_halted = false");
    ask(0);
    assert_contains(out, "relay orders: paused\n");
    pg_exec(db, "SELECT outbox.resume('orders')");
    ask(0);
    assert_contains(out, "relay orders: ok\n");
    assert_contains(out, "  rate         0 events/s, 0 published in all\n");
    assert_lacks(out, "what to do");
    assert_true(json_is_null(json_object_get(json, "problem")));
    pg_exec(db, "UPDATE outbox.relay SET trouble_cause = 'topic_missing', trouble_text = 'x'");
    ask(0);
    assert_contains(out, "relay orders: waiting\n");
    assert_contains(out, problem_advice(PROBLEM_TOPIC_MISSING));
    pg_exec(db, "UPDATE outbox.relay SET trouble_cause = NULL");
}

/* What does not stop publishing, but a person should know. */
static void test_notices(void **state)
{
    (void)state;
    pg_exec(db, "SET ROLE outbox_owner; CREATE TABLE outbox.event_20010101 PARTITION OF "
                "outbox.event FOR VALUES FROM ('2001-01-01+00') TO ('2001-01-02+00'); RESET ROLE");
    pg_exec(db, "INSERT INTO outbox.event (aggregate_type, aggregate_id, event_type, created_at) "
                "VALUES ('a', '1', 'c', '2001-01-01 12:00+00'), "
                "('a', '1', 'c', '1999-01-01 12:00+00')");
    ask(0);
    assert_contains(out, "relay orders: ok\n");
    assert_contains(out, "  problem      retention_stuck\n");
    assert_contains(out, "  problem      default_partition\n");
    assert_contains(out, "event_20010101");
    assert_fits();
    assert_string_equal(text_at("", "verdict"), "ok");
    assert_true(lists("retention_stuck") && lists("default_partition"));
    pg_exec(db, "DELETE FROM outbox.event");
    pg_exec(db, "DROP TABLE outbox.event_20010101");
    ask(0);
    assert_int_equal(json_array_size(json_object_get(json, "problems")), 0);
}

static void test_what_run_refuses(void **state)
{
    (void)state;
    pg_exec(db, "ALTER TABLE outbox.event ENABLE ROW LEVEL SECURITY");
    ask(78);
    assert_contains(out, "relay orders: refused\n");
    assert_contains(out, "  problem      row_security\n");
    assert_contains(out, "ALTER ROLE relay BYPASSRLS;");
    assert_contains(out, "\noutboxd: row_security: ");
    assert_fits();
    assert_string_equal(text_at("", "verdict"), "refused");
    assert_string_equal(text_at("problem", "word"), "row_security");
    assert_string_equal(text_at("problem", "class"), "final");
    assert_int_equal(outboxd_command(&relay, "run", NULL, out), 78);
    assert_contains(out, "\noutboxd: row_security: "); /* the same word, in the last line */
    assert_contains(out, problem_advice(PROBLEM_ROW_SECURITY));
    assert_lacks(out, "level=error");
    pg_exec(db, "ALTER TABLE outbox.event DISABLE ROW LEVEL SECURITY");

    pg_exec(db, "REVOKE outbox_relay FROM relay");
    ask(78);
    assert_string_equal(text_at("", "verdict"), "refused");
    assert_string_equal(text_at("problem", "word"), "grants_missing");
    assert_contains(out, "outboxd: grants_missing: ");
    assert_contains(out, "GRANT outbox_relay TO relay;");
    pg_exec(db, "GRANT outbox_relay TO relay");
}

/* Where the log is JSON, the last line is, too. */
static void test_the_last_line_in_json(void **state)
{
    struct outboxd other;
    const char *last;
    json_t *line;

    (void)state;
    outboxd_configure(&other, &pg, NOBODY_HOME, "", "log: {format: json}");
    pg_exec(db, "UPDATE outbox.relay SET system_identifier = system_identifier + 1");
    assert_int_equal(outboxd_command(&other, "run", NULL, out), 78);
    out[strlen(out) - 1] = '\0';
    last = strrchr(out, '\n');
    assert_non_null(last);
    line = json_loads(last + 1, 0, NULL);
    CHECK(line != NULL, "no JSON: %s", last);
    assert_string_equal(json_string_value(json_object_get(line, "problem")), "foreign_database");
    assert_string_equal(json_string_value(json_object_get(line, "advice")),
                        problem_advice(PROBLEM_FOREIGN_DATABASE));
    assert_int_equal(json_integer_value(json_object_get(line, "exit_code")), 78);
    json_decref(line);
    pg_exec(db, "UPDATE outbox.relay SET system_identifier = system_identifier - 1, holder = NULL");
}

/* ---- servers that are away, for a while ---- */

static void test_away_for_a_while(void **state)
{
    (void)state;
    pg_exec(db, "SELECT outbox.publish('order', 'k', 'order.placed', '{}')");
    outboxd_log_truncate(&relay);
    outboxd_start(&relay);
    outboxd_wait_log(&relay, "lease taken", 10000);
    outboxd_wait_log(&relay, "problem=broker_unreachable", 10000);
    test_sleep_ms(5000); /* dozens of attempts */
    CHECK(outboxd_log_count(&relay, "broker_unreachable") <= 2, "%d lines about the brokers",
          outboxd_log_count(&relay, "broker_unreachable"));
    CHECK(outboxd_log_count(&relay, "kafka client") <= 3, "%d lines of the client",
          outboxd_log_count(&relay, "kafka client"));

    PQfinish(db);
    db = NULL;
    pg_stop(&pg);
    ask(69);
    assert_contains(out, "outboxd: database_unreachable: connect to Postgres: ");
    assert_contains(out, problem_advice(PROBLEM_DATABASE_UNREACHABLE));
    assert_string_equal(text_at("", "verdict"), "unknown");
    assert_string_equal(text_at("problem", "word"), "database_unreachable");
    test_sleep_ms(3000);
    pg_start(&pg);
    db = pg_open(&pg, NULL);
    outboxd_wait_log(&relay, "after=database_unreachable", 20000);
    CHECK(outboxd_log_count(&relay, "database lost") <= 2, "told %d times",
          outboxd_log_count(&relay, "database lost"));
    assert_int_equal(outboxd_log_count(&relay, "after=database_unreachable"), 1);
    assert_true(outboxd_log_number(&relay, "for_s") >= 3);
    assert_int_equal(outboxd_log_count(&relay, "connected to the database"), 2);
    assert_int_equal(outboxd_stop(&relay), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_leads),
        cmocka_unit_test(test_halted),
        cmocka_unit_test(test_halted_and_paused),
        cmocka_unit_test(test_paused_well_and_waiting),
        cmocka_unit_test(test_notices),
        cmocka_unit_test(test_what_run_refuses),
        cmocka_unit_test(test_the_last_line_in_json),
        cmocka_unit_test(test_away_for_a_while),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
