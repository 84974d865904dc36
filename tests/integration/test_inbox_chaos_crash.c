/* libinbox's members are killed, frozen, or lose their database in every phase of their work, which
 * they know from the library's log lines: before the claim, after it, in the handler, before the
 * COMMIT, within it, after it and before the offset, between attempts, around dead letters, around
 * rebalances. Another member goes on; the effects must be the events. */
#include "inbox_group_case.h"

#include <signal.h>

static const char *const troubles[] = {"fail2", "fail", "reject", "company", "bad", NULL};

static struct member survivor;
static struct member doomed[2];

static int leave_none(void **state)
{
    (void)state;
    member_kill9(&survivor);
    for (size_t i = 0; i < ARRAY_LEN(doomed); i++)
        member_kill9(&doomed[i]);
    if (PQstatus(db) == CONNECTION_OK) {
        effects_open_gate(db);
        effects_remove_gate(db);
    }
    return 0;
}

static bool waits_for_a_lock(void)
{
    return pg_int(db, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'consumer' AND "
                      "wait_event_type = 'Lock'") > 0;
}

/* The one that goes on has partitions before anybody else comes. */
static void begin_with_survivor(const char *topic, int partitions, int trouble)
{
    begin_feed(topic, partitions);
    feed.whats = troubles;
    feed.trouble = trouble;
    join(&survivor, NULL);
    FEED_UNTIL(member_log_count(&survivor, "phase committed") > 0);
}

/* A member that ends or stops itself at the n-th line that holds the text. */
static void join_until(struct member *m, const char *text, int nth, const char *then)
{
    char at[128];
    char n[32];
    char what[32];

    (void)snprintf(at, sizeof at, "at=%s", text);
    (void)snprintf(n, sizeof n, "nth=%d", nth);
    (void)snprintf(what, sizeof what, "then=%s", then);
    join(m, (const char *const[]){at, n, what, "member=doomed", NULL});
}

/* ---- SIGKILL --------------------------------------------------------------------------------- */

struct point {
    const char *line;
    int nth;
};

/* Two at a time: the second one's coming takes partitions from the first. */
static const struct point points[][2] = {
    {{"phase begun", 2}, {"phase claimed", 2}},
    {{"phase in the handler", 5}, {"phase handled", 2}},
    {{"phase committed", 2}, {"phase offsets committed", 2}},
    {{"phase rolled back", 1}, {"its events follow one by one", 1}},
    {{"another try follows", 1}, {"event given up", 1}},
    {{"event dead-lettered", 1}, {"another try follows", 2}},
    {{"partitions given up", 1}, {"partitions assigned", 1}},
};

static void killed_in_every_phase(void **state)
{
    (void)state;
    begin_with_survivor("killed", 6, 8);
    for (size_t i = 0; i < ARRAY_LEN(points); i++) {
        join_until(&doomed[0], points[i][0].line, points[i][0].nth, "kill");
        if (strcmp(points[i][0].line, "partitions given up") == 0)
            FEED_UNTIL(member_log_count(&doomed[0], "partitions assigned") > 0);
        join_until(&doomed[1], points[i][1].line, points[i][1].nth, "kill");
        for (int k = 0; k < 2; k++) {
            FEED_UNTIL(has_died(&doomed[k]));
            CHECK(proc_exit_code(&doomed[k].proc) == 128 + SIGKILL, "%s: exit code %d, log %s",
                  points[i][k].line, proc_exit_code(&doomed[k].proc), doomed[k].log);
        }
    }
    (void)judge_feed(false);
    assert_int_equal(member_stop(&survivor), 0);
    /* what was committed by one and delivered to another */
    assert_true(member_counter(&survivor, "inbox_events_duplicate_total") > 0);
}

/* ---- within COMMIT --------------------------------------------------------------------------- */

/* The server is in the middle of COMMIT when its client dies, and commits: the effects stand, their
 * offsets do not. Or the server's end of it is what dies: nothing has happened. */
