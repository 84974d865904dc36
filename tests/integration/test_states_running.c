/* Broken states around a relay that goes on running: of the database, of the other relay, of what
 * stands beside publishing. Each is broken for real, held against the documented answer everywhere
 * it shows, and mended without a restart of the relay. */
#include "../support/check.h"

#include "../support/loopback.h"
#include "../support/mock_kafka.h"
#include "../support/pg.h"
#include "../support/pg_faults.h"
#include "../support/refusal.h"
#include "../support/state.h"
#include "../support/tmp.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CONNECTIONS 16

static struct pg_server pg;
static struct mock_kafka kafka;
static struct state relay;
static struct state other;
static PGconn *owner;

/* ---- the ground ---- */

static int setup_servers(void **state)
{
    static const char *const settings[] = {"max_connections = 16", NULL};

    (void)state;
    mock_kafka_start(&kafka, "order-events:3");
    pg_create(&pg, &(struct pg_params){.settings = settings});
    pg_apply_schema(&pg);
    owner = pg_open(&pg, NULL);
    return 0;
}

static int teardown_servers(void **state)
{
    (void)state;
    PQfinish(owner);
    mock_kafka_stop(&kafka);
    pg_drop(&pg);
    return 0;
}

static void configure(struct state *s, const struct pg_server *server, const char *relay_extra)
{
    char kafka_section[128];

    (void)snprintf(kafka_section, sizeof kafka_section, "brokers: \"%s\"", kafka.brokers);
    state_configure(s, pg_url(server, "relay", "postgres").text, kafka_section, relay_extra,
                    "retention: {keep: 1d}");
}

static void publish(void)
{
    pg_exec(owner, "SELECT outbox.publish('order', 'k', 'order.placed', '{}')");
}

static int setup(void **state)
{
    (void)state;
    other = (struct state){0};
    if (!pg_is_ready(&pg))
        pg_start(&pg);
    PQfinish(owner);
    owner = pg_open(&pg, NULL);
    configure(&relay, &pg, ", lease_ttl: 2s");
    publish();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    outboxd_kill9(&relay.relay);
    outboxd_kill9(&other.relay);
    return 0;
}

static void mended(enum problem p)
{
    state_is_mended(&relay, p);
    outboxd_wait_drained(&relay.relay, 15000);
}

/* ---- the database ---- */

static void test_database_down(void **state)
{
    (void)state;
    state_start(&relay);
    pg_stop(&pg);
    state_tells_without_database(&relay, PROBLEM_DATABASE_UNREACHABLE, "connection", 69);
    pg_start(&pg);
    mended(PROBLEM_DATABASE_UNREACHABLE);
}

static void test_database_full(void **state)
{
    PGconn *taken[CONNECTIONS] = {NULL};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(taken); i++) {
        taken[i] = pg_try_open(&pg, "svc", 5);
        if (taken[i] == NULL)
            break;
    }
    assert_null(taken[CONNECTIONS - 1]); /* it is full */
    outboxd_start(&relay.relay);
    state_tells_without_database(&relay, PROBLEM_DATABASE_FULL, "", 69);
    for (size_t i = 0; i < ARRAY_LEN(taken); i++)
        PQfinish(taken[i]);
    mended(PROBLEM_DATABASE_FULL);
}

static void test_standby_database(void **state)
{
    struct pg_server primary;
    struct pg_server standby;

    (void)state;
    pg_create(&primary, NULL);
    pg_apply_schema(&primary);
    pg_create_standby(&standby, &primary);
    configure(&relay, &standby, NULL);
    outboxd_start(&relay.relay);
    state_tells(&relay, PROBLEM_DATABASE_STANDBY, "");
    pg_promote(&standby);
    mended(PROBLEM_DATABASE_STANDBY);
    outboxd_kill9(&relay.relay);
    pg_drop(&standby);
    pg_drop(&primary);
}

/* ---- who leads ---- */

/* Nothing is wrong: one leads, the other stands by, and both are ready. */
static void test_two_relays(void **state)
{
    (void)state;
    configure(&other, &pg, "-2, lease_ttl: 2s");
    state_start(&relay);
    state_start(&other);
    assert_true(state_metric(&relay, "outboxd_leader") == 1);
    assert_true(state_metric(&other, "outboxd_leader") == 0);
    assert_int_equal(outboxd_log_count(&other.relay, "level=warn"), 0);
    assert_int_equal(outboxd_stop(&relay.relay), 0);
    WAIT_UNTIL(state_metric(&other, "outboxd_leader") == 1, 10000);
    state_is_well(&other);
}

static void test_relay_dead(void **state)
{
    (void)state;
    state_start(&relay);
    outboxd_wait_drained(&relay.relay, 15000);
    outboxd_kill9(&relay.relay);
    publish();
    state_is_gone(&relay, PROBLEM_NO_LEADER);
    outboxd_start(&relay.relay);
    state_is_well(&relay);
    outboxd_wait_drained(&relay.relay, 15000);
}

static void test_paused(void **state)
{
    char out[OUTBOXD_OUT];

    (void)state;
    state_start(&relay);
    assert_int_equal(
        outboxd_command(&relay.relay, "pause", WORDS("--reason", "the warehouse moves"), out), 0);
    publish();
    state_tells_of_pause(&relay, "the warehouse moves");
    assert_int_equal(outboxd_command(&relay.relay, "resume", NULL, out), 0);
    state_is_well(&relay);
    outboxd_wait_drained(&relay.relay, 15000);
    assert_int_equal(outboxd_log_count(&relay.relay, "msg=resumed"), 1);
}

