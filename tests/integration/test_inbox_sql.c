/* Claims on a real Postgres: two sessions at one event, sets, bad input, failures. How long they
 * are remembered is test_inbox_purge's. */
#include "inbox_sql_case.h"

#include <stdio.h>

/* ---- one claim ---- */

static void test_first_time_only(void **state)
{
    PGconn *a = pg_open(&server, "consumer");

    (void)state;
    assert_true(claim(a, "first", 1));
    assert_false(claim(a, "first", 1));
    assert_true(claim(a, "first", 2));
    assert_true(claim(a, "other", 1)); /* another consumer has its own memory */
    pg_exec(a, "BEGIN");
    assert_true(claim(a, "first", 3));
    assert_false(claim(a, "first", 3)); /* twice in one transaction */
    pg_exec(a, "ROLLBACK");
    assert_true(claim(a, "first", 3));
    pg_exec(a, "BEGIN");
    pg_exec(a, "SAVEPOINT s");
    assert_true(claim(a, "first", 4));
    pg_exec(a, "ROLLBACK TO s");
    assert_true(claim(a, "first", 4)); /* went with the savepoint */
    pg_exec(a, "COMMIT");
    assert_false(claim(a, "first", 4));
    PQfinish(a);
}

/* The second claimant waits for the first one's end, and then gets the right answer. */
static void race(const char *end_of_first, bool second_wins, bool with_set)
{
    PGconn *a = pg_open(&server, "consumer");
    PGconn *b = pg_open(&server, "consumer");
    const char *name = with_set ? "race-set" : "race";
    static int event;

    event++;
    pg_exec(a, "BEGIN");
    assert_true(claim(a, name, event));
    pg_exec(b, "BEGIN");
    if (with_set)
        send(b, "SELECT (inbox.claim_all('%s', ARRAY['%s']::uuid[]))[1]", name, id_of(event).text);
    else
        send(b, "SELECT inbox.claim('%s', '%s')", name, id_of(event).text);
    wait_for_lock(b);
    pg_exec(a, "%s", end_of_first);
    assert_string_equal(answer(b), second_wins ? "t" : "f");
    pg_exec(b, "COMMIT");
    assert_int_equal(pg_int(owner,
                            "SELECT count(*) FROM inbox.claimed WHERE consumer = '%s' AND "
                            "event_id = '%s'",
                            name, id_of(event).text),
                     1);
    PQfinish(a);
    PQfinish(b);
}

static void test_race(void **state)
{
    (void)state;
    race("COMMIT", false, false);
    race("ROLLBACK", true, false);
    race("COMMIT", false, true);
    race("ROLLBACK", true, true);
}

static void test_race_with_a_session_that_dies(void **state)
{
    PGconn *a = pg_open(&server, "consumer");
    PGconn *b = pg_open(&server, "consumer");

    (void)state;
    pg_exec(a, "BEGIN");
    assert_true(claim(a, "dies", 1));
    send(b, "SELECT inbox.claim('dies', '%s')", id_of(1).text);
    wait_for_lock(b);
    pg_exec(owner, "SELECT pg_terminate_backend(%d)", PQbackendPID(a));
    assert_string_equal(answer(b), "t");
    PQfinish(a);
    PQfinish(b);
}

/* Above READ COMMITTED a claim that was committed meanwhile is a serialization failure: try again.
 */
static void test_repeatable_read(void **state)
{
    PGconn *a = pg_open(&server, "consumer");
    PGconn *b = pg_open(&server, "consumer");

    (void)state;
    pg_exec(a, "BEGIN ISOLATION LEVEL REPEATABLE READ");
    pg_exec(a, "SELECT 1");
    assert_true(claim(b, "snapshot", 1));
    assert_string_equal(
        pg_expect_error(a, NULL, "SELECT inbox.claim('snapshot', '%s')", id_of(1).text), "40001");
    pg_exec(a, "ROLLBACK");
    assert_false(claim(a, "snapshot", 1));
    PQfinish(a);
    PQfinish(b);
}

