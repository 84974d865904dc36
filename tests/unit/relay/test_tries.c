/* The try of a lane: how it begins, fails, flows, gives its event up, splits, and comes back. */
#include "script.h"

#define KEY_LANE                                                                                   \
    {                                                                                              \
        .id = 3,                                                                                   \
        .filter = {.by = LANE_BY_KEY, .topic = SLICE_LIT("a-events"), .key = SLICE_LIT("bad")},    \
    }
#define TOPIC_LANE                                                                                 \
    {                                                                                              \
        .id = 4, .filter = {.by = LANE_BY_TOPIC, .topic = SLICE_LIT("a-events")},                  \
    }

static int tries_setup(void **state)
{
    (void)script_setup(state);
    script.routes.routes[0].on_error = ON_ERROR_PARK;
    script.params.max_lanes = 2;
    script.params.lanes_in_parallel = 2;
    script.stores_answered = true;
    script.lane_partitions = 1;
    return 0;
}

/* Main at 20:20:, nothing to do; the lanes where the test says. */
static void lead_with(struct lane_view *lanes, uint32_t count)
{
    struct lease_view v = {
        .ours = true, .epoch = 1, .beat = 1, .lanes = lanes, .lane_count = count, .last_lane = 9};

    script_begin();
    relay_start(script.relay);
    relay_on_opened(script.relay);
    str_set(&v.position.base, "20:20:");
    forget_said();
    relay_on_lease(script.relay, &v);
    str_release(&v.position.base);
}

static void set_position(struct lane_view *v, const char *base, const char *target, int64_t last)
{
    str_set(&v->position.base, base);
    str_set(&v->position.target, target);
    v->position.last_id = last;
}

static void release_position(struct lane_view *v)
{
    str_release(&v->position.base);
    str_release(&v->position.target);
}

static void lane_fetched(uint32_t stream, uint32_t rows, bool dropped, int64_t read_to)
{
    relay_on_fetched(script.relay, stream,
                     &(struct fetched){.rows = rows, .dropped = dropped, .read_to = read_to});
}

static void lane_ack(uint32_t stream, uint64_t seq)
{
    relay_on_acked(script.relay, stream, seq, 0);
}

static void lane_refuse(uint32_t stream, uint64_t seq, enum refusal why)
{
    relay_on_refused(script.relay, stream, seq, why, "refused");
}

/* From the takeover to the first event of lane 3, which is out alone: row 5, key `bad`. */
static void first_is_out(struct lane_view *lane)
{
    set_position(lane, "10:10:", "15:15:", 4);
    lead_with(lane, 1);
    release_position(lane);
    expect("1:reset tell() poll(20:20:,100) 1:probe(10:10:|15:15:|4) ");
    relay_on_probed(script.relay, 1, false, 5);
    expect("1:page(10:10:|15:15:|4,from 4,1) ");
    assert_int_equal(row_to(1, 5, "a", NULL, "bad"), ROW_TAKEN);
    expect("1:topic(0,a-events) 1:send(0/0,0) ");
    lane_fetched(1, 1, false, 5);
    expect(""); /* alone until it is acknowledged */
}

static struct relay_lanes lanes_now(void)
{
    struct relay_lanes n;

    relay_lanes(script.relay, &n);
    return n;
}

static void one_event_alone_makes_it_flow(void **state)
{
    struct lane_view lane = KEY_LANE;

    (void)state;
    lane.trouble.attempts = 4;
    (void)snprintf(lane.trouble.cause, sizeof lane.trouble.cause, "message_too_large");
    first_is_out(&lane);
    assert_int_equal(lanes_now().tried, 1);
    lane_ack(1, 0);
    pass_ms(1);
    expect("1:page(10:10:|15:15:|5,from 4,99) ");
    assert_int_equal(lanes_now().flowing, 1);
    assert_int_equal(script.notes[RELAY_NOTE_LANE_FLOWS], 1);
    assert_int_equal(relay_counters(script.relay)->lane_events, 1);
    assert_int_equal(row_to(1, 7, "a", NULL, "bad"), ROW_TAKEN);
    assert_int_equal(row_to(1, 8, "a", NULL, "bad"), ROW_TAKEN);
    assert_int_equal(row_to(1, 9, "a", NULL, "other"), ROW_TAKEN); /* main's: passed */
    expect("1:send(0/0,1) 1:send(0/0,2) ");
    lane_fetched(1, 3, false, INT64_MAX);
    expect("1:probe(15:15:|20:20:|0) "); /* the next batch ends where main is */
    pass_ms(100);
    expect("3:store(10:10:|15:15:|5) ");
    assert_int_equal(script.stored_events, 1);
}

