#include "sample.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- patterns
 * ----------------------------------------------------------------------------------------------------
 */

static void patterns(void **state)
{
    static const struct {
        const char *pattern;
        const char *text;
        bool match;
    } cases[] = {
        {"", "", true},
        {"", "a", false},
        {"*", "", true},
        {"*", "order", true},
        {"**", "order", true},
        {"?", "", false},
        {"?", "a", true},
        {"?", "ab", false},
        {"order", "order", true},
        {"order", "orders", false},
        {"order", "orde", false},
        {"Order", "order", false},
        {"order.*", "order.placed", true},
        {"order.*", "order.", true},
        {"order.*", "order", false},
        {"*.placed", "order.placed", true},
        {"*.placed", "order.placed.placed", true},
        {"*.placed", "order.placedx", false},
        {"*a*b*c", "xxaxxbxxc", true},
        {"*a*b*c", "xxaxxbxx", false},
        {"a*a", "a", false},
        {"a*a", "aa", true},
        {"*ab", "aab", true},
        {"*aab", "aaab", true},
        {"o?der", "order", true},
        {"??", "\xc3\xab\xe2\x98\x83", true}, /* two characters, five bytes */
        {"?", "\xe2\x98\x83", true},
        {"?\x83", "\xe2\x98\x83", false}, /* never half a character */
        {"*\x83", "\xe2\x98\x83", false},
        {"*\xe2\x98\x83", "a\xe2\x98\x83", true},
        {"[a-z]", "a", false}, /* no classes, no escapes */
        {"\\*", "\\abc", true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (pattern_matches(cases[i].pattern, slice_of(cases[i].text)) != cases[i].match)
            fail_msg("pattern \"%s\", text \"%s\": want %d", cases[i].pattern, cases[i].text,
                     cases[i].match);
    assert_true(pattern_matches("*", (struct slice){0}));
    assert_false(pattern_matches("a", SLICE_LIT("a\0b")));
    assert_true(pattern_matches("a?b", SLICE_LIT("a\0b")));
}

/* The naive recursion takes 2^28 steps and more here. */
static void many_stars_take_no_time(void **state)
{
    char text[4001];
    clock_t start = clock();

    (void)state;
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    for (int i = 0; i < 100; i++)
        assert_false(pattern_matches("a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", slice_of(text)));
    assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 5.0);
}

/* ---- topic names
 * -------------------------------------------------------------------------------------------------
 */

static void legal_topics(void **state)
{
    char longest[251];

    (void)state;
    assert_true(topic_name_is_legal(SLICE_LIT("a")));
    assert_true(topic_name_is_legal(SLICE_LIT("Order_Events-v2.eu")));
    assert_true(topic_name_is_legal(SLICE_LIT("...")));
    assert_false(topic_name_is_legal((struct slice){0}));
    assert_false(topic_name_is_legal(SLICE_LIT("")));
    assert_false(topic_name_is_legal(SLICE_LIT(".")));
    assert_false(topic_name_is_legal(SLICE_LIT("..")));
    assert_false(topic_name_is_legal(SLICE_LIT("a b")));
    assert_false(topic_name_is_legal(SLICE_LIT("a\0")));
    assert_false(topic_name_is_legal(SLICE_LIT("\xc3\xab")));
    memset(longest, 'x', sizeof longest);
    assert_true(topic_name_is_legal((struct slice){longest, 249}));
    assert_false(topic_name_is_legal((struct slice){longest, 250}));
}

static void templates(void **state)
{
    struct str out = {0};

    (void)state;
    topic_expand(&out, "x.{aggregate_type}.{event_type}.y", SLICE_LIT("order"),
                 SLICE_LIT("placed"));
    assert_slice(str_slice(&out), "x.order.placed.y");
    str_reset(&out);
    /* what is filled in is not looked at again */
    topic_expand(&out, "{aggregate_type}", SLICE_LIT("{event_type}"), SLICE_LIT("e"));
    assert_slice(str_slice(&out), "{event_type}");
    str_reset(&out);
    topic_expand(&out, "{}{aggregate_typ}{", SLICE_LIT("a"), SLICE_LIT("e"));
    assert_slice(str_slice(&out), "{}{aggregate_typ}{");
    str_release(&out);
}

static void template_check(void **state)
{
    struct err err = {0};

    (void)state;
    assert_int_equal(topic_template_check("orders", &err), 0);
    assert_int_equal(topic_template_check("{aggregate_type}.{event_type}", &err), 0);
    assert_int_equal(err.kind, ERR_NONE);
    assert_int_equal(topic_template_check("a.{aggregate}", &err), -1);
    assert_int_equal(err.kind, ERR_CONFIG);
    assert_string_equal(err.text, "\"a.{aggregate}\" has a brace that is no placeholder; known are "
                                  "{aggregate_type} and {event_type}");
    assert_int_equal(topic_template_check("order events", &err), -1);
    assert_string_equal(err.text,
                        "\"order events\" is no legal topic name (1 to 249 of a-z A-Z 0-9 "
                        ". _ -, and neither \".\" nor \"..\")");
    assert_int_equal(topic_template_check("", &err), -1);
}

static void allowed_topics(void **state)
{
    struct route_table t;

    (void)state;
    route_table_init(&t);
    assert_true(route_topic_allowed(&t, SLICE_LIT("anything")));
    route_table_allow(&t, "order-*");
    route_table_allow(&t, "payments");
    assert_true(route_topic_allowed(&t, SLICE_LIT("order-events")));
    assert_true(route_topic_allowed(&t, SLICE_LIT("payments")));
    assert_false(route_topic_allowed(&t, SLICE_LIT("payments2")));
    route_table_release(&t);
}

/* ---- routes
 * ------------------------------------------------------------------------------------------------------
 */

static struct route *add(struct route_table *t, const char *aggregate_type, const char *event_type)
{
    struct route *r = route_table_add(t);

    r->match_aggregate_type = aggregate_type == NULL ? NULL : xstrdup(aggregate_type);
    r->match_event_type = event_type == NULL ? NULL : xstrdup(event_type);
    return r;
}

static size_t find(const struct route_table *t, const char *aggregate_type, const char *event_type)
{
    struct event e = sample_event();

    e.aggregate_type = slice_of(aggregate_type);
    e.event_type = slice_of(event_type);
    return route_find(t, &e);
}

static void first_match_wins(void **state)
{
    struct route_table t;

    (void)state;
    route_table_init(&t);
    assert_int_equal(find(&t, "order", "order.placed"), 0);
    (void)add(&t, "order", "*.placed");
    (void)add(&t, "order", NULL);
    (void)add(&t, NULL, "*.placed");
    (void)add(&t, "ord*", "*");
    assert_int_equal(find(&t, "order", "order.placed"), 1);
    assert_int_equal(find(&t, "order", "order.paid"), 2);
    assert_int_equal(find(&t, "basket", "basket.placed"), 3);
    assert_int_equal(find(&t, "ordinal", "made"), 4);
    assert_int_equal(find(&t, "basket", "basket.emptied"), 0);
    route_table_release(&t);
}

static void defaults_of_a_route(void **state)
{
    struct route_table t;

    (void)state;
    route_table_init(&t);
    (void)route_table_add(&t);
    assert_int_equal(t.count, 2);
    for (size_t i = 0; i < t.count; i++) {
        const struct route *r = &t.routes[i];

        assert_string_equal(r->name, i == 0 ? "default" : "");
        assert_null(r->topic);
        assert_int_equal(r->format, FORMAT_ENVELOPE);
        assert_int_equal(r->on_error, ON_ERROR_PARK);
        assert_string_equal(r->fields.event_id, "eventId");
        assert_string_equal(r->fields.event_type, "eventType");
        assert_string_equal(r->fields.occurred_at, "occurredAt");
        assert_string_equal(r->fields.version, "version");
        assert_string_equal(r->fields.payload, "payload");
    }
    route_table_release(&t);
}

static void words(void **state)
{
    enum format f = FORMAT_RAW;
    enum on_error p = ON_ERROR_SKIP;

    (void)state;
    assert_string_equal(format_name(FORMAT_ENVELOPE), "envelope");
    assert_string_equal(format_name(FORMAT_RAW), "raw");
    assert_string_equal(on_error_name(ON_ERROR_HALT), "halt");
    assert_string_equal(on_error_name(ON_ERROR_PARK), "park");
    assert_string_equal(on_error_name(ON_ERROR_SKIP), "skip");
    assert_true(format_parse("envelope", &f));
    assert_int_equal(f, FORMAT_ENVELOPE);
    assert_true(format_parse("raw", &f));
    assert_int_equal(f, FORMAT_RAW);
    assert_false(format_parse("Envelope", &f));
    assert_false(format_parse("", &f));
    assert_int_equal(f, FORMAT_RAW);
    assert_true(on_error_parse("halt", &p));
    assert_int_equal(p, ON_ERROR_HALT);
    assert_true(on_error_parse("park", &p));
    assert_int_equal(p, ON_ERROR_PARK);
    assert_false(on_error_parse("drop", &p));
    assert_int_equal(p, ON_ERROR_PARK);
}

static uint64_t mark_of(const char *aggregate_type, const char *event_type, const char *topic)
{
    struct route_table t;
    struct route *r;
    uint64_t mark;

    route_table_init(&t);
    r = route_table_add(&t);
    r->match_aggregate_type = aggregate_type == NULL ? NULL : xstrdup(aggregate_type);
    r->match_event_type = event_type == NULL ? NULL : xstrdup(event_type);
    r->topic = topic == NULL ? NULL : xstrdup(topic);
    mark = route_table_mark(&t);
    r->format = FORMAT_RAW;
    r->on_error = ON_ERROR_SKIP;
    r->dead_letter_topic = xstrdup("dead");
    route_table_allow(&t, "orders");
    assert_true(route_table_mark(&t) == mark); /* these send nothing elsewhere */
    route_table_release(&t);
    return mark;
}

/* The mark of a table is stored, so that it may not change with the version. */
static void marks(void **state)
{
    const uint64_t all[] = {mark_of(NULL, NULL, NULL),    mark_of("order", NULL, NULL),
                            mark_of(NULL, "order", NULL), mark_of(NULL, NULL, "order"),
                            mark_of("", NULL, NULL),      mark_of("ord", "er", NULL),
                            mark_of("order", "", NULL),   mark_of("order", "", "")};
    struct route_table t;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        for (size_t j = 0; j < i; j++)
            assert_true(all[i] != all[j]);
    route_table_init(&t);
    assert_true(route_table_mark(&t) == UINT64_C(0xb393300cab9fecf2));
    route_table_release(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns),
        cmocka_unit_test(many_stars_take_no_time),
        cmocka_unit_test(legal_topics),
        cmocka_unit_test(templates),
        cmocka_unit_test(template_check),
        cmocka_unit_test(allowed_topics),
        cmocka_unit_test(first_match_wins),
        cmocka_unit_test(defaults_of_a_route),
        cmocka_unit_test(marks),
        cmocka_unit_test(words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
