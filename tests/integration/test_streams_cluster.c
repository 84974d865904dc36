/* What the brokers say of one partition, three of them: one that has lost its only replica, one
 * with too few in sync, a topic that was deleted, one that may not be written. */
#include "producer_bench.h"

#include "../support/kafka_acl.h"

/* The core's numbers of topics. */
enum { SOLO, SPREAD, WHOLE, DELETED };

#define ANY       (-1)
#define SETTLE_MS 30000

static const struct kafka_pair LOGIN[] = {{"security.protocol", "SASL_PLAINTEXT"},
                                          {"sasl.mechanism", "PLAIN"},
                                          {"sasl.username", KAFKA_USER},
                                          {"sasl.password", KAFKA_PASSWORD}};

/* However many brokers there are. */
static void create_single_copy(const char *name, int partitions)
{
    struct kafka of_one = cluster;

    of_one.nodes = 1; /* replicas of a topic */
    kafka_create_topic(&of_one, name, partitions, NULL);
}

static enum refusal ask(uint32_t stream, uint32_t topic, int32_t partition)
{
    const struct sending what = {.topic = topic, .partition = partition};
    enum refusal cause = REFUSAL_NONE;
    struct err err = {0};

    if (!kafka_sink_ops.diagnose(bench.sink, stream, &what, &err, &cause))
        return REFUSAL_NONE;
    snprintf(bench.error_text, sizeof(bench.error_text), "%s", err.text);
    return cause;
}

#define ASK_UNTIL(stream, topic, partition, cause)                                                 \
    TURN_UNTIL(ask((stream), (topic), (partition)) == (cause), SETTLE_MS)

static int32_t leader_of(const char *topic)
{
    const struct rd_kafka_metadata *md = NULL;
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", kafka_brokers(&cluster), text, sizeof(text));
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
    CHECK(rk != NULL, "%s", text);
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(rk, topic, NULL);
    CHECK(rd_kafka_metadata(rk, 0, rkt, &md, 10000) == 0 && md->topics[0].partition_cnt == 1,
          "no metadata of %s", topic);
    int32_t leader = md->topics[0].partitions[0].leader;
    rd_kafka_metadata_destroy(md);
    rd_kafka_topic_destroy(rkt);
    rd_kafka_destroy(rk);
    return leader;
}

static void use(uint32_t stream, uint32_t topic, const char *name)
{
    kafka_sink_ops.topic(bench.sink, stream, topic, name);
}

/* Its broker is killed. Others of its topic are well; and a topic of that one partition is known
 * for what it is, too. */
static void ask_about_the_killed(void)
{
    int gone = 0;

    ASK_UNTIL(MAIN_STREAM, SOLO, 0, REFUSAL_PARTITION_GONE);
    assert_contains(bench.error_text, "topic solo: partition 0 has no leader");
    ASK_UNTIL(1, 0, 0, REFUSAL_PARTITION_GONE); /* a producer that knows this topic only */
    ASK_UNTIL(MAIN_STREAM, SPREAD, ANY, REFUSAL_BROKER_ERROR);
    for (int32_t p = 0; p < 3; p++)
        gone += ask(MAIN_STREAM, SPREAD, p) == REFUSAL_PARTITION_GONE;
    assert_int_equal(gone, 1);
    ASK_UNTIL(MAIN_STREAM, WHOLE, 0, REFUSAL_NOT_ENOUGH_REPLICAS);
    assert_contains(bench.error_text, "partition 0 has 2 of 3 replicas in sync");
}

static void ask_about_the_mended(void)
{
    ASK_UNTIL(MAIN_STREAM, SOLO, 0, REFUSAL_NONE);
    for (int32_t p = 0; p < 3; p++)
        ASK_UNTIL(MAIN_STREAM, SPREAD, p, REFUSAL_NONE);
    ASK_UNTIL(MAIN_STREAM, WHOLE, 0, REFUSAL_NONE);
}