/* ---- beside publishing ---- */

static void test_http_port_taken(void **state)
{
    int fd = loopback_listen(relay.port, 1);
    char out[OUTBOXD_OUT];

    (void)state;
    assert_true(fd >= 0);
    outboxd_start(&relay.relay);
    state_logs(&relay, PROBLEM_HTTP_PORT_TAKEN, "127.0.0.1");
    outboxd_wait_drained(&relay.relay, 15000); /* it publishes all the same */
    assert_int_equal(outboxd_command(&relay.relay, "health", NULL, out), 69);
    assert_int_equal(close(fd), 0);
    state_is_well(&relay);
}

/* A server whose clock is ours to set, so that a transaction need not be open for long. */
static void create_timeless_server(struct pg_server *server, char clock_file[PATH_SIZE])
{
    char folder[PATH_SIZE];

    tmp_folder("clock", folder);
    path_join(clock_file, folder, "offset");
    file_write(clock_file, "+0\n");
    (void)setenv("FAKETIME_TIMESTAMP_FILE", clock_file, 1);
    (void)setenv("FAKETIME_NO_CACHE", "1", 1);
    (void)setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1", 1);
    (void)setenv("LD_PRELOAD", "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", 1);
    pg_create(server, NULL);
    (void)unsetenv("LD_PRELOAD");
    pg_apply_schema(server);
}

static void test_long_transaction(void **state)
{
    struct pg_server timeless;
    char clock_file[PATH_SIZE];
    PGconn *forgotten;

    (void)state;
    create_timeless_server(&timeless, clock_file);
    forgotten = pg_open(&timeless, NULL);
    pg_exec(forgotten, "GRANT pg_read_all_stats TO relay");
    configure(&relay, &timeless, NULL);
    state_start(&relay);
    pg_exec(forgotten, "BEGIN");
    pg_exec(forgotten, "SELECT outbox.publish('order', 'late', 'order.placed', '{}')");
    file_write(clock_file, "+7200\n");
    state_warns(&relay, PROBLEM_LONG_TRANSACTION, "SELECT pg_terminate_backend(",
                "outboxd_oldest_transaction_seconds");
    WAIT_UNTIL(state_metric(&relay, "outboxd_oldest_transaction_seconds") > 7000, 15000);
    pg_exec(forgotten, "COMMIT");
    WAIT_UNTIL(state_metric(&relay, "outboxd_oldest_transaction_seconds") == 0, 15000);
    state_warns_no_more(&relay, PROBLEM_LONG_TRANSACTION);
    state_is_well(&relay);
    outboxd_wait_drained(&relay.relay, 15000);
    outboxd_kill9(&relay.relay);
    PQfinish(forgotten);
    pg_drop(&timeless);
}

/* The relay looks at the days when it starts, and then once a minute: so these are broken before,
 * and the end of the metrics is not waited for. */

/* A row of a day that has no partition. */
static void test_default_partition(void **state)
{
    (void)state;
    pg_exec(owner,
            "INSERT INTO outbox.event (aggregate_type, aggregate_id, event_type, created_at) "
            "VALUES ('order', 'k', 'order.placed', now() + interval '40 days')");
    outboxd_start(&relay.relay);
    state_warns(&relay, PROBLEM_DEFAULT_PARTITION, "event_default",
                "outboxd_default_partition_has_events");
    outboxd_wait_drained(&relay.relay, 15000);
    pg_exec(owner, "DELETE FROM outbox.event_default");
    state_warns_no_more(&relay, PROBLEM_DEFAULT_PARTITION);
}

/* A day that is over, which another relay has not published. */
static void test_retention_stuck(void **state)
{
    (void)state;
    pg_exec(owner, "SELECT outbox.make_relay('slow', 'beginning')");
    pg_exec(owner, "SET ROLE outbox_owner; SELECT outbox.make_day((now() AT TIME ZONE 'UTC')::date "
                   "- 5); RESET ROLE");
    pg_exec(owner,
            "INSERT INTO outbox.event (aggregate_type, aggregate_id, event_type, created_at) "
            "VALUES ('order', 'k', 'order.placed', now() - interval '5 days')");
    outboxd_start(&relay.relay);
    outboxd_wait_drained(&relay.relay, 15000);
    state_warns(&relay, PROBLEM_RETENTION_STUCK, "relay slow has not published all of it",
                "outboxd_retention_overdue_partitions");
    pg_exec(owner, "DELETE FROM outbox.relay WHERE name = 'slow'");
    pg_exec(owner, "SELECT outbox.retire_days('1 day') FROM generate_series(1, 3)");
    state_warns_no_more(&relay, PROBLEM_RETENTION_STUCK);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_database_down),   CASE(test_database_full),    CASE(test_standby_database),
        CASE(test_two_relays),      CASE(test_relay_dead),       CASE(test_paused),
        CASE(test_http_port_taken), CASE(test_long_transaction), CASE(test_default_partition),
        CASE(test_retention_stuck),
    };

    cmocka_set_test_filter(getenv("ONLY")); /* a pattern such as *database*; NULL: all */
    return cmocka_run_group_tests_name("states around a relay", tests, setup_servers,
                                       teardown_servers);
}
