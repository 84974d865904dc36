/* `outboxd check` on the Kafka side, against three brokers that create no topics. One is in
 * test_inspect_kafka.c. */
#include "inspect_case.h"

/* However many brokers there are. */
static void create_single_copy(const char *name)
{
    struct kafka of_one = cluster;

    of_one.nodes = 1; /* replicas of a topic */
    kafka_create_topic(&of_one, name, 2, NULL);
}

static void well_replicated_topic(void **state)
{
    (void)state;
    kafka_create_topic(&cluster, "three", 2, NULL);
    inspect("three");
    line_with(FINDING_OK, "3 brokers answering");
    line_with(FINDING_OK, "topic three: 2 partitions, replication factor 3, min.insync.replicas 2");
    assert_int_equal(count_of(FINDING_OK), seen.count);
}

static void missing_topic(void **state)
{
    (void)state;
    inspect("absent");
    const struct line *l = line_with(FINDING_WRONG, "topic absent does not exist, and the brokers");
    assert_contains(l->way_out,
                    "--create --topic absent --partitions 6 --replication-factor 3 --config "
                    "min.insync.replicas=2");
}

static void too_few_copies(void **state)
{
    (void)state;
    static const char *const careless[] = {"min.insync.replicas", "1", NULL};
    static const char *const hopeless[] = {"min.insync.replicas", "4", NULL};
    kafka_create_topic(&cluster, "careless", 1, careless);
    kafka_create_topic(&cluster, "hopeless", 1, hopeless);
    create_single_copy("single");
    inspect("careless");
    assert_contains(line_with(FINDING_WARN, "topic careless has min.insync.replicas 1")->way_out,
                    "--entity-name careless --add-config min.insync.replicas=2");
    inspect("hopeless");
    assert_contains(line_with(FINDING_WRONG, "topic hopeless can never be written to")->way_out,
                    "--add-config min.insync.replicas=2");
    inspect("single");
    line_with(FINDING_WARN, "topic single keeps a single copy");
    /* The brokers' default of 2 is above the one copy. */
    assert_contains(line_with(FINDING_WRONG, "topic single can never be written to")->way_out,
                    "--add-config min.insync.replicas=1");
}

/* It stays on the cluster's list for seconds. */
static void listed_broker_that_does_not_answer(void **state)
{
    (void)state;
    char first[64];
    char part[64];
    snprintf(first, sizeof(first), "127.0.0.1:%d", cluster.node[0].port);
    snprintf(part, sizeof(part), "does not answer at 127.0.0.1:%d", cluster.node[2].port);
    kafka_pause(&cluster, 2);
    inspect_with(first, NULL, 0, "three");
    kafka_continue(&cluster, 2);
    assert_contains(line_with(FINDING_WRONG, part)->way_out, "advertised.listeners");
    line_with(FINDING_NOTE, "2 of 3 brokers answering");
    line_with(FINDING_NOTE, "kafka.brokers names one broker of 3");
    kafka_wait_ready(&cluster, 3, 30000);
}

static int start_three(void **state)
{
    (void)state;
    kafka_create(&cluster, &(struct kafka_params){.nodes = 3, .heap_mib = 256});
    await_producer_ids();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(well_replicated_topic),
        cmocka_unit_test(missing_topic),
        cmocka_unit_test(too_few_copies),
        cmocka_unit_test(listed_broker_that_does_not_answer),
    };
    return cmocka_run_group_tests_name("inspect_cluster", tests, start_three, end_cluster);
}
