/* How long the inbox remembers: events that are too old, windows, and purge beside claims. */
#include "inbox_sql_case.h"

#include <pthread.h>
#include <stdlib.h>

/* Claims of `count` events from number `first` on, made `age` ago. */
static void make_old(const char *consumer, int first, int count, const char *age)
{
    pg_exec(owner,
            "INSERT INTO inbox.claimed SELECT '%s', test_id(g), clock_timestamp() - interval "
            "'%s' + g * interval '1 us' FROM generate_series(%d, %d) g",
            consumer, age, first, first + count - 1);
}

/* The same, claimed in one call: a set, unless they are few. */
static void make_old_set(const char *consumer, int first, int count, const char *age)
{
    assert_string_equal(pg_scalar(owner,
                                  "SELECT inbox.claim_new('%s', ARRAY(SELECT test_id(g) FROM "
                                  "generate_series(%d, %d) g))",
                                  consumer, first, first + count - 1),
                        "t");
    pg_exec(owner,
            "UPDATE inbox.claimed SET claimed_at = claimed_at - interval '%s' WHERE consumer = "
            "'%s' AND event_id BETWEEN test_id(%d) AND test_id(%d)",
            age, consumer, first, first + count - 1);
    pg_exec(owner,
            "UPDATE inbox.claimed_set SET claimed_at = claimed_at - interval '%s' WHERE consumer "
            "= '%s' AND event_ids[1] = test_id(%d)",
            age, consumer, first);
}

static int64_t kept(const char *consumer)
{
    return pg_int(owner, "SELECT count(*) FROM inbox.claimed WHERE consumer = '%s'", consumer);
}

/* The SQLSTATE of a claim that must fail. */
static const char *refused(PGconn *conn, const char *consumer, int event, const char *age)
{
    return pg_expect_error(conn, NULL, "SELECT inbox.claim('%s', '%s', now() - interval '%s')",
                           consumer, id_of(event).text, age);
}

static bool accepted(PGconn *conn, const char *consumer, int event, const char *age)
{
    return strcmp(pg_scalar(conn, "SELECT inbox.claim('%s', '%s', now() - interval '%s')", consumer,
                            id_of(event).text, age),
                  "t") == 0;
}

static void test_too_old(void **state)
{
    PGconn *a = pg_open(&server, "consumer");
    char message[PG_MESSAGE];

    (void)state;
    assert_true(accepted(a, "age", 1, "29 days 23 hours"));
    assert_string_equal(refused(a, "age", 2, "30 days 1 hour"), "IB003");
    assert_int_equal(kept("age"), 1); /* what is refused leaves nothing */
    (void)pg_expect_error(a, message, "SELECT inbox.claim('age', '%s', '2001-02-03 04:05:06Z')",
                          id_of(2).text);
    assert_contains(message, id_of(2).text);
    assert_contains(message, "2001-02-03 04:05:06");
    assert_contains(message, "consumer age");
    /* one that was taken is a repetition, however old */
    assert_false(accepted(a, "age", 1, "100 days"));
    /* on purpose */
    assert_string_equal(pg_scalar(a,
                                  "SELECT inbox.claim('replay', '%s', now() - interval '1 year', "
                                  "true)",
                                  id_of(2).text),
                        "t");
    /* without a time nothing can be said */
    assert_true(claim(a, "age", 3));
    assert_string_equal(pg_scalar(a, "SELECT inbox.claim('age', '%s', NULL, NULL)", id_of(4).text),
                        "t");
    assert_string_equal(
        pg_expect_error(a, NULL, "SELECT inbox.claim('age', '%s', '-infinity')", id_of(5).text),
        "IB003");
    PQfinish(a);
}

static void test_too_old_in_sets(void **state)
{
    PGconn *a = pg_open(&server, "consumer");
    const char *const call = "SELECT inbox.claim_all('ages', ARRAY(SELECT test_id(n) FROM "
                             "unnest(ARRAY[4,2,4,1,3]) WITH ORDINALITY u (n, i) ORDER BY i), "
                             "ARRAY[now() - interval '31 days', now(), now() - interval '31 "
                             "days', now() - interval '31 days', NULL], %s)";

    (void)state;
    assert_true(claim(a, "ages", 1));
    assert_string_equal(pg_scalar(a, call, "false"), "{NULL,t,NULL,f,t}");
    assert_int_equal(kept("ages"), 3);
    assert_string_equal(pg_scalar(a, call, "NULL"), "{NULL,f,NULL,f,f}");
    assert_string_equal(pg_scalar(a, call, "true"), "{t,f,f,f,f}");
    assert_string_equal(pg_scalar(a, call, "false"), "{f,f,f,f,f}");
    PQfinish(a);
}

