/* Several producers in one sink, against a real broker: what one of them suffers, or that it is
 * closed, is nothing to the others; what a refused batch tells of the messages in it. */
#include "producer_bench.h"

#include "../support/proc.h"

#include <unistd.h>

#define LANE 1U

static const char *const SMALL_TOPIC[] = {"max.message.bytes", "20000", NULL};

static void open_lane(uint32_t stream, const char *topic)
{
    CHECK(reset_stream(stream) == 0, "%s", bench.error_text);
    kafka_sink_ops.topic(bench.sink, stream, 0, topic);
}

static void close_lane(uint32_t stream)
{
    kafka_sink_ops.close(bench.sink, stream);
}

static void turn_for(uint64_t ms)
{
    uint64_t until = test_now_ms() + ms;

    while (test_now_ms() < until)
        turn();
}

/* ---- apart from one another ------------------------------------------------------------------ */

/* The lane's producer ends with a fatal error, and says so with its own number; main's has the same
 * numbers of topics and messages, and knows nothing of it. */
static void one_refused_the_other_acked(void **state)
{
    (void)state;
    kafka_create_topic(&cluster, "well", 1, NULL);
    kafka_create_topic(&cluster, "tight", 1, SMALL_TOPIC);
    open_bench(kafka_brokers(&cluster), NULL, 0, 1000);
    use_topic("well");
    open_lane(LANE, "tight");
    send_text("k", "0", -1, 0);
    send_text_on(LANE, "k", "0", 0);
    TURN_UNTIL(bench.acked == 1 && bench.lane[LANE].acked == 1, 10000);
    for (uint64_t seq = 1; seq < 200; seq++)
        send_text("k", "v", -1, seq);
    send_noise_on(LANE, 60000, 1);
    TURN_UNTIL(bench.lane[LANE].refused == 1 && bench.lane[LANE].errors > 0, 10000);
    assert_int_equal(bench.lane[LANE].last_why, REFUSAL_MESSAGE_TOO_LARGE);
    assert_int_equal(bench.lane[LANE].last_error, REFUSAL_PRODUCER_FATAL);
    for (uint64_t seq = 200; seq < 400; seq++)
        send_text("k", "v", -1, seq);
    TURN_UNTIL(bench.acked == 400, 10000);
    assert_int_equal(bench.refused, 0);
    assert_int_equal(bench.errors, 0);
    struct message m = text_message("k", "v");
    assert_int_equal(try_send_on(LANE, &m, -1, 2), -EIO);
    CHECK(reset_stream(LANE) == 0, "%s", bench.error_text); /* its topics stay */
    send_text_on(LANE, "k", "v", 3);
    TURN_UNTIL(bench.lane[LANE].acked == 2, 10000);
    assert_int_equal(bench.lane[LANE].order[1], 3);
    close_bench();
    assert_int_equal(kafka_record_count(kafka_brokers(&cluster), "well"), 400);
    assert_int_equal(kafka_record_count(kafka_brokers(&cluster), "tight"), 2);
}

/* Brokers take any first sequence number of a producer that they do not know, however often main
 * has written to the partition: each producer opens its partitions itself. */
static void each_producer_opens_its_partitions(void **state)
{
    (void)state;
    static const struct kafka_pair TWO[] = {{"batch.num.messages", "2"}, {"linger.ms", "100"}};
    static const char *const TOPICS[] = {"lane-fresh", "lane-opened"};
    static const char *const LOGS[] = {"m34", "m0"};
    for (int opened = 0; opened < 2; opened++) {
        kafka_create_topic(&cluster, TOPICS[opened], 1, SMALL_TOPIC);
        open_bench(kafka_brokers(&cluster), TWO, 2, 1000);
        use_topic(TOPICS[opened]);
        open_lane(LANE, TOPICS[opened]);
        send_text("k", "main", -1, 0);
        TURN_UNTIL(bench.acked == 1, 10000);
        if (opened) {
            send_text_on(LANE, "k", "0", 0);
            TURN_UNTIL(bench.lane[LANE].acked == 1, 10000);
        }
        send_text_on(LANE, "k", "1", 1);
        send_noise_on(LANE, 60000, 2);
        send_text_on(LANE, "k", "3", 3);
        send_text_on(LANE, "k", "4", 4);
        TURN_UNTIL(bench.lane[LANE].acked + bench.lane[LANE].refused == (opened ? 5 : 4), 10000);
        close_bench();
        char letters[64] = "";
        read_partition(TOPICS[opened], 0, append_letter, letters);
        assert_string_equal(letters, LOGS[opened]);
    }
}

