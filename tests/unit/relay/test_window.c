/* The window: settling, storing, batches, rewinding. window_check runs after every step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "relay/window.h"

static struct window w;
static struct position at;

static int setup(void **state)
{
    struct position start = {0};

    (void)state;
    window_init(&w, 8);
    position_init(&at);
    str_set(&start.base, "1:1:");
    window_load(&w, &start);
    position_release(&start);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    window_release(&w);
    position_release(&at);
    return 0;
}

static uint64_t push(int64_t row_id)
{
    struct window_entry e = {.row_id = row_id, .bytes = 10};
    uint64_t seq = window_push(&w, &e);

    window_check(&w);
    return seq;
}

static void ack(uint64_t seq)
{
    window_ack(&w, seq);
    window_check(&w);
}

static void assert_position(const char *base, const char *target, int64_t last_id)
{
    window_position(&w, &at);
    assert_string_equal(str_text(&at.base), base);
    assert_string_equal(str_text(&at.target), target);
    assert_int_equal(at.last_id, last_id);
}

static void test_settles_the_prefix_only(void **state)
{
    uint64_t a, b, c;

    (void)state;
    window_begin_batch(&w, SLICE_LIT("2:2:"));
    a = push(10);
    b = push(11);
    c = push(12);
    ack(c);
    ack(b);
    assert_int_equal(w.settled, a);
    assert_position("1:1:", "2:2:", 0);
    ack(a);
    assert_int_equal(w.settled, c + 1);
    assert_position("1:1:", "2:2:", 12);
    assert_int_equal(w.in_flight, 0);
    assert_int_equal(w.in_flight_bytes, 0);
}

static void test_a_complete_batch_becomes_the_base(void **state)
{
    uint64_t a, b;

    (void)state;
    window_begin_batch(&w, SLICE_LIT("2:2:"));
    a = push(10);
    window_complete_batch(&w);
    window_begin_batch(&w, SLICE_LIT("3:3:"));
    b = push(5); /* an old id that was committed late: legal in a new batch */
    assert_position("1:1:", "2:2:", 0);
    ack(b);
    assert_position("1:1:", "2:2:", 0);
    ack(a);
    assert_position("2:2:", "3:3:", 5);
    window_complete_batch(&w);
    assert_position("3:3:", "", 0);
}

static void test_retarget(void **state)
{
    uint64_t a;

    (void)state;
    window_retarget(&w, SLICE_LIT("2:2:"));
    assert_string_equal(str_text(window_read_base(&w)), "2:2:");
    assert_position("2:2:", "", 0);
    window_begin_batch(&w, SLICE_LIT("3:3:"));
    a = push(1);
    window_complete_batch(&w);
    window_retarget(&w, SLICE_LIT("4:4:"));
    assert_string_equal(str_text(window_read_base(&w)), "4:4:");
    assert_position("2:2:", "4:4:", 0); /* the same rows stand between these two */
    ack(a);
    assert_position("4:4:", "", 0);
}

static void test_slots_are_free_when_stored(void **state)
{
    uint64_t last = 0;

    (void)state;
    window_begin_batch(&w, SLICE_LIT("2:2:"));
    for (int64_t i = 1; i <= 8; i++) {
        last = push(i);
        ack(last);
    }
    assert_int_equal(window_free(&w), 0);
    assert_true(window_is_dirty(&w));
    window_mark_stored(&w, w.settled - 3, w.version);
    assert_int_equal(window_free(&w), 5);
    (void)push(9); /* wraps around the ring */
    assert_int_equal(window_free(&w), 4);
}

static void test_rewind_reads_the_rest_again(void **state)
{
    uint64_t a, b;

    (void)state;
    window_begin_batch(&w, SLICE_LIT("2:2:"));
    a = push(10);
    b = push(11);
    (void)push(12);
    window_complete_batch(&w);
    window_begin_batch(&w, SLICE_LIT("3:3:"));
    (void)push(13);
    ack(a);
    window_refuse(&w, b);
    window_check(&w);
    assert_int_equal(window_rewind(&w), 3);
    window_check(&w);
    assert_int_equal(w.head, w.settled);
    assert_position("1:1:", "2:2:", 10);
    assert_non_null(window_open_batch(&w));
    assert_int_equal(window_open_batch(&w)->read_id, 10);
    ack(push(11));
    ack(push(12));
    window_complete_batch(&w);
    assert_position("2:2:", "", 0);
    assert_string_equal(str_text(window_read_base(&w)), "2:2:");
}

static void test_rewind_of_nothing_changes_nothing(void **state)
{
    (void)state;
    window_begin_batch(&w, SLICE_LIT("2:2:"));
    ack(push(10));
    assert_int_equal(window_rewind(&w), 0);
    window_check(&w);
    assert_position("1:1:", "2:2:", 10);
    assert_int_equal(window_open_batch(&w)->read_id, 10);
}