static void test_windows(void **state)
{
    /* on any day of the year the season was another one on at least one of these days */
    static const int days[] = {100, 200, 250};
    char age[64];
    PGconn *a = pg_open(&server, "consumer");

    (void)state;
    pg_exec(owner, "SELECT inbox.set_window('short', '1 hour')");
    assert_string_equal(refused(a, "short", 1, "61 minutes"), "IB003");
    assert_true(accepted(a, "short", 1, "59 minutes"));
    assert_true(accepted(a, "short", 2, "1 minute"));
    pg_exec(owner, "SELECT inbox.set_window('short', '1 year')");
    assert_true(accepted(a, "short", 3, "300 days")); /* nothing was purged yet */
    /* days of a window are 24 hours, also where the clocks were changed in between */
    pg_exec(a, "SET timezone = 'Europe/Berlin'");
    for (size_t i = 0; i < ARRAY_LEN(days); i++) {
        pg_exec(owner, "SELECT inbox.set_window('zone', '%d days')", days[i]);
        (void)snprintf(age, sizeof age, "%d hours 1 minute", 24 * days[i]);
        assert_string_equal(refused(a, "zone", 100, age), "IB003");
        (void)snprintf(age, sizeof age, "%d hours 59 minutes", 24 * days[i] - 1);
        assert_true(accepted(a, "zone", (int)i, age));
    }
    PQfinish(a);
}

/* ---- purge ---- */

static void test_purge_in_batches(void **state)
{
    PGconn *a = pg_open(&server, "consumer");

    (void)state;
    make_old("p1", 1, 250, "31 days");
    make_old("p1", 1001, 10, "29 days");
    make_old("p2", 1, 30, "31 days");
    pg_exec(owner, "SELECT inbox.set_window('p3', '40 days')");
    make_old("p3", 1, 5, "31 days");

    assert_int_equal(pg_int(a, "SELECT inbox.purge(batch => 100, consumer => 'p1')"), 100);
    assert_int_equal(kept("p1"), 160);
    /* the oldest go first */
    assert_int_equal(pg_int(owner, "SELECT count(*) FROM inbox.claimed WHERE consumer = 'p1' AND "
                                   "event_id <= test_id(100)"),
                     0);
    assert_int_equal(pg_int(a, "SELECT inbox.purge('35 days', 100)"), 0); /* longer than its own */
    assert_int_equal(pg_int(a, "SELECT inbox.purge('1 second', 100)"), 100); /* shorter: its own */
    assert_int_equal(pg_int(a, "SELECT inbox.purge(NULL, 100)"), 50);
    assert_int_equal(pg_int(a, "SELECT inbox.purge(NULL, 100)"), 30); /* p2 */
    assert_int_equal(pg_int(a, "SELECT inbox.purge(NULL, 100)"), 0);
    assert_int_equal(pg_int(a, "SELECT inbox.purge('1 second', 100)"), 0);
    assert_int_equal(kept("p1"), 10);
    assert_int_equal(kept("p2"), 0);
    assert_int_equal(kept("p3"), 5);
    PQfinish(a);
}