/* An offset must not be committed for an effect that a crash takes back. */
static void test_commits_are_durable(void **state)
{
    PGconn *a = pg_open(&server, "consumer");

    (void)state;
    pg_exec(a, "SET synchronous_commit = off");
    pg_exec(a, "BEGIN");
    assert_true(claim(a, "durable", 1));
    assert_string_equal(pg_scalar(a, "SHOW synchronous_commit"), "on");
    pg_exec(a, "COMMIT");
    assert_string_equal(pg_scalar(a, "SHOW synchronous_commit"), "off");
    pg_exec(a, "BEGIN");
    pg_exec(a, "SELECT inbox.claim_all('durable', ARRAY['%s']::uuid[])", id_of(2).text);
    assert_string_equal(pg_scalar(a, "SHOW synchronous_commit"), "on");
    pg_exec(a, "COMMIT");
    pg_exec(a, "BEGIN");
    pg_exec(a, "SELECT inbox.claim_new('durable', ARRAY['%s']::uuid[])", id_of(4).text);
    assert_string_equal(pg_scalar(a, "SHOW synchronous_commit"), "on");
    pg_exec(a, "COMMIT");
    pg_exec(a, "SET synchronous_commit = local");
    pg_exec(a, "BEGIN");
    assert_true(claim(a, "durable", 3));
    assert_string_equal(pg_scalar(a, "SHOW synchronous_commit"), "local");
    pg_exec(a, "COMMIT");
    PQfinish(a);
}

/* ---- bad input ---- */

static void test_bad_input(void **state)
{
    static const struct {
        const char *call;
        const char *sqlstate;
        const char *text;
    } cases[] = {
        {"claim('c', NULL)", "IB002", "the event id is null"},
        {"claim(NULL, gen_random_uuid())", "IB001", "name of the consumer is missing"},
        {"claim('', gen_random_uuid())", "IB001", "name of the consumer is missing"},
        {"claim(repeat('x', 201), gen_random_uuid())", "IB001", "201 bytes"},
        {"claim(repeat('\xc3\xa4', 101), gen_random_uuid())", "IB001", "202 bytes"},
        {"claim('c', 'no uuid')", "22P02", "invalid input syntax for type uuid"},
        {"claim_new('', ARRAY[gen_random_uuid()])", "IB001", "name of the consumer is missing"},
        {"claim_all('c', NULL)", "IB002", "array of event ids is null"},
        {"claim_all('c', ARRAY[gen_random_uuid(), NULL])", "IB002", "event id number 2 of 2"},
        {"claim_all('c', '[5:6]={NULL,NULL}')", "IB002", "event id number 1 of 2"},
        {"claim_all('', '{}')", "IB001", "name of the consumer is missing"},
        {"claim_all(NULL, '{}')", "IB001", "name of the consumer is missing"},
        {"claim_all('c', ARRAY[gen_random_uuid()], ARRAY[now(), now()])", "IB004",
         "1 event ids and 2 event times"},
        {"claim_all('c', ARRAY[ARRAY[gen_random_uuid()]])", "IB004", "event ids"},
        {"record_failure('c', NULL, 'x', 'y')", "IB005", "topic, partition and offset"},
        {"record_failure('c', NULL, 'x', 'y', topic => 't', topic_offset => 1)", "IB005",
         "topic, partition and offset"},
        {"record_failure('c', gen_random_uuid(), 'x', 'y', -1)", "IB005", "-1"},
        {"record_failure('', gen_random_uuid(), 'x', 'y')", "IB001", "missing"},
        {"clear_failure(NULL, '{}')", "IB001", "missing"},
        {"purge(batch => 0)", "IB005", "batch"},
        {"purge(batch => NULL)", "IB005", "batch"},
        {"purge(batch => 100001)", "IB005", "batch"},
        {"purge(keep => '101 years')", "IB005", "100 years"},
        {"purge(consumer => '')", "IB001", "missing"},
    };
    PGconn *a = pg_open(&server, "consumer");
    char message[PG_MESSAGE];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *got = pg_expect_error(a, message, "SELECT inbox.%s", cases[i].call);

        CHECK(strcmp(got, cases[i].sqlstate) == 0, "%s: %s %s", cases[i].call, got, message);
        assert_contains(message, cases[i].text);
    }
    assert_string_equal(
        pg_expect_error(owner, message, "SELECT inbox.set_window('c', '59 minutes')"), "IB005");
    assert_string_equal(pg_expect_error(owner, message, "SELECT inbox.set_window('c', NULL)"),
                        "IB005");
    assert_true(claim(a, "x", 1));
    pg_exec(a, "BEGIN");
    (void)pg_expect_error(a, message, "SELECT 1 / 0");
    assert_string_equal(pg_expect_error(a, message, "SELECT inbox.claim('c', '%s')", id_of(1).text),
                        "25P02");
    pg_exec(a, "ROLLBACK");
    pg_exec(a, "BEGIN READ ONLY");
    assert_string_equal(pg_expect_error(a, message, "SELECT inbox.claim('c', '%s')", id_of(1).text),
                        "25006");
    pg_exec(a, "ROLLBACK");
    PQfinish(a);
}

