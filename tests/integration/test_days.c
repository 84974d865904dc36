/* The partitions of the days ahead, on a real Postgres: they come by themselves, in nobody's way,
 * and what keeps them from coming is told once and does no harm. */
#include "../support/check.h"
#include "../support/keeper.h"
#include "../support/log_catch.h"
#include "../support/source_user.h"
#include "../support/stopwatch.h"
#include "outbox/days.h"

#include <stdlib.h>

static struct pg_server pg;
static PGconn *owner; /* superuser */

/* ---- what the tests look at ---- */

static int64_t partitions(void)
{
    return pg_int(owner,
                  "SELECT count(*) FROM pg_inherits WHERE inhparent = "
                  "'outbox.event'::regclass AND inhrelid <> 'outbox.event_default'::regclass");
}

/* Leaves today's, in which writers are. */
static void drop_days_ahead(void)
{
    pg_exec(owner,
            "DO $$DECLARE leaf regclass; BEGIN FOR leaf IN SELECT inhrelid::regclass FROM "
            "pg_inherits WHERE inhparent = 'outbox.event'::regclass AND inhrelid::regclass::text > "
            "'outbox.event_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD') AND inhrelid <> "
            "'outbox.event_default'::regclass LOOP EXECUTE 'DROP TABLE ' || leaf; END LOOP; END$$");
    assert_int_equal(partitions(), 1);
}

/* ---- the keeper of the days by itself, with short pauses ---- */

static void start(void *ctx)
{
    days_start(ctx);
}

static void forget(void *ctx)
{
    days_forget(ctx);
}

static void begin_keeper(struct keeper *k)
{
    struct days *days;

    keeper_init(k, &pg);
    days = days_new(&(struct days_params){.base = k->base,
                                          .now_ms = test_now_ms,
                                          .session = k->session,
                                          .lease_ttl_ms = 2000,
                                          .timeout_ms = 5000,
                                          .first_ms = 5,
                                          .every_ms = 50,
                                          .retry_ms = 20});
    keeper_open(k, &(struct keeper_job){days, start, forget});
}

static void end_keeper(struct keeper *k)
{
    days_free(k->job.ctx);
    keeper_release(k);
}

static unsigned asked(const char *statement)
{
    return statements_seen(&pg, statement);
}

/* ---- they come ---- */

static void open_as(struct source_user *u, const char *instance, uint32_t ttl_ms)
{
    struct pg_url url = pg_url(&pg, "relay", "postgres");
    struct outbox_params params = source_user_params(url.text);

    params.instance = instance;
    params.lease_ttl_ms = ttl_ms;
    source_user_init(u, &params);
    source_user_open(u);
}

static void wait_for_partitions(struct source_user *u, int64_t count)
{
    uint64_t end = test_now_ms() + 8000;

    while (partitions() < count) {
        source_user_turn(u, 20);
        CHECK(test_now_ms() < end, "%lld partitions after 8 s", (long long)partitions());
    }
}

static const char *all_partitions(void)
{
    return pg_scalar(owner, "SELECT string_agg(inhrelid::text, ' ' ORDER BY inhrelid) FROM "
                            "pg_inherits WHERE inhparent = 'outbox.event'::regclass");
}

static void test_days_come_when_it_opens(void **state)
{
    struct source_user u;
    const char *made;
    unsigned looks;
    const char *log;

    (void)state;
    drop_days_ahead();
    log_catch();
    open_as(&u, "a", 10000);
    wait_for_partitions(&u, 8);
    source_user_turn(&u, 100);
    log = log_caught();
    assert_int_equal(occurrences(log, "level=info msg=\"partition created\""), 7);
    assert_int_equal(occurrences(log, "level=warn"), 0);

    /* the next look finds them and leaves them alone */
    made = all_partitions();
    looks = asked("ensure_days(7)");
    log_catch();
    source_user_open(&u);
    source_user_turn(&u, 1000);
    for (int i = 0; i < 200 && asked("ensure_days(7)") == looks; i++)
        source_user_turn(&u, 20);
    source_user_turn(&u, 100);
    log = log_caught();
    assert_int_equal(asked("ensure_days(7)"), looks + 1);
    assert_string_equal(all_partitions(), made);
    assert_string_equal(log, "");
    assert_int_equal(u.lost, 0);
    source_user_release(&u);
}

/* A new day comes at the next look, and two relays that look at once do not harm each other. */
static void test_days_come_again(void **state)
{
    struct keeper one;
    struct keeper two;
    uint64_t end;

    (void)state;
    begin_keeper(&one);
    begin_keeper(&two);
    keeper_wait_for_statements(&one, &pg, "ensure_days(7)", 2);
    for (int round = 0; round < 5; round++) {
        drop_days_ahead();
        end = test_now_ms() + 10000;
        while (partitions() < 8) {
            keeper_turn(&one, 1);
            keeper_turn(&two, 1);
            CHECK(test_now_ms() < end, "%lld partitions after 10 s", (long long)partitions());
        }
    }
    end_keeper(&one);
    end_keeper(&two);
}

