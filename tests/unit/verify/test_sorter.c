/* The external sort against qsort: in memory, with spilled runs, with merged levels. */
#include "../../support/check.h"

#include "base/err.h"
#include "verify/sorter.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { ENTRY = 12 };

static uint64_t random_state = 1;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, ENTRY);
}

/* Few different values, so that there are equal ones, too. */
static unsigned char *random_entries(size_t count, unsigned different)
{
    unsigned char *all = calloc(count + 1, ENTRY);

    assert_non_null(all);
    for (size_t i = 0; i < count; i++)
        for (size_t b = 0; b < ENTRY; b++)
            all[i * ENTRY + b] = (unsigned char)(next_random() % different);
    return all;
}

static void sort_and_compare(size_t count, size_t memory, unsigned different)
{
    struct sorter *s = sorter_new(&(struct sorter_params){ENTRY, memory, "/tmp"});
    unsigned char *all = random_entries(count, different);
    const unsigned char *entry;
    struct err err;

    for (size_t i = 0; i < count; i++)
        assert_ok(sorter_put(s, all + i * ENTRY, &err), &err);
    qsort(all, count, ENTRY, compare);
    assert_ok(sorter_finish(s, &err), &err);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(sorter_next(s, &entry, &err), 1);
        assert_memory_equal(entry, all + i * ENTRY, ENTRY);
    }
    assert_int_equal(sorter_next(s, &entry, &err), 0);
    assert_int_equal(sorter_count(s), count);
    assert_int_equal(sorter_spilled_bytes(s) > 0, count * ENTRY > memory && count > 192);
    sorter_free(s);
    free(all);
}

static void small_ones_stay_in_memory(void **state)
{
    (void)state;
    for (size_t count = 0; count < 40; count++)
        sort_and_compare(count, 1 << 20, 256);
    sort_and_compare(50000, 1 << 20, 4);
}

static void what_does_not_fit_is_merged(void **state)
{
    (void)state;
    /* 192 entries of 12 bytes are the smallest memory */
    for (size_t count = 185; count < 200; count++)
        sort_and_compare(count, 192 * ENTRY, 256);
    sort_and_compare(192 * 31 + 5, 192 * ENTRY, 256); /* one level */
    sort_and_compare(192 * 32, 192 * ENTRY, 3);       /* its end */
    sort_and_compare(192 * 33 + 1, 192 * ENTRY, 256);
    sort_and_compare(192 * 32 * 33 + 77, 192 * ENTRY, 256); /* three levels */
    sort_and_compare(300000, 10000, 256);
}

static void a_folder_that_cannot_be_written_is_named(void **state)
{
    struct sorter *s = sorter_new(&(struct sorter_params){ENTRY, 192 * ENTRY, "/nowhere"});
    unsigned char entry[ENTRY] = {0};
    struct err err = {0};
    int rc = 0;

    (void)state;
    for (int i = 0; i < 200 && rc == 0; i++)
        rc = sorter_put(s, entry, &err);
    assert_int_equal(rc, -1);
    assert_int_equal(err.kind, ERR_SOFTWARE);
    assert_contains(err.text, "/nowhere");
    assert_contains(err.text, "TMPDIR");
    sorter_free(s);
    sorter_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_ones_stay_in_memory),
        cmocka_unit_test(what_does_not_fit_is_merged),
        cmocka_unit_test(a_folder_that_cannot_be_written_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
