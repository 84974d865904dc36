/* The whole binary on a real Postgres and a real Kafka, with faults; every run ends with the
 * oracle. */
#include "../support/check.h"

#include "../support/load.h"
#include "../support/oracle.h"
#include "../support/outboxd.h"
#include "../support/pg.h"
#include "../support/tmp.h"
#include "one_kafka.h"

#include <signal.h>
#include <stdlib.h>

#define TOPIC  "order-events"
#define WINDOW 500 /* small, so that the bound on duplicates says something */

static struct pg_server pg;
static struct outboxd relay;

static int setup(void **state)
{
    (void)state;
    pg_create(&pg, NULL);
    pg_apply_schema(&pg);
    load_prepare(&pg);
    kafka_create_topic(&kafka, TOPIC, 6, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    outboxd_kill9(&relay); /* harmless when it has ended */
    kafka_delete_topic(&kafka, TOPIC);
    pg_drop(&pg);
    return 0;
}

static struct oracle_params judge(const struct load *load)
{
    return (struct oracle_params){
        .pg = &pg, .brokers = kafka_brokers(&kafka), .load = load, .wait_ms = 20000};
}

static void finish(struct load *load, int64_t max_duplicates)
{
    struct oracle_params p = judge(load);
    struct oracle_report report = oracle_assert(&p, max_duplicates);

    print_message("%lld committed, %lld records, %lld duplicates\n", (long long)report.committed,
                  (long long)report.records, (long long)report.duplicates);
    load_free(load);
}

/* I7: nothing of ours stays behind in the database. */
static void assert_no_sessions_left(void)
{
    PGconn *conn = pg_open(&pg, NULL);

    WAIT_UNTIL(pg_int(conn, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'relay'") == 0,
               5000);
    assert_int_equal(pg_int(conn, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), 0);
    PQfinish(conn);
}

static void test_without_faults_no_duplicates(void **state)
{
    struct load *load;

    (void)state;
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), NULL, NULL);
    outboxd_start(&relay);
    load = load_start(&(struct load_params){.pg = &pg,
                                            .writers = 12,
                                            .seed = 1,
                                            .duration_ms = 5000,
                                            .max_pause_ms = 10,
                                            .long_transaction = true});
    load_wait(load, 30000);
    outboxd_wait_drained(&relay, 10000);
    assert_int_equal(outboxd_stop(&relay), 0);
    finish(load, 0);
    assert_no_sessions_left();
}

static void test_killed_twenty_times(void **state)
{
    struct load *load;
    unsigned chance = 20;
    int fds = 0;

    (void)state;
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), ", window_events: 500", NULL);
    load = load_start(&(struct load_params){
        .pg = &pg, .writers = 10, .seed = 2, .max_pause_ms = 5, .long_transaction = true});
    for (int i = 0; i < 20; i++) {
        outboxd_start(&relay);
        test_sleep_ms(100 + (unsigned)rand_r(&chance) % 500);
        fds = proc_fd_count(relay.proc.pid);
        outboxd_kill9(&relay);
    }
    outboxd_start(&relay);
    load_stop(load);
    outboxd_wait_drained(&relay, 20000);
    assert_true(proc_fd_count(relay.proc.pid) <= fds + 8);
    assert_int_equal(outboxd_stop(&relay), 0);
    finish(load, 20 * WINDOW);
    assert_no_sessions_left();
}

/* One transaction open throughout is part of the load; here one of 100,000 rows commits in the
 * middle of it all. */
static void test_a_straggler_of_100000_rows(void **state)
{
    struct load *load;
    PGconn *straggler = pg_open(&pg, "svc");

    (void)state;
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), NULL, NULL);
    outboxd_start(&relay);
    pg_exec(straggler, "BEGIN");
    load_bulk(straggler, &(struct load_bulk){.prefix = "straggler",
                                             .events = 100000,
                                             .keys = 50,
                                             .first_seq = 1,
                                             .payload_bytes = 100});
    load = load_start(&(struct load_params){
        .pg = &pg, .writers = 6, .seed = 3, .duration_ms = 4000, .max_pause_ms = 10});
    test_sleep_ms(2000);
    pg_exec(straggler, "COMMIT");
    PQfinish(straggler);
    load_wait(load, 30000);
    outboxd_wait_drained(&relay, 30000);
    assert_int_equal(outboxd_stop(&relay), 0);
    finish(load, 0);
}