static void a_failure_ends_the_try_and_is_stored(void **state)
{
    struct lane_view lane = KEY_LANE;
    uint64_t pause = 0;

    (void)state;
    first_is_out(&lane);
    for (unsigned i = 1; i < 14; i++) {
        char want[120];
        uint64_t since;

        lane_refuse(1, 0, REFUSAL_MESSAGE_TOO_LARGE);
        (void)snprintf(want, sizeof want,
                       "1:end fail(3 message_too_large, row 5, attempt %u, at 10:10:|15:15:|4) ",
                       i);
        pass_ms(1);
        expect(want);
        assert_int_equal(script.parked.lane, 3);
        relay_on_changed(script.relay, LEASE_OURS);
        assert_int_equal(script.notes[RELAY_NOTE_LANE_TRIED], i);
        assert_int_equal(lanes_now().waiting, 1);
        assert_int_equal(lanes_now().for_person, 1);
        since = script.now - 1; /* when it was written */
        while (strstr(str_text(&script.said), "1:reset") == NULL) {
            assert_true(script.now - since <= 300000);
            pass_ms(1);
        }
        assert_true(script.now - since >= pause);
        pause = script.now - since;
        assert_int_equal(pause, i < 10 ? 500U << (i - 1) : 150000);
        forget_said();
        relay_on_probed(script.relay, 1, false, 5);
        assert_int_equal(row_to(1, 5, "a", NULL, "bad"), ROW_TAKEN);
        lane_fetched(1, 1, false, 5);
        forget_said();
    }
    assert_int_equal(relay_counters(script.relay)->recoveries, 0); /* main's */
}

/* What passes by itself is noticed soon; a retry and SIGHUP need no waiting. */
static void a_topic_is_tried_often_and_at_a_word(void **state)
{
    struct lane_view lane = TOPIC_LANE;

    (void)state;
    lane.trouble.attempts = 20;
    first_is_out(&lane);
    script.learns = true;
    script.learnt = REFUSAL_TOPIC_MISSING;
    pass_ms(199);
    expect("");
    pass_ms(252);
    expect("1:diagnose(0) 1:end fail(4 topic_missing, row 0, attempt 21, at 10:10:|15:15:|4) ");
    relay_on_changed(script.relay, LEASE_OURS);
    pass_ms(1498);
    assert_null(strstr(str_text(&script.said), "1:reset"));
    pass_ms(1);
    assert_non_null(strstr(str_text(&script.said), "1:reset"));
    relay_on_probed(script.relay, 1, false, 5);
    assert_int_equal(row_to(1, 5, "a", NULL, "bad"), ROW_TAKEN);
    lane_fetched(1, 1, false, 5);
    pass_ms(451);
    relay_on_changed(script.relay, LEASE_OURS);
    forget_said();
    relay_on_asked(script.relay, (const uint32_t[]){4, 77}, 2);
    relay_tick(script.relay);
    pass_ms(1);
    assert_non_null(strstr(str_text(&script.said), "1:reset"));
    assert_int_equal(relay_counters(script.relay)->lane_tries, 3);
    forget_said();
}

/* Nothing at all comes back. */
static void silence_ends_a_try(void **state)
{
    struct lane_view lane = TOPIC_LANE;

    (void)state;
    first_is_out(&lane);
    pass_ms(5000);
    forget_said();
    pass_ms(250);
    expect("1:end fail(4 no_acknowledgement, row 0, attempt 1, at 10:10:|15:15:|4) ");
}

/* It stands where main looked last, and main waits until nothing is under way: they are one again.
 */
static void a_lane_that_is_where_main_is_is_merged(void **state)
{
    struct lane_view lane = KEY_LANE;

    (void)state;
    first_is_out(&lane);
    lane_ack(1, 0);
    pass_ms(1);
    lane_fetched(1, 0, false, INT64_MAX);
    relay_on_probed(script.relay, 1, false, 0);
    forget_said();
    lane_fetched(1, 0, false, INT64_MAX); /* up to 20:20: */
    pass_ms(1);
    expect(""); /* main has not looked yet: the lane could be refused for ever */
    batch("30:30:", true);
    assert_int_equal(row(11), ROW_TAKEN);
    fetched(1, false);
    pass_ms(20);
    expect(
        "topic(0,a-events) send(0/-1,0) 1:probe(20:20:|30:30:|0) "); /* and main asks for nothing */
    relay_on_probed(script.relay, 1, false, 0);
    lane_fetched(1, 0, false, INT64_MAX);
    forget_said();
    pass_ms(1);
    expect(""); /* main has an event out */
    ack(0);
    pass_ms(1);
    expect("merge(3 at 30:30:||0) ");
    assert_int_equal(script.stored_events, 2);
    relay_on_changed(script.relay, LEASE_OURS);
    expect("1:end rest poll(30:30:,100) ");
    assert_int_equal(lanes_now().by[LANE_BY_KEY], 0);
    assert_int_equal(script.notes[RELAY_NOTE_LANE_MERGED], 1);
    assert_int_equal(relay_counters(script.relay)->lanes_merged, 1);
    batch("31:31:", true);
    assert_int_equal(row_of_key(12, "a", NULL, "bad"), ROW_TAKEN);
    assert_non_null(strstr(str_text(&script.said), "send(0/-1,1)"));
    forget_said();
}