static void test_purge_takes_sets(void **state)
{
    PGconn *a = pg_open(&server, "consumer");

    (void)state;
    make_old_set("sets", 21, 20, "31 days");
    make_old_set("sets", 1, 20, "32 days");
    make_old_set("sets", 41, 20, "29 days");
    make_old_set("sets", 61, 3, "31 days");
    assert_int_equal(pg_int(owner, "SELECT count(*) FROM inbox.claimed_set"), 3);
    assert_int_equal(pg_int(a, "SELECT inbox.purge(NULL, 15, 'sets')"), 3); /* no set: few */
    assert_int_equal(pg_int(a, "SELECT inbox.purge(NULL, 15, 'sets')"), 20);
    assert_int_equal(pg_int(owner, "SELECT count(*) FROM inbox.claimed WHERE consumer = 'sets' AND "
                                   "event_id <= test_id(20)"),
                     0); /* whole, and the oldest first */
    pg_exec(owner, "SELECT inbox.set_window('sets', '100 days')");
    assert_string_equal(refused(a, "sets", 1, "32 days"), "IB003");
    pg_exec(owner, "SELECT inbox.set_window('sets', '30 days')");

    /* one that was taken away by hand and came again stays when its old set goes */
    pg_exec(owner, "DELETE FROM inbox.claimed WHERE event_id = test_id(21)");
    assert_true(claim(a, "sets", 21));
    assert_int_equal(pg_int(a, "SELECT inbox.purge(NULL, 15)"), 19);
    assert_false(claim(a, "sets", 21));
    assert_int_equal(kept("sets"), 21);
    assert_int_equal(pg_int(a, "SELECT inbox.purge(NULL, 15)"), 0);

    /* sets whose claims are gone do not look like the end */
    make_old_set("empty", 1, 10, "31 days");
    make_old_set("empty", 11, 10, "31 days");
    pg_exec(owner, "DELETE FROM inbox.claimed WHERE consumer = 'empty' AND event_id <= "
                   "test_id(10)");
    assert_int_equal(pg_int(a, "SELECT inbox.purge(NULL, 10)"), 1);
    assert_int_equal(pg_int(a, "SELECT inbox.purge(NULL, 10)"), 10);
    assert_int_equal(pg_int(a, "SELECT inbox.purge(NULL, 10)"), 0);
    assert_int_equal(pg_int(owner, "SELECT count(*) FROM inbox.claimed_set"), 1);
    assert_int_equal(pg_int(owner, "SELECT count(*) FROM inbox.consumer WHERE purge_from > "
                                   "'-infinity' OR purge_sets_from > '-infinity'"),
                     0); /* no pass is under way */
    PQfinish(a);
}

/* What was purged stays too old when the window is made longer: nobody knows it any more. */
static void test_what_is_forgotten_is_refused(void **state)
{
    PGconn *a = pg_open(&server, "consumer");

    (void)state;
    make_old("forget", 1, 1, "32 days");
    make_old("forget", 2, 1, "31 days");
    assert_int_equal(pg_int(a, "SELECT inbox.purge(NULL, 100, 'forget')"), 2);
    pg_exec(owner, "SELECT inbox.set_window('forget', '100 days')");
    assert_string_equal(refused(a, "forget", 1, "32 days"), "IB003");
    assert_string_equal(refused(a, "forget", 2, "31 days 1 minute"), "IB003");
    assert_true(accepted(a, "forget", 3, "30 days 23 hours"));
    PQfinish(a);
}

/* An event of the future is remembered from its own time on, not from the claim. */
static void test_events_of_the_future(void **state)
{
    PGconn *a = pg_open(&server, "consumer");

    (void)state;
    pg_exec(a, "SELECT inbox.claim('future', '%s', now() + interval '2 days')", id_of(1).text);
    assert_string_equal(pg_scalar(owner, "SELECT claimed_at > now() + interval '47 hours' FROM "
                                         "inbox.claimed WHERE consumer = 'future'"),
                        "t");
    PQfinish(a);
}

static void test_purge_takes_failures(void **state)
{
    PGconn *a = pg_open(&server, "consumer");

    (void)state;
    pg_exec(a, "SELECT inbox.record_failure('fails', test_id(n), 'x', 'y', failed => true) FROM "
               "generate_series(1, 20) n");
    pg_exec(owner, "UPDATE inbox.failure SET last_at = now() - interval '31 days' "
                   "WHERE consumer = 'fails' AND event_id <= test_id(15)");
    assert_int_equal(pg_int(a, "SELECT inbox.purge(NULL, 10)"), 10);
    assert_int_equal(pg_int(a, "SELECT inbox.purge(NULL, 10)"), 5);
    assert_int_equal(pg_int(a, "SELECT inbox.purge(NULL, 10)"), 0);
    assert_int_equal(pg_int(owner, "SELECT count(*) FROM inbox.failure WHERE consumer = 'fails'"),
                     5);
    PQfinish(a);
}

