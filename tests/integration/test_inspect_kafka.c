/* `outboxd check` on the Kafka side, and the sink's question whether any broker answers: against
 * one broker that creates topics, and against none. Three that do not are in
 * test_inspect_cluster.c. */
#include "inspect_case.h"

#include "../support/kafka_acl.h"
#include "../support/kafka_admin.h"

#include "kafka/scan.h"

#include <librdkafka/rdkafka.h>

/* ---- one broker that creates topics ---------------------------------------------------------- */

static void healthy_topic(void **state)
{
    (void)state;
    kafka_create_topic(&cluster, "healthy", 3, NULL);
    inspect("healthy");
    line_with(FINDING_OK, "Kafka: cluster b3V0Ym94ZC10ZXN0LTAwMQ, 1 broker answering");
    line_with(FINDING_OK, "an idempotent producer is allowed");
    line_with(FINDING_OK,
              "topic healthy: 3 partitions, replication factor 1, min.insync.replicas 1");
    line_with(FINDING_NOTE, "single copy, as the cluster has one broker");
    assert_int_equal(seen.count, 4);
    CHECK(seen.took_ms < 4000, "took %lu ms", (unsigned long)seen.took_ms);
}

static void no_topics(void **state)
{
    (void)state;
    inspect(NULL);
    line_with(FINDING_NOTE, "the topics come from the events");
    assert_int_equal(count_of(FINDING_WRONG), 0);
}

static void repeated_topic_is_told_once(void **state)
{
    (void)state;
    const char *const topics[] = {"healthy", "healthy"};
    const struct report report = {.line = remember};
    const struct kafka_sink_params p = {
        .brokers = kafka_brokers(&cluster), .client_id = "test", .window_events = 1};
    memset(&seen, 0, sizeof(seen));
    kafka_inspect(&p, topics, 2, &report);
    assert_int_equal(seen.count, 4);
}

static void settings_are_told(void **state)
{
    (void)state;
    static const char *const odd[] = {"max.message.bytes",
                                      "20000",
                                      "cleanup.policy",
                                      "compact,delete",
                                      "unclean.leader.election.enable",
                                      "true",
                                      NULL};
    kafka_create_topic(&cluster, "odd", 1, odd);
    inspect("odd");
    line_with(FINDING_OK, "topic odd: 1 partition, replication factor 1");
    const struct line *l = line_with(FINDING_NOTE, "at most 20000 bytes");
    assert_contains(l->what, "relay.max_event_bytes is 1000000");
    assert_contains(l->way_out, "--entity-name odd --add-config max.message.bytes=1065536");
    line_with(FINDING_NOTE, "topic odd is compacted");
    l = line_with(FINDING_WARN, "unclean.leader.election.enable");
    assert_contains(l->way_out, "unclean.leader.election.enable=false");
}

/* The brokers would create it; looking at it does not. */
static void missing_topic_that_will_be_created(void **state)
{
    (void)state;
    inspect("absent");
    const struct line *l = line_with(FINDING_WARN, "topic absent does not exist");
    assert_contains(l->what, "4 partitions, replication factor 1");
    assert_contains(l->way_out, "kafka-topics.sh --bootstrap-server 127.0.0.1:");
    assert_contains(l->way_out, "--create --topic absent --partitions 6 --replication-factor 1");
    assert_int_equal(kafka_partitions(kafka_brokers(&cluster), "healthy"), 3);
    inspect("absent");
    line_with(FINDING_WARN, "topic absent does not exist");
}

static void name_that_kafka_does_not_allow(void **state)
{
    (void)state;
    inspect("no spaces");
    line_with(FINDING_WRONG, "Kafka does not allow this name");
}

static void tls_to_a_plain_broker(void **state)
{
    (void)state;
    const struct kafka_pair tls = {"security.protocol", "ssl"};
    inspect_with(kafka_brokers(&cluster), &tls, 1, "healthy");
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.line[0].finding, FINDING_WRONG);
    assert_contains(seen.line[0].what, "SSL handshake failed");
    assert_contains(seen.line[0].way_out, "kafka.properties");
}

static void property_that_is_not_one(void **state)
{
    (void)state;
    const struct kafka_pair bad = {"no.such.thing", "1"};
    inspect_with(kafka_brokers(&cluster), &bad, 1, "healthy");
    assert_int_equal(seen.count, 1);
    assert_contains(line_with(FINDING_WRONG, "no.such.thing")->way_out, "kafka.properties");
}

/* ---- nobody ---------------------------------------------------------------------------------- */

static void brokers_down(void **state)
{
    (void)state;
    inspect_with("127.0.0.1:1", NULL, 0, "healthy");
    assert_int_equal(seen.count, 1);
    assert_contains(line_with(FINDING_WRONG, "no broker of 127.0.0.1:1 answers")->what,
                    "Connection refused");
    assert_contains(seen.line[0].way_out, "kafka.brokers");
}

