/* The pure half of `outboxd top`: an answer taken apart, numbers, and the picture. */
#include "../../support/check.h"

#include "app/top_numbers.h"
#include "app/top_picture.h"

#include <math.h>
#include <stdlib.h>

/* As the relay answers, but for its quotes. */
static const char answer[] =
    "{'version': '0.2.0', 'relay': 'orders', 'instance': 'orders-7f9c', 'uptime_seconds': 273900,"
    " 'state': 'leading', 'ready': true, 'leader': true, 'paused': false, 'halted': false,"
    " 'epoch': 12, 'problem': null,"
    " 'published': {'events': 12345678, 'bytes': 3210000000, 'read': 1, 'rate_1s': 1204.4,"
    "  'rate_10s': 1180, 'rate_60s': 0.4, 'routes': {'default': 12345678}},"
    " 'latency': {'last_minute': {'count': 100, 'mean_seconds': 0.004, 'p50_seconds': 0.0034,"
    "   'p90_seconds': 0.012, 'p99_seconds': 1.26},"
    "  'since_start': {'count': 0, 'p50_seconds': null}},"
    " 'window': {'events': 25000, 'capacity': 50000, 'bytes': 33600000,"
    "  'bytes_capacity': 33600000},"
    " 'backlog': {'age_seconds': 3.2, 'unsent_events': 1204, 'estimated': false,"
    "  'oldest_unsent_seconds': 250, 'lanes': 0, 'oldest_transaction_seconds': null,"
    "  'overdue_days': 0, 'default_partition_has_events': false},"
    " 'counters': {'takeovers': 1, 'recoveries': {'broker_error': 2, 'topic_missing': 1},"
    "  'reconnects': {'postgres': 4, 'kafka': 3}, 'errors': {'topic_missing': 3},"
    "  'duplicates_possible': 17},"
    " 'process': {'start_time_seconds': 1, 'cpu_seconds': 10.5, 'resident_bytes': 54200000,"
    "  'open_fds': 23},"
    " 'notes': [{'age_seconds': 2, 'text': 'publishing again', 'error': '', 'times': 1},"
    "  {'age_seconds': 9, 'text': 'producer is being replaced', 'error': 'no\\u001b[2J',"
    "   'times': 3}]}";

static const char problem[] =
    "{'relay': 'orders', 'state': 'leading', 'halted': true, 'problem': {"
    " 'word': 'message_too_large', 'class': 'person',"
    " 'what': 'the broker refuses the size', 'text': 'order-events [3]: Message size too large',"
    " 'todo': 'raise max.message.bytes of the topic (message.max.bytes of the brokers), or correct"
    " the event', 'topic': 'order-events', 'event_id': '01a20665-e0f5-7c9c-adc0-d8d63534d522',"
    " 'since_seconds': 250, 'attempts': 9, 'next_try_seconds': 21.5}}";

static struct top_view parsed(const char *text)
{
    struct top_view v;
    struct err err;
    char *json = strdup(text);

    assert_non_null(json);
    for (char *p = json; *p != '\0'; p++)
        *p = *p == '\'' ? '"' : *p;
    assert_ok(top_view_parse(&v, slice_of(json), &err), &err);
    free(json);
    return v;
}

static void test_answer(void **state)
{
    struct top_view v = parsed(answer);

    (void)state;
    assert_string_equal(v.relay, "orders");
    assert_true(v.ready && v.leader && !v.halted && !v.paused);
    assert_true(v.epoch == 12 && v.published_events == 12345678 && v.rate_60s == 0.4);
    assert_true(v.last_minute.p99_s == 1.26 && v.since_start.count == 0);
    assert_true(isnan(v.since_start.p50_s) && isnan(v.oldest_transaction_s));
    assert_true(v.backlog_known && v.oldest_unsent_s == 250);
    assert_true(v.recoveries == 3 && v.reconnects == 4 && v.duplicates_possible == 17);
    assert_int_equal(v.error_count, 1);
    assert_string_equal(v.errors[0].word, "topic_missing");
    assert_int_equal(v.note_count, 2);
    assert_string_equal(v.notes[1].error, "no [2J");
    assert_string_equal(v.problem.word, "");
    v = parsed(problem);
    assert_string_equal(v.problem.word, "message_too_large");
    assert_true(v.halted && v.problem.attempts == 9 && v.problem.next_try_s == 21.5);
}