/* The lane does not come along: main goes on after a second. */
static void main_is_not_held_for_long(void **state)
{
    struct lane_view lane = KEY_LANE;

    (void)state;
    first_is_out(&lane);
    lane_ack(1, 0);
    pass_ms(1);
    lane_fetched(1, 0, false, INT64_MAX);
    relay_on_probed(script.relay, 1, false, 0);
    lane_fetched(1, 0, false, INT64_MAX);
    nothing("30:30:");
    forget_said();
    pass_ms(999);
    assert_null(strstr(str_text(&script.said), "poll"));
    pass_ms(2);
    assert_non_null(strstr(str_text(&script.said), "poll"));
    forget_said();
}

/* A narrow one below a wide one waits, and so does its merge; it leaves its stream to others. */
static void below_a_wider_lane_nothing_is_merged(void **state)
{
    struct lane_view lanes[] = {KEY_LANE, TOPIC_LANE};

    (void)state;
    set_position(&lanes[0], "10:10:", "", 0);
    set_position(&lanes[1], "10:10:", "", 0);
    lead_with(lanes, 2);
    release_position(&lanes[0]);
    release_position(&lanes[1]);
    expect("1:reset tell() poll(20:20:,100) 1:probe(10:10:|20:20:|0) ");
    relay_on_asked(script.relay, (const uint32_t[]){3}, 1);
    relay_tick(script.relay);
    pass_ms(1);
    expect("2:reset "); /* one read of lanes at a time */
    relay_on_probed(script.relay, 1, false, 0);
    expect("2:probe(10:10:|20:20:|0) "); /* in turns */
    relay_on_probed(script.relay, 2, false, 0);
    expect("1:page(10:10:|20:20:|0,from 0,1) ");
    lane_fetched(1, 0, false, INT64_MAX);
    lane_fetched(2, 0, false, INT64_MAX);
    forget_said();
    nothing("21:21:");
    pass_ms(300);
    assert_null(strstr(str_text(&script.said), "merge(3"));
    forget_said();
}

static void a_route_that_skips_sends_a_dead_letter(void **state)
{
    struct lane_view lane = KEY_LANE;

    (void)state;
    script.routes.routes[0].on_error = ON_ERROR_SKIP;
    script.routes.routes[0].dead_letter_topic = xstrdup("graveyard");
    first_is_out(&lane);
    lane_refuse(1, 0, REFUSAL_MESSAGE_TOO_LARGE);
    pass_ms(1);
    forget_said();
    relay_on_changed(script.relay, LEASE_OURS);
    expect("1:reset 1:probe(10:10:|15:15:|4) "); /* at once */
    relay_on_probed(script.relay, 1, false, 5);
    assert_int_equal(row_to(1, 5, "a", NULL, "bad"), ROW_TAKEN);
    lane_fetched(1, 1, false, 5);
    expect("1:page(10:10:|15:15:|4,from 4,1) 1:topic(0,graveyard) 1:send(0/0,0) ");
    lane_ack(1, 0);
    pass_ms(200); /* no store comes before the record */
    expect("skip(3 row 5 to graveyard at 10:10:|15:15:|5) ");
    assert_int_equal(script.stored_events, 0);
    assert_int_equal(relay_counters(script.relay)->events_published, 0);
    relay_on_changed(script.relay, LEASE_OURS);
    expect("1:page(10:10:|15:15:|5,from 4,1) ");
    assert_int_equal(relay_counters(script.relay)->events_skipped, 1);
    assert_int_equal(script.notes[RELAY_NOTE_SKIPPED], 1);
}

/* What an earlier process had refused may have been mended with the configuration: it is sent. */
static void what_another_process_refused_is_tried_first(void **state)
{
    struct lane_view lane = KEY_LANE;

    (void)state;
    script.routes.routes[0].on_error = ON_ERROR_SKIP;
    script.routes.routes[0].dead_letter_topic = xstrdup("graveyard");
    lane.trouble.row_id = 5;
    (void)snprintf(lane.trouble.cause, sizeof lane.trouble.cause, "event_invalid");
    first_is_out(&lane);
}

static void without_a_dead_letter_topic_it_is_recorded_only(void **state)
{
    struct lane_view lane = KEY_LANE;

    (void)state;
    script.routes.routes[0].on_error = ON_ERROR_SKIP;
    first_is_out(&lane);
    lane_refuse(1, 0, REFUSAL_MESSAGE_INVALID);
    pass_ms(1);
    relay_on_changed(script.relay, LEASE_OURS);
    relay_on_probed(script.relay, 1, false, 5);
    forget_said();
    assert_int_equal(row_to(1, 5, "a", NULL, "bad"), ROW_TAKEN);
    lane_fetched(1, 1, false, 5);
    expect("skip(3 row 5 to nowhere at 10:10:|15:15:|5) ");
}

