/* Whatever befalls the database, the same relay process goes on when it is over: nothing lost,
 * nothing invented, nothing out of order, and nothing left behind. Failovers: test_failover.c. */
#include "../support/check.h"

#include "../support/pg_faults.h"
#include "../support/proxy.h"
#include "../support/trial.h"
#include "one_kafka.h"

#include <signal.h>
#include <stdlib.h>

static struct pg_server pg;
static struct trial trial;
static struct proxy *proxy;

static int setup_with(const struct pg_params *params)
{
    pg_create(&pg, params);
    pg_apply_schema(&pg);
    load_prepare(&pg);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    return setup_with(NULL);
}

static int teardown(void **state)
{
    (void)state;
    trial_clean(&trial);
    proxy_stop(proxy);
    proxy = NULL;
    pg_drop(&pg);
    return 0;
}

/* Per fault the window, and what the checkpoints that the crash lost had covered: those of the last
 * half second or so, as commits of the position do not wait for the disk. */
#define DUPLICATES_OF_A_CRASH (TRIAL_WINDOW + 2000)

static void test_crash_restart_and_sigkill(void **state)
{
    (void)state;
    trial_begin(&trial, &pg, &kafka, NULL, NULL);
    for (int i = 0; i < 2; i++) {
        test_sleep_ms(200 + trial_chance(&trial, 500));
        pg_crash(&pg);
        pg_start(&pg);
        trial_healed(&trial, "crash");
        test_sleep_ms(200 + trial_chance(&trial, 500));
        pg_restart(&pg);
        trial_healed(&trial, "fast restart");
        test_sleep_ms(200 + trial_chance(&trial, 500));
        pg_kill9(&pg);
        pg_start(&pg);
        trial_healed(&trial, "SIGKILL");
        /* again, while the relay is on its way back */
        pg_crash(&pg);
        pg_start(&pg);
        test_sleep_ms(trial_chance(&trial, 60));
        pg_crash(&pg);
        test_sleep_ms(trial_chance(&trial, 3000)); /* away for longer, so that pauses have grown */
        pg_start(&pg);
        trial_healed(&trial, "two crashes in a row");
    }
    trial_end(&trial, 10 * DUPLICATES_OF_A_CRASH);
}

/* By a person, or by idle_session_timeout and the like: any of the three sessions, at any moment.
 */
static void test_backends_terminated_and_cancelled(void **state)
{
    static const char *const sessions[] = {"read", "control", "bell"};
    PGconn *conn;
    int64_t hits = 0;
    uint64_t end;

    (void)state;
    trial_begin(&trial, &pg, &kafka, NULL, NULL);
    conn = pg_open(&pg, NULL);
    end = test_now_ms() + 15000; /* a session that is away cannot be hit */
    for (int i = 1; hits < 40 && test_now_ms() < end; i++) {
        const char *which = sessions[trial_chance(&trial, 3)];
        const char *how =
            trial_chance(&trial, 3) == 0 ? "pg_cancel_backend" : "pg_terminate_backend";

        test_sleep_ms(trial_chance(&trial, 120));
        hits += pg_int(conn,
                       "SELECT count(*) FILTER (WHERE %s(pid)) FROM pg_stat_activity"
                       " WHERE application_name = 'outboxd orders %s'",
                       how, which);
        if (i % 15 == 0)
            trial_healed(&trial, "some of them");
    }
    trial_healed(&trial, "the last");
    PQfinish(conn);
    CHECK(hits >= 10, "only %d sessions were hit", (int)hits);
    trial_end(&trial, hits * TRIAL_WINDOW);
}

/* The other side is silent for longer than any deadline, twice; then the connections are dead on
 * one side only. */
static void test_half_open_connections(void **state)
{
    struct pg_server route;

    (void)state;
    route = pg;
    proxy = proxy_start(0, pg.port);
    route.port = proxy_port(proxy);
    trial_begin(&trial, &pg, &kafka, &route, ", lease_ttl: 2s");
    proxy_set(proxy, PROXY_BLACKHOLE, 0);
    test_sleep_ms(700 + trial_chance(&trial, 500)); /* shorter than all deadlines */
    proxy_set(proxy, PROXY_PASS, 0);
    trial_healed(&trial, "silence of a second");
    proxy_set(proxy, PROXY_BLACKHOLE, 0);
    outboxd_wait_log(&trial.relay, "lease not renewed in time", 10000);
    outboxd_wait_log(&trial.relay, "connect: no answer within", 20000);
    proxy_set(proxy, PROXY_PASS, 0);
    trial_healed(&trial, "silence past the lease");
    proxy_forget(proxy);
    trial_healed(&trial, "connections forgotten by a firewall");
    proxy_set(proxy, PROXY_RESET, 0);
    test_sleep_ms(trial_chance(&trial, 2000));
    proxy_set(proxy, PROXY_PASS, 0);
    trial_healed(&trial, "resets");
    proxy_set(proxy, PROXY_CLOSED, 0);
    test_sleep_ms(trial_chance(&trial, 2000));
    proxy_set(proxy, PROXY_PASS, 0);
    trial_healed(&trial, "nobody listening");
    trial_end(&trial, 5 * TRIAL_WINDOW);
}

static int setup_few_connections(void **state)
{
    static const char *const settings[] = {"max_connections = 22", NULL};

    (void)state;
    return setup_with(&(struct pg_params){.settings = settings});
}

