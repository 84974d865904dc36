/* Lanes in the core: what main passes, when a lane is made, where it begins, and what it says. */
#include "message/murmur2.h"

#include "script.h"

static int park_setup(void **state)
{
    (void)script_setup(state);
    script.routes.routes[0].on_error = ON_ERROR_PARK;
    script.params.max_lanes = 2;
    return 0;
}

static void assert_lanes(uint32_t by_key, uint32_t by_partition, uint32_t by_topic)
{
    struct relay_lanes n;

    relay_lanes(script.relay, &n);
    assert_int_equal(n.by[LANE_BY_KEY], by_key);
    assert_int_equal(n.by[LANE_BY_PARTITION], by_partition);
    assert_int_equal(n.by[LANE_BY_TOPIC], by_topic);
    assert_int_equal(n.waiting, by_key + by_partition + by_topic);
}

static enum row_verdict row_for(int64_t id, const char *key)
{
    return row_of_key(id, "a", NULL, key);
}

/* Three rows in one look; main passes what belongs to the lane, and stores its position behind. */
static void main_passes_what_a_lane_owns(void **state)
{
    struct lane_view lanes[] = {
        {.id = 3,
         .filter = {.by = LANE_BY_KEY, .topic = SLICE_LIT("a-events"), .key = SLICE_LIT("bad")}},
        {.id = 4, .filter = {.by = LANE_BY_TOPIC, .topic = SLICE_LIT("gone")}},
    };
    struct lease_view v = {
        .ours = true, .epoch = 1, .beat = 1, .lanes = lanes, .lane_count = 2, .last_lane = 7};

    (void)state;
    script_begin();
    relay_start(script.relay);
    relay_on_opened(script.relay);
    str_set(&v.position.base, "10:10:");
    answer_lease(&v);
    str_release(&v.position.base);
    assert_lanes(1, 0, 1);
    forget_said();
    batch("11:11:", true);
    assert_int_equal(row_for(1, "bad"), ROW_TAKEN);
    assert_int_equal(row_of(2, "a", "gone"), ROW_TAKEN);
    assert_int_equal(row_for(3, "good"), ROW_TAKEN);
    assert_int_equal(row_for(4, "bad"), ROW_TAKEN); /* although a partition is being opened */
    fetched(4, false);
    pass_ms(1);
    assert_int_equal(relay_counters(script.relay)->events_passed, 3);
    expect("topic(0,a-events) send(0/-1,0) poll(11:11:,98) ");
    nothing("12:12:");
    script.partitions[0] = 1;
    ack(0);
    pass_ms(100);
    assert_non_null(strstr(str_text(&script.said), "store(12:12:||0) "));
    assert_int_equal(script.stored_events, 1);
    forget_said();
}

static void main_passes_the_row_that_was_given_up(void **state)
{
    struct lease_view v = {.ours = true, .epoch = 1, .beat = 1, .given_up = 2};

    (void)state;
    script_begin();
    relay_start(script.relay);
    relay_on_opened(script.relay);
    str_set(&v.position.base, "10:10:");
    answer_lease(&v);
    str_release(&v.position.base);
    forget_said();
    batch("11:11:", true);
    assert_int_equal(bad_row(2), ROW_TAKEN);
    fetched(1, false);
    pass_ms(1);
    assert_int_equal(relay_counters(script.relay)->events_passed, 1);
    assert_int_equal(relay_trouble(script.relay)->cause[0], '\0');
    expect("poll(11:11:,100) ");
}

