/* The judge on planted faults, one by one. */
#include "judge_log.h"

static void assert_found(const struct judge_totals *t, int lost, int ghost, int inverted,
                         int duplicate)
{
    assert_int_equal(t->found[JUDGED_LOST], lost);
    assert_int_equal(t->found[JUDGED_GHOST], ghost);
    assert_int_equal(t->found[JUDGED_INVERTED], inverted);
    assert_int_equal(t->found[JUDGED_DUPLICATE], duplicate);
    assert_int_equal(finding_count, lost + ghost + inverted + duplicate);
}

static void nothing_is_clean(void **state)
{
    struct log *l = new_log(0);
    struct judge_totals t = judge(l, &PLAIN);

    (void)state;
    assert_found(&t, 0, 0, 0, 0);
    free(l);
}

static void duplicates_are_no_inversion(void **state)
{
    static const unsigned order[] = {1, 2, 3, 2, 3, 4, 1};
    struct log *l = new_log(4);
    struct judge_totals t;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(order); i++)
        (void)add_record(l, order[i], 0);
    t = judge(l, &PLAIN);
    assert_found(&t, 0, 0, 0, 3);
    assert_int_equal(t.rows, 4);
    assert_int_equal(t.records, 7);
    free(l);
}

static void each_fault_is_found(void **state)
{
    static const unsigned order[] = {1, 3, 2, 9, 5};
    struct log *l = new_log(5);
    struct judge_totals t;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(order); i++)
        (void)add_record(l, order[i], 0);
    t = judge(l, &PLAIN);
    assert_found(&t, 1, 1, 1, 0);
    assert_int_equal(findings[0].kind, JUDGED_LOST);
    assert_int_equal(findings[0].row_id, 4);
    assert_int_equal(findings[0].partition, -1);
    assert_int_equal(findings[1].kind, JUDGED_GHOST);
    assert_int_equal(findings[1].event_id[4], 9);
    assert_int_equal(findings[1].offset, 3);
    assert_int_equal(findings[2].kind, JUDGED_INVERTED);
    assert_int_equal(findings[2].row_id, 2);
    assert_int_equal(findings[2].behind_id, 3);
    assert_int_equal(findings[2].offset, 2);
    free(l);
}

/* Other keys, partitions and topics do not count for the order; what is not settled, given up, not
 * routed or not read need not be there. */
static void only_what_belongs_together_is_compared(void **state)
{
    struct log *l = new_log(0);
    struct judge_totals t;

    (void)state;
    (void)add_row(l, 1, "a");
    (void)add_row(l, 2, "b");
    (void)add_row(l, 3, "a");
    add_row(l, 4, "a")->state = ROW_UNSETTLED;
    add_row(l, 5, "a")->state = ROW_GIVEN_UP;
    add_row(l, 6, "a")->topic = ENTRY_NO_TOPIC;
    add_row(l, 7, "a")->topic = TOPICS; /* not read */
    (void)add_record(l, 2, 0);
    (void)add_record(l, 3, 1);
    (void)add_record(l, 1, 0);
    t = judge(l, &PLAIN);
    assert_found(&t, 0, 0, 0, 0);
    assert_int_equal(t.settled, 5);
    assert_int_equal(t.given_up, 1);
    assert_int_equal(t.no_topic, 1);
    assert_int_equal(t.other, 1);
    free(l);
}

static void a_record_in_another_topic_does_not_count(void **state)
{
    struct log *l = new_log(2);
    struct judge_totals t;

    (void)state;
    (void)add_record(l, 1, 0);
    add_record(l, 2, 0)->topic = 1;
    t = judge(l, &PLAIN);
    assert_found(&t, 1, 0, 0, 0);
    assert_int_equal(t.elsewhere, 1);
    free(l);
}

static void replays_are_counted_apart(void **state)
{
    struct log *l = new_log(3);
    struct judge_totals t;

    (void)state;
    add_record(l, 3, 0)->replayed = true; /* before its first occurrence */
    (void)add_record(l, 1, 0);
    add_record(l, 1, 0)->replayed = true;
    add_record(l, 2, 0)->replayed = true; /* its only one */
    (void)add_record(l, 3, 0);
    t = judge(l, &PLAIN);
    assert_found(&t, 0, 0, 0, 0);
    assert_int_equal(t.replayed, 3);
    assert_int_equal(t.by_replay_only, 1);
    free(l);
}

static void rows_may_come_twice(void **state)
{
    struct log *l = new_log(2);
    struct judge_totals t;

    (void)state;
    l->rows[2] = l->rows[0];
    l->row_count = 3;
    (void)add_record(l, 1, 0);
    t = judge(l, &PLAIN);
    assert_found(&t, 1, 0, 0, 0);
    assert_int_equal(t.rows, 2);
    free(l);
}

/* A writer chose the same event id twice. */
static void rows_that_share_an_id_need_as_many_records(void **state)
{
    struct log *l = new_log(0);
    struct judge_totals t;

    (void)state;
    for (int i = 0; i < 3; i++)
        (void)add_row(l, 1, "k");
    l->rows[1].state = ROW_UNSETTLED;
    (void)add_record(l, 1, 0);
    t = judge(l, &PLAIN);
    assert_found(&t, 1, 0, 0, 0);
    assert_int_equal(t.shared_id, 3);
    for (int i = 0; i < 3; i++)
        (void)add_record(l, 1, 0);
    t = judge(l, &PLAIN);
    assert_found(&t, 0, 0, 0, 1);
    free(l);
}

static void a_day_without_rows_excuses_its_records(void **state)
{
    struct log *l = new_log(1);
    struct judge_params shared = PLAIN;
    struct judge_params window = PLAIN;
    struct judge_totals t;

    (void)state;
    add_row(l, 2, "k")->created_us = T0 - DAY; /* seen, but its day is gone by the end */
    (void)add_record(l, 1, 0);
    (void)add_record(l, 2, 0);
    add_record(l, 3, 0)->event_us = T0 - DAY;
    add_record(l, 4, 0)->event_us = T0 + DAY - 1;
    add_record(l, 5, 0)->event_us = T0 + DAY;
    t = judge(l, &PLAIN);
    assert_found(&t, 0, 1, 0, 0);
    assert_int_equal(findings[0].event_id[4], 4);
    assert_int_equal(t.row_retired, 2);

    shared.ghosts = false;
    t = judge(l, &shared);
    assert_found(&t, 0, 0, 0, 0);
    assert_int_equal(t.strangers, 3);

    window.since_us = T0;
    window.until_us = T0 + DAY - 1;
    t = judge(l, &window);
    assert_found(&t, 0, 0, 0, 0);
    assert_int_equal(t.outside, 3);
    free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_clean),
        cmocka_unit_test(duplicates_are_no_inversion),
        cmocka_unit_test(each_fault_is_found),
        cmocka_unit_test(only_what_belongs_together_is_compared),
        cmocka_unit_test(a_record_in_another_topic_does_not_count),
        cmocka_unit_test(replays_are_counted_apart),
        cmocka_unit_test(rows_may_come_twice),
        cmocka_unit_test(rows_that_share_an_id_need_as_many_records),
        cmocka_unit_test(a_day_without_rows_excuses_its_records),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