static void test_no_connection_left(void **state)
{
    PGconn *taken[32] = {NULL};
    PGconn *conn;
    int n = 0;

    (void)state;
    trial_begin(&trial, &pg, &kafka, NULL, NULL);
    conn = pg_open(&pg, NULL);
    pg_exec(conn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'relay'");
    /* Its three places are taken before it can have all of them back. */
    for (uint64_t end = test_now_ms() + 3000; test_now_ms() < end;) {
        PGconn *more = n < 32 ? pg_try_open(&pg, "svc", 5) : NULL;
        if (more != NULL)
            taken[n++] = more;
        else
            test_sleep_ms(5);
        pg_exec(conn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                      " WHERE usename = 'relay'");
    }
    assert_true(n >= 3);
    assert_true(outboxd_log_has(&trial.relay, "53300"));
    assert_true(proc_alive(&trial.relay.proc));
    /* One place free is too few, and must not be kept while waiting for the others. */
    PQfinish(taken[--n]);
    test_sleep_ms(1500);
    while (n > 0)
        PQfinish(taken[--n]);
    PQfinish(conn);
    trial_healed(&trial, "no connection left");
    trial_end(&trial, 100 * TRIAL_WINDOW);
}

static int setup_small_disk(void **state)
{
    static const char *const settings[] = {"min_wal_size = 32MB", "max_wal_size = 48MB",
                                           "wal_recycle = off",   "shared_buffers = 16MB",
                                           "autovacuum = off",    NULL};

    (void)state;
    return setup_with(&(struct pg_params){.settings = settings, .disk_mib = 192});
}

static void test_disk_full(void **state)
{
    PGconn *conn;

    (void)state;
    trial_begin(&trial, &pg, &kafka, NULL, NULL);
    conn = pg_open(&pg, NULL);
    print_message("%s\n", pg.has_disk ? "a disk of its own" : "by limits: no mount allowed here");
    pg_fill_disk(&pg);
    /* WAL that cannot be written crashes the server, and recovery fails in the same way. */
    for (int i = 0; i < 200 && PQstatus(conn) == CONNECTION_OK; i++) {
        PQclear(PQexec(conn, "SELECT pg_switch_wal()"));
        test_sleep_ms(10);
    }
    PQfinish(conn);
    test_sleep_ms(1500 + trial_chance(&trial, 1500));
    CHECK(outboxd_log_has(&trial.relay, "database lost") || !proc_alive(&pg.proc),
          "nobody noticed");
    CHECK(proc_alive(&trial.relay.proc), "the relay has ended");
    pg_free_disk(&pg);
    if (!proc_wait(&pg.proc, 3000) && !pg_is_ready(&pg))
        pg_crash(&pg);
    if (!proc_alive(&pg.proc))
        pg_start(&pg);
    trial_healed(&trial, "disk full");
    trial_end(&trial, 20 * DUPLICATES_OF_A_CRASH);
}

/* A wall clock that jumps is nothing to the lease, which is measured in time since boot. The
 * brokers refuse records from a clock that is hours ahead: then the relay waits until somebody sets
 * it. */
static void test_wall_clock_jumps(void **state)
{
    char folder[PATH_SIZE];
    char clock[PATH_SIZE];

    (void)state;
    tmp_folder("clock", folder);
    path_join(clock, folder, "offset");
    file_write(clock, "+0\n");
    (void)setenv("LD_PRELOAD", "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", 1);
    (void)setenv("FAKETIME_TIMESTAMP_FILE", clock, 1);
    (void)setenv("FAKETIME_NO_CACHE", "1", 1);
    (void)setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1", 1);
    trial_begin(&trial, &pg, &kafka, NULL, ", lease_ttl: 2s");
    (void)unsetenv("LD_PRELOAD");
    file_write(clock, "-3600\n");
    trial_healed(&trial, "an hour back");
    test_sleep_ms(2500); /* past the lease */
    file_write(clock, "+1800\n");
    trial_healed(&trial, "half an hour ahead");
    test_sleep_ms(2500);
    assert_int_equal(outboxd_log_count(&trial.relay, "level=warn msg=\"producer"), 0);
    file_write(clock, "+86400\n");
    outboxd_wait_log(&trial.relay, "problem=clock_wrong", 10000);
    test_sleep_ms(1000);
    file_write(clock, "+0\n");
    trial_healed(&trial, "right again after a day ahead");
    assert_int_equal(outboxd_log_count(&trial.relay, "lease taken"), 1);
    assert_int_equal(outboxd_log_count(&trial.relay, "database lost"), 0);
    /* librdkafka waits by the wall clock: what began to wait when it was ahead waits until then */
    trial.producers_linger = true;
    /* each attempt may have had some partitions' records accepted: none, if all have one time */
    trial_end(&trial, TRIAL_WINDOW);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_crash_restart_and_sigkill, setup, teardown),
        cmocka_unit_test_setup_teardown(test_backends_terminated_and_cancelled, setup, teardown),
        cmocka_unit_test_setup_teardown(test_half_open_connections, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_connection_left, setup_few_connections, teardown),
        cmocka_unit_test_setup_teardown(test_disk_full, setup_small_disk, teardown),
        cmocka_unit_test_setup_teardown(test_wall_clock_jumps, setup, teardown),
    };

    cmocka_set_test_filter(getenv("ONLY")); /* a pattern such as *disk*; NULL: all */
    return cmocka_run_group_tests_name("faults of Postgres", tests, setup_kafka, teardown_kafka);
}
