/* The whole binary stops in an orderly way in every state and at any moment. */
#include "relay_case.h"

#include "../support/proxy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* The configuration of a relay that reaches Postgres by that port. */
static void configure_port(int port, const char *relay_extra)
{
    char text[1024];

    (void)snprintf(text, sizeof text,
                   "postgres: {url: \"postgres://relay@127.0.0.1:%d/postgres\", "
                   "connect_timeout: 30s}\n"
                   "kafka: {brokers: \"%s\"}\n"
                   "relay: {name: orders, instance: test%s}\n"
                   "http: {listen: \"\"}\n",
                   port, kafka_brokers(&kafka), relay_extra);
    outboxd_configure_text(&relay, text);
}

/* ---- SIGTERM in every state ---- */

static void test_stop_while_connecting(void **state)
{
    struct proxy *proxy = proxy_start(0, pg.port);

    (void)state;
    proxy_set(proxy, PROXY_BLACKHOLE, 0);
    configure_port(proxy_port(proxy), PATIENT);
    outboxd_start(&relay);
    WAIT_UNTIL(proxy_connections(proxy) == 3, 10000);
    assert_stops_at_once(&relay);
    proxy_stop(proxy);
}

static void test_stop_while_the_database_is_down(void **state)
{
    (void)state;
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), PATIENT, NULL);
    start_leading(&relay);
    pg_stop(&pg);
    outboxd_wait_log(&relay, "database lost", 10000);
    assert_stops_at_once(&relay);
    pg_start(&pg);
    PQreset(owner);
}

static void test_stop_while_standing_by(void **state)
{
    (void)state;
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), PATIENT, NULL);
    outboxd_configure(&other, &pg, kafka_brokers(&kafka), "-2" PATIENT, NULL);
    start_leading(&relay);
    outboxd_start(&other);
    outboxd_wait_log(&other, "standing by", 10000);
    assert_stops_at_once(&other);
    /* the leader noticed nothing */
    publish(1, 10);
    outboxd_wait_drained(&relay, 10000);
    assert_stops_at_once(&relay);
    assert_lease_is_free();
    assert_oracle(NULL, 0);
}

static void test_stop_while_leading(void **state)
{
    (void)state;
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), PATIENT, NULL);
    start_leading(&relay);
    test_sleep_ms(300); /* asleep, the bell armed */
    assert_stops_at_once(&relay);
    assert_true(outboxd_log_has(&relay, "lease released"));
    assert_lease_is_free();
}

static void test_stop_while_halted(void **state)
{
    (void)state;
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), ", max_event_bytes: 1KiB" PATIENT,
                      ROUTES_THAT_HALT);
    publish(1, 5);
    pg_exec(owner, "SELECT outbox.publish('order', 'k', 'order.placed', "
                   "json_build_object('seq', 6, 'padding', repeat('x', 5000)))");
    outboxd_start(&relay);
    outboxd_wait_log(&relay, "halted", 20000);
    assert_stops_at_once(&relay);
    assert_lease_is_free();
    /* what was sent before it is stored: it does not come again */
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), NULL, NULL);
    outboxd_start(&relay);
    outboxd_wait_drained(&relay, 10000);
    assert_stops_at_once(&relay);
    assert_oracle(NULL, 0);
}

/* Half of the time goes into waiting for acknowledgements, then the lease is released all the
 * same. */
static void test_stop_while_kafka_is_frozen(void **state)
{
    int took;

    (void)state;
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), ", shutdown_timeout: 3s", NULL);
    start_leading(&relay);
    publish(1, 10);
    outboxd_wait_drained(&relay, 10000);
    kafka_pause(&kafka, 0);
    publish(11, 20);
    test_sleep_ms(500);
    took = stop_ms(&relay);
    kafka_continue(&kafka, 0);
    print_message("stopped within %d ms of 3000\n", took);
    assert_in_range(took, 1400, 4500);
    assert_lease_is_free();
    outboxd_start(&relay);
    outboxd_wait_drained(&relay, 20000);
    assert_stops_at_once(&relay);
    assert_oracle(NULL, 10);
}

static void test_stop_while_kafka_is_away(void **state)
{
    char brokers[64];

    (void)state;
    (void)snprintf(brokers, sizeof brokers, "127.0.0.1:%d", port_free());
    publish(1, 10);
    outboxd_configure(&relay, &pg, brokers, ", shutdown_timeout: 3s", NULL);
    outboxd_start(&relay);
    outboxd_wait_log(&relay, "broker_unreachable", 20000);
    assert_in_range(stop_ms(&relay), 0, 4500);
    assert_lease_is_free();
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), NULL, NULL);
    outboxd_start(&relay);
    outboxd_wait_drained(&relay, 10000);
    assert_stops_at_once(&relay);
    assert_oracle(NULL, 0);
}

/* Neither the store nor the release gets an answer. */
static void test_stop_while_the_database_is_half_open(void **state)
{
    struct proxy *proxy = proxy_start(0, pg.port);
    int took;

    (void)state;
    configure_port(proxy_port(proxy), ", shutdown_timeout: 3s");
    start_leading(&relay);
    publish(1, 10);
    outboxd_wait_drained(&relay, 10000);
    proxy_set(proxy, PROXY_BLACKHOLE, 0);
    took = stop_ms(&relay);
    print_message("stopped within %d ms of 3000\n", took);
    assert_in_range(took, 2500, 4500);
    proxy_stop(proxy);
    assert_oracle(NULL, 10);
}

