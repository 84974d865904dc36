/* What the core does about refusals, step by step: recovery, the search for a culprit, halting,
 * stalls, partitions. */
#include "script.h"

/* Three rows in flight behind the opened topic, as 1 to 3. */
static void three_in_flight(void)
{
    open_topic();
    batch("12:12:", true);
    for (int64_t id = 2; id <= 4; id++)
        assert_int_equal(row(id), ROW_TAKEN);
    fetched(3, false);
    expect("send(0/0,1) send(0/0,2) send(0/0,3) ");
}

/* ---- what can pass ---- */

static void a_new_producer_sends_again_from_the_settled_prefix(void **state)
{
    (void)state;
    three_in_flight();
    ack(1);
    refuse(2, REFUSAL_BROKER_ERROR);
    relay_tick(script.relay);
    expect("tell(broker_error) "); /* one report is missing */
    ack(3);
    pass_ms(1);
    expect("reset probe(11:11:|12:12:|2) "); /* the first attempt comes at once */
    relay_on_probed(script.relay, MAIN_STREAM, false, 3);
    expect("page(11:11:|12:12:|2,from 2,99) ");
    assert_int_equal(row(3), ROW_TAKEN);
    expect("send(0/-1,2) ");
    script.partitions[0] = 1;
    ack(2);
    assert_int_equal(script.notes[RELAY_NOTE_RECOVERED], 1);
}

static void missing_reports_are_waited_for_while_others_come(void **state)
{
    (void)state;
    three_in_flight();
    refuse(1, REFUSAL_BROKER_ERROR);
    pass_ms(200);
    ack(3);
    pass_ms(249);
    assert_null(strstr(str_text(&script.said), "reset"));
    pass_ms(1);
    assert_non_null(strstr(str_text(&script.said), "reset"));
}

static void pauses_grow(void **state)
{
    uint64_t before = 0;

    (void)state;
    three_in_flight();
    refuse(1, REFUSAL_TOPIC_FORBIDDEN);
    refuse(2, REFUSAL_TOPIC_FORBIDDEN);
    refuse(3, REFUSAL_TOPIC_FORBIDDEN);
    for (int i = 0; i < 12; i++) {
        uint64_t since = script.now;

        while (strstr(str_text(&script.said), "probe") == NULL) {
            assert_true(script.now - since < 40000);
            pass_ms(1);
        }
        assert_true(script.now - since + 2 >= before);
        before = script.now - since;
        relay_on_probed(script.relay, MAIN_STREAM, false, 2);
        forget_said();
        assert_int_equal(row(2), ROW_TAKEN);
        refuse(1, REFUSAL_TOPIC_FORBIDDEN);
        assert_int_equal(row(3), ROW_TAKEN); /* the rest of the page, not wanted any more */
        fetched(2, false);
    }
    assert_true(before >= 1500 && before <= 3000);
}

/* Else each attempt would send everything behind the refused event once more: a window of
 * duplicates every few seconds, for as long as the topic is missing. */
static void a_retry_is_one_message(void **state)
{
    (void)state;
    three_in_flight();
    refuse(1, REFUSAL_TOPIC_FORBIDDEN);
    ack(2);
    ack(3);
    pass_ms(2);
    forget_said();
    relay_on_probed(script.relay, MAIN_STREAM, false, 2);
    forget_said();
    script.partitions[0] = 0;
    assert_int_equal(row(2), ROW_TAKEN);
    assert_int_equal(row_of(3, "b", NULL), ROW_HOLD); /* another topic, and yet it waits */
    expect("send(0/-1,1) ");
    script.partitions[0] = 1;
    ack(1);
    pass_ms(1);
    expect("resume ");
    assert_int_equal(row_of(3, "b", NULL), ROW_TAKEN);
    assert_int_equal(row(4), ROW_TAKEN); /* no longer one by one */
    expect("topic(1,b-events) send(1/-1,2) send(0/0,3) ");
}

