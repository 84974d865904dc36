/* Two relays of one name on a real Postgres and a real Kafka: who leads, and how fast the other one
 * takes over; every run ends with the oracle. Who leads is read from the relay's row. */
#include "../support/check.h"

#include "../support/load.h"
#include "../support/oracle.h"
#include "../support/outboxd.h"
#include "../support/pg.h"
#include "../support/proxy.h"
#include "../support/tmp.h"
#include "one_kafka.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define TOPIC     "order-events"
#define WINDOW    500
#define TTL_MS    1000
#define AFTER_TTL 2000 /* a lease that was not released is taken within ttl + 2 s */
#define SLACK_MS  1500 /* of a machine that is busy with other things; the figures are printed */
#define TAKEOVERS 50

static struct pg_server pg;
static PGconn *owner;
/* Number i has the instance "test-i". */
static struct outboxd relays[2];

static void configure(int i, int port, const char *instance)
{
    char text[1024];

    (void)snprintf(text, sizeof text,
                   "postgres: {url: \"postgres://relay@127.0.0.1:%d/postgres\"}\n"
                   "kafka: {brokers: \"%s\"}\n"
                   "relay: {name: orders, instance: %s, lease_ttl: %dms, window_events: %d}\n"
                   "http: {listen: \"\"}\n",
                   port, kafka_brokers(&kafka), instance, TTL_MS, WINDOW);
    outboxd_configure_text(&relays[i], text);
}

static int setup(void **state)
{
    (void)state;
    pg_create(&pg, NULL);
    pg_apply_schema(&pg);
    load_prepare(&pg);
    owner = pg_open(&pg, NULL);
    kafka_create_topic(&kafka, TOPIC, 6, NULL);
    configure(0, pg.port, "test-0");
    configure(1, pg.port, "test-1");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    outboxd_kill9(&relays[0]);
    outboxd_kill9(&relays[1]);
    kafka_delete_topic(&kafka, TOPIC);
    PQfinish(owner);
    pg_drop(&pg);
    return 0;
}

/* ---- who leads ---- */

static bool leads(int i)
{
    return pg_int(owner,
                  "SELECT count(*) FROM outbox.relay WHERE name = 'orders' AND holder IS NOT NULL "
                  "AND instance = 'test-%d'",
                  i) == 1;
}

static int64_t epoch(void)
{
    return pg_int(owner, "SELECT epoch FROM outbox.relay WHERE name = 'orders'");
}

/* Waits until relay i holds the lease; returns the milliseconds since `start`. */
static int led_after_ms(int i, uint64_t start, int within_ms)
{
    WAIT_UNTIL(leads(i), within_ms);
    return (int)(test_now_ms() - start);
}

static void start_both(void)
{
    outboxd_start(&relays[0]);
    outboxd_wait_log(&relays[0], "lease taken", 10000);
    outboxd_start(&relays[1]);
    outboxd_wait_log(&relays[1], "standing by", 10000);
}

static void start_as_standby(int i)
{
    outboxd_log_truncate(&relays[i]);
    outboxd_start(&relays[i]);
    outboxd_wait_log(&relays[i], "standing by", 10000);
}

static struct load *some_load(uint64_t seed)
{
    return load_start(&(struct load_params){.pg = &pg,
                                            .writers = 6,
                                            .seed = seed,
                                            .max_pause_ms = 5,
                                            .long_transaction = true,
                                            .survive = true});
}