/* ---- its end --------------------------------------------------------------------------------- */

static void nothing_is_reported_after_close(void **state)
{
    (void)state;
    kafka_create_topic(&cluster, "first", 1, NULL);
    kafka_create_topic(&cluster, "second", 2, NULL);
    open_bench(kafka_brokers(&cluster), NULL, 0, 5000);
    use_topic("first");
    close_lane(LANE); /* harmless when there is none */
    open_lane(LANE, "first");
    send_text_on(LANE, "k", "0", 0);
    TURN_UNTIL(bench.lane[LANE].acked == 1, 10000);
    for (uint64_t seq = 1; seq < 1000; seq++)
        send_text_on(LANE, "k", "v", seq);
    close_lane(LANE);
    send_text("k", "v", -1, 0);
    turn_for(300);
    assert_int_equal(bench.lane[LANE].acked, 1);
    assert_int_equal(bench.lane[LANE].refused, 0);
    TURN_UNTIL(bench.acked == 1, 10000);
    /* Topics are numbered anew. */
    kafka_sink_ops.topic(bench.sink, LANE, 0, "second");
    assert_int_equal(kafka_sink_ops.partitions(bench.sink, LANE, 0), 0);
    struct message m = text_message("k", "v");
    assert_int_equal(try_send_on(LANE, &m, -1, 0), -ENOTCONN);
    open_lane(LANE, "second");
    send_text_on(LANE, "k", "v", 0);
    TURN_UNTIL(bench.lane[LANE].acked == 2, 10000);
    assert_int_equal(kafka_sink_ops.partitions(bench.sink, LANE, 0), 2);
    assert_int_equal(bench.lane[LANE].order[1], 0);
    close_bench();
    assert_int_equal(kafka_record_count(kafka_brokers(&cluster), "second"), 1);
}

static void close_itself(uint32_t stream)
{
    close_lane(stream);
}

static void close_and_open_itself(uint32_t stream)
{
    close_lane(stream);
    open_lane(stream, "inside");
    bench.lane[stream].on_report = NULL;
}

static void reset_itself_twice(uint32_t stream)
{
    CHECK(reset_stream(stream) == 0, "%s", bench.error_text);
    CHECK(reset_stream(stream) == 0, "%s", bench.error_text);
    bench.lane[stream].on_report = NULL;
}

static void close_the_next(uint32_t stream)
{
    close_lane(stream + 1);
    bench.lane[stream].on_report = NULL;
}

/* A hundred are sent in one batch; the first report acts. */
static void from_inside_a_report(void **state)
{
    (void)state;
    static const struct {
        void (*act)(uint32_t stream);
        uint64_t reports; /* of these hundred */
        bool usable;      /* afterwards */
    } CASES[] = {{close_itself, 1, false},
                 {close_and_open_itself, 1, true},
                 {reset_itself_twice, 1, true},
                 {close_the_next, 100, true}};
    static const struct kafka_pair TOGETHER[] = {{"linger.ms", "50"}};
    kafka_create_topic(&cluster, "inside", 1, NULL);
    open_bench(kafka_brokers(&cluster), TOGETHER, 1, 1000);
    for (uint32_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct lane_bench *lane = &bench.lane[LANE];
        memset(bench.lane, 0, sizeof(bench.lane));
        open_lane(LANE, "inside");
        open_lane(LANE + 1, "inside");
        lane->on_report = CASES[i].act;
        for (uint64_t seq = 0; seq < 100; seq++)
            send_text_on(LANE, "k", "v", seq);
        TURN_UNTIL(lane->acked > 0, 10000);
        TURN_UNTIL(lane->acked >= CASES[i].reports, 10000);
        turn_for(100);
        assert_int_equal(lane->acked + lane->refused, CASES[i].reports);
        struct message m = text_message("k", "v");
        assert_int_equal(try_send_on(LANE, &m, -1, 200), CASES[i].usable ? 0 : -ENOTCONN);
        if (CASES[i].usable)
            TURN_UNTIL(lane->acked == CASES[i].reports + 1, 10000);
        assert_int_equal(try_send_on(LANE + 1, &m, -1, 0),
                         CASES[i].act == close_the_next ? -ENOTCONN : 0);
        close_lane(LANE);
        close_lane(LANE + 1);
    }
    close_bench();
}

