/* The metrics' text: every line of the format 0.0.4, what is not known left out, and nothing in a
 * label that could break it. */
#include "picture.h"

#include "ops/latency.h"
#include "ops/metrics.h"

#include <ctype.h>
#include <stdio.h>

static struct picture picture;
static struct str text;

static int setup(void **state)
{
    (void)state;
    picture_init(&picture);
    text = (struct str){0};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    picture_release(&picture);
    str_release(&text);
    return 0;
}

static const char *write_it(void)
{
    str_reset(&text);
    metrics_write(&text, &picture.view);
    return str_text(&text);
}

/* The value behind "name " or "name{labels} " at the start of a line; NULL: there is none. */
static const char *value_of(const char *series)
{
    static char value[64];
    char wanted[256];
    const char *at;

    (void)snprintf(wanted, sizeof wanted, "\n%s ", series);
    at = strstr(write_it(), wanted);
    if (at == NULL)
        return NULL;
    (void)sscanf(at + strlen(wanted), "%63[^\n]", value);
    return value;
}

static void assert_value(const char *series, const char *wanted)
{
    const char *got = value_of(series);

    CHECK(got != NULL && strcmp(got, wanted) == 0, "%s is %s, not %s", series,
          got == NULL ? "absent" : got, wanted);
}

static void assert_left_out(const char *series)
{
    CHECK(value_of(series) == NULL, "%s is there: %s", series, value_of(series));
}

static void test_every_metric_has_its_lines_in_order(void **state)
{
    const char *at;

    (void)state;
    picture.view.problem = PROBLEM_TOPIC_MISSING; /* so that all are there */
    at = write_it();
    for (size_t i = 0; i < metrics_count(); i++) {
        struct metric m = metrics_at(i);
        char header[1024];

        (void)snprintf(header, sizeof header, "# HELP %s %s\n# TYPE %s %s\n%s", m.name, m.help,
                       m.name, metric_type_name(m.type), m.name);
        at = strstr(at, header);
        CHECK(at != NULL, "not there, or not in order: %s", header);
    }
    assert_int_equal(text.data[text.len - 1], '\n');
}

static void test_the_table_keeps_the_rules_of_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < metrics_count(); i++) {
        struct metric m = metrics_at(i);
        size_t len = strlen(m.name);
        bool total = len > 6 && strcmp(m.name + len - 6, "_total") == 0;

        assert_true(strncmp(m.name, "outboxd_", 8) == 0 || strncmp(m.name, "process_", 8) == 0);
        assert_true(total == (m.type == METRIC_COUNTER));
        assert_true(strlen(m.help) > 10 && strchr(m.help, '\n') == NULL);
        for (const char *p = m.name; *p != '\0'; p++)
            assert_true(islower((unsigned char)*p) || *p == '_');
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(m.name, metrics_at(k).name);
        assert_lacks(m.labels, "topic");
        assert_lacks(m.labels, "key");
        assert_lacks(m.labels, "event");
    }
}

static void test_values(void **state)
{
    (void)state;
    picture_route(&picture, "payments");
    picture.published[0] = 900;
    picture.published[1] = 100;
    picture.counters.wakeups[WAKEUP_NOTIFY] = 17;
    picture.counters.errors[PROBLEM_TOPIC_MISSING] = 3;
    picture.counters.recoveries_by_cause[REFUSAL_BROKER_ERROR] = 2;
    picture.counters.lanes_made = 21;
    picture.counters.lanes_merged = 22;
    picture.counters.lane_tries = 23;
    picture.counters.lane_events = 24;
    picture.counters.events_passed = 25;
    picture.counters.events_skipped = 26;
    picture.view.lanes = (struct relay_lanes){.waiting = 4, .for_person = 3, .flowing = 2};
    assert_value("outboxd_lanes_waiting", "4");
    assert_value("outboxd_lanes_for_person", "3");
    assert_value("outboxd_lanes_flowing", "2");
    picture.view.state = RELAY_STANDBY;
    assert_left_out("outboxd_lanes_waiting");
    picture.view.state = RELAY_LEADING;
    assert_value("outboxd_lanes_made_total", "21");
    assert_value("outboxd_lanes_merged_total", "22");
    assert_value("outboxd_lane_tries_total", "23");
    assert_value("outboxd_lane_events_published_total", "24");
    assert_value("outboxd_events_passed_total", "25");
    assert_value("outboxd_events_skipped_total", "26");
    assert_value("outboxd_ready", "1");
    assert_value("outboxd_leader", "1");
    assert_value("outboxd_epoch", "7");
    assert_value("outboxd_events_published_total{route=\"default\"}", "900");
    assert_value("outboxd_events_published_total{route=\"payments\"}", "100");
    assert_value("outboxd_bytes_published_total", "1048576");
    assert_value("outboxd_wakeups_total{cause=\"notify\"}", "17");
    assert_value("outboxd_errors_total{class=\"topic_missing\"}", "3");
    assert_value("outboxd_recoveries_total{cause=\"broker_error\"}", "2");
    assert_value("outboxd_reconnects_total{side=\"postgres\"}", "3");
    assert_value("outboxd_reconnects_total{side=\"kafka\"}", "4");
    assert_value("outboxd_unsent_events", "42");
    assert_value("outboxd_oldest_unsent_seconds", "3.25");
    assert_value("outboxd_lane_oldest_seconds", "61.5");
    assert_value("outboxd_oldest_transaction_seconds", "0");
    assert_value("outboxd_window_capacity_bytes", "33554432");
    assert_value("process_start_time_seconds", "1763877600.125");
    assert_value("outboxd_build_info{version=\"1.2.3\",relay=\"orders\",instance=\"host-1\"}", "1");
}