static void finish(struct load *load, int64_t max_duplicates)
{
    struct oracle_params p = {
        .pg = &pg, .brokers = kafka_brokers(&kafka), .load = load, .wait_ms = 20000};
    struct oracle_report report;

    load_stop(load);
    outboxd_wait_drained(&relays[0], 30000);
    for (int i = 0; i < 2; i++)
        if (proc_alive(&relays[i].proc))
            assert_int_equal(outboxd_stop(&relays[i]), 0);
    report = oracle_assert(&p, max_duplicates);
    print_message("%lld committed, %lld records, %lld duplicates of at most %lld\n",
                  (long long)report.committed, (long long)report.records,
                  (long long)report.duplicates, (long long)max_duplicates);
    load_free(load);
    WAIT_UNTIL(pg_int(owner, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'relay'") == 0,
               10000);
    assert_int_equal(pg_int(owner, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), 0);
}

static int by_size(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* ---- tests ---- */

#define ROUNDS 7

/* SIGTERM: what is in flight is acknowledged and stored, the lease released, so the other one leads
 * within a second, and nothing comes twice. */
static void test_at_once_after_sigterm(void **state)
{
    struct load *load;
    int ms[ROUNDS];

    (void)state;
    start_both();
    load = some_load(1);
    test_sleep_ms(300);
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t start = test_now_ms();

        proc_signal(&relays[i % 2].proc, SIGTERM);
        ms[i] = led_after_ms(1 - i % 2, start, 10000);
        assert_true(proc_wait(&relays[i % 2].proc, 15000));
        assert_int_equal(proc_exit_code(&relays[i % 2].proc), 0);
        start_as_standby(i % 2);
    }
    qsort(ms, ROUNDS, sizeof ms[0], by_size);
    print_message("led after SIGTERM within %d ms (median), %d ms (most)\n", ms[ROUNDS / 2],
                  ms[ROUNDS - 1]);
    assert_in_range(ms[ROUNDS / 2], 0, 1000);
    assert_in_range(ms[ROUNDS - 1], 0, 1000 + SLACK_MS);
    finish(load, 0);
}

static void test_after_the_ttl_when_killed(void **state)
{
    struct load *load;
    int most = 0;

    (void)state;
    start_both();
    load = some_load(2);
    for (int i = 0; i < 4; i++) {
        uint64_t start;
        int ms;

        test_sleep_ms(300);
        start = test_now_ms();
        outboxd_kill9(&relays[i % 2]);
        ms = led_after_ms(1 - i % 2, start, 10000);
        most = ms > most ? ms : most;
        start_as_standby(i % 2);
    }
    print_message("led after SIGKILL within %d ms (most), ttl %d ms\n", most, TTL_MS);
    assert_in_range(most, TTL_MS / 2, TTL_MS + AFTER_TTL + SLACK_MS);
    finish(load, 4 * WINDOW);
}

/* The leader's packets to the database are swallowed, those to Kafka are not: it must stop by its
 * own clock, and when the network is back, find that it leads no longer. */
static void test_after_the_ttl_when_cut_off(void **state)
{
    struct proxy *proxy = proxy_start(0, pg.port);
    struct load *load;
    uint64_t start;
    int ms;

    (void)state;
    configure(0, proxy_port(proxy), "test-0");
    start_both();
    load = some_load(3);
    for (int i = 0; i < 2; i++) {
        test_sleep_ms(500);
        outboxd_log_truncate(&relays[0]);
        start = test_now_ms();
        proxy_set(proxy, PROXY_BLACKHOLE, 0);
        ms = led_after_ms(1, start, 10000);
        print_message("led after a cut network within %d ms, ttl %d ms\n", ms, TTL_MS);
        assert_in_range(ms, TTL_MS / 2, TTL_MS + AFTER_TTL + SLACK_MS);
        outboxd_wait_log(&relays[0], "lease not renewed in time", 10000);
        test_sleep_ms(500);
        proxy_set(proxy, PROXY_PASS, 0);
        outboxd_wait_log(&relays[0], "standing by", 20000);
        assert_true(leads(1));
        /* back to the first one */
        proc_signal(&relays[1].proc, SIGTERM);
        (void)led_after_ms(0, test_now_ms(), 10000);
        assert_true(proc_wait(&relays[1].proc, 15000));
        start_as_standby(1);
    }
    assert_true(proc_alive(&relays[0].proc));
    load_stop(load);
    outboxd_wait_drained(&relays[0], 30000);
    finish(load, 2 * WINDOW);
    proxy_stop(proxy);
}

/* Both at the same time, again and again: one leads, the other stands by. With one instance name
 * for both, as after a careless copy of the configuration, too. */
static void both_at_once(const char *second_instance)
{
    int64_t before = epoch();

    configure(1, pg.port, second_instance);
    outboxd_start(&relays[0]);
    outboxd_start(&relays[1]);
    WAIT_UNTIL(outboxd_log_count(&relays[0], "standing by") +
                       outboxd_log_count(&relays[1], "standing by") >
                   0,
               10000);
    /* whoever took it last keeps it: no fight */
    test_sleep_ms(TTL_MS + 500);
    assert_in_range(epoch() - before, 1, 2);
    before = epoch();
    test_sleep_ms(TTL_MS);
    assert_int_equal(epoch(), before);
    for (int i = 0; i < 2; i++)
        outboxd_log_truncate(&relays[i]);
}

static void test_two_started_at_once(void **state)
{
    static const char *const instances[] = {"test-1", "test-0", "test-1"};
    struct load *load;

    (void)state;
    load = some_load(4);
    for (size_t i = 0; i < ARRAY_LEN(instances); i++) {
        both_at_once(instances[i]);
        if (i + 1 < ARRAY_LEN(instances)) {
            outboxd_kill9(&relays[0]);
            outboxd_kill9(&relays[1]);
        }
    }
    finish(load, 3 * 2 * WINDOW);
}

/* ---- fifty random takeovers ---- */

struct deeds {
    int terms, kills, stops, spared; /* spared: the standby was hit */
    int slowest_ms;
};

static void hit_standby(struct deeds *d, int i, unsigned chance)
{
    d->spared++;
    if (chance % 2 == 0)
        outboxd_kill9(&relays[i]);
    else
        assert_int_equal(outboxd_stop(&relays[i]), 0);
    start_as_standby(i);
}

/* One of three things happens to the leader; the other one must take over in time. */
static void hit_leader(struct deeds *d, int i, unsigned chance)
{
    int limit = TTL_MS + AFTER_TTL + SLACK_MS;
    uint64_t start = test_now_ms();
    int ms;

    if (chance % 4 < 2) {
        d->terms++;
        limit = 1000 + SLACK_MS;
        proc_signal(&relays[i].proc, SIGTERM);
    } else if (chance % 4 == 2) {
        d->kills++;
        proc_signal(&relays[i].proc, SIGKILL);
    } else {
        d->stops++;
        proc_signal(&relays[i].proc, SIGSTOP);
    }
    ms = led_after_ms(1 - i, start, 15000);
    CHECK(ms <= limit, "took over after %d ms, at most %d", ms, limit);
    d->slowest_ms = ms > d->slowest_ms ? ms : d->slowest_ms;
    if (chance % 4 == 3) {
        outboxd_log_truncate(&relays[i]);
        proc_signal(&relays[i].proc, SIGCONT); /* what it believed is over: it must notice */
        outboxd_wait_log(&relays[i], "standing by", 15000);
        return;
    }
    assert_true(proc_wait(&relays[i].proc, 15000));
    assert_int_equal(proc_exit_code(&relays[i].proc), chance % 4 < 2 ? 0 : 128 + SIGKILL);
    start_as_standby(i);
}

static void test_fifty_random_takeovers(void **state)
{
    const char *seed = getenv("SEED");
    unsigned chance = seed != NULL ? (unsigned)strtoul(seed, NULL, 10) : (unsigned)test_now_us();
    struct deeds d = {0};
    struct load *load;
    int64_t before;
    int fds;

    (void)state;
    print_message("SEED=%u\n", chance);
    start_both();
    fds = proc_fd_count(relays[0].proc.pid);
    load = some_load(chance);
    before = epoch();
    for (int n = 0; n < TAKEOVERS;) {
        int leader = leads(0) ? 0 : 1;

        assert_true(leads(leader));
        test_sleep_ms((unsigned)rand_r(&chance) % 300);
        if (rand_r(&chance) % 5 == 0) {
            hit_standby(&d, 1 - leader, (unsigned)rand_r(&chance));
        } else {
            hit_leader(&d, leader, (unsigned)rand_r(&chance));
            n++;
        }
    }
    print_message("%d SIGTERM, %d SIGKILL, %d SIGSTOP, %d times the standby; slowest %d ms\n",
                  d.terms, d.kills, d.stops, d.spared, d.slowest_ms);
    /* nobody took the lease whom nobody had made to */
    assert_int_equal(epoch() - before, TAKEOVERS);
    for (int i = 0; i < 2; i++)
        assert_in_range(proc_fd_count(relays[i].proc.pid), 1, fds + 8);
    finish(load, (int64_t)(d.kills + d.stops) * WINDOW);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_at_once_after_sigterm),      TEST(test_after_the_ttl_when_killed),
        TEST(test_after_the_ttl_when_cut_off), TEST(test_two_started_at_once),
        TEST(test_fifty_random_takeovers),
    };

    cmocka_set_test_filter(getenv("ONLY")); /* a pattern such as *fifty*; NULL: all */
    return cmocka_run_group_tests_name("takeover", tests, setup_kafka, teardown_kafka);
}
