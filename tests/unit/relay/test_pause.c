/* Paused by an operator, and limited in rate: what the core reads, what it leaves alone, and what
 * it keeps. */
#include "script.h"

static unsigned noted(enum relay_note note)
{
    unsigned n = script.notes[note];

    script.notes[note] = 0;
    return n;
}

/* Heard with a store: what is in flight is settled and stored, nothing more is read, the lease is
 * kept. */
static void a_pause_under_load_settles_what_is_in_flight(void **state)
{
    (void)state;
    open_topic();
    batch("13:13:", true);
    assert_int_equal(row(2), ROW_TAKEN);
    assert_int_equal(row(3), ROW_TAKEN);
    fetched(2, false);
    ack(1);
    pass_ms(100);
    expect("send(0/0,1) send(0/0,2) poll(13:13:,98) store(11:11:|13:13:|2) ");
    assert_int_equal(script.stored_events, 1);
    relay_on_stored(script.relay, 0, LEASE_PAUSED);
    assert_true(relay_paused(script.relay));
    assert_int_equal(noted(RELAY_NOTE_PAUSED), 1);
    nothing("14:14:"); /* the look that was out: its answer is not used */
    ack(2);
    pass_ms(100);
    expect("store(13:13:||0) ");
    relay_on_stored(script.relay, 0, LEASE_PAUSED);
    script.paused = true;
    pass_ms(60000); /* renewals go on */
    expect("");
    assert_int_equal(relay_state(script.relay), RELAY_LEADING);
    assert_int_equal(relay_window_events(script.relay), 0);
    assert_int_equal(noted(RELAY_NOTE_PAUSED), 0); /* said once */
}

static void resumed_it_goes_on_where_it_was(void **state)
{
    (void)state;
    open_topic();
    script.paused = true;
    nothing("12:12:");
    pass_ms(10000);
    nothing("14:14:"); /* the look that was out when we heard of it */
    forget_said();
    assert_true(relay_paused(script.relay));
    script.paused = false;
    pass_ms(1000); /* while paused it asks each second */
    assert_false(relay_paused(script.relay));
    assert_int_equal(noted(RELAY_NOTE_RESUMED), 1);
    expect("poll(12:12:,100) ");
}

/* A page that is under way, with a row held: both are given back to the server. */
static void a_held_page_is_given_back(void **state)
{
    (void)state;
    script.lease_by_hand = true;
    lead();
    batch("11:11:", false);
    fetched(0, false);
    relay_on_probed(script.relay, MAIN_STREAM, false, 1);
    assert_int_equal(row(1), ROW_TAKEN);
    assert_int_equal(row(2), ROW_HOLD); /* the first opens the topic */
    script.now += 100;
    script.partitions[0] = 1;
    forget_said();
    relay_on_renewed(script.relay, LEASE_PAUSED); /* nobody has asked: not heard */
    assert_false(relay_paused(script.relay));
    script.now += 3500;
    relay_tick(script.relay);
    expect("renew(1) diagnose(0) drop ");
    fetched(1, true);
    relay_on_renewed(script.relay, LEASE_PAUSED);
    forget_said();
    ack(0);
    pass_ms(200);
    expect("store(10:10:|11:11:|1) ");
    relay_on_stored(script.relay, 0, LEASE_OURS); /* resumed */
    expect("page(10:10:|11:11:|1,from 0,100) ");
}

/* Looks find nothing until it asks for the bell; no look is out then. */
static void until_it_arms(void)
{
    script.now += 100;
    nothing("11:11:");
    assert_non_null(strstr(str_text(&script.said), "arm(0)"));
}

/* Nobody need ring for a relay that would not look. */
static void the_bell_is_disarmed(void **state)
{
    (void)state;
    script.lease_by_hand = true;
    lead();
    until_it_arms();
    relay_on_armed(script.relay, true);
    nothing("11:11:"); /* asleep */
    script.now += 3400;
    relay_tick(script.relay);
    forget_said();
    relay_on_renewed(script.relay, LEASE_PAUSED);
    expect("disarm(0) ");
    nothing("11:11:");
    relay_on_bell(script.relay); /* forged, or late */
    pass_ms(900);
    expect("");
}

/* The answer to an arming that was under way comes when we are paused. */
static void a_bell_armed_too_late_is_given_back(void **state)
{
    (void)state;
    script.lease_by_hand = true;
    lead();
    until_it_arms();
    script.now += 3400;
    relay_tick(script.relay);
    relay_on_renewed(script.relay, LEASE_PAUSED);
    forget_said();
    relay_on_armed(script.relay, true);
    expect("disarm(0) ");
}

