/* A broken state that needs more than one broker: as few replicas in sync as make the rest refuse.
 * As in test_states_kafka.c. */
#include "../support/check.h"

#include "../support/kafka.h"
#include "../support/pg.h"
#include "../support/state.h"

#include <stdio.h>
#include <stdlib.h>

#define TOPIC "order-events"

static struct kafka kafka;
static struct pg_server pg;
static PGconn *owner;
static struct state relay;

static int setup_servers(void **state)
{
    static const char *const config[] = {"min.insync.replicas", "2", NULL};

    (void)state;
    kafka_create(&kafka, &(struct kafka_params){.nodes = 2, .own_controller = true});
    kafka_create_topic(&kafka, TOPIC, 2, config);
    pg_create(&pg, NULL);
    pg_apply_schema(&pg);
    owner = pg_open(&pg, NULL);
    return 0;
}

static int teardown_servers(void **state)
{
    (void)state;
    PQfinish(owner);
    pg_drop(&pg);
    kafka_drop(&kafka);
    return 0;
}

/* Several keys, so that each partition gets an event. */
static void publish(void)
{
    pg_exec(owner, "SELECT outbox.publish('order', 'k' || i, 'order.placed', '{}') "
                   "FROM generate_series(1, 20) i");
}

static int setup(void **state)
{
    char kafka_section[256];

    (void)state;
    (void)snprintf(kafka_section, sizeof kafka_section, "brokers: \"%s\"", kafka_brokers(&kafka));
    kafka_wait_in_sync(&kafka, TOPIC, 2, 30000);
    state_configure(&relay, pg_url(&pg, "relay", "postgres").text, kafka_section,
                    ", stall_after: 1s", NULL);
    publish();
    state_start(&relay);
    outboxd_wait_drained(&relay.relay, 15000);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    outboxd_kill9(&relay.relay);
    for (int i = 0; i < kafka.nodes; i++) {
        kafka_continue(&kafka, i);
        if (!proc_alive(&kafka.node[i].proc))
            kafka_start(&kafka, i);
    }
    return 0;
}

static void mended(enum problem p)
{
    state_is_mended(&relay, p);
    outboxd_wait_drained(&relay.relay, 15000);
}

static void test_below_min_insync(void **state)
{
    (void)state;
    kafka_kill9(&kafka, 1);
    publish();
    state_tells(&relay, PROBLEM_NOT_ENOUGH_REPLICAS, TOPIC);
    kafka_start(&kafka, 1);
    mended(PROBLEM_NOT_ENOUGH_REPLICAS);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_below_min_insync),
    };

    cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests_name("states of a cluster", tests, setup_servers,
                                       teardown_servers);
}
