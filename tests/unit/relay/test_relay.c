/* The core's life, step by step: lease, looks, sends, acks, stores, the doorbell. What is
 * done about refusals is in test_relay_refusals.c; the simulation tries what nobody thought of. */
#include "script.h"

/* ---- the main road ---- */

static void from_start_to_stored(void **state)
{
    (void)state;
    script_begin();
    relay_start(script.relay);
    expect("open ");
    relay_on_opened(script.relay);
    expect("take-free ");
    grant(7, "10:10:", "", 0);
    expect("tell() poll(10:10:,100) ");
    assert_int_equal(relay_state(script.relay), RELAY_LEADING);
    batch("12:12:", true);
    assert_int_equal(row(5), ROW_TAKEN);
    expect("topic(0,a-events) send(0/-1,0) ");
    fetched(1, false);
    script.partitions[0] = 1;
    ack(0);
    expect(""); /* the position is stored a little later, with what else comes */
    pass_ms(99);
    expect("poll(12:12:,99) ");
    pass_ms(1);
    expect("store(12:12:||0) ");
    assert_int_equal(relay_window_events(script.relay), 1);
    relay_on_stored(script.relay, 0, true);
    assert_int_equal(relay_window_events(script.relay), 0);
    assert_int_equal(relay_counters(script.relay)->events_published, 1);
}

/* A row is stored as settled only when all before it are. */
static void acks_out_of_order(void **state)
{
    (void)state;
    open_topic();
    batch("13:13:", true);
    for (int64_t id = 2; id <= 4; id++)
        assert_int_equal(row(id), ROW_TAKEN);
    fetched(3, false);
    expect("send(0/0,1) send(0/0,2) send(0/0,3) ");
    ack(3);
    ack(1);
    pass_ms(100);
    expect("poll(13:13:,97) store(11:11:|13:13:|2) ");
    relay_on_stored(script.relay, 0, true);
    ack(2);
    pass_ms(100);
    expect("store(13:13:||0) ");
}

static void a_backlog_is_probed_and_paged(void **state)
{
    (void)state;
    open_topic();
    batch("20:20:", false);
    fetched(0, false);
    expect("probe(11:11:|20:20:|0) ");
    relay_on_probed(script.relay, MAIN_STREAM, true, 100);
    expect("page(11:11:|20:20:|0,from 99 many,100) ");
    for (int64_t id = 100; id < 200; id++)
        assert_int_equal(row(id), ROW_TAKEN);
    fetched(100, false);
    forget_said();
    for (uint64_t seq = 1; seq <= 100; seq++)
        ack(seq);
    pass_ms(1);
    expect("store(11:11:|20:20:|199) "); /* a quarter of the window: at once */
    relay_on_stored(script.relay, 0, true);
    expect("page(11:11:|20:20:|199,from 99 many,100) ");
    fetched(0, false); /* the end of the batch */
    expect("poll(20:20:,100) ");
}

static int page_rows(void)
{
    const char *page = strstr(str_text(&script.said), "page(");

    assert_non_null(page);
    page = strrchr(page, ',');
    assert_non_null(page);
    return (int)strtol(page + 1, NULL, 10);
}

/* Bytes that are in flight do not make the next page smaller: its rows wait for them. */
static void a_page_is_as_large_as_the_window(void **state)
{
    int rows;

    (void)state;
    script.params.window_bytes = 16000;
    open_topic();
    batch("20:20:", false);
    fetched(0, false);
    relay_on_probed(script.relay, MAIN_STREAM, true, 2);
    rows = page_rows();
    assert_in_range(rows, 4, 50);
    for (int i = 0; i < rows; i++)
        assert_int_equal(row(2 + i), ROW_TAKEN);
    for (int i = 0; i < rows / 2; i++)
        ack((uint64_t)i + 1);
    forget_said();
    fetched((uint32_t)rows, false);
    assert_in_range(page_rows(), rows - 1, rows + 1);
}