static void test_purge_all_commits_each_batch(void **state)
{
    PGconn *a = pg_open(&server, "consumer");

    (void)state;
    make_old("all-1", 1, 500, "31 days");
    make_old("all-2", 1, 500, "31 days");
    assert_string_equal(pg_expect_error(a, NULL, "BEGIN; CALL inbox.purge_all()"), "2D000");
    pg_exec(a, "ROLLBACK");
    pg_exec(owner, "CREATE TABLE seen (xid xid8)");
    pg_exec(owner, "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS "
                   "'BEGIN INSERT INTO public.seen VALUES (pg_current_xact_id()); RETURN NULL; "
                   "END'");
    pg_exec(owner, "CREATE TRIGGER note AFTER DELETE ON inbox.claimed EXECUTE FUNCTION note()");
    pg_exec(a, "CALL inbox.purge_all(NULL, 100)");
    pg_exec(owner, "DROP TRIGGER note ON inbox.claimed");
    assert_int_equal(kept("all-1") + kept("all-2"), 0);
    assert_true(pg_int(owner, "SELECT count(DISTINCT xid) FROM seen") >= 10);
    PQfinish(a);
}

/* Neither waits for the other's transaction, and two purges do not wait for each other. */
static void test_purge_and_claims_do_not_wait(void **state)
{
    PGconn *a = pg_open(&server, "consumer");
    PGconn *b = pg_open(&server, "consumer");

    (void)state;
    make_old("beside", 1, 300, "31 days");
    pg_exec(a, "SET lock_timeout = '1s'");
    pg_exec(b, "SET lock_timeout = '1s'");
    pg_exec(a, "BEGIN");
    assert_true(claim(a, "beside", 1000));
    assert_int_equal(pg_int(b, "SELECT inbox.purge(NULL, 100, 'beside')"), 100);
    pg_exec(b, "BEGIN");
    assert_int_equal(pg_int(b, "SELECT inbox.purge(NULL, 100, 'beside')"), 100);
    assert_true(claim(a, "beside", 1001));
    assert_true(accepted(a, "beside", 1002, "3 days")); /* looks at the consumer's row */
    assert_string_equal(claim_set(a, "beside", "{1003,1004}"), "{t,t}");
    assert_int_equal(pg_int(a, "SELECT inbox.purge(NULL, 100, 'beside')"), 0);
    pg_exec(a, "COMMIT");
    pg_exec(b, "COMMIT");
    assert_int_equal(kept("beside"), 105);
    PQfinish(a);
    PQfinish(b);
}

/* The dangerous moment: an event comes again while its claim is being purged. By the window that it
 * sees at first it is young enough; that its claim is forgotten is known when the purge is over. */
static void claim_during_purge(const char *consumer, int count, const char *call,
                               const char *sqlstate)
{
    PGconn *b = pg_open(&server, "consumer");
    PGresult *rows;
    const char *got;

    if (count == 1)
        make_old(consumer, 1, 1, "31 days");
    else
        make_old_set(consumer, 1, count, "31 days");
    pg_exec(owner, "SELECT inbox.set_window('%s', '100 days')", consumer);
    pg_exec(owner, "BEGIN");
    pg_exec(owner, "SELECT inbox.set_window('%s', '30 days')", consumer);
    assert_int_equal(pg_int(owner, "SELECT inbox.purge(NULL, 100, '%s')", consumer), count);
    pg_exec(owner, "SELECT inbox.set_window('%s', '100 days')", consumer);
    assert_int_equal(PQsendQuery(b, call), 1);
    wait_for_lock(b);
    pg_exec(owner, "COMMIT");
    rows = PQgetResult(b);
    got = PQresultErrorField(rows, PG_DIAG_SQLSTATE);
    if (sqlstate != NULL)
        assert_string_equal(got != NULL ? got : "no error", sqlstate);
    else
        CHECK(PQresultStatus(rows) == PGRES_TUPLES_OK && PQgetisnull(rows, 0, 0), "claimed again");
    PQclear(rows);
    assert_null(PQgetResult(b));
    assert_int_equal(kept(consumer), 0);
    PQfinish(b);
}

static void test_claim_of_what_is_being_purged(void **state)
{
    (void)state;
    claim_during_purge("edge", 1,
                       "SELECT inbox.claim('edge', test_id(1), now() - interval '31 days 1 s')",
                       "IB003");
    claim_during_purge("edges", 1,
                       "SELECT (inbox.claim_all('edges', ARRAY[test_id(1)], ARRAY[now() - "
                       "interval '31 days 1 s']))[1]",
                       NULL);
    claim_during_purge("of set", 20,
                       "SELECT inbox.claim('of set', test_id(1), now() - interval '31 days 1 s')",
                       "IB003");
    claim_during_purge("new", 20,
                       "SELECT nullif(inbox.claim_new('new', ARRAY[test_id(1)], now() - interval "
                       "'31 days 1 s', now()), false)",
                       NULL);
}