static void host_without_an_address(void **state)
{
    (void)state;
    inspect_with("no-such-host.invalid:9092", NULL, 0, "healthy");
    assert_int_equal(seen.count, 1);
    assert_contains(line_with(FINDING_WRONG, "no broker of no-such-host.invalid:9092")->what,
                    "Failed to resolve");
}

static void broker_that_hangs(void **state)
{
    (void)state;
    kafka_pause(&cluster, 0);
    inspect("healthy");
    kafka_continue(&cluster, 0);
    assert_int_equal(seen.count, 1);
    assert_contains(line_with(FINDING_WRONG, "no broker of 127.0.0.1:")->what, "in time");
    kafka_wait_ready(&cluster, 1, 30000);
}

/* UINT32_MAX: no topic in particular. The core asks so when nothing is out. */
static void diagnose_without_a_topic(void **state)
{
    (void)state;
    const struct kafka_sink_params p = {.brokers = kafka_brokers(&cluster),
                                        .client_id = "test",
                                        .window_events = 1000,
                                        .window_bytes = 1 << 20,
                                        .max_event_bytes = 1000000};
    struct err err = {0};
    const struct sending anything = {.topic = UINT32_MAX, .partition = -1};
    enum refusal cause = REFUSAL_NONE;
    struct event_base *base = event_base_new();
    struct kafka_sink *sink = kafka_sink_new(&p, base, &err);
    CHECK(sink != NULL, "%s", err.text);
    uint64_t end = test_now_ms() + 10000;
    while (kafka_sink_ops.diagnose(sink, MAIN_STREAM, &anything, &err, &cause))
        CHECK(test_now_ms() < end, "still: %s", err.text);
    /* A topic that is missing is not what was asked for. */
    kafka_sink_ops.topic(sink, MAIN_STREAM, 0, "no spaces");
    int well = 0;
    for (int i = 0; i < 20; i++) {
        well += !kafka_sink_ops.diagnose(sink, MAIN_STREAM, &anything, &err, &cause);
        test_sleep_ms(20);
    }
    CHECK(well > 10, "%d of 20: %s", well, err.text);
    kafka_stop(&cluster, 0);
    end = test_now_ms() + 10000;
    while (!kafka_sink_ops.diagnose(sink, MAIN_STREAM, &anything, &err, &cause))
        CHECK(test_now_ms() < end, "the broker is down, and diagnose says nothing");
    assert_int_equal(cause, REFUSAL_BROKER_UNREACHABLE);
    assert_contains(err.text, "no broker of 127.0.0.1:");
    kafka_start(&cluster, 0);
    kafka_sink_free(sink);
    event_base_free(base);
}

/* ---- authorisation --------------------------------------------------------------------------- */

/* For the user of all connections here. */
static void grant(rd_kafka_ResourceType_t type, const char *name, rd_kafka_AclOperation_t operation,
                  rd_kafka_AclPermissionType_t permission)
{
    kafka_add_acl(&cluster, "ANONYMOUS", type, name, operation, permission);
}

static void settings_that_may_not_be_read(void **state)
{
    (void)state;
    kafka_create_topic(&cluster, "closed", 1, NULL);
    grant(RD_KAFKA_RESOURCE_TOPIC, "closed", RD_KAFKA_ACL_OPERATION_WRITE,
          RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW);
    inspect("closed");
    line_with(FINDING_OK, "topic closed: 1 partition, replication factor 1");
    assert_contains(line_with(FINDING_NOTE, "its settings cannot be read")->way_out,
                    "--operation DescribeConfigs --topic closed");
    assert_int_equal(count_of(FINDING_WRONG), 0);
}

static void topic_that_may_not_be_seen(void **state)
{
    (void)state;
    kafka_create_topic(&cluster, "hidden", 1, NULL);
    grant(RD_KAFKA_RESOURCE_TOPIC, "hidden", RD_KAFKA_ACL_OPERATION_ALL,
          RD_KAFKA_ACL_PERMISSION_TYPE_DENY);
    inspect("hidden");
    assert_contains(line_with(FINDING_WRONG, "topic hidden does not exist, or may not")->way_out,
                    "kafka-acls.sh");
}

/* ---- reading, as `outboxd verify` does ------------------------------------------------------- */

static void no_topic(void *ctx, size_t topic, int32_t partitions)
{
    (void)topic;
    *(int32_t *)ctx = partitions;
}

static void no_partition(void *ctx, size_t topic, int32_t partition, int64_t low, int64_t start,
                         int64_t end)
{
    (void)ctx, (void)topic, (void)partition, (void)low, (void)start, (void)end;
}