/* Alone in flight, so it is to blame: a lane of its key, which begins with it. */
static void a_refused_event_makes_a_lane(void **state)
{
    (void)state;
    open_topic();
    batch("13:13:", true);
    assert_int_equal(row_for(2, "bad"), ROW_TAKEN);
    assert_int_equal(row_for(3, "good"), ROW_TAKEN);
    fetched(2, false);
    ack(2);
    refuse(1, REFUSAL_MESSAGE_TOO_LARGE); /* a batch was refused, as far as we know */
    pass_ms(1);
    pass_ms(1);
    expect("send(0/0,1) send(0/0,2) reset tell(message_too_large) probe(11:11:|13:13:|0) ");
    relay_on_probed(script.relay, MAIN_STREAM, false, 2);
    assert_int_equal(row_for(2, "bad"), ROW_TAKEN);
    assert_int_equal(row_for(3, "good"), ROW_HOLD); /* one by one */
    forget_said();
    refuse(1, REFUSAL_MESSAGE_TOO_LARGE);
    pass_ms(1);
    expect("drop reset split(1 from 0 by key a-events/bad at 11:11:|13:13:|0) ");
    assert_int_equal(script.parked.row_id, 2);
    assert_int_equal(script.parked.lane, 1);
    fetched(1, true);
    expect(""); /* nothing before the answer */
    assert_lanes(0, 0, 0);
    relay_on_changed(script.relay, LEASE_OURS);
    assert_lanes(1, 0, 0);
    assert_int_equal(script.notes[RELAY_NOTE_PARKED], 1);
    assert_int_equal(script.notes[RELAY_NOTE_HALTED], 0);
    expect("probe(11:11:|13:13:|0) ");
    relay_on_probed(script.relay, MAIN_STREAM, false, 2);
    forget_said();
    assert_int_equal(row_for(2, "bad"), ROW_TAKEN);
    assert_int_equal(row_for(3, "good"), ROW_TAKEN);
    expect("send(0/-1,1) ");
}

/* A row that can become no message is behind one that is under way: that one's report is awaited,
 * and the producer stays. */
static void an_invalid_row_makes_a_lane_and_costs_no_producer(void **state)
{
    (void)state;
    open_topic();
    batch("13:13:", true);
    assert_int_equal(row_for(2, "good"), ROW_TAKEN);
    assert_int_equal(row_of_key(3, "a", "not a topic", "bad"), ROW_HOLD);
    relay_tick(script.relay);
    pass_ms(100);
    fetched(1, true);
    forget_said();
    ack(1);
    pass_ms(1);
    expect("split(1 from 0 by key /bad at 11:11:|13:13:|2) ");
    assert_int_equal(script.parked.row_id, 3);
    assert_string_equal(script.parked.cause, "event_invalid");
    relay_on_changed(script.relay, LEASE_OURS);
    assert_lanes(1, 0, 0);
    forget_said();
}

/* What is not the lane's next event is not named: it could be skipped, and those before it lost. */
static void an_event_behind_unsettled_ones_is_not_named(void **state)
{
    (void)state;
    open_topic();
    batch("13:13:", true);
    assert_int_equal(row_for(2, "bad"), ROW_TAKEN);
    assert_int_equal(row_of_key(3, "a", "not a topic", "bad"), ROW_HOLD);
    relay_tick(script.relay);
    fetched(1, true);
    refuse(1, REFUSAL_BROKER_ERROR);
    forget_said();
    pass_ms(1);
    expect("reset split(1 from 0 by key /bad at 11:11:|13:13:|0) ");
    assert_int_equal(script.parked.row_id, 0);
    assert_string_equal(script.parked.event_id, "");
}

static void a_missing_topic_makes_one_lane(void **state)
{
    (void)state;
    open_topic();
    batch("13:13:", true);
    assert_int_equal(row_for(2, "x"), ROW_TAKEN);
    assert_int_equal(row_for(3, "y"), ROW_TAKEN);
    fetched(2, false);
    forget_said();
    refuse(1, REFUSAL_TOPIC_MISSING);
    refuse(2, REFUSAL_TOPIC_MISSING);
    pass_ms(1);
    expect("reset split(1 from 0 by topic a-events/ at 11:11:|13:13:|0) ");
    relay_on_changed(script.relay, LEASE_OURS);
    assert_lanes(0, 0, 1);
    forget_said();
}

/* The first that is refused for it is one of a partition; the brokers say that the topic is gone.
 */
static void partitions_of_a_missing_topic_make_one_lane(void **state)
{
    (void)state;
    open_topic();
    batch("13:13:", true);
    assert_int_equal(row_for(2, "x"), ROW_TAKEN);
    fetched(1, false);
    script.learns = true;
    script.learnt = REFUSAL_TOPIC_MISSING;
    forget_said();
    refuse(1, REFUSAL_PARTITION_GONE);
    pass_ms(1);
    expect("diagnose(0) reset split(1 from 0 by topic a-events/ at 11:11:|13:13:|0) ");
    assert_string_equal(script.parked.cause, "topic_missing");
    assert_string_equal(script.parked.topic, "a-events");
    relay_on_changed(script.relay, LEASE_OURS);
    assert_lanes(0, 0, 1);
    forget_said();
}

