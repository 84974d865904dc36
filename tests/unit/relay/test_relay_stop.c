/* How the core stops: what it waits for, stores and releases, and in which order. */
#include "script.h"

/* Row 2 is with the brokers, and nothing more to read. */
static void send_one(void)
{
    open_topic();
    batch("12:12:", true);
    (void)row(2);
    fetched(1, false);
}

static void stop_waits_stores_and_releases(void **state)
{
    (void)state;
    send_one();
    forget_said();
    relay_stop(script.relay);
    expect("");
    assert_int_equal(relay_state(script.relay), RELAY_DRAINING);
    ack(1);
    pass_ms(1);
    expect("store-sync(12:12:||0) ");
    relay_on_stored(script.relay, 0, true);
    expect("release ");
    relay_on_released(script.relay);
    expect("close ");
    assert_int_equal(relay_state(script.relay), RELAY_STOPPED);
    assert_int_equal(script.wake, 0);
    assert_int_equal(relay_failure(script.relay)->kind, ERR_NONE);
}

static void stop_does_not_wait_for_ever(void **state)
{
    (void)state;
    send_one();
    forget_said();
    relay_stop(script.relay);
    pass_ms(1999);
    expect("");
    pass_ms(1); /* half of the time: the rest is for the last store and the release */
    expect("release ");
    pass_ms(2000);
    expect("close ");
    assert_int_equal(relay_state(script.relay), RELAY_STOPPED);
}

/* A command has raised the epoch: nothing can be stored, but the lease is ours to give up. */
static void stop_after_the_epoch_was_raised(void **state)
{
    (void)state;
    script.lease_by_hand = true;
    send_one();
    pass_ms(3333); /* a renewal is out */
    forget_said();
    relay_stop(script.relay);
    relay_on_renewed(script.relay, false);
    ack(1);
    pass_ms(1);
    expect("release ");
    relay_on_released(script.relay);
    expect("close ");
}

static void stop_at_once_where_nothing_is_held(void **state)
{
    const struct lease_view other = {.epoch = 2, .beat = 1};

    (void)state;
    script_begin(); /* new */
    relay_stop(script.relay);
    expect("close ");
    relay_free(script.relay);
    script_begin(); /* opening */
    relay_start(script.relay);
    relay_stop(script.relay);
    expect("open close ");
    relay_free(script.relay);
    script_begin(); /* taking: the answer tells whether there is something to release */
    relay_start(script.relay);
    relay_on_opened(script.relay);
    relay_stop(script.relay);
    expect("open take-free ");
    answer_lease(&other);
    expect("close ");
    relay_free(script.relay);
    script_begin();
    relay_start(script.relay);
    relay_on_opened(script.relay);
    relay_stop(script.relay);
    grant(2, "10:10:", "", 0);
    expect("open take-free release ");
    relay_on_released(script.relay);
    expect("close ");
    relay_free(script.relay);
    script_begin(); /* standby */
    relay_start(script.relay);
    relay_on_opened(script.relay);
    answer_lease(&other);
    relay_stop(script.relay);
    expect("open take-free close ");
}

static void a_second_stop_ends_at_once(void **state)
{
    (void)state;
    open_topic();
    batch("12:12:", true);
    (void)row(2);
    relay_stop(script.relay);
    forget_said();
    relay_stop(script.relay);
    expect("close ");
    assert_int_equal(relay_state(script.relay), RELAY_STOPPED);
    relay_stop(script.relay);
    relay_tick(script.relay);
    expect("");
}

/* ---- the lease, when the sessions are gone ---- */

static const struct err broken = {.kind = ERR_UNAVAILABLE, .text = "connection reset"};

/* A standby would wait for the ttl, although nobody is left to wait for. */
static void stop_after_a_broken_session_releases(void **state)
{
    (void)state;
    open_topic();
    relay_on_lost(script.relay, &broken);
    relay_on_lost(script.relay, &broken); /* at once; now it waits for the next attempt */
    forget_said();
    relay_stop(script.relay);
    expect("open ");
    relay_on_opened(script.relay);
    expect("take-own ");
    grant(2, "11:11:", "", 0);
    expect("release ");
    relay_on_released(script.relay);
    expect("close ");
    assert_int_equal(relay_state(script.relay), RELAY_STOPPED);
}

static void a_session_that_breaks_while_stopping_is_opened_once(void **state)
{
    (void)state;
    send_one();
    relay_stop(script.relay);
    forget_said();
    relay_on_lost(script.relay, &broken);
    expect("close reset open ");
    relay_on_lost(script.relay, &broken);
    expect("close close ");
    assert_int_equal(relay_state(script.relay), RELAY_STOPPED);
}

static void an_attempt_under_way_is_the_one(void **state)
{
    (void)state;
    open_topic();
    relay_on_lost(script.relay, &broken);
    pass_ms(100); /* opening again */
    forget_said();
    relay_stop(script.relay);
    expect("");
    relay_on_opened(script.relay);
    expect("take-own ");
    answer_lease(&(struct lease_view){.epoch = 2, .beat = 1}); /* a standby was quicker */
    expect("close ");
    assert_int_equal(relay_state(script.relay), RELAY_STOPPED);
}

static void a_silent_database_does_not_hold_up_the_end(void **state)
{
    (void)state;
    open_topic();
    relay_on_lost(script.relay, &broken);
    relay_on_lost(script.relay, &broken); /* at once; now it waits for the next attempt */
    forget_said();
    relay_stop(script.relay);
    expect("open ");
    pass_ms(4000); /* shutdown_timeout */
    expect("close ");
    assert_int_equal(relay_state(script.relay), RELAY_STOPPED);
}

/* The lease has run out: whoever waits takes it anyway. */
static void a_lease_that_ran_out_is_left_alone(void **state)
{
    (void)state;
    open_topic();
    relay_on_lost(script.relay, &broken);
    pass_ms(100);
    for (int i = 0; i < 12; i++) {
        relay_on_lost(script.relay, &broken);
        pass_ms(2000);
    }
    relay_on_lost(script.relay, &broken); /* waiting for the next attempt */
    forget_said();
    relay_stop(script.relay);
    expect("close ");
    assert_int_equal(relay_state(script.relay), RELAY_STOPPED);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, script_setup, script_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(stop_waits_stores_and_releases),
        TEST(stop_does_not_wait_for_ever),
        TEST(stop_after_the_epoch_was_raised),
        TEST(stop_at_once_where_nothing_is_held),
        TEST(a_second_stop_ends_at_once),
        TEST(stop_after_a_broken_session_releases),
        TEST(a_session_that_breaks_while_stopping_is_opened_once),
        TEST(an_attempt_under_way_is_the_one),
        TEST(a_silent_database_does_not_hold_up_the_end),
        TEST(a_lease_that_ran_out_is_left_alone),
    };

    return cmocka_run_group_tests_name("relay, stopping", tests, NULL, NULL);
}