static void a_producer_that_cannot_be_made_is_tried_again(void **state)
{
    (void)state;
    three_in_flight();
    script.reset_fails = true;
    relay_on_sink_error(script.relay, MAIN_STREAM, REFUSAL_PRODUCER_FATAL, "fatal");
    for (uint64_t seq = 1; seq <= 3; seq++)
        refuse(seq, REFUSAL_PRODUCER_FATAL);
    pass_ms(1000);
    assert_non_null(strstr(str_text(&script.said), "reset-fails reset-fails "));
    assert_null(strstr(str_text(&script.said), "probe"));
    script.reset_fails = false;
    forget_said();
    pass_ms(2000);
    assert_non_null(strstr(str_text(&script.said), "reset "));
    assert_non_null(strstr(str_text(&script.said), "probe(11:11:|12:12:|0) "));
}

/* ---- what cannot ---- */

static void the_culprit_is_found_one_by_one_and_halts(void **state)
{
    (void)state;
    three_in_flight();
    for (uint64_t seq = 1; seq <= 3; seq++)
        refuse(seq, REFUSAL_MESSAGE_TOO_LARGE);
    pass_ms(2);
    script.stores_answered = true;
    relay_on_probed(script.relay, MAIN_STREAM, false, 2);
    forget_said();
    assert_int_equal(row(2), ROW_TAKEN);
    assert_int_equal(row(3), ROW_HOLD); /* one by one */
    script.partitions[0] = 1;
    ack(1);
    pass_ms(1);
    expect("send(0/-1,1) resume ");
    assert_int_equal(row(3), ROW_TAKEN);
    refuse(2, REFUSAL_MESSAGE_TOO_LARGE);
    assert_int_equal(row(4), ROW_TAKEN); /* not wanted any more */
    fetched(3, false);
    pass_ms(1000);
    expect("send(0/0,2) reset tell(message_too_large!) ");
    assert_int_equal(relay_trouble(script.relay)->row_id, 3);
    assert_true(relay_trouble(script.relay)->halted);
    relay_retry_now(script.relay); /* SIGHUP, the limit was raised */
    expect("probe(11:11:|12:12:|2) ");
    relay_on_probed(script.relay, MAIN_STREAM, false, 3);
    assert_int_equal(row(3), ROW_TAKEN);
    assert_int_equal(row(4), ROW_HOLD);
    script.partitions[0] = 1;
    ack(2);
    assert_string_equal(relay_trouble(script.relay)->cause, "");
    assert_int_equal(script.notes[RELAY_NOTE_HALTED], 1);
}

/* Nothing is known of the event any more when the lease is taken again: it may be settled by then.
 */
static void a_culprit_is_forgotten_with_the_rest(void **state)
{
    struct err why;

    (void)state;
    open_topic();
    batch("12:12:", true);
    assert_int_equal(row(2), ROW_TAKEN);
    refuse(1, REFUSAL_MESSAGE_TOO_LARGE);
    script.reset_fails = true;
    (void)err_set(&why, ERR_UNAVAILABLE, "gone");
    relay_on_lost(script.relay, &why);
    pass_ms(1);
    script.reset_fails = false;
    relay_on_opened(script.relay);
    grant(2, "12:12:", "", 0);
    pass_ms(1);
    assert_int_equal(script.notes[RELAY_NOTE_HALTED], 0);
    assert_non_null(strstr(str_text(&script.said), "poll(12:12:,100) "));
}

static void a_row_that_is_no_message_halts(void **state)
{
    (void)state;
    open_topic();
    batch("12:12:", true);
    assert_int_equal(bad_row(2), ROW_HOLD);
    pass_ms(1);
    expect("tell(event_invalid!) drop ");
    fetched(0, true);
    assert_int_equal(relay_counters(script.relay)->errors[PROBLEM_EVENT_INVALID], 1);
    assert_int_equal(relay_trouble(script.relay)->row_id, 2);
    pass_ms(3000);
    expect("");
    relay_retry_now(script.relay);
    expect("poll(11:11:,100) ");
    batch("13:13:", true);
    assert_int_equal(row(2), ROW_TAKEN); /* it was corrected */
    fetched(1, false);
    ack(1);
    assert_string_equal(relay_trouble(script.relay)->cause, "");
}