/* ---- nobody waits ---- */

static void test_writers_do_not_wait(void **state)
{
    struct stopwatch w;
    struct keeper k;
    PGconn *open_writer = pg_open(&pg, "svc");
    uint64_t end;

    (void)state;
    drop_days_ahead();
    pg_exec(open_writer, "BEGIN");
    pg_exec(open_writer, STOPWATCH_EVENT);
    stopwatch_start(&w, &pg);
    begin_keeper(&k);
    end = test_now_ms() + 10000;
    while (partitions() < 8) {
        keeper_turn(&k, 5);
        CHECK(test_now_ms() < end, "%lld partitions after 10 s", (long long)partitions());
    }
    keeper_wait_for_statements(&k, &pg, "ensure_days(7)",
                               3); /* looks at what is there are in nobody's way either */
    stopwatch_stop(&w, "seven new partitions");
    assert_false(file_holds(pg.log, " still waiting for "));
    pg_exec(open_writer, STOPWATCH_EVENT);
    pg_exec(open_writer, "COMMIT");
    end_keeper(&k);
    PQfinish(open_writer);
}

/* The worst for the lease: somebody uses the default partition throughout, so that every attempt
 * waits as long as it may. */
static void test_renewals_do_not_wait(void **state)
{
    struct source_user u;
    PGconn *reader = pg_open(&pg, NULL);
    unsigned slowest = 0;
    unsigned looks = asked("ensure_days(1)");
    unsigned later = asked("ensure_days(2)");
    uint64_t end;
    int64_t epoch;
    const char *log;

    (void)state;
    drop_days_ahead();
    pg_exec(reader, "BEGIN");
    pg_exec(reader, "SELECT count(*) FROM outbox.event_default");
    log_catch();
    open_as(&u, "a", 1000);
    epoch = source_user_take(&u, TAKE_IF_FREE, 0, 0)->epoch;
    assert_true(u.view.ours);
    end = test_now_ms() + 10000;
    while (!log_has_caught("is busy")) {
        uint64_t begun = test_now_ms();

        assert_true(source_user_renew(&u, epoch));
        if (test_now_ms() - begun > slowest)
            slowest = (unsigned)(test_now_ms() - begun);
        CHECK(test_now_ms() < end, "not told within 10 s");
    }
    log = log_caught();
    assert_int_equal(occurrences(log, "level=warn"), 1);
    assert_contains(log, "reason=\"skipped: the table is busy\"");
    assert_contains(log, "pg_locks");
    assert_int_equal(asked("ensure_days(1)"), looks + 2); /* it was asked once more */
    assert_int_equal(asked("ensure_days(2)"), later);     /* one busy day ends the look */
    print_message("# beside a busy table the slowest renewal took %u ms\n", slowest);
    assert_in_range(slowest, 0, 500); /* of a lease of 1 s */

    pg_exec(reader, "COMMIT");
    log_catch();
    source_user_open(&u);
    wait_for_partitions(&u, 8);
    source_user_turn(&u, 100);
    assert_contains(log_caught(), "has its partition again");
    source_user_release(&u);
    PQfinish(reader);
}

/* ---- what can go wrong ---- */

/* Each is a failure of the statement: told once, although it is tried again and again, and over as
 * soon as it is repaired. */
static void survives(PGconn *conn, const char *breaks, const char *repairs, const char *part)
{
    struct keeper k;
    const char *log;

    drop_days_ahead();
    pg_exec(conn, "%s", breaks);
    log_catch();
    begin_keeper(&k);
    keeper_wait_for_log(&k, part);
    keeper_wait_for_statements(&k, &pg, "ensure_days(0)", 8); /* a refused one is logged twice */
    pg_exec(conn, "%s", repairs);
    keeper_wait_for_log(&k, "has its partition again");
    log = log_caught();
    assert_int_equal(occurrences(log, "level=warn"), 1);
    assert_contains(log, "remedy=");
    assert_int_equal(occurrences(log, "partition created"), 7);
    assert_int_equal(partitions(), 8);
    end_keeper(&k);
}