/* ---- all at once ---- */

enum { CLAIMERS = 3, EVENTS = 400 };

struct claimer {
    pthread_t thread;
    PGconn *conn;
    unsigned seed;
    int first_times;
    char fault[256];
};

static bool run(struct claimer *c, const char *sql, bool *is_true)
{
    PGresult *rows = PQexec(c->conn, sql);
    ExecStatusType status = PQresultStatus(rows);
    bool ok = status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;

    if (!ok)
        (void)snprintf(c->fault, sizeof c->fault, "%s", PQresultErrorMessage(rows));
    if (ok && is_true != NULL)
        *is_true = strcmp(PQgetvalue(rows, 0, 0), "t") == 0;
    PQclear(rows);
    return ok;
}

/* Claims events that others claim too, some singly, some in sets, and rolls a third back. */
static void *claim_at_random(void *arg)
{
    struct claimer *c = arg;
    char sql[512];

    for (int i = 0; i < 600 && c->fault[0] == '\0'; i++) {
        int event = rand_r(&c->seed) % EVENTS;
        bool rollback = rand_r(&c->seed) % 3 == 0;
        bool first = false;

        (void)snprintf(sql, sizeof sql,
                       rand_r(&c->seed) % 2 == 0
                           ? "SELECT inbox.claim('load', test_id(%d), now() - interval '3 h')"
                           : "SELECT (inbox.claim_all('load', ARRAY[test_id(%d)], ARRAY[now() - "
                             "interval '3 h']))[1]",
                       event);
        if (!run(c, "BEGIN", NULL) || !run(c, sql, &first))
            break;
        (void)snprintf(sql, sizeof sql, "INSERT INTO effect VALUES (%d)", event);
        if (first && !run(c, sql, NULL))
            break;
        if (!run(c, rollback ? "ROLLBACK" : "COMMIT", NULL))
            break;
        c->first_times += first && !rollback;
    }
    return NULL;
}

static void test_load(void **state)
{
    struct claimer claimers[CLAIMERS] = {0};
    PGconn *purger = pg_open(&server, "consumer");
    int first_times = 0;
    int64_t purged = 0;

    (void)state;
    pg_exec(owner, "CREATE TABLE effect (event integer); GRANT INSERT ON effect TO consumer");
    make_old("load", 10001, 20000, "31 days");
    for (int i = 0; i < CLAIMERS; i++) {
        claimers[i].conn = pg_open(&server, "consumer");
        claimers[i].seed = (unsigned)i + 1;
        assert_int_equal(pthread_create(&claimers[i].thread, NULL, claim_at_random, &claimers[i]),
                         0);
    }
    for (int64_t gone = 1; gone > 0; purged += gone)
        gone = pg_int(purger, "SELECT inbox.purge(NULL, 100, 'load')");
    for (int i = 0; i < CLAIMERS; i++) {
        assert_int_equal(pthread_join(claimers[i].thread, NULL), 0);
        assert_string_equal(claimers[i].fault, "");
        first_times += claimers[i].first_times;
        PQfinish(claimers[i].conn);
    }
    assert_int_equal(purged, 20000);
    assert_int_equal(pg_int(owner, "SELECT count(*) FROM effect"), first_times);
    assert_int_equal(pg_int(owner, "SELECT count(DISTINCT event) FROM effect"), first_times);
    assert_int_equal(kept("load"), first_times);
    PQfinish(purger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_too_old),
        cmocka_unit_test(test_too_old_in_sets),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_purge_in_batches),
        cmocka_unit_test(test_purge_takes_sets),
        cmocka_unit_test(test_what_is_forgotten_is_refused),
        cmocka_unit_test(test_events_of_the_future),
        cmocka_unit_test(test_purge_takes_failures),
        cmocka_unit_test(test_purge_all_commits_each_batch),
        cmocka_unit_test(test_purge_and_claims_do_not_wait),
        cmocka_unit_test(test_claim_of_what_is_being_purged),
        cmocka_unit_test(test_load),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