static void a_stored_target_is_finished_first(void **state)
{
    (void)state;
    script_begin();
    relay_start(script.relay);
    relay_on_opened(script.relay);
    grant(2, "10:10:", "15:15:", 40);
    expect("open take-free tell() probe(10:10:|15:15:|40) ");
    relay_on_probed(script.relay, MAIN_STREAM, false, 0);
    expect("page(10:10:|15:15:|40,from 0,100) ");
    fetched(0, false);
    expect("poll(15:15:,100) ");
}

/* The rest of a page that cannot go on is given back to the server, and read again. */
static void a_held_row_is_dropped(void **state)
{
    (void)state;
    script.params.window_events = 2;
    lead();
    batch("11:11:", false);
    fetched(0, false);
    relay_on_probed(script.relay, MAIN_STREAM, false, 1);
    expect("probe(10:10:|11:11:|0) page(10:10:|11:11:|0,from 0,2) ");
    assert_int_equal(row(1), ROW_TAKEN);
    assert_int_equal(row(2), ROW_HOLD); /* the first opens the topic */
    pass_ms(249);
    expect("topic(0,a-events) send(0/-1,0) ");
    pass_ms(1);
    expect("drop ");
    fetched(1, true);
    expect(""); /* nothing to do before the ack */
    script.partitions[0] = 1;
    ack(0);
    pass_ms(1);
    expect("store(10:10:|11:11:|1) page(10:10:|11:11:|1,from 0,1) ");
}

/* Each report lets one row go on; the server's snapshot would live as long as the whole page. */
static void a_page_that_only_drips_is_dropped(void **state)
{
    int64_t id = 2;
    uint64_t seq = 1;
    uint64_t began;

    (void)state;
    script.params.window_bytes = 1; /* one in flight at a time */
    open_topic();
    batch("20:20:", false);
    fetched(0, false);
    relay_on_probed(script.relay, MAIN_STREAM, false, 2);
    script.stores_answered = true;
    began = script.now;
    for (;;) {
        assert_int_equal(row(id), ROW_TAKEN);
        assert_int_equal(row(id + 1), ROW_HOLD);
        forget_said();
        pass_ms(200);
        ack(seq++);
        pass_ms(1);
        if (strstr(str_text(&script.said), "drop") != NULL)
            break;
        assert_non_null(strstr(str_text(&script.said), "resume"));
        assert_true(script.now - began < 10000);
        id++;
    }
    assert_true(script.now - began >= 4000);
}

static void a_look_without_rows_moves_the_base(void **state)
{
    (void)state;
    lead();
    nothing("30:30:");
    pass_ms(1);
    expect("poll(30:30:,100) ");
}

/* How long after a look in vain the next one comes. */
static int pause_after(const char *snapshot)
{
    forget_said();
    nothing(snapshot);
    for (int ms = 1; ms < 100; ms++) {
        pass_ms(1);
        if (strstr(str_text(&script.said), "poll") != NULL)
            return ms;
    }
    return 0;
}

/* The same snapshot costs Postgres next to nothing; a look among transactions of others does. */
static void pauses_grow_where_looks_are_dear(void **state)
{
    (void)state;
    lead();
    for (int i = 0; i < 10; i++)
        assert_int_equal(pause_after("10:10:"), 1);
    assert_int_equal(pause_after("11:11:"), 1);
    assert_int_equal(pause_after("12:12:"), 2);
    assert_int_equal(pause_after("12:12:"), 1);
    assert_int_equal(pause_after("13:13:"), 4);
    assert_int_equal(pause_after("14:14:"), 4);
}

