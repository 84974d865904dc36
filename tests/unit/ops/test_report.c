/* /readyz and /status: every member that README.md names, null where nothing is known, and JSON
 * whatever a server's text holds. */
#include "picture.h"

#include "ops/report.h"

#include <jansson.h>

static struct picture picture;
static struct str text;
static json_t *doc;

static int setup(void **state)
{
    (void)state;
    picture_init(&picture);
    text = (struct str){0};
    doc = NULL;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    json_decref(doc);
    picture_release(&picture);
    str_release(&text);
    return 0;
}

static void parse(void (*report)(struct str *out, const struct ops_view *v))
{
    json_error_t error;

    str_reset(&text);
    report(&text, &picture.view);
    json_decref(doc);
    doc = json_loadb(text.data, text.len, 0, &error);
    CHECK(doc != NULL, "%s\n%s", error.text, str_text(&text));
}

/* "backlog.lanes" */
static json_t *member(const char *path)
{
    json_t *at = doc;
    char *copy = xstrdup(path);
    char *rest = NULL;

    for (char *word = strtok_r(copy, ".", &rest); word != NULL; word = strtok_r(NULL, ".", &rest))
        at = json_object_get(at, word);
    free(copy);
    CHECK(at != NULL, "no %s in %s", path, str_text(&text));
    return at;
}

#define assert_text(path, wanted)  assert_string_equal(json_string_value(member(path)), wanted)
#define assert_count(path, wanted) assert_int_equal(json_integer_value(member(path)), wanted)
#define assert_null_at(path)       assert_true(json_is_null(member(path)))
#define assert_number(path, wanted)                                                                \
    CHECK(json_number_value(member(path)) - (wanted) < 1e-6 &&                                     \
              (wanted)-json_number_value(member(path)) < 1e-6,                                     \
          "%s is %g", path, json_number_value(member(path)))

static void test_status_of_a_healthy_leader(void **state)
{
    (void)state;
    picture_route(&picture, "payments");
    picture.published[1] = 100;
    picture.view.rate_1s = 12.5;
    picture.view.last_minute.buckets[0] = 10;
    picture.view.last_minute.sum_s = 0.005;
    parse(report_status);
    assert_text("version", "1.2.3");
    assert_text("relay", "orders");
    assert_text("instance", "host-1");
    assert_text("state", "leading");
    assert_true(json_is_true(member("ready")));
    assert_true(json_is_true(member("leader")));
    assert_true(json_is_false(member("paused")));
    assert_true(json_is_false(member("halted")));
    assert_count("epoch", 7);
    assert_null_at("problem");
    assert_count("published.events", 1000);
    assert_count("published.routes.default", 0);
    assert_count("published.routes.payments", 100);
    assert_number("published.rate_1s", 12.5);
    assert_count("latency.last_minute.count", 10);
    assert_number("latency.last_minute.mean_seconds", 0.0005);
    assert_number("latency.last_minute.p50_seconds", 0.0005);
    assert_number("latency.last_minute.p99_seconds", 0.00099);
    assert_null_at("latency.since_start.p50_seconds");
    assert_count("window.events", 11);
    assert_count("window.bytes_capacity", 32 << 20);
    assert_count("backlog.unsent_events", 42);
    assert_number("backlog.oldest_unsent_seconds", 3.25);
    assert_number("backlog.oldest_lane_seconds", 61.5);
    assert_null_at("backlog.oldest_transaction_seconds");
    assert_true(json_is_false(member("backlog.default_partition_has_events")));
    assert_count("counters.reconnects.postgres", 3);
    assert_count("counters.wakeups.notify", 0);
    assert_int_equal(json_object_size(member("counters.errors")), 0);
    assert_count("process.open_fds", 33);
    assert_int_equal(json_array_size(member("notes")), 0);
}

static void test_status_of_a_halted_one(void **state)
{
    (void)state;
    picture.view.ready = false;
    picture.view.halted = true;
    picture.view.problem = PROBLEM_MESSAGE_TOO_LARGE;
    picture.view.problem_text = "Broker: Message size too large";
    picture.view.problem_topic = "order-events";
    picture.view.problem_event_id = "01a20665-e0f5-7c9c-adc0-d8d63534d522";
    picture.view.problem_for_s = 61;
    picture.view.attempts = 4;
    picture.view.next_try_s = 12.5;
    picture.counters.errors[PROBLEM_MESSAGE_TOO_LARGE] = 4;
    picture.view.note_count = 2;
    picture.view.notes[0] = (struct ops_note){1, "halted", "too large", 4};
    picture.view.notes[1] = (struct ops_note){99, "lease taken", "", 1};
    parse(report_status);
    assert_text("problem.word", "message_too_large");
    assert_text("problem.class", "person");
    assert_text("problem.what", problem_what(PROBLEM_MESSAGE_TOO_LARGE));
    assert_text("problem.todo", problem_advice(PROBLEM_MESSAGE_TOO_LARGE));
    assert_text("problem.topic", "order-events");
    assert_count("problem.attempts", 4);
    assert_number("problem.next_try_seconds", 12.5);
    assert_number("problem.since_seconds", 61);
    assert_count("counters.errors.message_too_large", 4);
    assert_int_equal(json_array_size(member("notes")), 2);
    assert_string_equal(
        json_string_value(json_object_get(json_array_get(member("notes"), 0), "error")),
        "too large");
    parse(report_not_ready);
    assert_true(json_is_false(member("ready")));
    assert_text("state", "leading");
    assert_text("problem", "message_too_large");
    assert_text("what", problem_what(PROBLEM_MESSAGE_TOO_LARGE));
    assert_text("todo", problem_advice(PROBLEM_MESSAGE_TOO_LARGE));
    assert_text("text", "Broker: Message size too large");
    assert_text("event_id", "01a20665-e0f5-7c9c-adc0-d8d63534d522");
}

static void test_what_is_not_known_is_null(void **state)
{
    (void)state;
    picture.view.backlog = (struct ops_backlog){0};
    picture.view.process.resident_bytes = 0;
    parse(report_status);
    assert_null_at("backlog");
    assert_null_at("process.resident_bytes");
    assert_null_at("latency.last_minute.mean_seconds");
}

/* On its way, nothing is wrong yet, and yet it is not ready. */
static void test_not_ready_without_a_problem(void **state)
{
    (void)state;
    picture.view.ready = false;
    picture.view.state = RELAY_OPENING;
    parse(report_not_ready);
    assert_text("state", "connecting");
    assert_text("problem", "");
    assert_null_at("next_try_seconds");
}

static void test_any_text_stays_json(void **state)
{
    (void)state;
    picture.view.problem = PROBLEM_DATABASE_ERROR;
    picture.view.problem_text = "\"quoted\" \x01 \xc3\xa4 \\";
    parse(report_not_ready);
    assert_text("text", "\"quoted\" \x01 \xc3\xa4 \\");
    picture.view.problem_text = "latin \xe4 1";
    parse(report_not_ready);
    assert_text("text", "latin ? 1");
    picture.view.rate_1s = 0.0 / (picture.view.rate_10s * 0);
    parse(report_status);
    assert_null_at("published.rate_1s");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_status_of_a_healthy_leader, setup, teardown),
        cmocka_unit_test_setup_teardown(test_status_of_a_halted_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_not_known_is_null, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_ready_without_a_problem, setup, teardown),
        cmocka_unit_test_setup_teardown(test_any_text_stays_json, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