static void try_once(uint32_t stream, bool awaited)
{
    uint64_t acked = bench.lane[stream].acked;
    uint64_t until = test_now_ms() + 10000;

    while (reset_stream(stream) != 0) { /* too many are ending: the machine is busy */
        CHECK(test_now_ms() < until, "%s", bench.error_text);
        assert_contains(bench.error_text, "have not ended yet");
        turn();
    }
    kafka_sink_ops.topic(bench.sink, stream, 0, "tried");
    send_text_on(stream, "k", "v", 0);
    if (awaited)
        TURN_UNTIL(bench.lane[stream].acked == acked + 1, 10000);
    close_lane(stream);
}

/* As lanes do it: a producer for each try. Every third is closed with its message under way. */
static void tries_leave_nothing(void **state)
{
    (void)state;
    enum { TRIES = 300, FROM = 50 };
    long rss = 0;
    int fds = 0;
    int threads = 0;
    uint64_t began = 0;
    kafka_create_topic(&cluster, "tried", 1, NULL);
    open_bench(kafka_brokers(&cluster), NULL, 0, 1000);
    use_topic("tried");
    send_text("k", "v", -1, 0);
    TURN_UNTIL(bench.acked == 1, 10000);
    fds = proc_fd_count(getpid());
    threads = proc_thread_count(getpid());
    for (int i = 0; i < TRIES; i++) {
        if (i == FROM) {
            rss = proc_rss_kib(getpid());
            began = test_now_ms();
        }
        try_once(LANE + (uint32_t)i % 4, i % 3 != 0);
    }
    print_message("a try: %lu us\n",
                  (unsigned long)((test_now_ms() - began) * 1000 / (TRIES - FROM)));
    TURN_UNTIL(proc_thread_count(getpid()) <= threads && proc_fd_count(getpid()) <= fds, 10000);
    long grown = proc_rss_kib(getpid()) - rss;
    print_message("%ld KiB more after %d tries\n", grown, TRIES - FROM);
#ifdef __SANITIZE_ADDRESS__
    grown = 0; /* freed memory stays in quarantine; leaks are found at the end */
#endif
    CHECK(grown < 8 * 1024, "%ld KiB more", grown);
    send_text("k", "v", -1, 1);
    TURN_UNTIL(bench.acked == 2, 10000);
    close_bench();
}

/* ---- what a refused batch tells -------------------------------------------------------------- */

static const struct kafka_pair ONE_BATCH[] = {{"linger.ms", "200"}, {"compression.type", "none"}};

/* All that were together in a batch are refused by the same cause, and what comes behind it by one
 * that blames no message. `bad` is the place of the one that is to blame, or -1: none is. */
static void check_batch(const char *topic, enum refusal why, int bad)
{
    enum { BATCH = 10, BEHIND = 5 };
    static char value[3000];
    char good[8] = "v";
    int blamed = 0;
    memset(value, 'x', sizeof(value) - 1);
    open_bench(kafka_brokers(&cluster), ONE_BATCH, ARRAY_LEN(ONE_BATCH), 1000);
    use_topic(topic);
    send_text("k", "0", -1, 0);
    TURN_UNTIL(bench.acked == 1, 10000);
    for (int i = 1; i <= BATCH; i++)
        send_text(i - 1 == bad ? NULL : "k", bad < 0 ? value : good, 0, (uint64_t)i);
    TURN_UNTIL(bench.refused > 0, 10000);
    TURN_UNTIL(bench.refused == BATCH, 10000);
    for (int i = 1; i <= BATCH; i++)
        blamed += bench.why[i] == why;
    CHECK(blamed == BATCH, "%d of %d blamed: %s", blamed, BATCH, refusal_name(bench.why[1]));
    assert_int_equal(bench.acked, 1);
    /* The producer is at its end: whatever comes now blames nobody. */
    struct message m = text_message("k", "v");
    for (uint64_t seq = BATCH + 1; seq <= BATCH + BEHIND; seq++) {
        if (try_send(&m, 0, seq) != 0)
            assert_int_not_equal(refusal_class(bench.last_why), REFUSAL_MESSAGE);
    }
    turn_for(50);
    for (uint64_t seq = BATCH + 1; seq <= BATCH + BEHIND; seq++)
        assert_int_not_equal(bench.why[seq] ? refusal_class(bench.why[seq]) : REFUSAL_SESSION,
                             REFUSAL_MESSAGE);
    close_bench();
}