/* What an earlier backlog's probe found is nothing to go by: rows of this batch may have lower ids,
 * and would be passed over. */
static void halted_in_a_look_the_rest_is_probed_anew(void **state)
{
    (void)state;
    open_topic();
    batch("20:20:", false);
    fetched(0, false);
    relay_on_probed(script.relay, MAIN_STREAM, true, 1000);
    assert_int_equal(row(1000), ROW_TAKEN);
    fetched(1, false);
    ack(1);
    forget_said();
    batch("21:21:", true);
    assert_int_equal(row(500), ROW_TAKEN); /* an id handed out long ago */
    assert_int_equal(bad_row(501), ROW_HOLD);
    pass_ms(1);
    fetched(1, true);
    ack(2);
    pass_ms(200);
    forget_said();
    relay_on_stored(script.relay, 0, true);
    relay_retry_now(script.relay);
    expect("probe(20:20:|21:21:|500) ");
}

/* While it is halted reports still come, and what they settle need not be sent again. */
static void stop_while_halted_waits_for_what_is_in_flight(void **state)
{
    (void)state;
    three_in_flight();
    pass_ms(1);
    batch("13:13:", true);
    assert_int_equal(bad_row(5), ROW_HOLD);
    pass_ms(1);
    fetched(0, true);
    forget_said();
    relay_stop(script.relay);
    expect("");
    for (uint64_t seq = 1; seq <= 3; seq++)
        ack(seq);
    pass_ms(1);
    expect("store-sync(12:12:||0) ");
}

static void a_message_refused_at_once(void **state)
{
    (void)state;
    open_topic();
    batch("12:12:", true);
    script.send_rc = -5;
    script.send_refusal.cause = REFUSAL_MESSAGE_TOO_LARGE;
    (void)err_set(&script.send_refusal.err, ERR_UNAVAILABLE, "too large");
    assert_int_equal(row(2), ROW_HOLD);
    pass_ms(1);
    expect("send-refused reset drop tell(message_too_large!) ");
    fetched(0, true);
    script.send_rc = 0;
    pass_ms(3000);
    relay_retry_now(script.relay);
    expect("probe(11:11:|12:12:|0) "); /* the batch was begun */
}

/* Half of a character would make Postgres refuse the text, and with it the session. */
static void a_long_text_is_cut_between_characters(void **state)
{
    char text[700];

    (void)state;
    open_topic();
    for (size_t i = 0; i + 2 < sizeof text; i += 2)
        memcpy(text + i, "\xc3\xa4", 3);
    relay_on_sink_error(script.relay, MAIN_STREAM, REFUSAL_AUTHENTICATION, text);
    pass_ms(1000);
    assert_string_equal(script.told.cause, "authentication");
    assert_int_equal(strlen(script.told.text), 510);
}

/* ---- nothing comes back ---- */

static void a_stall_is_asked_about_and_told(void **state)
{
    (void)state;
    three_in_flight();
    pass_ms(999);
    assert_null(strstr(str_text(&script.said), "diagnose"));
    pass_ms(1);
    assert_non_null(strstr(str_text(&script.said), "diagnose(0) "));
    assert_string_equal(relay_trouble(script.relay)->cause, "");
    pass_ms(5000);
    assert_string_equal(relay_trouble(script.relay)->cause, "no_acknowledgement");
    script.learns = true;
    script.learnt = REFUSAL_TOPIC_MISSING;
    pass_ms(5000);
    assert_string_equal(relay_trouble(script.relay)->cause, "topic_missing");
    assert_null(strstr(str_text(&script.said), "reset")); /* never timed out, never sent again */
    for (uint64_t seq = 1; seq <= 3; seq++)
        ack(seq);
    assert_string_equal(relay_trouble(script.relay)->cause, "");
}