static void test_postgres_crashes_under_asynchronous_commits(void **state)
{
    struct load *load;

    (void)state;
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), ", window_events: 500", NULL);
    outboxd_start(&relay);
    load = load_start(&(struct load_params){.pg = &pg,
                                            .writers = 8,
                                            .seed = 4,
                                            .max_pause_ms = 5,
                                            .async_commit = true,
                                            .survive = true});
    for (int i = 0; i < 3; i++) {
        test_sleep_ms(1200);
        pg_crash(&pg);
        test_sleep_ms(200);
        pg_start(&pg);
    }
    test_sleep_ms(1500);
    load_stop(load);
    outboxd_wait_drained(&relay, 20000);
    assert_int_equal(outboxd_stop(&relay), 0);
    /* per crash the window, and what the lost checkpoints of that second covered */
    finish(load, 3 * (WINDOW + 2000));
}

static void test_the_broker_is_killed_and_comes_back(void **state)
{
    struct load *load;

    (void)state;
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), NULL, NULL);
    outboxd_start(&relay);
    load = load_start(&(struct load_params){.pg = &pg, .writers = 8, .seed = 5, .max_pause_ms = 5});
    test_sleep_ms(1500);
    kafka_kill9(&kafka, 0);
    test_sleep_ms(2000);
    assert_true(proc_alive(&relay.proc));
    kafka_start(&kafka, 0);
    test_sleep_ms(1500);
    load_stop(load);
    outboxd_wait_drained(&relay, 30000);
    assert_int_equal(outboxd_stop(&relay), 0);
    finish(load, 50000);
}

static void test_a_standby_takes_over(void **state)
{
    struct outboxd second;
    struct load *load;

    (void)state;
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), ", window_events: 500, lease_ttl: 1s",
                      NULL);
    /* as on another machine: another instance */
    outboxd_configure(&second, &pg, kafka_brokers(&kafka), "-2, window_events: 500, lease_ttl: 1s",
                      NULL);
    outboxd_start(&relay);
    outboxd_wait_log(&relay, "lease taken", 5000);
    outboxd_start(&second);
    outboxd_wait_log(&second, "standing by", 5000);
    load = load_start(&(struct load_params){.pg = &pg, .writers = 6, .seed = 6, .max_pause_ms = 5});
    test_sleep_ms(1000);
    assert_int_equal(outboxd_stop(&relay), 0);
    outboxd_wait_log(&second, "lease taken", 1000); /* released: at once */
    outboxd_start(&relay);
    outboxd_wait_log(&relay, "standing by", 5000);
    outboxd_log_truncate(&relay);
    outboxd_kill9(&second);
    outboxd_wait_log(&relay, "lease taken", 3000); /* not released: ttl + 2 s */
    /* stopped past its lease while another takes over, then continued: it must notice and stand by
     */
    outboxd_start(&second);
    outboxd_wait_log(&second, "standing by", 5000);
    proc_signal(&relay.proc, SIGSTOP);
    outboxd_log_truncate(&second);
    outboxd_wait_log(&second, "lease taken", 3000);
    test_sleep_ms(500);
    outboxd_log_truncate(&relay);
    proc_signal(&relay.proc, SIGCONT);
    outboxd_wait_log(&relay, "standing by", 5000);
    load_stop(load);
    outboxd_wait_drained(&second, 20000);
    assert_int_equal(outboxd_stop(&relay), 0);
    assert_int_equal(outboxd_stop(&second), 0);
    finish(load, 3 * WINDOW);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_without_faults_no_duplicates, setup, teardown),
        cmocka_unit_test_setup_teardown(test_killed_twenty_times, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_straggler_of_100000_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_postgres_crashes_under_asynchronous_commits, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_the_broker_is_killed_and_comes_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_standby_takes_over, setup, teardown),
    };

    cmocka_set_test_filter(getenv("ONLY")); /* a pattern such as *killed*; NULL: all */
    return cmocka_run_group_tests_name("relay faults", tests, setup_kafka, teardown_kafka);
}
