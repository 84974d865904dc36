/* Three brokers, three replicas, min.insync.replicas 2, and a controller of its own: brokers die
 * one after the other, leaders move, too few are left; publishing goes on by itself whenever two
 * are there. */
#include "kafka_faults.h"

/* What was acknowledged at this moment is exceeded soon: with a broker dead, too. */
static void expect_more(const char *what)
{
    expect_records(what, kafka_record_count(kafka_brokers(&kafka), TOPIC) + 50);
}

/* Leaders move twice each time: by the kill, and back to the preferred broker. */
static void each_killed_in_turn(void **state)
{
    char what[64];

    (void)state;
    begin(kafka_brokers(&kafka), NULL, 3, 21);
    for (int i = 0; i < kafka.nodes; i++) {
        kafka_kill9(&kafka, i);
        (void)snprintf(what, sizeof what, "broker %d killed, two left", i);
        expect_more(what);
        kafka_start(&kafka, i);
        kafka_wait_in_sync(&kafka, TOPIC, kafka.nodes, 60000);
        kafka_wait_preferred(&kafka, TOPIC, 60000);
        (void)snprintf(what, sizeof what, "broker %d back, and leads again", i);
        expect_publishing(what);
    }
    finish((int64_t)kafka.nodes * WINDOW);
}

/* One stops as for an upgrade, one dies: the last one alone may not acknowledge. */
static void too_few_in_sync(void **state)
{
    int64_t was;

    (void)state;
    begin(kafka_brokers(&kafka), NULL, 3, 22);
    kafka_stop(&kafka, 1);
    expect_more("broker 1 stopped, two left");
    kafka_kill9(&kafka, 2);
    wait_for_cause("not_enough_replicas", 30000);
    was = kafka_record_count(kafka_brokers(&kafka), TOPIC);
    test_sleep_ms(2000);
    assert_int_equal(kafka_record_count(kafka_brokers(&kafka), TOPIC), was);
    kafka_start(&kafka, 1);
    kafka_wait_in_sync(&kafka, TOPIC, 2, 60000);
    expect_records("two of three again", was);
    kafka_start(&kafka, 2);
    kafka_wait_in_sync(&kafka, TOPIC, 3, 60000);
    finish(2 * WINDOW);
}

static int setup_cluster(void **state)
{
    static const char *const settings[] = {"leader.imbalance.check.interval.seconds=2",
                                           "leader.imbalance.per.broker.percentage=0", NULL};

    (void)state;
    kafka_create(&kafka,
                 &(struct kafka_params){
                     .nodes = 3, .own_controller = true, .heap_mib = 256, .settings = settings});
    return 0;
}

static int teardown_cluster(void **state)
{
    (void)state;
    kafka_drop(&kafka);
    return 0;
}

static int heal(void **state)
{
    for (int i = 0; i < kafka.nodes; i++)
        if (!proc_alive(&kafka.node[i].proc))
            kafka_start(&kafka, i);
    return teardown_case(state);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup_case, heal)
    const struct CMUnitTest tests[] = {
        CASE(each_killed_in_turn),
        CASE(too_few_in_sync),
    };

    cmocka_set_test_filter(getenv("ONLY")); /* a pattern such as *killed*; NULL: all */
    return cmocka_run_group_tests_name("Kafka cluster faults", tests, setup_cluster,
                                       teardown_cluster);
}