static void test_load_finishes_the_stored_target(void **state)
{
    struct position p = {0};

    (void)state;
    str_set(&p.base, "5:5:");
    str_set(&p.target, "9:9:7");
    p.last_id = 42;
    window_load(&w, &p);
    window_check(&w);
    assert_non_null(window_open_batch(&w));
    assert_int_equal(window_open_batch(&w)->read_id, 42);
    assert_false(window_is_dirty(&w));
    assert_position("5:5:", "9:9:7", 42);
    window_complete_batch(&w); /* nothing was left of it */
    assert_true(window_is_dirty(&w));
    assert_position("9:9:7", "", 0);
    position_release(&p);
}

static void pass(int64_t row_id)
{
    assert_true(window_pass(&w, row_id));
    window_check(&w);
}

/* With nothing in flight they are settled at once; else with what is before them. */
static void test_passed_rows_take_no_places(void **state)
{
    uint64_t first;
    uint64_t second;

    (void)state;
    window_begin_batch(&w, slice_of("100:100:"));
    for (int64_t id = 1; id <= 20; id++)
        pass(id);
    assert_int_equal(window_free(&w), 8);
    assert_position("1:1:", "100:100:", 20);
    first = push(21);
    for (int64_t id = 22; id <= 40; id++)
        pass(id);
    assert_int_equal(window_free(&w), 6);
    assert_true(window_is_alone(&w, first));
    second = push(41);
    assert_false(window_is_alone(&w, first));
    ack(second);
    assert_position("1:1:", "100:100:", 20);
    ack(first);
    assert_position("1:1:", "100:100:", 41);
    assert_int_equal(window_published(&w), 2);
    pass(42);
    window_complete_batch(&w);
    assert_position("100:100:", "", 0);
}

/* They belong to their batch, are forgotten by a rewind, and wait when there is no room. */
static void test_passed_rows_are_bounded_and_forgotten(void **state)
{
    uint64_t first;

    (void)state;
    window_begin_batch(&w, slice_of("100:100:"));
    first = push(1);
    pass(2);
    window_complete_batch(&w);
    window_begin_batch(&w, slice_of("200:200:"));
    pass(1);
    assert_int_equal(window_free(&w), 5);
    ack(first);
    assert_position("100:100:", "200:200:", 1);
    (void)push(2);
    for (int64_t id = 3; window_free(&w) > 0; id++)
        (void)push(id);
    assert_false(window_pass(&w, 90));
    window_check(&w);
    assert_int_equal(window_rewind(&w), 5);
    window_check(&w);
    assert_position("100:100:", "200:200:", 1);
    pass(2);
    assert_position("100:100:", "200:200:", 2);
}

static void test_random_walk(void **state)
{
    unsigned seed = 7;
    int64_t next = 1;

    (void)state;
    for (int i = 0; i < 20000; i++) {
        int what = rand_r(&seed) % 7;
        char snapshot[32];

        (void)snprintf(snapshot, sizeof snapshot, "%d:%d:", i + 2, i + 2);
        if (window_open_batch(&w) == NULL && window_has_batch_room(&w))
            window_begin_batch(&w, slice_of(snapshot));
        if (what <= 1 && window_free(&w) > 0 && window_open_batch(&w) != NULL)
            (void)push(next++);
        if (what == 2 && window_open_batch(&w) != NULL)
            window_complete_batch(&w);
        if (what == 3 && w.in_flight > 0) {
            uint64_t seq = w.settled + (uint64_t)rand_r(&seed) % (w.head - w.settled);

            if (window_at(&w, seq)->state == ENTRY_SENT)
                ack(seq);
        }
        if (what == 4)
            window_mark_stored(&w, w.settled, w.version);
        if (what == 6 && window_open_batch(&w) != NULL)
            (void)!window_pass(&w, next++);
        if (what == 5 && rand_r(&seed) % 20 == 0) {
            struct position before = {0};

            window_position(&w, &before);
            (void)window_rewind(&w);
            assert_position(str_text(&before.base), str_text(&before.target), before.last_id);
            position_release(&before);
        }
        window_check(&w);
    }
    assert_true(w.settled > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_settles_the_prefix_only, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_complete_batch_becomes_the_base, setup, teardown),
        cmocka_unit_test_setup_teardown(test_retarget, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slots_are_free_when_stored, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rewind_reads_the_rest_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rewind_of_nothing_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_load_finishes_the_stored_target, setup, teardown),
        cmocka_unit_test_setup_teardown(test_passed_rows_take_no_places, setup, teardown),
        cmocka_unit_test_setup_teardown(test_passed_rows_are_bounded_and_forgotten, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_random_walk, setup, teardown),
    };

    return cmocka_run_group_tests_name("relay/window", tests, NULL, NULL);
}