/* Each of them is small enough. */
static void batch_that_is_too_large(void **state)
{
    (void)state;
    kafka_create_topic(&cluster, "batch-large", 1, SMALL_TOPIC);
    check_batch("batch-large", REFUSAL_MESSAGE_TOO_LARGE, -1);
}

static void batch_with_an_invalid_record(void **state)
{
    (void)state;
    static const char *const COMPACT[] = {"cleanup.policy", "compact", NULL};
    static const char *const NAMES[] = {"compact-first", "compact-mid", "compact-last"};
    static const int PLACES[] = {0, 4, 9};
    for (size_t i = 0; i < ARRAY_LEN(NAMES); i++) {
        kafka_create_topic(&cluster, NAMES[i], 1, COMPACT);
        check_batch(NAMES[i], REFUSAL_MESSAGE_INVALID, PLACES[i]);
    }
}

/* Batches that were in flight together: those behind the refused one may not blame their messages,
 * or the culprit's neighbours could not be told from it. */
static void batches_behind_blame_nobody(void **state)
{
    (void)state;
    enum { N = 40, CULPRIT = 8 };
    static const struct kafka_pair SMALL[] = {{"linger.ms", "100"}, {"batch.num.messages", "4"}};
    int same = 0;
    kafka_create_topic(&cluster, "behind", 1, SMALL_TOPIC);
    open_bench(kafka_brokers(&cluster), SMALL, 2, 1000);
    use_topic("behind");
    send_text("k", "0", -1, 0);
    TURN_UNTIL(bench.acked == 1, 10000);
    uint64_t sent = 1;
    struct message m = text_message("k", "v");
    for (; sent < N; sent++) {
        if (sent == CULPRIT)
            send_noise(60000, sent);
        else if (try_send(&m, 0, sent) != 0)
            break;
    }
    TURN_UNTIL(bench.acked + bench.refused == sent, 10000);
    assert_int_equal(bench.why[CULPRIT], REFUSAL_MESSAGE_TOO_LARGE);
    for (uint64_t seq = 1; seq < sent; seq++) {
        if (!bench.why[seq])
            continue;
        if (refusal_class(bench.why[seq]) == REFUSAL_MESSAGE) {
            same++;
            CHECK(seq + 4 > CULPRIT && seq < CULPRIT + 4, "%lu is blamed", (unsigned long)seq);
        } else {
            assert_true(seq > CULPRIT);
            assert_int_equal(bench.why[seq], REFUSAL_PRODUCER_FATAL);
        }
    }
    assert_in_range(same, 1, 4);
    close_bench();
}

/* Beyond what the producer itself takes: it is refused at once, alone, and the producer is sound.
 */
static void too_large_for_the_producer(void **state)
{
    (void)state;
    size_t len = 11 << 20;
    char *value = calloc(1, len);
    assert_non_null(value);
    kafka_create_topic(&cluster, "sound", 1, NULL);
    open_bench(kafka_brokers(&cluster), NULL, 0, 1000);
    use_topic("sound");
    struct message m = {.key = slice_of("k"), .value = {value, len}};
    assert_int_equal(try_send(&m, -1, 0), -EIO);
    assert_int_equal(bench.last_why, REFUSAL_MESSAGE_TOO_LARGE);
    send_text("k", "v", -1, 1);
    TURN_UNTIL(bench.acked == 1, 10000);
    assert_int_equal(bench.refused + bench.errors, 0);
    close_bench();
    free(value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_refused_the_other_acked),
        cmocka_unit_test(each_producer_opens_its_partitions),
        cmocka_unit_test(nothing_is_reported_after_close),
        cmocka_unit_test(from_inside_a_report),
        cmocka_unit_test(tries_leave_nothing),
        cmocka_unit_test(batch_that_is_too_large),
        cmocka_unit_test(batch_with_an_invalid_record),
        cmocka_unit_test(batches_behind_blame_nobody),
        cmocka_unit_test(too_large_for_the_producer),
    };
    cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests_name("streams", tests, start_cluster, end_cluster);
}
