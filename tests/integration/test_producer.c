/* The sink against a real broker: acks and their order, bytes, topics that are missing, grow or go.
 */
#include "producer_bench.h"

#include "message/murmur2.h"

static void acks_come_in_order(void **state)
{
    (void)state;
    enum { N = 20000 };
    kafka_create_topic(&cluster, "order", 4, NULL);
    open_bench(kafka_brokers(&cluster), NULL, 0, 50000);
    use_topic("order");
    assert_int_equal(partitions(), 0);
    send_text("key-0", "0", -1, 0);
    TURN_UNTIL(bench.acked == 1, 10000);
    assert_int_equal(partitions(), 4);
    for (uint64_t seq = 1; seq < N; seq++) {
        char key[32];
        snprintf(key, sizeof(key), "key-%lu", (unsigned long)(seq % 100));
        send_text(key, key, murmur2_partition(key, strlen(key), 4), seq);
    }
    TURN_UNTIL(bench.acked == N, 30000);
    assert_int_equal(bench.refused, 0);
    int64_t last[4] = {-1, -1, -1, -1};
    for (uint64_t i = 0; i < N; i++) {
        uint64_t seq = bench.order[i];
        char key[32];
        snprintf(key, sizeof(key), "key-%lu", (unsigned long)(seq % 100));
        assert_int_equal(bench.partition[seq], murmur2_partition(key, strlen(key), 4));
        assert_true((int64_t)seq > last[bench.partition[seq]]);
        last[bench.partition[seq]] = (int64_t)seq;
    }
    assert_int_equal(kafka_record_count(kafka_brokers(&cluster), "order"), N);
    close_bench();
}

static void check_bytes(const rd_kafka_message_t *m, void *ctx)
{
    int *index = ctx;
    rd_kafka_headers_t *headers = NULL;
    const void *value;
    size_t size;
    switch ((*index)++) {
    case 0:
        assert_int_equal(m->key_len, 5);
        assert_memory_equal(m->key,
                            "k\0\xff"
                            "e\n",
                            5);
        assert_int_equal(m->len, 4);
        assert_memory_equal(m->payload, "v\0\x80z", 4);
        assert_int_equal(rd_kafka_message_headers(m, &headers), 0);
        assert_int_equal(rd_kafka_header_cnt(headers), 4);
        assert_int_equal(rd_kafka_header_get(headers, 0, "id", &value, &size), 0);
        assert_int_equal(size, 3);
        assert_memory_equal(value, "a\0b", 3);
        assert_int_equal(rd_kafka_header_get(headers, 1, "id", &value, &size),
                         0); /* the same name twice */
        assert_int_equal(size, 1);
        assert_int_equal(rd_kafka_header_get(headers, 0, "null", &value, &size), 0);
        assert_null(value);
        assert_int_equal(rd_kafka_header_get(headers, 0, "empty", &value, &size), 0);
        assert_non_null(value);
        assert_int_equal(size, 0);
        break;
    case 1: /* a tombstone */
        assert_null(m->payload);
        assert_int_equal(m->len, 0);
        assert_int_equal(m->key_len, 1);
        assert_int_not_equal(rd_kafka_message_headers(m, &headers), 0);
        break;
    case 2: /* empty, which is not null */
        assert_non_null(m->payload);
        assert_int_equal(m->len, 0);
        break;
    default: /* no key: the partition of the empty one */
        assert_null(m->key);
        break;
    }
}

static void bytes_arrive_as_sent(void **state)
{
    (void)state;
    kafka_create_topic(&cluster, "bytes", 1, NULL);
    open_bench(kafka_brokers(&cluster), NULL, 0, 1000);
    use_topic("bytes");
    struct message m = {
        .key = {"k\0\xff"
                "e\n",
                5},
        .value = {"v\0\x80z", 4},
        .headers = {{SLICE_LIT("id"), {"a\0b", 3}},
                    {SLICE_LIT("id"), SLICE_LIT("2")},
                    {SLICE_LIT("null"), {NULL, 0}},
                    {SLICE_LIT("empty"), {"", 0}}},
        .header_count = 4,
    };
    assert_int_equal(try_send(&m, -1, 0), 0);
    send_text("k", NULL, -1, 1);
    send_text("k", "", -1, 2);
    send_text(NULL, "v", -1, 3);
    TURN_UNTIL(bench.acked == 4, 10000);
    close_bench();
    int index = 0;
    assert_int_equal(read_partition("bytes", 0, check_bytes, &index), 4);
}