static void partition_without_a_leader(void **state)
{
    (void)state;
    create_single_copy("solo", 1);
    create_single_copy("spread", 3);
    kafka_create_topic(&cluster, "whole", 1, NULL);
    open_bench(kafka_brokers(&cluster), NULL, 0, 1000);
    use(MAIN_STREAM, SOLO, "solo");
    use(MAIN_STREAM, SPREAD, "spread");
    use(MAIN_STREAM, WHOLE, "whole");
    CHECK(reset_stream(1) == 0, "%s", bench.error_text);
    use(1, 0, "solo");
    ASK_UNTIL(MAIN_STREAM, SOLO, 0, REFUSAL_NONE);
    ASK_UNTIL(1, 0, 0, REFUSAL_NONE);
    int node = leader_of("solo") - 1;
    kafka_kill9(&cluster, node);
    ask_about_the_killed();
    kafka_start(&cluster, node);
    ask_about_the_mended();
    kafka_wait_ready(&cluster, 3, 30000);
    close_bench();
}

static void deleted_topic(void **state)
{
    (void)state;
    kafka_create_topic(&cluster, "deleted", 2, NULL);
    open_bench(kafka_brokers(&cluster), NULL, 0, 1000);
    use(MAIN_STREAM, DELETED, "deleted");
    ASK_UNTIL(MAIN_STREAM, DELETED, 1, REFUSAL_NONE);
    assert_int_equal(ask(MAIN_STREAM, DELETED, 2), REFUSAL_PARTITION_GONE);
    assert_contains(bench.error_text, "there is no partition 2, it has 2");
    kafka_delete_topic(&cluster, "deleted");
    ASK_UNTIL(MAIN_STREAM, DELETED, 1, REFUSAL_TOPIC_MISSING);
    kafka_create_topic(&cluster, "deleted", 2, NULL);
    ASK_UNTIL(MAIN_STREAM, DELETED, 1, REFUSAL_NONE);
    close_bench();
}

/* Brokers learn one after the other that it may be written. */
static void send_until_acked(uint32_t stream)
{
    uint64_t end = test_now_ms() + 20000;

    while (bench.lane[stream].acked == 0) {
        uint64_t refused = bench.lane[stream].refused;
        CHECK(test_now_ms() < end, "%s", bench.lane[stream].last_text);
        CHECK(reset_stream(stream) == 0, "%s", bench.error_text);
        send_text_on(stream, "k", "v", 1);
        TURN_UNTIL(bench.lane[stream].acked > 0 || bench.lane[stream].refused > refused, 20000);
    }
}

static void refused_once(uint32_t stream)
{
    send_text("k", "v", -1, 0);
    send_text_on(stream, "k", "v", 0);
    TURN_UNTIL(bench.lane[stream].refused == 1, 20000);
    assert_int_equal(bench.lane[stream].last_why, REFUSAL_TOPIC_FORBIDDEN);
    TURN_UNTIL(bench.acked == 1, 20000);
}

/* Whether it may be seen but not written, only a message tells; its stream alone learns of it. */
static void forbidden_topic(void **state)
{
    (void)state;
    kafka_create_topic(&cluster, "hidden", 1, NULL);
    kafka_create_topic(&cluster, "open", 1, NULL);
    kafka_allow_topic(&cluster, "open");
    open_bench(kafka_secured_brokers(&cluster), LOGIN, ARRAY_LEN(LOGIN), 1000);
    CHECK(reset_stream(1) == 0, "%s", bench.error_text);
    use(MAIN_STREAM, 0, "open");
    use(1, 0, "hidden");
    ASK_UNTIL(MAIN_STREAM, 0, 0, REFUSAL_NONE);
    ASK_UNTIL(1, 0, 0, REFUSAL_TOPIC_FORBIDDEN);
    kafka_show_topic(&cluster, "hidden");
    ASK_UNTIL(1, 0, 0, REFUSAL_NONE);
    refused_once(1);
    kafka_allow_topic(&cluster, "hidden");
    send_until_acked(1);
    send_text("k", "v", -1, 1);
    TURN_UNTIL(bench.acked == 2, 20000);
    assert_int_equal(bench.refused, 0);
    close_bench();
}

static int start_three(void **state)
{
    static const char *const QUICK[] = {"broker.session.timeout.ms=2000",
                                        "broker.heartbeat.interval.ms=300", NULL};

    (void)state;
    kafka_create(&cluster, &(struct kafka_params){.nodes = 3,
                                                  .heap_mib = 256,
                                                  .own_controller = true,
                                                  .secured = true,
                                                  .settings = QUICK});
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(partition_without_a_leader),
        cmocka_unit_test(deleted_topic),
        cmocka_unit_test(forbidden_topic),
    };
    cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests_name("streams_cluster", tests, start_three, end_cluster);
}
