/* The sink against a real broker: refusals, the one recovery path, hanging lookups, a broker that
 * dies. */
#include "producer_bench.h"

#include "../support/proc.h"

#include "kafka/reaper.h"

#include <dlfcn.h>
#include <netdb.h>
#include <stdatomic.h>
#include <unistd.h>

static const char *const SMALL_TOPIC[] = {"max.message.bytes", "20000", NULL};

/* Sends from..to-1 and returns how far it came: a broker that was quick has refused an earlier one
 * by then, and the producer takes no more. */
static uint64_t send_until_refused(uint64_t from, uint64_t to)
{
    struct message m = text_message("k", "v");

    for (uint64_t seq = from; seq < to; seq++)
        if (try_send(&m, 0, seq) != 0) {
            assert_int_equal(bench.last_why, REFUSAL_PRODUCER_FATAL);
            return seq;
        }
    return to;
}

/* The refused one, and those behind it: each is reported once, nothing is left without a word. */
static void too_large_is_refused_and_the_rest_reported(void **state)
{
    uint64_t sent;

    (void)state;
    kafka_create_topic(&cluster, "small", 1, SMALL_TOPIC);
    open_bench(kafka_brokers(&cluster), NULL, 0, 1000);
    use_topic("small");
    send_text("k", "0", -1, 0);
    TURN_UNTIL(bench.acked == 1, 10000);
    send_noise(60000, 1);
    sent = send_until_refused(2, 500);
    TURN_UNTIL(bench.acked + bench.refused == sent, 10000);
    assert_int_equal(bench.acked, 1);
    assert_int_equal(bench.why[1], REFUSAL_MESSAGE_TOO_LARGE);
    for (uint64_t seq = 2; seq < sent; seq++)
        CHECK(bench.why[seq] == REFUSAL_MESSAGE_TOO_LARGE ||
                  bench.why[seq] == REFUSAL_PRODUCER_FATAL,
              "%lu: %s", (unsigned long)seq, refusal_name(bench.why[seq]));
    TURN_UNTIL(bench.last_error == REFUSAL_PRODUCER_FATAL, 1000);
    struct message m = text_message("k", "v");
    assert_int_equal(try_send(&m, 0, 500), -EIO);
    assert_int_equal(bench.last_why, REFUSAL_PRODUCER_FATAL);
    /* One recovery path: a new producer goes on. */
    assert_int_equal(reset(), 0);
    assert_int_equal(partitions(), 0);
    send_text("k", "v", -1, 501);
    TURN_UNTIL(bench.partition[501] == 0, 10000);
    char letters[64] = "";
    assert_int_equal(read_partition("small", 0, append_letter, letters), 2);
    assert_string_equal(letters, "0v");
    close_bench();
}

/* Why the core opens a partition with one message: brokers take any first sequence number of a
 * producer that they do not know, so a batch behind a refused one is accepted. With an acknowledged
 * message in front it is refused. */
static void only_an_opened_partition_keeps_order(void **state)
{
    (void)state;
    static const struct kafka_pair TWO[] = {{"batch.num.messages", "2"}, {"linger.ms", "100"}};
    static const char *const TOPICS[] = {"fresh", "opened"};
    static const char *const LOGS[] = {"34", "0"};
    for (int opened = 0; opened < 2; opened++) {
        kafka_create_topic(&cluster, TOPICS[opened], 1, SMALL_TOPIC);
        open_bench(kafka_brokers(&cluster), TWO, 2, 1000);
        use_topic(TOPICS[opened]);
        if (opened) {
            send_text("k", "0", -1, 0);
            TURN_UNTIL(bench.acked == 1, 10000);
        }
        send_text("k", "1", -1, 1);
        send_noise(60000, 2);
        send_text("k", "3", -1, 3);
        send_text("k", "4", -1, 4);
        /* All are reported soon, also those that were in flight behind the refused one. */
        TURN_UNTIL(bench.acked + bench.refused == (opened ? 5 : 4), 2000);
        close_bench();
        char letters[64] = "";
        read_partition(TOPICS[opened], 0, append_letter, letters);
        assert_string_equal(letters, LOGS[opened]);
    }
}