/* A window of one event, and bytes for less than one. */
static void the_smallest_window(void **state)
{
    (void)state;
    script.params.window_events = 1;
    script.params.window_bytes = 1;
    script_begin();
    relay_start(script.relay);
    relay_on_opened(script.relay);
    grant(1, "10:10:", "", 0);
    expect("open take-free tell() poll(10:10:,1) ");
    batch("11:11:", true);
    assert_int_equal(row(1), ROW_TAKEN);
    fetched(1, false);
    script.partitions[0] = 1;
    ack(0);
    pass_ms(1);
    expect("topic(0,a-events) send(0/-1,0) store(11:11:||0) ");
    relay_on_stored(script.relay, 0, true);
    expect("poll(11:11:,1) ");
}

/* ---- the doorbell ---- */

static void armed_checked_asleep_and_rung(void **state)
{
    (void)state;
    lead();
    nothing("10:10:");
    for (int ms = 0; ms < 40 && strstr(str_text(&script.said), "arm") == NULL; ms++) {
        pass_ms(1);
        if (strstr(str_text(&script.said), "poll") != NULL) {
            forget_said();
            nothing("10:10:");
        }
    }
    expect("arm(0) ");
    relay_on_armed(script.relay, true);
    expect("poll(10:10:,100) "); /* once more: a writer may have committed before the bell stood */
    nothing("10:10:");
    pass_ms(999);
    expect("");
    relay_on_bell(script.relay);
    expect("disarm(0) poll(10:10:,100) ");
    batch("11:11:", true);
    (void)row(1);
    fetched(1, false);
    assert_int_equal(relay_counters(script.relay)->wakeups[WAKEUP_NOTIFY], 1);
}

static void a_bell_that_is_not_armed_is_not_heard(void **state)
{
    (void)state;
    lead();
    relay_on_bell(script.relay); /* a look is out */
    nothing("10:10:");
    expect("");
    relay_on_bell(script.relay);
    expect("");
}

/* ---- the lease ---- */

static void a_standby_waits_a_whole_ttl(void **state)
{
    const struct lease_view other = {.epoch = 3, .beat = 9};
    uint64_t since;

    (void)state;
    script_begin();
    relay_start(script.relay);
    relay_on_opened(script.relay);
    since = script.now;
    for (;;) {
        expect(script.now == since ? "open take-free " : "take-free ");
        answer_lease(&other);
        if (script.now - since >= 10000)
            break;
        assert_int_equal(relay_state(script.relay), RELAY_STANDBY);
        pass_ms(250);
    }
    expect("take-unchanged(3,9) ");
    grant(4, "10:10:", "", 0);
    expect("tell() poll(10:10:,100) ");
}

static void an_earlier_life_is_succeeded_at_once(void **state)
{
    const struct lease_view earlier = {.same_instance = true, .epoch = 3, .beat = 9};

    (void)state;
    script_begin();
    relay_start(script.relay);
    relay_on_opened(script.relay);
    answer_lease(&earlier);
    expect("open take-free take-unchanged(3,9) ");
    answer_lease(&earlier); /* it lives after all: only the first look may do this */
    expect("");
    assert_int_equal(relay_state(script.relay), RELAY_STANDBY);
}

static void the_lease_is_renewed_or_left(void **state)
{
    (void)state;
    script.lease_by_hand = true;
    script.params.wakeup = WAKEUP_POLL;
    lead();
    pass_ms(3333);
    expect("renew(1) ");
    pass_ms(6000);
    expect("");
    relay_on_renewed(script.relay, true); /* counts from when it was sent */
    expect("renew(1) ");
    pass_ms(3999);
    expect("");
    pass_ms(1);
    expect("close open ");
    assert_int_equal(script.notes[RELAY_NOTE_LEASE_EXPIRED], 1);
    relay_on_opened(script.relay);
    expect("take-own "); /* nobody else may have taken it */
}

static void rows_that_come_after_the_deadline_are_held(void **state)
{
    (void)state;
    lead();
    script.now += 10000; /* the process slept */
    batch("11:11:", true);
    assert_int_equal(row(1), ROW_HOLD);
    pass_ms(1);
    expect("close open ");
}