/* Its first increase would be missed if a counter appeared with it. */
static void test_what_can_be_counted_is_there_at_zero(void **state)
{
    (void)state;
    assert_value("outboxd_errors_total{class=\"database_unreachable\"}", "0");
    assert_value("outboxd_recoveries_total{cause=\"producer_fatal\"}", "0");
    assert_value("outboxd_wakeups_total{cause=\"backlog\"}", "0");
    assert_left_out("outboxd_errors_total{class=\"schema_missing\"}");
    assert_left_out("outboxd_errors_total{class=\"paused\"}");
    assert_left_out("outboxd_errors_total{class=\"\"}");
    picture.counters.errors[PROBLEM_SCHEMA_MISSING] = 1;
    assert_value("outboxd_errors_total{class=\"schema_missing\"}", "1");
}

static void test_what_is_not_known_is_left_out(void **state)
{
    (void)state;
    picture.view.backlog = (struct ops_backlog){0};
    picture.view.epoch = 0;
    picture.view.process.resident_bytes = 0;
    picture.view.process.open_fds = 0;
    assert_left_out("outboxd_unsent_events");
    assert_lacks(str_text(&text), "outboxd_unsent_events");
    assert_lacks(str_text(&text), "outboxd_oldest_unsent_seconds");
    assert_lacks(str_text(&text), "outboxd_lanes ");
    assert_lacks(str_text(&text), "outboxd_lane_oldest_seconds");
    assert_lacks(str_text(&text), "outboxd_backlog_age_seconds");
    assert_lacks(str_text(&text), "outboxd_epoch");
    assert_lacks(str_text(&text), "process_resident_memory_bytes");
    assert_lacks(str_text(&text), "process_open_fds");
    assert_lacks(str_text(&text), "nan");
    assert_value("process_cpu_seconds_total", "1.75");
}

static void test_the_present_trouble_alone(void **state)
{
    (void)state;
    (void)write_it();
    assert_lacks(str_text(&text), "\noutboxd_trouble{");
    picture.view.problem = PROBLEM_BROKER_UNREACHABLE;
    assert_value("outboxd_trouble{cause=\"broker_unreachable\"}", "1");
    assert_null(strstr(strstr(str_text(&text), "\noutboxd_trouble{") + 1, "\noutboxd_trouble{"));
}

static void test_one_line_for_routes_of_one_name(void **state)
{
    (void)state;
    picture_route(&picture, "a");
    picture_route(&picture, "default");
    picture.published[0] = 1;
    picture.published[2] = 4;
    assert_value("outboxd_events_published_total{route=\"default\"}", "5");
    assert_null(strstr(strstr(str_text(&text), "{route=\"default\"}") + 1, "{route=\"default\"}"));
}

static void test_labels_are_escaped(void **state)
{
    (void)state;
    picture.view.instance = "a\\b\"c\nd";
    assert_value(
        "outboxd_build_info{version=\"1.2.3\",relay=\"orders\",instance=\"a\\\\b\\\"c\\nd\"}", "1");
}

/* Buckets count up, the last one is the count. */
static void test_histogram(void **state)
{
    (void)state;
    picture.counters.latency_buckets[0] = 5;
    picture.counters.latency_buckets[1] = 3;
    picture.counters.latency_buckets[RELAY_LATENCY_BUCKETS] = 2;
    assert_value("outboxd_delivery_seconds_bucket{le=\"0.001\"}", "5");
    assert_value("outboxd_delivery_seconds_bucket{le=\"0.002\"}", "8");
    assert_value("outboxd_delivery_seconds_bucket{le=\"300\"}", "8");
    assert_value("outboxd_delivery_seconds_bucket{le=\"+Inf\"}", "10");
    assert_value("outboxd_delivery_seconds_count", "10");
    assert_value("outboxd_delivery_seconds_sum", "12.5");
}

/* ---- percentiles ---- */

static bool about(double a, double b)
{
    return a - b < 1e-9 && b - a < 1e-9;
}

static void test_percentiles(void **state)
{
    struct ops_latency l = {0};

    (void)state;
    assert_true(about(latency_quantile(&l, 0.5), -1));
    l.buckets[0] = 100; /* up to 1 ms */
    assert_true(about(latency_quantile(&l, 0.5), 0.0005));
    assert_true(about(latency_quantile(&l, 1), 0.001));
    l.buckets[2] = 100; /* 2 to 3 ms; nothing between 1 and 2 */
    assert_true(about(latency_quantile(&l, 0.5), 0.001));
    assert_true(about(latency_quantile(&l, 0.75), 0.0025));
    assert_true(about(latency_quantile(&l, 1), 0.003));
    l.buckets[RELAY_LATENCY_BUCKETS] = 1000;
    assert_true(about(latency_quantile(&l, 0.99), relay_latency_bounds[RELAY_LATENCY_BUCKETS - 1]));
    assert_int_equal(latency_count(&l), 1200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_metric_has_its_lines_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_table_keeps_the_rules_of_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_can_be_counted_is_there_at_zero, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_not_known_is_left_out, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_present_trouble_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_line_for_routes_of_one_name, setup, teardown),
        cmocka_unit_test_setup_teardown(test_labels_are_escaped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_histogram, setup, teardown),
        cmocka_unit_test(test_percentiles),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
