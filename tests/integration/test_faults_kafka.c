/* One broker breaks in every way that one can, under load: 0 lost, 0 ghosts, 0 out of order, and
 * publishing goes on by itself. */
#include "kafka_faults.h"

static struct proxy *network; /* between the relay and the broker */

static void begin_through_proxy(uint64_t seed)
{
    begin(kafka_proxied_brokers(&kafka), NULL, 4, seed);
}

static void killed_and_back(void **state)
{
    (void)state;
    begin_through_proxy(1);
    kafka_kill9(&kafka, 0);
    wait_for_cause("broker_unreachable", 15000);
    kafka_start(&kafka, 0);
    expect_publishing("killed -9 and back");
    finish(WINDOW);
}

static void frozen(void **state)
{
    (void)state;
    begin_through_proxy(2);
    kafka_pause(&kafka, 0);
    test_sleep_ms(8000);
    assert_string_equal(told_cause(), "broker_unreachable");
    kafka_continue(&kafka, 0);
    expect_publishing("frozen for 8 s");
    finish(WINDOW);
}

/* Publishing is slow, but it never stops, and nothing is sent twice. */
static void slow(void **state)
{
    int64_t was;

    (void)state;
    begin_through_proxy(3);
    proxy_set(network, PROXY_DELAY, 250);
    for (int i = 0; i < 3; i++) {
        was = kafka_record_count(kafka_brokers(&kafka), TOPIC);
        WAIT_UNTIL(kafka_record_count(kafka_brokers(&kafka), TOPIC) > was + 10, 10000);
        test_sleep_ms(1000);
    }
    proxy_set(network, PROXY_PASS, 0);
    expect_publishing("slow: 500 ms a round trip");
    assert_int_equal(outboxd_log_count(&relay, "producer is being replaced"), 0);
    finish(0);
}

/* Packets are lost for a while, on connections that stay. */
static void swallowed(void **state)
{
    (void)state;
    begin_through_proxy(4);
    proxy_set(network, PROXY_BLACKHOLE, 0);
    wait_for_cause("broker_unreachable", 15000);
    test_sleep_ms(3000);
    proxy_set(network, PROXY_PASS, 0);
    expect_publishing("packets swallowed");
    finish(WINDOW);
}

/* Nothing gets through for long enough that connections, and attempts to make them, wait in their
 * longest pauses when the network is back. */
static void cut(void **state)
{
    (void)state;
    begin_through_proxy(9);
    proxy_set(network, PROXY_CUT, 0);
    test_sleep_ms(12000);
    assert_string_equal(told_cause(), "broker_unreachable");
    proxy_set(network, PROXY_PASS, 0);
    expect_publishing("network cut for 12 s");
    finish(WINDOW);
}

/* A firewall forgets the connections: the broker's end is gone, ours will never be answered. */
static void half_open(void **state)
{
    (void)state;
    begin_through_proxy(5);
    proxy_forget(network);
    expect_publishing("half-open connections");
    finish(WINDOW);
}

static void reset_and_refused(void **state)
{
    (void)state;
    begin_through_proxy(6);
    for (int i = 0; i < 20; i++) {
        proxy_set(network, PROXY_RESET, 0);
        test_sleep_ms(50);
        proxy_set(network, PROXY_PASS, 0);
        test_sleep_ms(100);
    }
    proxy_set(network, PROXY_CLOSED, 0);
    wait_for_cause("broker_unreachable", 15000);
    proxy_set(network, PROXY_PASS, 0);
    expect_publishing("connections reset, then refused");
    finish(WINDOW);
}

/* What was acknowledged before the deletion is excused: those rows are among what was visible when
 * the topic was gone. */
static void deleted_and_created_again(void **state)
{
    char later[256];
    struct oracle_params all = whole();
    struct oracle_params after = whole();
    struct oracle_report r;

    (void)state;
    begin_through_proxy(7);
    all.load = after.load = load;
    kafka_delete_topic(&kafka, TOPIC);
    (void)snprintf(later, sizeof later, "NOT pg_visible_in_snapshot(e.xid, '%s')",
                   pg_scalar(observer, "SELECT pg_current_snapshot()"));
    wait_for_cause("topic_missing", 15000);
    kafka_create_topic(&kafka, TOPIC, PARTITIONS, NULL);
    expect_records("topic deleted and created again", 0);
    settle();
    after.where = later;
    oracle_judge(&r, &after);
    assert_true(r.committed > 100);
    CHECK(r.lost == 0, "%lld rows lost that were written after the deletion", (long long)r.lost);
    all.wait_ms = 0;
    oracle_judge(&r, &all);
    print_message("%lld committed, %lld records, %lld excused, %lld duplicates\n",
                  (long long)r.committed, (long long)r.records, (long long)r.lost,
                  (long long)r.duplicates);
    r.lost = 0;
    if (!oracle_is_content(&r, 2 * (int64_t)WINDOW)) {
        oracle_print(&r, stderr);
        fail_msg("the oracle is not content");
    }
}

/* Keys move to other partitions: order is promised within each. */
static void partitions_added(void **state)
{
    struct oracle_params p;
    int64_t was;

    (void)state;
    begin(kafka_proxied_brokers(&kafka), "topic.metadata.refresh.interval.ms: \"1000\"", 4, 8);
    kafka_grow_topic(&kafka, TOPIC, 2 * PARTITIONS);
    outboxd_wait_log(&relay, "partition count changed", 15000);
    was = kafka_record_count(kafka_brokers(&kafka), TOPIC);
    WAIT_UNTIL(kafka_record_count(kafka_brokers(&kafka), TOPIC) > was + 200, 20000);
    for (int i = PARTITIONS; i < 2 * PARTITIONS; i++)
        CHECK(kafka_partition_end(kafka_brokers(&kafka), TOPIC, i) > 0, "nothing in partition %d",
              i);
    settle();
    p = whole();
    p.any_partition = true;
    (void)oracle_assert(&p, 0);
}

static int setup_broker(void **state)
{
    (void)state;
    kafka_create(&kafka, &(struct kafka_params){.proxied = true});
    network = kafka_proxy(&kafka, 0);
    return 0;
}

static int teardown_broker(void **state)
{
    (void)state;
    kafka_drop(&kafka);
    return 0;
}

/* However a case ended: the next one finds a broker that answers. */
static int heal(void **state)
{
    kafka_continue(&kafka, 0);
    proxy_set(network, PROXY_PASS, 0);
    if (!proc_alive(&kafka.node[0].proc))
        kafka_start(&kafka, 0);
    if (kafka_partitions(kafka_brokers(&kafka), TOPIC) == 0)
        kafka_create_topic(&kafka, TOPIC, PARTITIONS, NULL);
    return teardown_case(state);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup_case, heal)
    const struct CMUnitTest tests[] = {
        CASE(killed_and_back),   CASE(frozen),           CASE(slow),
        CASE(swallowed),         CASE(half_open),        CASE(cut),
        CASE(reset_and_refused), CASE(partitions_added), CASE(deleted_and_created_again),
    };

    cmocka_set_test_filter(getenv("ONLY")); /* a pattern such as *frozen*; NULL: all */
    return cmocka_run_group_tests_name("Kafka faults", tests, setup_broker, teardown_broker);
}