static void test_failures_are_told_once(void **state)
{
    PGconn *conn = pg_open(&pg, NULL);

    (void)state;
    survives(conn, "REVOKE EXECUTE ON FUNCTION outbox.ensure_days(integer) FROM outbox_relay",
             "GRANT EXECUTE ON FUNCTION outbox.ensure_days(integer) TO outbox_relay",
             "permission denied for function ensure_days (SQLSTATE 42501)");
    survives(conn, "BEGIN; LOCK TABLE outbox.event_default", "COMMIT", "SQLSTATE 55P03");
    survives(conn, "ALTER FUNCTION outbox.ensure_days(integer) RENAME TO away",
             "ALTER FUNCTION outbox.away(integer) RENAME TO ensure_days", "SQLSTATE 42883");
    /* a server so slow that the limit ends it: a quarter of the lease */
    survives(conn,
             "ALTER FUNCTION outbox.make_day(date) RENAME TO quick; CREATE FUNCTION "
             "outbox.make_day(day date) RETURNS text LANGUAGE sql AS 'SELECT pg_sleep(60)::text'; "
             "ALTER FUNCTION outbox.make_day(date) OWNER TO outbox_owner",
             "DROP FUNCTION outbox.make_day(date); ALTER FUNCTION outbox.quick(date) RENAME TO "
             "make_day",
             "statement timeout (SQLSTATE 57014)");
    PQfinish(conn);
}

/* The relay goes on without the privilege: it leads, renews, and says what is missing. */
static void test_the_relay_survives(void **state)
{
    struct source_user u;
    uint64_t end = test_now_ms() + 10000;
    int64_t epoch;

    (void)state;
    pg_exec(owner, "REVOKE EXECUTE ON FUNCTION outbox.ensure_days(integer) FROM outbox_relay");
    log_catch();
    open_as(&u, "a", 10000);
    epoch = source_user_take(&u, TAKE_IF_UNCHANGED, 0, 0)->epoch;
    epoch = source_user_take(&u, TAKE_IF_UNCHANGED, epoch, u.view.beat)->epoch;
    assert_true(u.view.ours);
    while (!log_has_caught("42501")) {
        assert_true(source_user_renew(&u, epoch));
        CHECK(test_now_ms() < end, "not told within 10 s");
    }
    assert_true(source_user_renew(&u, epoch));
    assert_contains(log_caught(), "GRANT EXECUTE ON FUNCTION outbox.ensure_days(integer)");
    assert_int_equal(u.lost, 0);
    pg_exec(owner, "GRANT EXECUTE ON FUNCTION outbox.ensure_days(integer) TO outbox_relay");
    source_user_release(&u);
}

/* The default partition has rows of a day: that day is skipped, told once, and the others come. */
static void test_a_skipped_day(void **state)
{
    struct keeper k;
    const char *log;

    (void)state;
    drop_days_ahead();
    pg_exec(owner,
            "INSERT INTO outbox.event (aggregate_type, aggregate_id, event_type, created_at) "
            "VALUES ('a', 'late', 'c', now() + interval '3 days')");
    log_catch();
    begin_keeper(&k);
    keeper_wait_for_log(&k, "holds rows of this day");
    keeper_wait_for_statements(&k, &pg, "ensure_days(7)", 4);
    assert_int_equal(partitions(), 7);
    pg_exec(owner, "DELETE FROM outbox.event_default");
    keeper_wait_for_log(&k, "has its partition again");
    log = log_caught();
    assert_int_equal(occurrences(log, "level=warn"), 1);
    assert_contains(log, pg_scalar(owner, "SELECT 'partition=outbox.event_' || to_char((now() + "
                                          "interval '3 days') AT TIME ZONE 'UTC', 'YYYYMMDD') || "
                                          "' days=1 '"));
    assert_int_equal(partitions(), 8);
    end_keeper(&k);
}

/* ---- */

static int start_server(void **state)
{
    (void)state;
    pg_create(&pg, NULL);
    pg_apply_schema(&pg);
    owner = pg_open(&pg, NULL);
    pg_exec(owner, "SET statement_timeout = '30s'"); /* a failed test leaves its locks */
    pg_exec(owner, "ALTER ROLE relay SET log_statement = 'all'");
    /* a writer that waits for a lock for 10 ms is logged */
    pg_exec(owner,
            "ALTER ROLE svc SET log_lock_waits = on; ALTER ROLE svc SET deadlock_timeout = 10");
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    PQfinish(owner);
    pg_drop(&pg);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_days_come_when_it_opens, log_give_back),
        cmocka_unit_test_teardown(test_days_come_again, log_give_back),
        cmocka_unit_test_teardown(test_writers_do_not_wait, log_give_back),
        cmocka_unit_test_teardown(test_renewals_do_not_wait, log_give_back),
        cmocka_unit_test_teardown(test_failures_are_told_once, log_give_back),
        cmocka_unit_test_teardown(test_the_relay_survives, log_give_back),
        cmocka_unit_test_teardown(test_a_skipped_day, log_give_back),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