static void who_takes_over_stays_paused(void **state)
{
    struct lease_view v = {.epoch = 4, .beat = 9, .paused = true};

    (void)state;
    script_begin();
    relay_start(script.relay);
    relay_on_opened(script.relay);
    answer_lease(&v);
    assert_true(relay_paused(script.relay)); /* a standby knows */
    assert_int_equal(noted(RELAY_NOTE_PAUSED), 0);
    v = (struct lease_view){.ours = true, .epoch = 5, .beat = 10, .paused = true};
    str_set(&v.position.base, "10:10:");
    pass_ms(1000);
    answer_lease(&v);
    str_release(&v.position.base);
    forget_said();
    assert_int_equal(relay_state(script.relay), RELAY_LEADING);
    assert_int_equal(noted(RELAY_NOTE_PAUSED), 1);
    script.paused = true;
    pass_ms(30000);
    expect("");
    script.paused = false;
    pass_ms(1000);
    expect("poll(10:10:,100) ");
}

static void a_paused_relay_stops_and_releases(void **state)
{
    (void)state;
    open_topic();
    script.paused = true;
    nothing("12:12:");
    pass_ms(10000);
    forget_said();
    relay_stop(script.relay);
    expect("release ");
    relay_on_released(script.relay);
    assert_int_equal(relay_state(script.relay), RELAY_STOPPED);
}

/* A refusal while paused is dealt with; what it leaves unsettled is read when resumed. */
static void a_refusal_while_paused(void **state)
{
    (void)state;
    open_topic();
    batch("13:13:", true);
    assert_int_equal(row(2), ROW_TAKEN);
    fetched(1, false);
    script.paused = true;
    pass_ms(3400);
    assert_true(relay_paused(script.relay));
    nothing("14:14:");
    forget_said();
    refuse(1, REFUSAL_BROKER_ERROR);
    pass_ms(60000);
    assert_non_null(strstr(str_text(&script.said), "reset"));
    assert_null(strstr(str_text(&script.said), "page"));
    assert_null(strstr(str_text(&script.said), "poll"));
    forget_said();
    script.paused = false;
    pass_ms(1000);
    assert_non_null(strstr(str_text(&script.said), "probe(11:11:|13:13:|0)"));
}

/* ---- the rate */

static void limit(uint32_t per_s)
{
    script.params.max_rate = per_s;
    relay_adjust(script.relay, &script.params);
}

static void a_backlog_is_read_at_the_rate(void **state)
{
    uint64_t began;
    uint64_t sent = 0;

    (void)state;
    open_topic();
    script.stores_answered = true;
    limit(200);
    batch("20:20:", false);
    fetched(0, false);
    pass_ms(100);
    relay_on_probed(script.relay, MAIN_STREAM, false, 2);
    began = script.now;
    for (uint64_t seq = 1; script.now - began < 20000;) {
        const char *page = strstr(str_text(&script.said), "page(");
        unsigned long rows = page == NULL ? 0 : strtoul(strrchr(page, ',') + 1, NULL, 10);

        forget_said();
        if (rows == 0) {
            pass_ms(1);
            continue;
        }
        assert_in_range(rows, 10,
                        100); /* a twentieth of a second's worth at least, the window at most */
        for (unsigned long i = 0; i < rows; i++)
            assert_int_equal(row((int64_t)(seq + i + 1)), ROW_TAKEN);
        fetched((uint32_t)rows, false);
        for (unsigned long i = 0; i < rows; i++)
            ack(seq++);
        sent += rows;
    }
    assert_in_range(sent, 200 * 20 * 98 / 100,
                    200 * 20 + 200); /* and the second's worth it began with */
}

static void single_events_do_not_wait(void **state)
{
    (void)state;
    open_topic();
    limit(100);
    pass_ms(1000);
    forget_said();
    batch("12:12:", true);
    assert_int_equal(row(2), ROW_TAKEN);
    fetched(1, false);
    forget_said();
    ack(1);
    pass_ms(2);
    expect("poll(12:12:,99) ");
}

static void the_rate_changes_while_it_runs(void **state)
{
    (void)state;
    open_topic();
    limit(1);
    nothing("12:12:");
    forget_said();
    pass_ms(900);
    expect("");
    pass_ms(100); /* the first second's one event */
    expect("poll(12:12:,1) ");
    batch("13:13:", true);
    assert_int_equal(row(2), ROW_TAKEN);
    fetched(1, false);
    ack(1);
    forget_said();
    pass_ms(500);
    expect("store(13:13:||0) ");
    limit(0);
    relay_retry_now(script.relay);
    expect("poll(13:13:,99) ");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, script_setup, script_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_pause_under_load_settles_what_is_in_flight),
        TEST(resumed_it_goes_on_where_it_was),
        TEST(a_held_page_is_given_back),
        TEST(the_bell_is_disarmed),
        TEST(a_bell_armed_too_late_is_given_back),
        TEST(who_takes_over_stays_paused),
        TEST(a_paused_relay_stops_and_releases),
        TEST(a_refusal_while_paused),
        TEST(a_backlog_is_read_at_the_rate),
        TEST(single_events_do_not_wait),
        TEST(the_rate_changes_while_it_runs),
    };

    return cmocka_run_group_tests_name("relay, paused and limited", tests, NULL, NULL);
}