/* A lane of a topic finds one bad event among good ones: that becomes a lane of its own. */
static void a_wide_lane_splits(void **state)
{
    struct lane_view lane = TOPIC_LANE;

    (void)state;
    first_is_out(&lane);
    lane_ack(1, 0);
    pass_ms(1);
    assert_int_equal(row_to(1, 6, "a", NULL, "worse"), ROW_TAKEN);
    lane_fetched(1, 1, false, 6);
    forget_said();
    lane_refuse(1, 1, REFUSAL_MESSAGE_TOO_LARGE);
    pass_ms(1);
    expect("1:reset split(10 from 4 by key a-events/worse at 10:10:|15:15:|5) ");
    relay_on_changed(script.relay, LEASE_OURS);
    expect("");
    lane_fetched(1, 0, true, 6); /* what was asked for before */
    expect("1:probe(10:10:|15:15:|5) ");
    relay_on_probed(script.relay, 1, false, 0);
    assert_int_equal(row_to(1, 6, "a", NULL, "worse"), ROW_TAKEN); /* passed */
    assert_int_equal(lanes_now().by[LANE_BY_KEY], 1);
    assert_int_equal(lanes_now().by[LANE_BY_TOPIC], 1);
    forget_said();
}

/* One round: what the core wants to send now goes out and is answered. `bad` spoils all of it. */
static bool round_of(int64_t *settled, int64_t bad)
{
    uint32_t out = 0;
    bool spoilt;

    pass_ms(1);
    pass_ms(1);
    if (strstr(str_text(&script.said), "split(") != NULL)
        return false;
    if (strstr(str_text(&script.said), "probe") != NULL)
        relay_on_probed(script.relay, MAIN_STREAM, false, 2);
    forget_said();
    script.partitions[0] = 1;
    while (*settled + out < 9 &&
           row_of_key(*settled + out + 1, "a", NULL, *settled + out + 1 == bad ? "bad" : "good") ==
               ROW_TAKEN)
        out++;
    pass_ms(0);
    spoilt = *settled < bad && bad <= *settled + out;
    for (uint32_t i = 0; i < out; i++) {
        if (spoilt)
            refuse((uint64_t)*settled + i, REFUSAL_MESSAGE_INVALID);
        else
            ack((uint64_t)*settled + i);
    }
    fetched(out, true);
    if (!spoilt)
        *settled += out;
    return true;
}

/* Eight in a batch, all refused for what one of them is: groups of half, half of that, one. */
static void a_culprit_is_searched_in_halves(void **state)
{
    int64_t settled = 1;
    uint64_t producers = 0;
    unsigned rounds = 0;

    (void)state;
    lead();
    script.partitions[0] = 1;
    batch("12:12:", true);
    assert_int_equal(row_of_key(1, "a", NULL, "good"), ROW_TAKEN);
    fetched(1, false);
    ack(0);
    pass_ms(2);
    batch("13:13:", true);
    for (int64_t id = 2; id <= 9; id++)
        assert_int_equal(row_of_key(id, "a", NULL, id == 6 ? "bad" : "good"), ROW_TAKEN);
    fetched(8, false);
    for (uint64_t seq = 1; seq <= 8; seq++)
        refuse(seq, REFUSAL_MESSAGE_INVALID);
    while (round_of(&settled, 6)) {
        producers = relay_counters(script.relay)->producers;
        assert_true(rounds++ < 12);
    }
    assert_non_null(strstr(str_text(&script.said), "by key a-events/bad at 12:12:|13:13:|5)"));
    assert_int_equal(script.parked.row_id, 6);
    assert_true(producers <= 4);
    forget_said();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, tries_setup, script_teardown)
    const struct CMUnitTest tests[] = {
        TEST(one_event_alone_makes_it_flow),
        TEST(a_failure_ends_the_try_and_is_stored),
        TEST(a_topic_is_tried_often_and_at_a_word),
        TEST(silence_ends_a_try),
        TEST(a_lane_that_is_where_main_is_is_merged),
        TEST(main_is_not_held_for_long),
        TEST(below_a_wider_lane_nothing_is_merged),
        TEST(a_route_that_skips_sends_a_dead_letter),
        TEST(what_another_process_refused_is_tried_first),
        TEST(without_a_dead_letter_topic_it_is_recorded_only),
        TEST(a_wide_lane_splits),
        TEST(a_culprit_is_searched_in_halves),
    };

    return cmocka_run_group_tests_name("relay: tries of lanes", tests, NULL, NULL);
}