static void fenced_by_a_command_takes_over_anew(void **state)
{
    (void)state;
    script.lease_by_hand = true;
    open_topic();
    batch("12:12:", true);
    (void)row(2);
    fetched(1, false);
    forget_said();
    pass_ms(3333); /* a renewal is out */
    forget_said();
    relay_on_renewed(script.relay, false);
    expect("close reset open "); /* what is in flight is read again */
    relay_on_opened(script.relay);
    expect("take-own ");
    grant(3, "11:11:", "", 0);
    expect("tell() poll(11:11:,100) ");
}

static void fenced_by_another_stands_by(void **state)
{
    const struct lease_view other = {.epoch = 2, .beat = 1};

    (void)state;
    script.lease_by_hand = true;
    open_topic();
    pass_ms(3333);
    forget_said();
    relay_on_renewed(script.relay, false);
    relay_on_opened(script.relay);
    expect("close open take-own ");
    answer_lease(&other);
    pass_ms(250);
    expect("take-free ");
}

static void a_lost_session_forgets_everything(void **state)
{
    struct err why;

    (void)state;
    open_topic();
    batch("12:12:", true);
    (void)row(2);
    (void)err_set(&why, ERR_UNAVAILABLE, "gone");
    forget_said();
    relay_on_lost(script.relay, &why);
    expect("close reset open ");
    ack(1); /* late: nobody asks any more */
    relay_on_opened(script.relay);
    grant(2, "11:11:", "", 0);
    expect("take-own tell() poll(11:11:,100) ");
    assert_int_equal(relay_window_events(script.relay), 0);
}

/* A server that lets us in and breaks every time is not asked faster and faster. */
static void losses_in_a_row_make_pauses(void **state)
{
    struct err why;
    uint64_t began;

    (void)state;
    lead();
    (void)err_set(&why, ERR_UNAVAILABLE, "missing chunk");
    began = script.now;
    for (int i = 0; i < 10; i++) {
        relay_on_lost(script.relay, &why);
        while (relay_state(script.relay) != RELAY_OPENING)
            pass_ms(1);
        relay_on_opened(script.relay);
        grant(2, "10:10:", "", 0);
        forget_said();
    }
    assert_true(script.now - began >= 4000);
}

static void a_fault_of_the_configuration_stops(void **state)
{
    struct err why;

    (void)state;
    script_begin();
    relay_start(script.relay);
    (void)err_set(&why, ERR_CONFIG, "no schema");
    relay_on_lost(script.relay, &why);
    expect("open close ");
    assert_int_equal(relay_state(script.relay), RELAY_STOPPED);
    assert_string_equal(relay_failure(script.relay)->text, "no schema");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, script_setup, script_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(from_start_to_stored),
        TEST(acks_out_of_order),
        TEST(a_backlog_is_probed_and_paged),
        TEST(a_page_is_as_large_as_the_window),
        TEST(a_stored_target_is_finished_first),
        TEST(a_held_row_is_dropped),
        TEST(a_page_that_only_drips_is_dropped),
        TEST(a_look_without_rows_moves_the_base),
        TEST(pauses_grow_where_looks_are_dear),
        TEST(the_smallest_window),
        TEST(armed_checked_asleep_and_rung),
        TEST(a_bell_that_is_not_armed_is_not_heard),
        TEST(a_standby_waits_a_whole_ttl),
        TEST(an_earlier_life_is_succeeded_at_once),
        TEST(the_lease_is_renewed_or_left),
        TEST(rows_that_come_after_the_deadline_are_held),
        TEST(fenced_by_a_command_takes_over_anew),
        TEST(fenced_by_another_stands_by),
        TEST(a_lost_session_forgets_everything),
        TEST(losses_in_a_row_make_pauses),
        TEST(a_fault_of_the_configuration_stops),
    };

    return cmocka_run_group_tests_name("relay", tests, NULL, NULL);
}