/* ---- sets ---- */

static void test_sets(void **state)
{
    PGconn *a = pg_open(&server, "consumer");

    (void)state;
    assert_string_equal(claim_set(a, "set", "{}"), "{}");
    assert_true(claim(a, "set", 3));
    assert_string_equal(claim_set(a, "set", "{5,3,1,5,1,9}"), "{t,f,t,f,f,t}");
    assert_string_equal(claim_set(a, "set", "{5,3,1,5,1,9}"), "{f,f,f,f,f,f}");
    assert_string_equal(claim_set(a, "set", "{9,11}"), "{f,t}");
    /* an array need not count from 1 */
    assert_string_equal(pg_scalar(a,
                                  "SELECT inbox.claim_all('set', "
                                  "('[0:1]={' || '%s' || ',' || '%s' || '}')::uuid[])",
                                  id_of(9).text, id_of(12).text),
                        "{f,t}");
    pg_exec(a, "BEGIN");
    assert_string_equal(claim_set(a, "set", "{20,21}"), "{t,t}");
    pg_exec(a, "ROLLBACK");
    assert_string_equal(claim_set(a, "set", "{21,20}"), "{t,t}");
    PQfinish(a);
}

/* Two sets that share events, in opposite order: the second waits, nobody is a deadlock's victim.
 */
static void test_sets_do_not_deadlock(void **state)
{
    PGconn *a = pg_open(&server, "consumer");
    PGconn *b = pg_open(&server, "consumer");

    (void)state;
    for (int round = 0; round < 50; round++) {
        const int first = 1000 * round;

        send(a,
             "SELECT inbox.claim_all('sorted', ARRAY(SELECT test_id(%d + g) FROM "
             "generate_series(1, 400) g))",
             first);
        send(b,
             "SELECT inbox.claim_all('sorted', ARRAY(SELECT test_id(%d + g) FROM "
             "generate_series(400, 1, -1) g))",
             first);
        (void)answer(a);
        (void)answer(b);
        assert_int_equal(pg_int(owner, "SELECT count(*) FROM inbox.claimed WHERE consumer = "
                                       "'sorted'"),
                         400 * (round + 1));
    }
    PQfinish(a);
    PQfinish(b);
}

/* A set of any size costs the same for each event: the plan made for few must not be quadratic. */
static void test_large_sets(void **state)
{
    PGconn *a = pg_open(&server, "consumer");
    uint64_t began;
    uint64_t small_us;
    uint64_t large_us;

    (void)state;
    for (int i = 0; i < 10; i++) /* as many as make plpgsql keep a generic plan */
        pg_exec(a, "SELECT inbox.claim_all('large', ARRAY[test_id(%d)])", i);
    began = test_now_us();
    for (int i = 0; i < 20; i++)
        pg_exec(a,
                "SELECT inbox.claim_all('large', ARRAY(SELECT test_id(g) FROM "
                "generate_series(%d, %d) g))",
                1000 + i * 1000, 1999 + i * 1000);
    small_us = test_now_us() - began;
    began = test_now_us();
    pg_exec(a, "SELECT inbox.claim_all('large', ARRAY(SELECT test_id(g) FROM "
               "generate_series(100001, 120000) g))");
    large_us = test_now_us() - began;
    /* quadratic: 20 times as much */
    CHECK(large_us < 8 * small_us, "20 sets of 1000: %llu us, one of 20000: %llu us",
          (unsigned long long)small_us, (unsigned long long)large_us);
    assert_int_equal(pg_int(owner, "SELECT count(*) FROM inbox.claimed WHERE consumer = 'large'"),
                     10 + 20000 + 20000);
    PQfinish(a);
}