/* Beyond max_lanes the topic is the lane. */
static void too_many_lanes_become_one(void **state)
{
    (void)state;
    script.params.max_lanes = 0;
    open_topic();
    batch("13:13:", true);
    assert_int_equal(row_of_key(2, "a", NULL, "bad"), ROW_TAKEN);
    fetched(1, false);
    forget_said();
    refuse(1, REFUSAL_MESSAGE_INVALID);
    pass_ms(1);
    expect("reset split(1 from 0 by topic a-events/ at 11:11:|13:13:|0) ");
}

/* A key of the partition, of two. */
static const char *key_of_two(int32_t partition)
{
    static char key[2][2];

    for (key[partition][0] = 'a'; murmur2_partition(key[partition], 1, 2) != partition;
         key[partition][0]++)
        ;
    return key[partition];
}

/* Partition 0 says nothing while partition 1 acknowledges what was sent later. */
static void a_silent_partition_makes_a_lane(void **state)
{
    (void)state;
    script.params.stall_after_ms = 700; /* before anybody asks the brokers */
    open_topic();
    script.partitions[0] = 2;
    batch("13:13:", true);
    assert_int_equal(row_for(2, key_of_two(0)), ROW_TAKEN);
    assert_int_equal(row_for(3, key_of_two(1)), ROW_TAKEN);
    fetched(2, false);
    expect("send(0/0,1) send(0/1,2) ");
    pass_ms(699);
    forget_said();
    relay_on_acked(script.relay, MAIN_STREAM, 2, 1);
    pass_ms(699);
    assert_null(strstr(str_text(&script.said), "split"));
    forget_said();
    pass_ms(800);
    expect("diagnose(0) tell(no_acknowledgement) reset split(1 from 0 by partition a-events/ at "
           "11:11:|13:13:|0) ");
    assert_string_equal(script.parked.cause, "no_acknowledgement");
    relay_on_changed(script.relay, LEASE_OURS);
    assert_lanes(0, 1, 0);
    forget_said();
}

/* Nothing of anybody is acknowledged: then it is not the partition, and all wait. */
static void silence_of_all_makes_no_lane(void **state)
{
    (void)state;
    open_topic();
    script.partitions[0] = 2;
    batch("13:13:", true);
    assert_int_equal(row_for(2, key_of_two(0)), ROW_TAKEN);
    assert_int_equal(row_for(3, key_of_two(1)), ROW_TAKEN);
    fetched(2, false);
    pass_ms(60000);
    assert_null(strstr(str_text(&script.said), "split"));
    assert_null(strstr(str_text(&script.said), "reset"));
    assert_lanes(0, 0, 0);
}

/* Somebody else leads, or a command raised the epoch: all of it is forgotten. */
static void a_lost_lease_forgets_the_lanes(void **state)
{
    (void)state;
    a_missing_topic_makes_one_lane(state);
    relay_on_probed(script.relay, MAIN_STREAM, false, 2);
    assert_int_equal(row_of(2, "a", "b"), ROW_TAKEN);
    fetched(1, true);
    forget_said();
    refuse(1, REFUSAL_TOPIC_FORBIDDEN);
    pass_ms(1);
    assert_non_null(strstr(str_text(&script.said), "split(2 from 0 by topic b/ "));
    relay_on_changed(script.relay, LEASE_LOST);
    assert_int_equal(script.notes[RELAY_NOTE_FENCED], 1);
    assert_lanes(0, 0, 0);
    assert_int_equal(relay_counters(script.relay)->lanes_made, 1);
    forget_said();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, park_setup, script_teardown)
    const struct CMUnitTest tests[] = {
        TEST(main_passes_what_a_lane_owns),
        TEST(main_passes_the_row_that_was_given_up),
        TEST(a_refused_event_makes_a_lane),
        TEST(an_invalid_row_makes_a_lane_and_costs_no_producer),
        TEST(an_event_behind_unsettled_ones_is_not_named),
        TEST(a_missing_topic_makes_one_lane),
        TEST(partitions_of_a_missing_topic_make_one_lane),
        TEST(too_many_lanes_become_one),
        TEST(a_silent_partition_makes_a_lane),
        TEST(silence_of_all_makes_no_lane),
        TEST(a_lost_lease_forgets_the_lanes),
    };

    return cmocka_run_group_tests_name("relay: lanes", tests, NULL, NULL);
}
