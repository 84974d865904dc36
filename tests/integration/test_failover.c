/* The primary goes and its synchronous standby takes over; the connection string names both.
 * Nothing lost, nothing invented: what the old primary had not confirmed was visible to nobody. */
#include "../support/check.h"

#include "../support/loopback.h"
#include "../support/pg_faults.h"
#include "../support/proxy.h"
#include "../support/trial.h"
#include "one_kafka.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct pg_server primary, standby;
static struct trial trial;

static int setup(void **state)
{
    (void)state;
    pg_create(&primary, NULL);
    pg_apply_schema(&primary);
    load_prepare(&primary);
    pg_create_standby(&standby, &primary);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    trial_clean(&trial);
    if (proc_alive(&primary.proc))
        pg_kill_frozen(&primary);
    pg_drop(&primary);
    pg_drop(&standby);
    return 0;
}

static void fail_over(void)
{
    pg_promote(&standby);
    trial.pg = &standby;
}

static void test_primary_dies(void **state)
{
    (void)state;
    trial_begin(&trial, &primary, &kafka, NULL, NULL);
    test_sleep_ms(500 + trial_chance(&trial, 1000));
    pg_crash(&primary);
    test_sleep_ms(trial_chance(&trial, 1500));
    CHECK(proc_alive(&trial.relay.proc), "the relay has ended");
    fail_over();
    trial_healed(&trial, "failover");
    test_sleep_ms(1000);
    trial_end(&trial, 3000);
}

/* The machine takes connections and says nothing: it must not keep the relay from the other one. */
static void test_primary_hangs(void **state)
{
    (void)state;
    trial_begin(&trial, &primary, &kafka, NULL, ", lease_ttl: 3s");
    test_sleep_ms(500 + trial_chance(&trial, 1000));
    pg_freeze(&primary);
    test_sleep_ms(trial_chance(&trial, 3000));
    fail_over();
    trial_healed(&trial, "failover from a hanging primary");
    pg_kill_frozen(&primary);
    test_sleep_ms(1000);
    trial_end(&trial, 3000);
}

/* A server that only follows is never read; the relay waits for one that leads, and says so. */
static void test_standby_alone(void **state)
{
    struct pg_server route = standby;
    struct pg_url owner;
    char out[OUTBOXD_OUT];

    (void)state;
    /* a command that writes finds the primary behind the standby */
    route.other_port = primary.port;
    owner = pg_url(&route, "postgres", "postgres");
    const char *const to_now[] = {"--to", "now", "--yes", "--url", owner.text, NULL};
    outboxd_configure(&trial.relay, &route, kafka_brokers(&kafka), NULL, NULL);
    CHECK(outboxd_command(&trial.relay, "rebase", to_now, out) == 0, "%s", out);
    pg_crash(&primary);
    outboxd_configure(&trial.relay, &standby, kafka_brokers(&kafka), NULL, NULL);
    /* one that reads is content with the standby */
    CHECK(outboxd_command(&trial.relay, "status", NULL, out) == 0, "%s", out);
    outboxd_start(&trial.relay);
    outboxd_wait_log(&trial.relay, "waiting for a primary", 10000);
    test_sleep_ms(1500);
    CHECK(proc_alive(&trial.relay.proc), "the relay has ended");
    assert_int_equal(outboxd_log_count(&trial.relay, "lease taken"), 0);
    pg_promote(&standby);
    outboxd_wait_log(&trial.relay, "lease taken", 10000);
    assert_int_equal(outboxd_stop(&trial.relay), 0);
}

/* ---- one address, two servers ---- */

/* A load balancer: its connections go to the two servers in turn, or all to the second. */
static struct {
    int listener;
    int ports[2];
    atomic_int turn; /* -1: the second */
} balancer;

struct ends {
    int from, to;
};

static void *copy(void *arg)
{
    struct ends ends = *(struct ends *)arg;
    char piece[8192];
    ssize_t n;

    free(arg);
    while ((n = read(ends.from, piece, sizeof piece)) > 0 &&
           send(ends.to, piece, (size_t)n, MSG_NOSIGNAL) == n)
        ;
    (void)shutdown(ends.to, SHUT_RDWR);
    (void)shutdown(ends.from, SHUT_RDWR);
    return NULL; /* the descriptors live as long as the test */
}

static void start_copy(int from, int to)
{
    struct ends *ends = malloc(sizeof *ends);
    pthread_t thread;

    if (ends == NULL)
        abort();
    *ends = (struct ends){from, to};
    if (pthread_create(&thread, NULL, copy, ends) != 0 || pthread_detach(thread) != 0)
        abort();
}

static void *balance(void *arg)
{
    int client;

    (void)arg;
    while ((client = accept(balancer.listener, NULL, NULL)) >= 0) {
        int turn = atomic_load(&balancer.turn);
        struct sockaddr_in to = loopback_address(balancer.ports[turn < 0 ? 1 : turn]);
        int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (turn >= 0)
            (void)atomic_compare_exchange_strong(&balancer.turn, &turn, 1 - turn);
        if (connect(server, (const struct sockaddr *)&to, sizeof to) != 0)
            (void)shutdown(server, SHUT_RDWR);
        start_copy(client, server);
        start_copy(server, client);
    }
    return NULL;
}

/* Returns its port. */
static int start_balancer(void)
{
    int port = port_free();
    pthread_t thread;

    balancer.ports[0] = primary.port;
    balancer.ports[1] = standby.port;
    balancer.listener = loopback_listen(port, 16);
    assert_true(balancer.listener >= 0);
    assert_int_equal(pthread_create(&thread, NULL, balance, NULL), 0);
    assert_int_equal(pthread_detach(thread), 0);
    return port;
}

/* Both take writes: the old primary has not noticed yet. Sessions with one and sessions with the
 * other would store the snapshot of one as the position in the other, and lose events. */
static void test_sessions_stay_with_one_server(void **state)
{
    struct pg_server route;
    PGconn *old;

    (void)state;
    pg_promote(&standby);
    primary.other_port = 0;
    old = pg_open(&primary, NULL);
    pg_exec(old, "ALTER SYSTEM RESET synchronous_standby_names");
    pg_exec(old, "SELECT pg_reload_conf()");
    PQfinish(old);
    route = standby;
    route.port = start_balancer();
    outboxd_configure(&trial.relay, &route, kafka_brokers(&kafka), NULL, NULL);
    outboxd_start(&trial.relay);
    outboxd_wait_log(&trial.relay, "different servers", 10000);
    test_sleep_ms(1000);
    assert_int_equal(outboxd_log_count(&trial.relay, "lease taken"), 0);
    atomic_store(&balancer.turn, -1);
    outboxd_wait_log(&trial.relay, "lease taken", 10000);
    assert_int_equal(outboxd_stop(&trial.relay), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_primary_dies, setup, teardown),
        cmocka_unit_test_setup_teardown(test_primary_hangs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_standby_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sessions_stay_with_one_server, setup, teardown),
    };

    cmocka_set_test_filter(getenv("ONLY")); /* a pattern such as *hangs*; NULL: all */
    return cmocka_run_group_tests_name("failover", tests, setup_kafka, teardown_kafka);
}