/* What is no answer of ours, or one of the wrong types, neither crashes nor is believed. */
static void test_wrong_answers(void **state)
{
    static const char *const none[] = {
        "", "null", "[]", "{", "<html>", "{\"version\":\"1\"}", "{\"relay\":7}", "\"relay\""};
    struct top_view v;
    struct err err;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(none); i++)
        assert_int_equal(top_view_parse(&v, slice_of(none[i]), &err), -1);
    v = parsed("{'relay': 'r', 'epoch': '12', 'published': [1], 'latency': {'last_minute': 4},"
               " 'window': null, 'backlog': [], 'counters': {'errors': [1], 'recoveries': 7},"
               " 'notes': {'a': 1}, 'process': 'no', 'problem': 'no'}");
    assert_true(isnan(v.epoch) && isnan(v.rate_1s) && isnan(v.recoveries));
    assert_false(v.backlog_known);
    assert_int_equal(v.note_count + v.error_count, 0);
}

static void test_clean(void **state)
{
    char out[16];

    (void)state;
    top_clean(out, sizeof out, "a\x1b]0;x\x07\tb\x7f");
    assert_string_equal(out, "a ]0;x  b ");
    top_clean(out, sizeof out,
              "\xc2\x9b"
              "2J\xe2\x80\xae!"); /* CSI of 8 bits, right-to-left */
    assert_string_equal(out, " 2J !");
    top_clean(out, sizeof out,
              "größer \xf0\x9f\x98\x80\xf0\x9f\x98\x80"); /* cut between characters */
    assert_string_equal(out, "größer \xf0\x9f\x98\x80");
    top_clean(out, 1, "abc");
    assert_string_equal(out, "");
}

static const char *number(void (*put)(struct str *, double), double n)
{
    static struct str out;

    str_reset(&out);
    put(&out, n);
    return out.data;
}

static void test_numbers(void **state)
{
    (void)state;
    assert_string_equal(number(top_put_count, 0), "0");
    assert_string_equal(number(top_put_count, 0.42), "0.4");
    assert_string_equal(number(top_put_count, 999), "999");
    assert_string_equal(number(top_put_count, 1204567), "1,204,567");
    assert_string_equal(number(top_put_count, (double)NAN), "?");
    assert_string_equal(number(top_put_count, 1e300), "?");
    assert_string_equal(number(top_put_bytes, 812), "812 B");
    assert_string_equal(number(top_put_bytes, 999600), "1.0 MB");
    assert_string_equal(number(top_put_bytes, 3.21e9), "3.2 GB");
    assert_string_equal(number(top_put_latency, 0.0034), "3.4 ms");
    assert_string_equal(number(top_put_latency, 0.0123), "12 ms");
    assert_string_equal(number(top_put_latency, 0.9997), "1.0 s");
    assert_string_equal(number(top_put_latency, 250), "4 min 10 s");
    assert_string_equal(number(top_put_age, 11100), "3 h 5 min");
    assert_string_equal(number(top_put_age, 187200), "2 d 4 h");
    assert_string_equal(number(top_put_age, -1), "?");
    number(top_put_count, 0);
}

static const char *picture(const struct top_screen *s, const struct top_view *v)
{
    static struct str out;
    struct top_history h;

    top_history_init(&h);
    for (int i = 0; v != NULL && i < 200; i++)
        top_history_add(&h, v, i);
    str_reset(&out);
    top_picture(s, v, &h, &out);
    return str_text(&out);
}

/* No line is wider than the screen (bytes: the texts are ASCII), and there are no more than fit. */
static void assert_fits(const char *text, size_t columns, size_t rows)
{
    size_t lines = 0;

    while (*text != '\0') {
        size_t len = strcspn(text, "\n");

        assert_true(len <= columns);
        assert_int_equal(text[len], '\n');
        text += len + 1;
        lines++;
    }
    assert_true(rows == 0 || lines <= rows);
}

static void test_picture(void **state)
{
    struct top_screen s = {.columns = 80, .rows = 23, .address = "127.0.0.1:9464"};
    struct top_view v = parsed(answer);
    const char *text = picture(&s, &v);

    (void)state;
    assert_fits(text, 80, 23);
    assert_contains(text, "outboxd 0.2.0  relay orders: ok (leading)\n");
    assert_contains(text, "orders-7f9c at 127.0.0.1:9464, epoch 12, up 3 d 4 h");
    assert_contains(text, "1,204 events/s; over 10 s 1,180, over 60 s 0.4");
    assert_contains(text, "12,345,678 events, 3.2 GB");
    assert_contains(text, "p50 3.4 ms  p90 12 ms  p99 1.3 s  (commit to ack, last minute)");
    assert_contains(text, "1,204 events, the oldest 4 min 10 s old  (asked 3 s ago)");
    assert_null(strchr(text, '\033'));
    assert_lacks(text, "trouble");
}

