/* The protocol, walked through completely within small bounds: it keeps its promises in every
 * state, and each way of breaking it that somebody might think of breaks one. MODEL=large takes
 * bounds of some millions of states (`make model`). */
#include "../support/check.h"

#include "explore.h"

#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_STATES (16U * 1000 * 1000)

static bool large(void)
{
    const char *text = getenv("MODEL");

    return text != NULL && strcmp(text, "large") == 0;
}

static const struct bounds small_bounds[] = {
    {.keys = "ABA", .one_partition = true, .poison = 1, .rivals = 1},
    {.keys = "AAA", .one_partition = true, .poison = 2, .crashes = 1, .refusals = 1},
    {.keys = "AAA", .one_partition = true, .poison = 2, .crashes = 1, .rivals = 1},
    {.keys = "AAB", .poison = 2, .crashes = 1},
    {.keys = "AA", .poison = 1, .rivals = 1, .skips = true},
    {.keys = "AB", .batches = true, .poison = 1, .refusals = 1, .wide = true},
    {.keys = "ABA", .batches = true, .poison = 1, .crashes = 1, .folds = 1},
    {.keys = "BA", .poison = 2, .rivals = 1, .halts = true},
};

static const struct bounds large_bounds[] = {
    {.keys = "ABA", .one_partition = true, .poison = 1, .crashes = 1, .rivals = 1},
    {.keys = "AA", .poison = 1, .crashes = 1, .rivals = 1, .skips = true},
    {.keys = "ABA", .one_partition = true, .poison = 1, .crashes = 1, .rivals = 1, .refusals = 1},
    {.keys = "AAB", .one_partition = true, .poison = 2, .crashes = 1, .rivals = 1, .refusals = 1},
    {.keys = "AAB", .one_partition = true, .poison = 1, .rivals = 1, .skips = true},
    {.keys = "ABAB", .one_partition = true, .poison = 1, .rivals = 1},
    {.keys = "AAAA", .one_partition = true, .poison = 3, .rivals = 1, .refusals = 1},
    {.keys = "AAB", .poison = 2, .crashes = 1, .rivals = 1},
    {.keys = "ABAB", .poison = 2, .rivals = 1},
    {.keys = "AAB", .batches = true, .poison = 1, .refusals = 1, .wide = true},
    {.keys = "AB", .batches = true, .poison = 1, .crashes = 1, .refusals = 1, .wide = true},
    {.keys = "ABA", .batches = true, .poison = 1, .rivals = 1},
    {.keys = "ABA", .one_partition = true, .poison = 1, .rivals = 1, .refusals = 1, .wide = true},
    {.keys = "AB", .poison = 1, .crashes = 1, .wide = true, .skips = true},
    {.keys = "AAB", .poison = 1, .crashes = 1, .rivals = 1, .folds = 1},
    {.keys = "ABA", .poison = 2, .crashes = 1, .rivals = 1, .halts = true},
};

static void print_bounds(const struct bounds *b, const struct finding *f)
{
    print_message("%s in %s%s: poison %u, crashes %u, rivals %u, refusals %u%s%s%s, folds %u: %zu "
                  "states, %zu steps\n",
                  b->keys, b->one_partition ? "one partition" : "two partitions",
                  b->batches ? ", in batches" : "", b->poison, b->crashes, b->rivals, b->refusals,
                  b->skips ? ", skips" : "", b->wide ? ", wide lanes" : "",
                  b->halts ? ", halts" : "", b->folds, f->states, f->steps);
}

static void assert_holds(const struct bounds *b)
{
    struct finding f;

    explore(b, MAX_STATES, &f);
    print_bounds(b, &f);
    CHECK(!f.too_many, "more than %u states: the bounds are too wide", MAX_STATES);
    CHECK(f.broken == NULL, "%s:\n%s", f.broken, f.story);
    CHECK(f.states > 1000, "%zu states: that cannot be all", f.states);
    finding_release(&f);
}

static void test_every_promise_holds(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(small_bounds); i++)
        assert_holds(&small_bounds[i]);
}

static void test_within_large_bounds(void **state)
{
    (void)state;
    for (size_t i = 0; large() && i < ARRAY_LEN(large_bounds); i++)
        assert_holds(&large_bounds[i]);
}

/* The smallest bounds within which each defect shows. */
static const struct {
    struct bounds bounds;
    const char *broken; /* what it must come to, in part */
} defects[] = {
    {{.keys = "A", .one_partition = true, .defect = DEFECT_SETTLE_EARLY}, "lost"},
    {{.keys = "A", .one_partition = true, .refusals = 1, .defect = DEFECT_SKIP_REFUSED}, "lost"},
    {{.keys = "AAA", .one_partition = true, .refusals = 1, .defect = DEFECT_REQUEUE}, "order"},
    {{.keys = "AAA", .one_partition = true, .defect = DEFECT_TIME_OUT}, "order"},
    {{.keys = "ABA", .batches = true, .poison = 1, .rivals = 1, .defect = DEFECT_NO_CAS}, "lost"},
    {{.keys = "AAA", .one_partition = true, .refusals = 1, .defect = DEFECT_SPLIT_ABOVE}, "lost"},
    {{.keys = "AA", .one_partition = true, .refusals = 1, .defect = DEFECT_MERGE_BEHIND}, "lost"},
    {{.keys = "AA", .one_partition = true, .poison = 1, .defect = DEFECT_MERGE_AT_ONCE},
     "for ever"},
    {{.keys = "AAB",
      .batches = true,
      .refusals = 2,
      .wide = true,
      .defect = DEFECT_NARROW_UNDER_WIDE},
     "lost"},
    {{.keys = "AB", .refusals = 2, .wide = true, .defect = DEFECT_NARROW_AT_MAIN}, "lost"},
    {{.keys = "AB", .refusals = 1, .crashes = 1, .folds = 1, .defect = DEFECT_FOLD_AT_MAIN},
     "lost"},
    {{.keys = "BA", .poison = 2, .halts = true, .defect = DEFECT_GIVE_UP_BEFORE}, "lost"},
    {{.keys = "AA", .poison = 1, .skips = true, .defect = DEFECT_SKIP_AHEAD}, "lost"},
    {{.keys = "ABA", .batches = true, .poison = 1, .rivals = 1, .defect = DEFECT_READ_OUTSIDE},
     "lost"},
    {{.keys = "AA", .one_partition = true, .refusals = 1, .defect = DEFECT_NOT_OPENED}, "order"},
};

static void test_every_defect_is_found(void **state)
{
    (void)state;
    assert_int_equal(ARRAY_LEN(defects), DEFECT_COUNT - 1);
    for (size_t i = 0; i < ARRAY_LEN(defects); i++) {
        const struct bounds *b = &defects[i].bounds;
        struct bounds sound = *b;
        struct finding f;

        explore(b, MAX_STATES / 8, &f);
        if (f.broken == NULL) {
            fail_msg("%s: not found in %zu states", defect_text(b->defect), f.states);
            return;
        }
        print_message("%s: %s\n%s", defect_text(b->defect), f.broken, f.story);
        CHECK(strstr(f.broken, defects[i].broken) != NULL, "expected: %s", defects[i].broken);
        finding_release(&f);
        sound.defect = DEFECT_NONE;
        explore(&sound, MAX_STATES / 8, &f);
        CHECK(f.broken == NULL && !f.too_many, "broken without it, too: %s", f.broken);
        finding_release(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_promise_holds),
        cmocka_unit_test(test_every_defect_is_found),
        cmocka_unit_test(test_within_large_bounds),
    };

    return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
