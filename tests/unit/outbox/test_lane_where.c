/* A lane's filter as SQL, word for word: whatever a key or a pattern holds, it ends where its quote
 * ends, and a pattern means what it means in the routes. That it lets through what the lane covers
 * is shown on a server, in test_lane_reader. */
#include "../../support/check.h"

#include "outbox/lane_where.h"

static struct route_table routes;

static int set_up(void **state)
{
    (void)state;
    route_table_init(&routes);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    route_table_release(&routes);
    return 0;
}

static void add_route(const char *aggregate_type, const char *event_type, const char *topic)
{
    struct route *r = route_table_add(&routes);

    r->match_aggregate_type = aggregate_type == NULL ? NULL : xstrdup(aggregate_type);
    r->match_event_type = event_type == NULL ? NULL : xstrdup(event_type);
    r->topic = topic == NULL ? NULL : xstrdup(topic);
}

static void assert_where(const struct lane_filter *f, const char *expected)
{
    struct str sql = {0};

    lane_where(&sql, &routes, f);
    assert_string_equal(str_text(&sql), expected);
    str_release(&sql);
}

static void a_key_is_quoted(void **state)
{
    struct lane_filter f = {.by = LANE_BY_KEY, .topic = slice_of("t")};

    (void)state;
    f.key = slice_of("plain");
    assert_where(&f, "coalesce(e.partition_key, e.aggregate_id) = 'plain'");
    f.key = slice_of("it's; DROP TABLE x --");
    assert_where(&f, "coalesce(e.partition_key, e.aggregate_id) = 'it''s; DROP TABLE x --'");
    f.key = slice_of("\\'");
    assert_where(&f, "coalesce(e.partition_key, e.aggregate_id) =  E'\\\\'''");
    f.key = slice_of("");
    assert_where(&f, "coalesce(e.partition_key, e.aggregate_id) = ''");
}

#define OWN_TOPIC "CASE WHEN e.topic IS NOT NULL THEN e.topic"
#define DEFAULT   " ELSE e.aggregate_type || '-events' END = "

/* By partition, too: which one it is, the relay works out. */
static void a_topic_is_worked_out(void **state)
{
    struct lane_filter f = {
        .by = LANE_BY_TOPIC, .topic = slice_of("a'b"), .partition = 1, .partitions = 3};

    (void)state;
    assert_where(&f, OWN_TOPIC DEFAULT "'a''b'");
    f.by = LANE_BY_PARTITION;
    assert_where(&f, OWN_TOPIC DEFAULT "'a''b'");
}

static void routes_are_asked_in_their_order(void **state)
{
    struct lane_filter f = {.by = LANE_BY_TOPIC, .topic = slice_of("t")};

    (void)state;
    add_route("order", NULL, "orders");
    add_route("*", "paid.?", "{aggregate_type}-{event_type}");
    add_route(NULL, "x", NULL);
    assert_where(&f, OWN_TOPIC
                 " WHEN e.aggregate_type LIKE 'order' THEN "
                 "replace(replace('orders', '{aggregate_type}', e.aggregate_type), "
                 "'{event_type}', e.event_type)"
                 " WHEN e.aggregate_type LIKE '%' AND e.event_type LIKE 'paid._' THEN "
                 "replace(replace('{aggregate_type}-{event_type}', '{aggregate_type}', "
                 "e.aggregate_type), '{event_type}', e.event_type)"
                 " WHEN e.event_type LIKE 'x' THEN e.aggregate_type || '-events'" DEFAULT "'t'");
}

/* What LIKE takes for more than itself is escaped; the quote doubles the escape. */
static void patterns_hold_no_more_than_two_signs(void **state)
{
    struct lane_filter f = {.by = LANE_BY_TOPIC, .topic = slice_of("t")};

    (void)state;
    add_route("100%_a\\b*'", NULL, NULL);
    assert_where(&f, OWN_TOPIC " WHEN e.aggregate_type LIKE  E'100\\\\%\\\\_a\\\\\\\\b%''' THEN "
                               "e.aggregate_type || '-events'" DEFAULT "'t'");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    static const struct CMUnitTest tests[] = {
        TEST(a_key_is_quoted),
        TEST(a_topic_is_worked_out),
        TEST(routes_are_asked_in_their_order),
        TEST(patterns_hold_no_more_than_two_signs),
    };

    return cmocka_run_group_tests_name("outbox: a lane's filter as SQL", tests, NULL, NULL);
}
