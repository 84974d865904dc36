/* The relay's notes as log lines, by a clock of the test's own: one per change of state, whatever
 * goes on for hours is folded, and its end is one line with the duration. stderr is a file
 * meanwhile. */
#include "../../support/check.h"

#include "app/notes.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECOND 1000U
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)

static struct notes notes;
static struct err failure;
static struct notes_facts facts = {.state = RELAY_LEADING, .epoch = 7, .failure = &failure};
static uint64_t now;
static FILE *log_file;
static int real_stderr;

static int set_up(void **state)
{
    (void)state;
    notes_init(&notes, "orders");
    err_clear(&failure);
    now = 1000 * HOUR;
    (void)fflush(stderr);
    log_file = tmpfile();
    assert_non_null(log_file);
    real_stderr = dup(STDERR_FILENO);
    assert_true(dup2(fileno(log_file), STDERR_FILENO) >= 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    (void)dup2(real_stderr, STDERR_FILENO);
    (void)close(real_stderr);
    (void)fclose(log_file);
    return 0;
}

/* The lines since the last call. */
static char lines[1 << 20];

static const char *take_lines(void)
{
    size_t len;

    (void)fseek(log_file, 0, SEEK_SET);
    len = fread(lines, 1, sizeof lines - 1, log_file);
    assert_true(len < sizeof lines - 1);
    lines[len] = '\0';
    assert_int_equal(ftruncate(fileno(log_file), 0), 0);
    (void)fseek(log_file, 0, SEEK_SET);
    (void)lseek(STDERR_FILENO, 0, SEEK_SET);
    return lines;
}

static int count(const char *part)
{
    return occurrences(lines, part);
}

static void note(enum relay_note which, const struct trouble *t)
{
    notes_log(&notes, &facts, which, t, now);
}

static void lost(enum problem problem, const char *text)
{
    (void)err_problem(&failure, ERR_UNAVAILABLE, problem, "%s", text);
    note(RELAY_NOTE_LOST, NULL);
    err_clear(&failure);
}

static struct trouble trouble_of(const char *cause)
{
    struct trouble t = {.attempts = 1};

    (void)snprintf(t.cause, sizeof t.cause, "%s", cause);
    (void)snprintf(t.text, sizeof t.text, "text of %s", cause);
    return t;
}

static void a_line_says_what_and_what_to_do(void **state)
{
    struct trouble t = trouble_of("topic_missing");

    (void)state;
    (void)snprintf(t.topic, sizeof t.topic, "order-events");
    note(RELAY_NOTE_RECOVERING, &t);
    (void)take_lines();
    assert_int_equal(count("\n"), 1);
    assert_contains(lines, "level=warn");
    assert_contains(lines, "problem=topic_missing");
    assert_contains(lines, "error=\"text of topic_missing\"");
    assert_contains(lines, "topic=order-events");
    assert_contains(lines, problem_advice(PROBLEM_TOPIC_MISSING));
    assert_lacks(lines, "for_s=");
    lost(PROBLEM_DATABASE_FULL, "too many");
    (void)take_lines();
    assert_contains(lines, "problem=database_full");
    assert_contains(lines, problem_advice(PROBLEM_DATABASE_FULL));
    assert_lacks(lines, "topic_missing");
}

/* What ends `run` is told by its last line, and nowhere else. */
static void the_end_is_left_to_the_last_line(void **state)
{
    (void)state;
    (void)err_problem(&failure, ERR_CONFIG, PROBLEM_SCHEMA_MISSING, "none");
    note(RELAY_NOTE_FATAL, NULL);
    assert_string_equal(take_lines(), "");
}

static void an_hour_without_the_database(void **state)
{
    uint64_t end = now + HOUR;

    (void)state;
    while (now < end) {
        lost(PROBLEM_DATABASE_UNREACHABLE,
             now / 5000 % 2 == 0 ? "Connection refused" : "the database system is starting up");
        now += 5000;
    }
    (void)take_lines();
    /* at once, after 1 minute, after 11; the next would come after 71 */
    assert_int_equal(count("database lost"), 3);
    assert_int_equal(count("for_s=60 "), 1);
    assert_int_equal(count("for_s=660 "), 1);
    note(RELAY_NOTE_CONNECTED, NULL);
    (void)take_lines();
    assert_int_equal(count("\n"), 1);
    assert_contains(lines, "level=info");
    assert_contains(lines, "for_s=3600 ");
    assert_contains(lines, "after=database_unreachable");
    assert_contains(lines, "repeated=587"); /* of 720 notes those since the last line */
}

static void an_hour_without_brokers(void **state)
{
    struct trouble down = trouble_of("broker_unreachable");
    struct trouble stalled = trouble_of("no_acknowledgement");
    uint64_t end = now + HOUR;

    (void)state;
    while (now < end) {
        note(RELAY_NOTE_STALLED, &down);
        note(RELAY_NOTE_STALLED, &stalled);
        note(RELAY_NOTE_RECOVERING, &down);
        now += 15000;
    }
    (void)take_lines();
    /* three things are new at the beginning, then two reminders */
    assert_int_equal(count("\n"), 5);
    note(RELAY_NOTE_RECOVERED, NULL);
    (void)take_lines();
    assert_int_equal(count("\n"), 1);
    assert_contains(lines, "publishing again");
    assert_contains(lines, "for_s=3600 ");
}

static void another_event_is_news(void **state)
{
    struct trouble t = trouble_of("message_too_large");

    (void)state;
    for (int i = 0; i < 5; i++) {
        (void)snprintf(t.event_id, sizeof t.event_id, "event-%d", i);
        note(RELAY_NOTE_HALTED, &t);
        now += 30000;
        note(RELAY_NOTE_HALTED, &t);
        (void)take_lines();
        assert_int_equal(count("\n"), 1);
        assert_contains(lines, "level=error");
        assert_contains(lines, t.event_id);
    }
}

/* A new lease begins without the trouble that the one before had: what comes then is new. */
static void a_lease_forgets(void **state)
{
    struct trouble t = trouble_of("broker_unreachable");

    (void)state;
    note(RELAY_NOTE_STALLED, &t);
    now += 10 * MINUTE;
    note(RELAY_NOTE_LEADING, NULL);
    now += 10 * MINUTE;
    (void)take_lines();
    note(RELAY_NOTE_STALLED, &t);
    (void)take_lines();
    assert_int_equal(count("no acknowledgement"), 1);
    now += 10 * MINUTE;
    note(RELAY_NOTE_RECOVERED, NULL);
    (void)take_lines();
    assert_contains(lines, "for_s=600");
}

/* A database that takes connections and refuses the first write: three notes a second, for hours.
 */
static void what_comes_and_goes_is_told_sparingly(void **state)
{
    uint64_t end = now + HOUR;

    (void)state;
    while (now < end) {
        lost(PROBLEM_DATABASE_STANDBY, "cannot execute UPDATE in a read-only transaction");
        note(RELAY_NOTE_CONNECTED, NULL);
        note(RELAY_NOTE_LEADING, NULL);
        now += 1000;
        notes_tick(&notes, &facts, now);
    }
    (void)take_lines();
    CHECK(count("\n") <= 40, "%d lines", count("\n"));
    assert_in_range(count("connected to the database"), 11, 16);
    assert_int_equal(count("database lost"), 3);

    /* it stays: that is told once more, with all that was not */
    for (int i = 0; i < 120; i++) {
        now += 1000;
        notes_tick(&notes, &facts, now);
    }
    (void)take_lines();
    assert_int_equal(count("\n"), 1);
    assert_contains(lines, "lease taken");
    assert_contains(lines, "repeated=");

    /* a day later it is as if nothing had been */
    now += 24 * HOUR;
    lost(PROBLEM_DATABASE_STANDBY, "cannot execute UPDATE in a read-only transaction");
    (void)take_lines();
    assert_int_equal(count("\n"), 1);
    assert_lacks(lines, "for_s");
}

static struct trouble trouble_of_lane(uint32_t lane)
{
    return (struct trouble){.cause = "message_too_large",
                            .text = "it is big",
                            .event_id = "0190c2de-7b1a-7c3e-9f7d-1f2e3d4c5b6a",
                            .row_id = 42,
                            .topic = "order-events",
                            .attempts = 1,
                            .lane = lane,
                            .lane_by = LANE_BY_KEY};
}

/* With what is particular of the lane, apart from the relay's own trouble. */
static void lanes_have_lines_of_their_own(void **state)
{
    struct trouble t = trouble_of_lane(3);
    struct trouble other = trouble_of_lane(4);

    (void)state;
    note(RELAY_NOTE_PARKED, &t);
    (void)take_lines();
    assert_int_equal(count("level=warn"), 1);
    assert_int_equal(count(" lane=3 by=key problem=message_too_large error=\"it is big\""), 1);
    assert_int_equal(count(" row_id=42"), 1);
    for (int i = 0; i < 1200; i++, now += 3 * SECOND)
        note(RELAY_NOTE_LANE_TRIED, &t);
    (void)take_lines();
    /* the first, after 1 minute, after 11; the next would come after 71 */
    assert_int_equal(count("a lane was tried in vain"), 3);
    assert_int_equal(count(" for_s=60 repeated=19"), 1);
    assert_int_equal(count(" for_s=660 repeated=199"), 1);
    (void)snprintf(t.cause, sizeof t.cause, "topic_missing");
    note(RELAY_NOTE_LANE_TRIED, &t); /* something else: news */
    note(RELAY_NOTE_LANE_TRIED, &other);
    note(RELAY_NOTE_LANE_TRIED, &other);
    (void)take_lines();
    assert_int_equal(count("\n"), 2);
    assert_int_equal(count(" lane=3 by=key problem=topic_missing"), 1);
    assert_int_equal(count(" lane=4 by=key problem=message_too_large"), 1);
    t.cause[0] = t.text[0] = '\0';
    note(RELAY_NOTE_LANE_FLOWS, &t);
    (void)take_lines();
    assert_int_equal(count("level=info"), 1);
    assert_int_equal(count(" lane=3 by=key"), 1);
    assert_int_equal(count(" after=topic_missing for_s=3600"), 1);
    assert_int_equal(count("problem="), 0);
    now += MINUTE;
    note(RELAY_NOTE_LANE_MERGED, &t);
    (void)take_lines();
    assert_int_equal(count(" for_s=3660"), 1);
    note(RELAY_NOTE_LANE_MERGED, &t); /* of which nothing is known */
    note(RELAY_NOTE_RECOVERED, NULL); /* no trouble of the relay's was open */
    (void)take_lines();
    assert_int_equal(count("\n"), 2);
    assert_int_equal(count("for_s="), 0);
}

/* Whatever their number, ten lines of a kind in ten minutes, and then one. */
static void many_lanes_are_told_sparingly(void **state)
{
    (void)state;
    for (uint32_t lane = 1; lane <= 256; lane++) {
        struct trouble t = trouble_of_lane(lane);

        note(RELAY_NOTE_PARKED, &t);
    }
    (void)take_lines();
    assert_int_equal(count("set aside"), 10);
    for (int i = 0; i < 1200; i++, now += 3 * SECOND) {
        struct trouble t = trouble_of_lane((uint32_t)i % 256 + 1);

        note(RELAY_NOTE_LANE_TRIED, &t);
    }
    (void)take_lines();
    assert_int_equal(count("\n"), 10 + 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_line_says_what_and_what_to_do, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_end_is_left_to_the_last_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_hour_without_the_database, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_hour_without_brokers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_event_is_news, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_lease_forgets, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_comes_and_goes_is_told_sparingly, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lanes_have_lines_of_their_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_lanes_are_told_sparingly, set_up, tear_down),
    };

    log_setup(LOG_INFO, LOG_LOGFMT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