static void missing_topic_waits_and_then_flows(void **state)
{
    (void)state;
    struct err err = {0};
    enum refusal cause = REFUSAL_NONE;
    open_bench(kafka_brokers(&cluster), NULL, 0, 1000);
    use_topic("later");
    for (uint64_t seq = 0; seq < 10; seq++)
        send_text("k", "v", -1, seq);
    uint64_t until = test_now_ms() + 1500;
    while (test_now_ms() < until)
        turn();
    assert_int_equal(bench.acked + bench.refused, 0);
    /* A busy machine may not answer in time at once, which is told too. */
    for (int i = 0; i < 100 && cause != REFUSAL_TOPIC_MISSING; i++) {
        uint64_t before = test_now_ms();
        assert_true(diagnosed(&err, &cause));
        CHECK(test_now_ms() - before < 500, "diagnose took %lu ms",
              (unsigned long)(test_now_ms() - before));
    }
    CHECK(cause == REFUSAL_TOPIC_MISSING, "%s", err.text);
    assert_contains(err.text, "topic later");
    kafka_create_topic(&cluster, "later", 2, NULL);
    TURN_UNTIL(bench.acked == 10, 10000);
    for (uint64_t i = 0; i < 10; i++)
        assert_int_equal(bench.order[i], i);
    int asked = 1;
    while (diagnosed(&err, &cause) && asked < 100)
        asked++;
    CHECK(asked < 100, "%s", err.text); /* nothing is wrong any more */
    close_bench();
}

static void growth_is_noticed(void **state)
{
    (void)state;
    static const struct kafka_pair OFTEN[] = {{"topic.metadata.refresh.interval.ms", "100"}};
    kafka_create_topic(&cluster, "growing", 2, NULL);
    open_bench(kafka_brokers(&cluster), OFTEN, 1, 1000);
    use_topic("growing");
    send_text("k", "v", -1, 0);
    TURN_UNTIL(bench.acked == 1, 10000);
    assert_int_equal(partitions(), 2);
    kafka_grow_topic(&cluster, "growing", 5);
    uint64_t seq = 0;
    uint64_t end = test_now_ms() + 10000;
    while (partitions() == 2) {
        CHECK(test_now_ms() < end, "growth is not noticed");
        send_text("k", "v", 1, ++seq); /* where the relay says, whatever the new count is */
        TURN_UNTIL(bench.acked == seq + 1, 5000);
        assert_int_equal(bench.partition[seq], 1);
    }
    assert_int_equal(partitions(), 5);
    send_text("k", "v", 4, ++seq);
    TURN_UNTIL(bench.acked == seq + 1, 5000);
    assert_int_equal(bench.partition[seq], 4);
    /* One that is not there (any more) is refused at once. */
    struct message m = text_message("k", "v");
    assert_int_equal(try_send(&m, 5, ++seq), -EIO);
    assert_int_equal(bench.last_why, REFUSAL_PARTITION_GONE);
    close_bench();
}

static void deleted_topic_is_refused(void **state)
{
    (void)state;
    static const struct kafka_pair OFTEN[] = {{"topic.metadata.refresh.interval.ms", "100"}};
    kafka_create_topic(&cluster, "deleted", 1, NULL);
    open_bench(kafka_brokers(&cluster), OFTEN, 1, 1000);
    use_topic("deleted");
    send_text("k", "v", -1, 0);
    TURN_UNTIL(bench.acked == 1, 10000);
    kafka_delete_topic(&cluster, "deleted");
    uint64_t end = test_now_ms() + 10000;
    struct message m = text_message("k", "v");
    uint64_t seq = 1;
    while (bench.refused == 0 && try_send(&m, 0, seq) == 0) {
        CHECK(test_now_ms() < end, "nothing is refused");
        seq++;
        turn();
    }
    /* Which of the two depends on where the message was when the news came. */
    CHECK(bench.last_why == REFUSAL_TOPIC_MISSING || bench.last_why == REFUSAL_PARTITION_GONE, "%s",
          refusal_name(bench.last_why));
    close_bench();
}

static void full_queue_says_try_again(void **state)
{
    (void)state;
    open_bench("127.0.0.1:1", NULL, 0, 10);
    use_topic("any");
    struct message m = text_message("k", "v");
    for (uint64_t seq = 0; seq < 10; seq++)
        assert_int_equal(try_send(&m, -1, seq), 0);
    assert_int_equal(try_send(&m, -1, 10), -EAGAIN);
    TURN_UNTIL(bench.errors > 0, 5000);
    assert_int_equal(bench.last_error, REFUSAL_BROKER_UNREACHABLE);
    TURN_UNTIL(strstr(bench.error_text, "no broker of 127.0.0.1:1 answers") != NULL, 5000);
    struct err err = {0};
    enum refusal cause = REFUSAL_NONE;
    assert_true(diagnosed(&err, &cause));
    assert_int_equal(cause, REFUSAL_BROKER_UNREACHABLE);
    /* Told once, not at each of librdkafka's tries. */
    uint64_t until = test_now_ms() + 3000;
    while (test_now_ms() < until)
        turn();
    CHECK(bench.errors <= 2, "%lu errors told", (unsigned long)bench.errors);
    close_bench();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(acks_come_in_order),
        cmocka_unit_test(bytes_arrive_as_sent),
        cmocka_unit_test(missing_topic_waits_and_then_flows),
        cmocka_unit_test(growth_is_noticed),
        cmocka_unit_test(deleted_topic_is_refused),
        cmocka_unit_test(full_queue_says_try_again),
    };
    return cmocka_run_group_tests(tests, start_cluster, end_cluster);
}