static void killed_within_commit(void **state)
{
    (void)state;
    begin_feed("commit", 2);
    effects_build_gate(db);
    for (int i = 0; i < 2; i++) {
        int64_t before = 0;

        join(&doomed[0], NULL);
        FEED_UNTIL(effect_count() > i * 200);
        effects_close_gate(db);
        FEED_UNTIL(waits_for_a_lock());
        before = effect_count();
        member_kill9(&doomed[0]);
        if (i == 1)
            pg_exec(db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = "
                        "'consumer'");
        effects_open_gate(db);
        WAIT_UNTIL(pg_int(db, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'consumer'") ==
                       0,
                   WAIT_MS);
        if (i == 0)
            assert_true(effect_count() > before);
        else
            assert_int_equal(effect_count(), before);
    }
    join(&survivor, NULL);
    (void)judge_feed(false);
    /* who has met the claims of the first, the second or the survivor, is chance: the judge has
     * seen that each effect is there once */
    assert_int_equal(member_stop(&survivor), 0);
}

/* The member lives, its connection does not: the answer to COMMIT is lost, and the claims tell. */
static void answer_to_commit_lost(void **state)
{
    struct proxy *proxy = proxy_start(0, pg.port);
    char conninfo[160];

    (void)state;
    begin_feed("answer", 2);
    effects_build_gate(db);
    (void)snprintf(conninfo, sizeof conninfo, "conninfo=postgres://consumer@127.0.0.1:%d/postgres",
                   proxy_port(proxy));
    join(&survivor, (const char *const[]){conninfo, NULL});
    for (int i = 1; i <= 3; i++) {
        FEED_UNTIL(effect_count() > i * 50);
        effects_close_gate(db);
        FEED_UNTIL(waits_for_a_lock());
        proxy_set(proxy, PROXY_RESET, 0);
        FEED_UNTIL(member_log_count(&survivor, "waiting for it") == i);
        effects_open_gate(db);
        proxy_set(proxy, PROXY_PASS, 0);
        FEED_UNTIL(member_log_count(&survivor, "the database is back") == i);
    }
    (void)judge_feed(false);
    assert_int_equal(member_stop(&survivor), 0);
    assert_true(member_counter(&survivor, "inbox_events_duplicate_total") > 0);
    proxy_stop(proxy);
}

/* ---- frozen ---------------------------------------------------------------------------------- */

/* Until others have its partitions: they wait for the claims that it holds, or go on. */
static void freeze_until_taken_over(const char *phase, bool holds)
{
    int assigned;

    join_until(&doomed[0], phase, 3, "stop");
    FEED_UNTIL(member_is_parked(&doomed[0]));
    assigned = member_log_count(&survivor, "partitions assigned");
    FEED_UNTIL(member_log_count(&survivor, "partitions assigned") > assigned);
    if (holds)
        FEED_UNTIL(waits_for_a_lock());
    else
        FEED_UNTIL(member_log_count(&survivor, "phase offsets committed") > 0);
}

/* A member freezes for longer than its session, others take its partitions over, and it comes back
 * in the middle of its work: it may neither repeat nor overtake. */
static void zombies_in_every_phase(void **state)
{
    static const char *const phases[] = {"phase begun", "phase claimed", "phase in the handler",
                                         "phase handled", "phase committed"};

    (void)state;
    begin_with_survivor("zombie", 4, 3);
    feed.again = 0; /* a batch that was claimed before holds nothing */
    for (size_t i = 0; i < ARRAY_LEN(phases); i++) {
        freeze_until_taken_over(phases[i], i > 0 && i < 4);
        if (i == 3) { /* its transaction ends by its death */
            member_kill9(&doomed[0]);
            continue;
        }
        member_wake(&doomed[0]);
        FEED_UNTIL(member_log_count(&doomed[0], "partitions assigned") > 1);
        assert_int_equal(member_stop(&doomed[0]), 0);
    }
    (void)judge_feed(false);
    assert_int_equal(member_stop(&survivor), 0);
}

/* ---- servers --------------------------------------------------------------------------------- */

static void database_crashes_in_every_phase(void **state)
{
    static const char *const phases[] = {"phase begun",         "phase claimed",
                                         "phase handled",       "phase committed",
                                         "another try follows", "event given up"};

    (void)state;
    begin_with_survivor("crash", 4, 8);
    for (size_t i = 0; i < ARRAY_LEN(phases); i++) {
        join_until(&doomed[0], phases[i], 2, "stop");
        FEED_UNTIL(member_is_parked(&doomed[0]));
        pg_crash(&pg);
        member_wake(&doomed[0]);
        feed_some(20);
        database_comes_back();
        FEED_UNTIL(member_log_count(&doomed[0], "phase committed") > 2);
        assert_int_equal(member_stop(&doomed[0]), 0);
    }
    (void)judge_feed(false);
    assert_int_equal(member_stop(&survivor), 0);
    assert_true(member_counter(&survivor, "inbox_database_reconnects_total") >= 1);
}

/* The group, its members and their offsets are gone for some seconds, and come back. */
static void broker_crashes_before_the_offset(void **state)
{
    (void)state;
    begin_with_survivor("broker", 4, 8);
    join_until(&doomed[0], "phase committed", 2, "stop");
    FEED_UNTIL(member_is_parked(&doomed[0]));
    kafka_kill9(&kafka, 0);
    member_wake(&doomed[0]);
    feed_some(20);
    kafka_start(&kafka, 0);
    FEED_UNTIL(member_log_count(&doomed[0], "partitions assigned") > 1);
    (void)judge_feed(false);
    assert_int_equal(member_stop(&doomed[0]), 0);
    assert_int_equal(member_stop(&survivor), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(killed_in_every_phase, leave_none),
        cmocka_unit_test_teardown(killed_within_commit, leave_none),
        cmocka_unit_test_teardown(answer_to_commit_lost, leave_none),
        cmocka_unit_test_teardown(zombies_in_every_phase, leave_none),
        cmocka_unit_test_teardown(database_crashes_in_every_phase, leave_none),
        cmocka_unit_test_teardown(broker_crashes_before_the_offset, leave_none),
    };

    cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests_name("inbox, crashes", tests, start_servers, end_servers);
}