static void reset_from_inside_a_report(void **state)
{
    (void)state;
    kafka_create_topic(&cluster, "inside", 1, SMALL_TOPIC);
    open_bench(kafka_brokers(&cluster), NULL, 0, 1000);
    use_topic("inside");
    bench.reset_when_refused = true;
    send_noise(60000, 0);
    for (uint64_t seq = 1; seq < 100; seq++)
        send_text("k", "v", -1, seq);
    TURN_UNTIL(bench.refused > 0, 10000);
    uint64_t until = test_now_ms() + 200;
    while (test_now_ms() < until)
        turn();
    assert_int_equal(bench.refused, 1); /* nothing of the old one came after reset */
    uint64_t acked = bench.acked;
    send_text("k", "v", -1, 100);
    TURN_UNTIL(bench.acked == acked + 1, 10000);
    close_bench();
}

static void reset_is_quick_and_leaves_nothing(void **state)
{
    (void)state;
    static char value[100000];
    memset(value, 'x', sizeof(value) - 1);
    uint64_t worst_us = 0;
    long rss_before = 0;
    int fds = 0;
    int threads = 0;
    open_bench("127.0.0.1:1", NULL, 0, 1000);
    use_topic("any");
    for (int i = 0; i < 60; i++) {
        if (i == 10) {
            rss_before = proc_rss_kib(getpid());
            fds = proc_fd_count(getpid());
            threads = proc_thread_count(getpid());
        }
        for (uint64_t k = 0; k < 100; k++)
            send_text("k", value, -1, (uint64_t)i * 100 + k);
        turn();
        uint64_t before = test_now_us();
        while (reset() != 0) { /* too many are ending: only on a machine that is very busy */
            assert_contains(bench.error_text, "have not ended yet");
            test_sleep_ms(1);
        }
        uint64_t took = test_now_us() - before;
        worst_us = took > worst_us ? took : worst_us;
    }
    print_message("reset with a dead broker: at most %lu us\n", (unsigned long)worst_us);
    assert_int_equal(bench.acked + bench.refused, 0);
    assert_true(worst_us < 200000);
    TURN_UNTIL(proc_thread_count(getpid()) <= threads && proc_fd_count(getpid()) <= fds, 5000);
    long grown = proc_rss_kib(getpid()) - rss_before;
#ifdef __SANITIZE_ADDRESS__
    grown = 0; /* freed memory stays in quarantine; leaks are found at the end */
#endif
    CHECK(grown < 24 * 1024, "%ld KiB more after 50 resets of 10 MB each", grown);
    close_bench();
}

/* librdkafka's threads call the getaddrinfo of this program. A lookup of slow.invalid that begins
 * while `lookups_hang` lasts as long as `lookups_last`; any other finds this machine. */
static atomic_int lookups_hang;
static atomic_int lookups_last;

int getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                struct addrinfo **found)
{
    static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    bool slow = host && strcmp(host, "slow.invalid") == 0;
    if (slow && atomic_load(&lookups_hang)) {
        for (int ms = 0; ms < 20000 && atomic_load(&lookups_last); ms += 5)
            test_sleep_ms(5);
        return EAI_AGAIN;
    }
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    return real(slow ? "127.0.0.1" : host, port, hints, found);
}

static void reset_does_not_wait_for_a_hanging_lookup(void **state)
{
    (void)state;
    atomic_store(&lookups_hang, 1);
    atomic_store(&lookups_last, 1);
    open_bench("slow.invalid:9092", NULL, 0, 1000);
    use_topic("any");
    for (uint64_t i = 0; i < REAPER_GRAVES; i++) {
        send_text("k", "v", -1, i);
        test_sleep_ms(50); /* into the lookup */
        uint64_t before = test_now_ms();
        assert_int_equal(reset(), 0);
        CHECK(test_now_ms() - before < 500, "reset took %lu ms",
              (unsigned long)(test_now_ms() - before));
    }
    /* There is no room for one more that is ending, and no producer until there is. */
    assert_int_equal(reset(), -1);
    assert_contains(bench.error_text, "have not ended yet");
    struct message m = text_message("k", "v");
    assert_int_equal(try_send(&m, -1, 10), -ENOTCONN);
    atomic_store(&lookups_hang, 0);
    atomic_store(&lookups_last, 0);
    TURN_UNTIL(reset() == 0, 5000);
    close_bench();
}

