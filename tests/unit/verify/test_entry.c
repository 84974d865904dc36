/* What the judge stands on: the numbers of names, and entries as bytes that sort. */
#include "../../support/check.h"

#include "verify/entry.h"
#include "verify/names.h"

#include <stdio.h>

static void names_have_numbers(void **state)
{
    struct names n;

    (void)state;
    names_init(&n, 500);
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 500; i++) {
            char name[16];

            (void)snprintf(name, sizeof name, "n%d", i);
            assert_int_equal(names_number(&n, slice_of(name)), i);
        }
    assert_int_equal(names_number(&n, slice_of("one more")), -1);
    assert_int_equal(names_number(&n, slice_of("n7")), 7);
    assert_string_equal(n.text[499], "n499");
    names_release(&n);
}

static void entries_sort_as_they_should(void **state)
{
    static const int64_t offsets[] = {INT64_MIN, -1, 0, 1, 255, 256, INT64_MAX};
    unsigned char last[RECORD_ENTRY_BYTES] = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(offsets); i++) {
        struct record_entry e = {.topic = 3,
                                 .partition = 70000,
                                 .offset = offsets[i],
                                 .event_us = -offsets[i] / 2,
                                 .type = 65535,
                                 .replayed = i % 2 == 0};
        struct record_entry back;
        unsigned char bytes[RECORD_ENTRY_BYTES];

        record_entry_put(bytes, &e);
        assert_true(i == 0 || memcmp(last, bytes, sizeof bytes) < 0);
        memcpy(last, bytes, sizeof bytes);
        record_entry_get(bytes, &back);
        assert_int_equal(back.offset, e.offset);
        assert_int_equal(back.partition, 70000);
        assert_int_equal(back.event_us, e.event_us);
        assert_int_equal(back.type, 65535);
        assert_int_equal(back.replayed, e.replayed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_have_numbers),
        cmocka_unit_test(entries_sort_as_they_should),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