/* ---- all new, or nothing ---- */

/* "t" or "f" for events by number, "{1,2}", with these times as SQL has them. */
static const char *claim_new(PGconn *conn, const char *numbers, const char *oldest,
                             const char *newest)
{
    return pg_scalar(conn,
                     "SELECT inbox.claim_new('news', ARRAY(SELECT test_id(n) FROM "
                     "unnest('%s'::int[]) WITH ORDINALITY u (n, i) ORDER BY i), %s, %s)",
                     numbers, oldest, newest);
}

static int64_t news(void)
{
    return pg_int(owner, "SELECT count(*) FROM inbox.claimed WHERE consumer = 'news'");
}

static void test_claim_new(void **state)
{
    PGconn *a = pg_open(&server, "consumer");

    (void)state;
    assert_string_equal(claim_new(a, "{3,1,2}", "NULL", "NULL"), "t");
    assert_string_equal(claim_new(a, "{4,5}", "now() - interval '9 min'", "now()"), "t");
    assert_string_equal(claim_new(a, "{6}", "now() - interval '29 days'", "now()"), "t");
    assert_string_equal(claim_new(a, "{}", "NULL", "NULL"), "t");
    assert_int_equal(news(), 6);
    assert_int_equal(pg_int(owner, "SELECT count(*) FROM inbox.claimed WHERE consumer = 'news' AND "
                                   "claimed_at NOT BETWEEN now() - interval '1 min' AND now()"),
                     0);
    /* each of these needs a look at every event */
    assert_string_equal(claim_new(a, "{7,3}", "NULL", "NULL"), "f");
    assert_string_equal(claim_new(a, "{7,8,7}", "NULL", "NULL"), "f");
    assert_string_equal(claim_new(a, "{7,null}", "NULL", "NULL"), "f");
    assert_string_equal(claim_new(a, "{7}", "now()", "now() + interval '1 min'"), "f");
    assert_string_equal(claim_new(a, "{7}", "now() - interval '31 days'", "now()"), "f");
    assert_string_equal(pg_scalar(a, "SELECT inbox.claim_new('news', NULL)"), "f");
    assert_int_equal(news(), 6);
    /* the transaction goes on, and what was claimed before in it stays */
    pg_exec(a, "BEGIN");
    assert_string_equal(claim_new(a, "{7}", "NULL", "NULL"), "t");
    assert_string_equal(claim_new(a, "{8,7}", "NULL", "NULL"), "f");
    assert_string_equal(claim_set(a, "news", "{8,7}"), "{t,f}");
    pg_exec(a, "COMMIT");
    assert_int_equal(news(), 8);
    assert_string_equal(pg_scalar(a,
                                  "SELECT inbox.claim_new('news', ARRAY['%s']::uuid[], now() - "
                                  "interval '31 days', now(), true)",
                                  id_of(9).text),
                        "t");
    PQfinish(a);
}

/* Waits for the end of who has the event already. */
static void test_claim_new_waits(void **state)
{
    static const char *const ends[] = {"COMMIT", "ROLLBACK"};
    PGconn *a = pg_open(&server, "consumer");
    PGconn *b = pg_open(&server, "consumer");

    (void)state;
    for (int i = 0; i < 2; i++) {
        pg_exec(a, "BEGIN");
        assert_true(claim(a, "waits", 10 + i));
        send(b, "SELECT inbox.claim_new('waits', ARRAY['%s', '%s']::uuid[])", id_of(20 + i).text,
             id_of(10 + i).text);
        wait_for_lock(b);
        pg_exec(a, "%s", ends[i]);
        assert_string_equal(answer(b), i == 0 ? "f" : "t");
    }
    assert_int_equal(pg_int(owner, "SELECT count(*) FROM inbox.claimed WHERE consumer = 'waits'"),
                     3);
    PQfinish(a);
    PQfinish(b);
}

/* ---- failures, states ---- */