static void test_a_second_signal_ends_it_at_once(void **state)
{
    uint64_t start;

    (void)state;
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), ", shutdown_timeout: 60s", NULL);
    start_leading(&relay);
    publish(1, 10);
    outboxd_wait_drained(&relay, 10000);
    kafka_pause(&kafka, 0);
    publish(11, 20);
    test_sleep_ms(500);
    proc_signal(&relay.proc, SIGTERM);
    outboxd_wait_log(&relay, "stopping", 5000);
    test_sleep_ms(500);
    assert_true(proc_alive(&relay.proc)); /* it waits for the acknowledgements */
    start = test_now_ms();
    proc_signal(&relay.proc, SIGINT);
    assert_true(proc_wait(&relay.proc, 20000));
    assert_in_range(test_now_ms() - start, 0, 2500);
    assert_int_equal(proc_exit_code(&relay.proc), 0);
    kafka_continue(&kafka, 0);
    /* the same instance takes its lease back without waiting for the ttl */
    start = test_now_ms();
    outboxd_log_truncate(&relay);
    start_leading(&relay);
    assert_in_range(test_now_ms() - start, 0, 5000);
    outboxd_wait_drained(&relay, 20000);
    assert_stops_at_once(&relay);
    assert_oracle(NULL, 10);
}

/* A pipe that nobody reads stops the loop in the middle of a log line. The limit holds all the
 * same, and the watchdog hears nothing any more (test_lifecycle.c). */
static void fill_pipe(int fd)
{
    static const char zeros[4096];
    ssize_t n;

    do
        n = write(fd, zeros, sizeof zeros);
    while (n > 0);
    do
        n = write(fd, zeros, 1);
    while (n > 0);
    assert_int_equal(errno, EAGAIN);
}

static int stop_stuck_ms(const char *shutdown_timeout, bool twice)
{
    char folder[PATH_SIZE];
    char fifo[PATH_SIZE];
    int fd;
    int took;

    tmp_folder("fifo", folder);
    path_join(fifo, folder, "log");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    fd = open(fifo, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    assert_true(fd >= 0);
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), shutdown_timeout, NULL);
    outboxd_start_by(&relay, NULL, &(struct proc_params){.err_path = fifo});
    WAIT_UNTIL(pg_int(owner, "SELECT count(*) FROM outbox.relay WHERE holder IS NOT NULL") == 1,
               10000);
    test_sleep_ms(200);
    fill_pipe(fd);
    proc_signal(&relay.proc, SIGHUP); /* has something to say */
    test_sleep_ms(300);
    if (twice) {
        proc_signal(&relay.proc, SIGTERM);
        test_sleep_ms(500);
    }
    took = stop_ms(&relay);
    assert_int_equal(close(fd), 0);
    return took;
}

static void test_a_stuck_loop_is_ended_too(void **state)
{
    int took = stop_stuck_ms(", shutdown_timeout: 2s", false);

    (void)state;
    print_message("stopped within %d ms of 2000, and one second\n", took);
    assert_in_range(took, 1500, 4500);
    assert_in_range(stop_stuck_ms(", shutdown_timeout: 60s", true), 0, 2500);
}

/* ---- SIGTERM at any moment ---- */

static void test_sixty_random_moments(void **state)
{
    const char *seed = getenv("SEED");
    unsigned chance = seed != NULL ? (unsigned)strtoul(seed, NULL, 10) : (unsigned)test_now_us();
    struct load *load;
    int early = 0;

    (void)state;
    print_message("SEED=%u\n", chance);
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), ", window_events: 500" PATIENT, NULL);
    load = load_start(&(struct load_params){
        .pg = &pg, .writers = 4, .seed = chance, .max_pause_ms = 10, .long_transaction = true});
    for (int i = 0; i < 60; i++) {
        struct stat log;
        int code;

        outboxd_log_truncate(&relay);
        outboxd_start(&relay);
        test_sleep_ms((unsigned)rand_r(&chance) % (i % 2 == 0 ? 50 : 500));
        proc_stop(&relay.proc, SIGTERM, 25000);
        code = proc_exit_code(&relay.proc);
        /* before main() the signal has its default action, and nothing has been done yet */
        if (code == 128 + SIGTERM && stat(relay.log, &log) == 0 && log.st_size == 0)
            early++;
        else
            assert_int_equal(code, 0);
        assert_lease_is_free();
    }
    print_message("%d of 60 before main()\n", early);
    assert_in_range(early, 0, 40); /* a busy machine is slow to reach it */
    outboxd_start(&relay);
    load_stop(load);
    outboxd_wait_drained(&relay, 20000);
    assert_stops_at_once(&relay);
    assert_oracle(load, 0); /* being told to stop is no fault */
    load_free(load);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_with_topic, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_stop_while_connecting),
        TEST(test_stop_while_the_database_is_down),
        TEST(test_stop_while_standing_by),
        TEST(test_stop_while_leading),
        TEST(test_stop_while_halted),
        TEST(test_stop_while_kafka_is_frozen),
        TEST(test_stop_while_kafka_is_away),
        TEST(test_stop_while_the_database_is_half_open),
        TEST(test_a_second_signal_ends_it_at_once),
        TEST(test_a_stuck_loop_is_ended_too),
        TEST(test_sixty_random_moments),
    };

    cmocka_set_test_filter(getenv("ONLY")); /* a pattern such as *kafka*; NULL: all */
    return cmocka_run_group_tests_name("stop", tests, setup_kafka, teardown_kafka);
}