static int no_record(void *ctx, const struct scan_record *r, struct err *err)
{
    (void)ctx, (void)r, (void)err;
    return 0;
}

static void no_progress(void *ctx, int64_t read, int64_t total)
{
    (void)ctx, (void)read, (void)total;
}

static int scan(const char *topic, int32_t *partitions, struct err *err)
{
    struct kafka_sink_params params = {.brokers = kafka_brokers(&cluster), .client_id = "reader"};
    return kafka_scan(&(struct scan_params){.kafka = &params,
                                            .topics = &topic,
                                            .topic_count = 1,
                                            .since_us = SCAN_NO_TIME,
                                            .ctx = partitions,
                                            .topic = no_topic,
                                            .partition = no_partition,
                                            .record = no_record,
                                            .progress = no_progress},
                      err);
}

static void write_one(const char *topic)
{
    static char value[] = "x";
    struct kafka_client c;
    kafka_client_open(&c, kafka_brokers(&cluster));
    assert_int_equal(rd_kafka_producev(c.rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_VALUE(value, 1),
                                       RD_KAFKA_V_END),
                     RD_KAFKA_RESP_ERR_NO_ERROR);
    assert_int_equal(rd_kafka_flush(c.rk, 20000), RD_KAFKA_RESP_ERR_NO_ERROR);
    kafka_client_close(&c);
}

/* Of the topics above: one may be written and seen, but not read, the other not even seen. A
 * relay's principal may well be like that. */
static void topics_that_may_not_be_read(void **state)
{
    static const char *const topics[] = {"closed", "hidden"};
    struct err err = {0};
    int32_t partitions = -1;
    (void)state;
    write_one("closed");
    for (size_t i = 0; i < ARRAY_LEN(topics); i++) {
        assert_int_equal(scan(topics[i], &partitions, &err), -1);
        assert_int_equal(err.kind, ERR_CONFIG);
        assert_int_equal(err.problem, PROBLEM_TOPIC_UNREADABLE);
        assert_contains(err.text, topics[i]);
    }
}

/* Not even where brokers make what is asked for. */
static void reading_makes_no_topic(void **state)
{
    struct err err = {0};
    int32_t partitions = -1;
    (void)state;
    assert_ok(scan("never-made", &partitions, &err), &err);
    assert_int_equal(partitions, 0);
    assert_ok(scan("never-made", &partitions, &err), &err);
    assert_int_equal(partitions, 0);
}

static void idempotence_that_is_refused(void **state)
{
    (void)state;
    grant(RD_KAFKA_RESOURCE_BROKER, "kafka-cluster", RD_KAFKA_ACL_OPERATION_ALL,
          RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW);
    grant(RD_KAFKA_RESOURCE_TOPIC, "*", RD_KAFKA_ACL_OPERATION_WRITE,
          RD_KAFKA_ACL_PERMISSION_TYPE_DENY);
    grant(RD_KAFKA_RESOURCE_BROKER, "kafka-cluster", RD_KAFKA_ACL_OPERATION_IDEMPOTENT_WRITE,
          RD_KAFKA_ACL_PERMISSION_TYPE_DENY);
    inspect(NULL);
    assert_contains(line_with(FINDING_WRONG, "refuse an idempotent producer")->way_out,
                    "IdempotentWrite");
}

/* ---- main ------------------------------------------------------------------------------------ */

static int start_one(void **state)
{
    static const char *const settings[] = {
        "auto.create.topics.enable=true",
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found=true", NULL};
    (void)state;
    kafka_create(&cluster, &(struct kafka_params){.settings = settings});
    await_producer_ids();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(healthy_topic),
        cmocka_unit_test(no_topics),
        cmocka_unit_test(repeated_topic_is_told_once),
        cmocka_unit_test(settings_are_told),
        cmocka_unit_test(missing_topic_that_will_be_created),
        cmocka_unit_test(name_that_kafka_does_not_allow),
        cmocka_unit_test(tls_to_a_plain_broker),
        cmocka_unit_test(property_that_is_not_one),
        cmocka_unit_test(brokers_down),
        cmocka_unit_test(host_without_an_address),
        cmocka_unit_test(broker_that_hangs),
        cmocka_unit_test(diagnose_without_a_topic),
        cmocka_unit_test(settings_that_may_not_be_read),
        cmocka_unit_test(topic_that_may_not_be_seen),
        cmocka_unit_test(topics_that_may_not_be_read),
        cmocka_unit_test(reading_makes_no_topic),
        cmocka_unit_test(idempotence_that_is_refused),
    };
    return cmocka_run_group_tests_name("inspect_kafka", tests, start_one, end_cluster);
}