static void test_failures(void **state)
{
    PGconn *a = pg_open(&server, "consumer");
    const char *const which =
        "FROM inbox.state WHERE consumer = 'failing' AND event_id = test_id(1)";

    (void)state;
    assert_int_equal(pg_int(a,
                            "SELECT inbox.record_failure('failing', '%s', 'Boom', 'it broke', "
                            "next_try => now() + interval '1 s', topic => 't', topic_partition "
                            "=> 2, topic_offset => 77)",
                            id_of(1).text),
                     1);
    assert_string_equal(pg_scalar(owner,
                                  "SELECT state || attempts || error_class || topic_offset "
                                  "%s",
                                  which),
                        "retrying1Boom77");
    assert_int_equal(pg_int(a,
                            "SELECT inbox.record_failure('failing', '%s', 'Boom', repeat('x', "
                            "5000))",
                            id_of(1).text),
                     2);
    assert_int_equal(pg_int(owner, "SELECT length(error_text) %s", which), 4000);
    assert_int_equal(pg_int(a,
                            "SELECT inbox.record_failure('failing', '%s', 'Boom', 'x', 9, "
                            "failed => true, dead_letter_topic => 't.dlt')",
                            id_of(1).text),
                     9);
    assert_string_equal(pg_scalar(owner, "SELECT state || attempts || dead_letter_topic %s", which),
                        "failed9t.dlt");
    /* an event without an id is known by its place, and has one row, too */
    for (int i = 1; i <= 2; i++)
        assert_int_equal(pg_int(a, "SELECT inbox.record_failure('failing', NULL, 'Malformed', "
                                   "'no id', failed => true, topic => 't', topic_partition => 0, "
                                   "topic_offset => 5)"),
                         i);
    assert_string_equal(pg_scalar(owner, "SELECT event FROM inbox.state WHERE consumer = 'failing' "
                                         "AND event_id IS NULL"),
                        "t/0/5");

    /* success: the record goes with the commit, and not before */
    pg_exec(a, "BEGIN");
    assert_true(claim(a, "failing", 1));
    assert_int_equal(
        pg_int(a, "SELECT inbox.clear_failure('failing', ARRAY['%s']::uuid[])", id_of(1).text), 1);
    assert_string_equal(pg_scalar(owner, "SELECT state %s", which), "failed");
    pg_exec(a, "ROLLBACK");
    assert_string_equal(pg_scalar(owner, "SELECT state %s", which), "failed");
    assert_true(claim(a, "failing", 1)); /* without clearing: the claim counts */
    assert_string_equal(pg_scalar(owner, "SELECT string_agg(state, ',') %s", which), "completed");
    PQfinish(a);
}

/* A member that was frozen does not know that another one has dead-lettered the event. */
static void test_a_failure_for_good_stays(void **state)
{
    static const struct {
        const char *state;
        int offset;
        const char *then;
    } records[] = {
        {"false", 5, "retrying1"}, {"true", 5, "failed2"},    {"false", 5, "failed2"},
        {"true", 5, "failed4"},    {"false", 9, "retrying5"}, /* published again */
    };
    PGconn *a = pg_open(&server, "consumer");

    (void)state;
    for (int i = 0; i < (int)ARRAY_LEN(records); i++) {
        pg_exec(a,
                "SELECT inbox.record_failure('late', '%s', 'Boom', 'x', %d, failed => %s, topic => "
                "'t', topic_partition => 1, topic_offset => %d)",
                id_of(1).text, i + 1, records[i].state, records[i].offset);
        assert_string_equal(
            pg_scalar(owner, "SELECT state || attempts FROM inbox.state WHERE consumer = 'late'"),
            records[i].then);
    }
    PQfinish(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_time_only),
        cmocka_unit_test(test_race),
        cmocka_unit_test(test_race_with_a_session_that_dies),
        cmocka_unit_test(test_repeatable_read),
        cmocka_unit_test(test_commits_are_durable),
        cmocka_unit_test(test_bad_input),
        cmocka_unit_test(test_sets),
        cmocka_unit_test(test_sets_do_not_deadlock),
        cmocka_unit_test(test_large_sets),
        cmocka_unit_test(test_claim_new),
        cmocka_unit_test(test_claim_new_waits),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_a_failure_for_good_stays),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
