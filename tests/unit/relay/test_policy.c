#include "relay/policy.h"

#include "relay/relay.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

static const enum refusal all[] = {
#define X(name, class) REFUSAL_##name,
    REFUSALS(X)
#undef X
};

static void every_refusal_has_its_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        const char *name = refusal_name(all[i]);

        assert_int_equal(all[i], i + 1);
        assert_true(name[0] != '\0' && strlen(name) < sizeof((struct trouble *)NULL)->cause);
        assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyz_"), strlen(name));
        assert_true(strlen(problem_advice(refusal_problem(all[i]))) > 10);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(name, refusal_name(all[j]));
    }
    assert_string_equal(refusal_name(REFUSAL_NONE), "");
    assert_string_equal(problem_advice(refusal_problem(REFUSAL_NONE)), "");
}

static void the_counters_have_room(void **state)
{
    (void)state;
    assert_true(ARRAY_LEN(all) < ARRAY_LEN(((struct relay_counters *)NULL)->recoveries_by_cause));
}

/* Names are what operators write alerts against; classes decide whether a relay waits or halts. */
static void names_and_classes(void **state)
{
    static const struct {
        enum refusal refusal;
        const char *name;
        enum refusal_class class;
    } want[] = {
        {REFUSAL_BROKER_UNREACHABLE, "broker_unreachable", REFUSAL_TRANSIENT},
        {REFUSAL_BROKER_ERROR, "broker_error", REFUSAL_TRANSIENT},
        {REFUSAL_NOT_ENOUGH_REPLICAS, "not_enough_replicas", REFUSAL_TRANSIENT},
        {REFUSAL_CLOCK_WRONG, "clock_wrong", REFUSAL_TRANSIENT},
        {REFUSAL_TOPIC_MISSING, "topic_missing", REFUSAL_TOPIC},
        {REFUSAL_TOPIC_FORBIDDEN, "topic_forbidden", REFUSAL_TOPIC},
        {REFUSAL_PARTITION_GONE, "partition_gone", REFUSAL_TOPIC},
        {REFUSAL_MESSAGE_TOO_LARGE, "message_too_large", REFUSAL_MESSAGE},
        {REFUSAL_MESSAGE_INVALID, "message_invalid", REFUSAL_MESSAGE},
        {REFUSAL_EVENT_INVALID, "event_invalid", REFUSAL_MESSAGE},
        {REFUSAL_EVENT_OVERSIZE, "event_oversize", REFUSAL_MESSAGE},
        {REFUSAL_AUTHENTICATION, "authentication", REFUSAL_SESSION},
        {REFUSAL_CLUSTER_FORBIDDEN, "cluster_forbidden", REFUSAL_SESSION},
        {REFUSAL_PRODUCER_FATAL, "producer_fatal", REFUSAL_SESSION},
        {REFUSAL_STALLED, "no_acknowledgement", REFUSAL_TRANSIENT},
    };

    (void)state;
    assert_int_equal(ARRAY_LEN(want), ARRAY_LEN(all));
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        assert_string_equal(refusal_name(want[i].refusal), want[i].name);
        assert_int_equal(refusal_class(want[i].refusal), want[i].class);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_refusal_has_its_words),
        cmocka_unit_test(the_counters_have_room),
        cmocka_unit_test(names_and_classes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