static void test_picture_of_the_rest(void **state)
{
    struct top_screen s = {.columns = 80, .rows = 23, .address = "127.0.0.1:9464"};
    struct top_view v = parsed(answer);
    const char *text = picture(&s, &v);

    (void)state;
    assert_contains(text, "[###############...............] 25,000 of 50,000 events");
    assert_contains(text, "[##############################] 33.6 MB of 33.6 MB");
    assert_contains(text, "takeovers 1, reconnects 4, recoveries 3, may repeat 17");
    assert_contains(text, "topic_missing 3");
    assert_contains(text, "54.2 MB resident, 0 % of a processor, 23 descriptors");
    assert_contains(text, "2 s ago  publishing again\n");
    assert_contains(text, "producer is being replaced, 3 times: no [2J\n");
}

static void test_trouble_comes_first(void **state)
{
    struct top_screen s = {.columns = 80, .rows = 10, .address = "a:1"};
    struct top_view v = parsed(problem);
    const char *text = picture(&s, &v);

    (void)state;
    assert_fits(text, 80, 10);
    assert_contains(text, "relay orders: halted");
    assert_contains(text, "message_too_large, for 4 min 10 s; attempts 9, the next in 21 s");
    assert_contains(text, "order-events [3]: Message size too large");
    assert_contains(text, "  what to do  raise max.message.bytes of the topic");
    assert_contains(text, "\n              brokers), or correct the event");
}

static void test_any_screen(void **state)
{
    struct top_view views[] = {parsed(answer), parsed(problem), parsed("{'relay': 'r'}")};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(views); i++)
        for (unsigned columns = 1; columns < 200; columns += 7)
            for (unsigned rows = 0; rows < 40; rows += 3) {
                struct top_screen s = {.columns = columns, .rows = rows, .address = "a:1"};

                assert_fits(picture(&s, &views[i]), columns, rows);
            }
}

static void test_silence(void **state)
{
    struct top_screen s = {.columns = 80,
                           .rows = 23,
                           .address = "127.0.0.1:9464",
                           .no_answer = "Connection refused",
                           .silent_s = 12};
    struct top_view v = parsed(answer);

    (void)state;
    assert_string_equal(picture(&s, NULL),
                        "outboxd top  127.0.0.1:9464\n"
                        "NO ANSWER for 12 s: Connection refused; trying again\n");
    assert_contains(picture(&s, &v),
                    "NO ANSWER for 12 s: Connection refused; trying again, what follows");
    assert_contains(picture(&s, &v), "relay orders");
}

static void test_colour(void **state)
{
    struct top_screen s = {
        .columns = 80, .rows = 23, .colour = true, .unicode = true, .address = "a:1"};
    struct top_view v = parsed(answer);
    const char *text = picture(&s, &v);

    (void)state;
    assert_contains(text, "\033[32moutboxd");
    assert_contains(text, "█████");
    v = parsed(problem);
    assert_contains(picture(&s, &v), "\033[1;31moutboxd");
}

static void test_history(void **state)
{
    struct top_view v = parsed(answer);
    struct top_history h;

    (void)state;
    top_history_init(&h);
    top_history_add(&h, &v, 100);
    assert_true(isnan(h.cpu_share));
    v.cpu_s += 0.5;
    top_history_add(&h, &v, 101);
    assert_true(h.cpu_share == 0.5);
    v.cpu_s = 0; /* another process answers now */
    top_history_add(&h, &v, 102);
    assert_true(isnan(h.cpu_share));
    for (int i = 0; i < 1000; i++)
        top_history_add(&h, &v, 103 + i);
    assert_int_equal(h.count, TOP_HISTORY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answer),
        cmocka_unit_test(test_wrong_answers),
        cmocka_unit_test(test_clean),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_picture),
        cmocka_unit_test(test_picture_of_the_rest),
        cmocka_unit_test(test_trouble_comes_first),
        cmocka_unit_test(test_any_screen),
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_colour),
        cmocka_unit_test(test_history),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