static void brokers_that_answer_again_end_the_trouble(void **state)
{
    (void)state;
    open_topic();
    relay_on_sink_error(script.relay, MAIN_STREAM, REFUSAL_BROKER_UNREACHABLE, "down");
    script.learns = true;
    script.learnt = REFUSAL_BROKER_UNREACHABLE;
    pass_ms(6000);
    assert_string_equal(relay_trouble(script.relay)->cause, "broker_unreachable");
    assert_non_null(strstr(str_text(&script.said), "diagnose(-1) "));
    assert_int_equal(script.notes[RELAY_NOTE_STALLED], 1);
    script.learns = false;
    pass_ms(5000);
    assert_string_equal(relay_trouble(script.relay)->cause, "");
}

/* A producer that is at its end is replaced, also while there is nothing to send; the trouble lasts
 * until the brokers say that it is over. */
static void a_producer_at_its_end_is_replaced_while_idle(void **state)
{
    (void)state;
    open_topic();
    relay_on_sink_error(script.relay, MAIN_STREAM, REFUSAL_CLUSTER_FORBIDDEN,
                        "no idempotent producer");
    assert_null(strstr(str_text(&script.said), "reset"));
    script.learns = true;
    script.learnt = REFUSAL_CLUSTER_FORBIDDEN;
    pass_ms(6000);
    assert_non_null(strstr(str_text(&script.said), "reset"));
    assert_string_equal(relay_trouble(script.relay)->cause, "cluster_forbidden");
    assert_int_equal(script.notes[RELAY_NOTE_RECOVERED], 0);
    script.learns = false;
    pass_ms(40000);
    assert_string_equal(relay_trouble(script.relay)->cause, "");
    assert_int_equal(script.notes[RELAY_NOTE_RECOVERED], 1);
    forget_said();
    pass_ms(40000);
    assert_null(strstr(str_text(&script.said), "reset"));
}

/* ---- partitions ---- */

static void a_grown_topic_is_emptied_first(void **state)
{
    (void)state;
    three_in_flight();
    pass_ms(1);
    batch("13:13:", true);
    script.partitions[0] = 3;
    assert_int_equal(row(5), ROW_HOLD);
    for (uint64_t seq = 1; seq <= 3; seq++) {
        ack(seq);
        pass_ms(1);
        forget_said();
        if (seq < 3)
            assert_int_equal(row(5), ROW_HOLD);
    }
    assert_int_equal(row(5), ROW_TAKEN);
    assert_int_equal(script.notes[RELAY_NOTE_PARTITIONS_GREW], 1);
    assert_int_equal(row(6), ROW_HOLD); /* its partition is being opened */
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, script_setup, script_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_producer_sends_again_from_the_settled_prefix),
        TEST(missing_reports_are_waited_for_while_others_come),
        TEST(pauses_grow),
        TEST(a_retry_is_one_message),
        TEST(a_producer_that_cannot_be_made_is_tried_again),
        TEST(the_culprit_is_found_one_by_one_and_halts),
        TEST(a_culprit_is_forgotten_with_the_rest),
        TEST(a_row_that_is_no_message_halts),
        TEST(halted_in_a_look_the_rest_is_probed_anew),
        TEST(stop_while_halted_waits_for_what_is_in_flight),
        TEST(a_message_refused_at_once),
        TEST(a_long_text_is_cut_between_characters),
        TEST(a_stall_is_asked_about_and_told),
        TEST(brokers_that_answer_again_end_the_trouble),
        TEST(a_producer_at_its_end_is_replaced_while_idle),
        TEST(a_grown_topic_is_emptied_first),
    };

    return cmocka_run_group_tests_name("relay and refusals", tests, NULL, NULL);
}