/* Producers of lanes that do not end leave main room to replace its own. */
static void lanes_leave_room_for_main(void **state)
{
    (void)state;
    enum { FOR_LANES = REAPER_GRAVES - REAPER_GRAVES_OF_MAIN };
    atomic_store(&lookups_hang, 1);
    atomic_store(&lookups_last, 1);
    open_bench("slow.invalid:9092", NULL, 0, 1000);
    use_topic("any");
    for (uint32_t i = 0; i < FOR_LANES; i++) {
        assert_int_equal(reset_stream(1 + i % 4), 0);
        kafka_sink_ops.topic(bench.sink, 1 + i % 4, 0, "any");
        test_sleep_ms(50); /* into the lookup */
        kafka_sink_ops.close(bench.sink, 1 + i % 4);
    }
    assert_int_equal(reset_stream(1), 0);
    test_sleep_ms(50);
    kafka_sink_ops.close(bench.sink, 1);
    assert_int_equal(reset_stream(1), -1);
    assert_contains(bench.error_text, "have not ended yet");
    assert_int_equal(reset(), 0);
    send_text("k", "v", -1, 0);
    atomic_store(&lookups_hang, 0);
    atomic_store(&lookups_last, 0);
    TURN_UNTIL(reset_stream(1) == 0, 5000);
    close_bench();
}

/* The core counts on it: it has taken the numbers back, and gives them to others. */
static void nothing_is_reported_after_a_reset_that_fails(void **state)
{
    (void)state;
    char brokers[256];
    snprintf(brokers, sizeof(brokers), "slow.invalid%s", strrchr(kafka_brokers(&cluster), ':'));
    kafka_create_topic(&cluster, "silent", 1, NULL);
    atomic_store(&lookups_hang, 1);
    atomic_store(&lookups_last, 1);
    open_bench(brokers, NULL, 0, 1000);
    use_topic("silent");
    for (int i = 0; i < REAPER_GRAVES; i++) {
        test_sleep_ms(50); /* into the lookup */
        atomic_store(&lookups_hang, i < REAPER_GRAVES - 1);
        assert_int_equal(reset(), 0);
    }
    send_text("k", "0", -1, 0);
    TURN_UNTIL(bench.acked == 1, 10000);
    for (uint64_t seq = 1; seq < 100; seq++)
        send_text("k", "v", 0, seq);
    assert_int_equal(reset(), -1);
    uint64_t until = test_now_ms() + 500;
    while (test_now_ms() < until)
        turn();
    assert_int_equal(bench.acked, 1);
    assert_int_equal(bench.refused, 0);
    atomic_store(&lookups_last, 0);
    TURN_UNTIL(reset() == 0, 5000);
    send_text("k", "v", -1, 100);
    TURN_UNTIL(bench.acked == 2, 10000);
    close_bench();
}

static void broker_killed_in_mid_stream(void **state)
{
    (void)state;
    enum { N = 150000, KILL_AT = 50000 };
    kafka_create_topic(&cluster, "killed", 4, NULL);
    open_bench(kafka_brokers(&cluster), NULL, 0, 20000);
    use_topic("killed");
    uint64_t seq = 0;
    bool killed = false;
    uint64_t end = test_now_ms() + 90000;
    while (bench.acked < N) {
        CHECK(test_now_ms() < end, "%lu acked, %s", (unsigned long)bench.acked, bench.error_text);
        CHECK(bench.refused == 0, "refused: %s", bench.last_text);
        struct message m = text_message("k", "a value of some length, as values are");
        while (seq < N && try_send(&m, partitions() ? (int32_t)(seq % 4) : -1, seq) == 0)
            seq++;
        if (!killed && bench.acked >= KILL_AT) {
            kafka_kill9(&cluster, 0);
            test_sleep_ms(500);
            kafka_start_nowait(&cluster, 0);
            killed = true;
        }
        turn();
    }
    assert_true(killed);
    assert_int_equal(bench.last_error, REFUSAL_BROKER_UNREACHABLE);
    kafka_wait_ready(&cluster, 1, 30000);
    assert_int_equal(kafka_record_count(kafka_brokers(&cluster), "killed"), N); /* no duplicates */
    close_bench();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(too_large_is_refused_and_the_rest_reported),
        cmocka_unit_test(only_an_opened_partition_keeps_order),
        cmocka_unit_test(reset_from_inside_a_report),
        cmocka_unit_test(reset_is_quick_and_leaves_nothing),
        cmocka_unit_test(reset_does_not_wait_for_a_hanging_lookup),
        cmocka_unit_test(lanes_leave_room_for_main),
        cmocka_unit_test(nothing_is_reported_after_a_reset_that_fails),
        cmocka_unit_test(broker_killed_in_mid_stream),
    };
    cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests(tests, start_cluster, end_cluster);
}
