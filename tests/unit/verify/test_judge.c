/* The judge on planted faults, one by one, and on random logs against a naive judge that keeps
 * everything in memory and looks at every pair. */
#include "../../support/check.h"

#include "base/err.h"
#include "verify/judge.h"
#include "verify/names.h"

#include <stdio.h>
#include <stdlib.h>

#define DAY INT64_C(86400000000)
#define T0  (20000 * DAY)

enum { TOPICS = 3, PARTITIONS = 2, MAX_EVENTS = 1200, MAX_FINDINGS = 4000 };

static struct judged_event findings[MAX_FINDINGS];
static size_t finding_count;

static void note(void *ctx, const struct judged_event *e)
{
    (void)ctx;
    assert_true(finding_count < MAX_FINDINGS);
    findings[finding_count++] = *e;
}

/* A log: rows, and records in the order of each partition's offsets. */
struct log {
    struct row_entry rows[MAX_EVENTS];
    struct record_entry records[MAX_EVENTS];
    size_t row_count;
    size_t record_count;
    int64_t next[TOPICS][PARTITIONS];
};

static void set_id(uint8_t id[16], unsigned number)
{
    memset(id, 0, 16);
    id[3] = (uint8_t)(number >> 8);
    id[4] = (uint8_t)number;
}

static struct row_entry *add_row(struct log *l, unsigned number, const char *key)
{
    struct row_entry *r = &l->rows[l->row_count++];

    *r = (struct row_entry){.id = (int64_t)l->row_count,
                            .created_us = T0,
                            .key = key_digest_of(key, strlen(key)),
                            .state = ROW_SETTLED};
    set_id(r->event_id, number);
    return r;
}

static struct record_entry *add_record(struct log *l, unsigned number, int32_t partition)
{
    struct record_entry *r = &l->records[l->record_count++];

    *r = (struct record_entry){
        .partition = partition, .offset = l->next[0][partition]++, .event_us = T0};
    set_id(r->event_id, number);
    return r;
}

/* Every topic whole. */
static struct judge_totals judge(const struct log *l, const struct judge_params *params)
{
    struct judge *j = judge_new(params);
    struct judge_totals totals;
    struct coverage coverage;
    const int32_t *days;
    bool left[16];
    struct err err;

    finding_count = 0;
    coverage_init(&coverage);
    for (int t = 0; t < TOPICS; t++) {
        coverage_topic(&coverage, (uint16_t)t, PARTITIONS);
        for (int32_t p = 0; p < PARTITIONS; p++)
            coverage_partition(&coverage, (uint16_t)t, p, 0, 0, 0);
    }
    coverage_finish(&coverage);
    for (size_t i = 0; i < l->row_count; i++)
        assert_ok(judge_row(j, &l->rows[i], &err), &err);
    for (size_t i = 0; i < l->record_count; i++)
        assert_ok(judge_record(j, &l->records[i], &err), &err);
    for (size_t i = 0; i < judge_days(j, &days); i++)
        left[i] = days[i] == 20000;
    judge_days_left(j, left);
    assert_ok(judge_run(j, &coverage, &totals, &err), &err);
    judge_free(j);
    coverage_release(&coverage);
    return totals;
}

static const struct judge_params PLAIN = {.memory_bytes = 1 << 20,
                                          .folder = "/tmp",
                                          .since_us = INT64_MIN,
                                          .until_us = INT64_MAX,
                                          .ghosts = true,
                                          .found = note};

static void assert_found(const struct judge_totals *t, int lost, int ghost, int inverted,
                         int duplicate)
{
    assert_int_equal(t->found[JUDGED_LOST], lost);
    assert_int_equal(t->found[JUDGED_GHOST], ghost);
    assert_int_equal(t->found[JUDGED_INVERTED], inverted);
    assert_int_equal(t->found[JUDGED_DUPLICATE], duplicate);
    assert_int_equal(finding_count, lost + ghost + inverted + duplicate);
}

static struct log *new_log(unsigned rows)
{
    struct log *l = calloc(1, sizeof *l);

    assert_non_null(l);
    for (unsigned n = 1; n <= rows; n++)
        (void)add_row(l, n, "k");
    return l;
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

/* ---- against a naive judge ------------------------------------------------------------------- */

static uint64_t random_state;

static unsigned pick(unsigned n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)((random_state >> 20) % n);
}

static const struct row_entry *naive_row(const struct log *l, const uint8_t id[16])
{
    for (size_t i = 0; i < l->row_count; i++)
        if (memcmp(l->rows[i].event_id, id, 16) == 0)
            return &l->rows[i];
    return NULL;
}

static bool is_before(const struct record_entry *a, const struct record_entry *b)
{
    return a->partition < b->partition || (a->partition == b->partition && a->offset < b->offset);
}

static bool counts_for(const struct record_entry *r, const struct row_entry *row)
{
    return !r->replayed && r->topic == row->topic && memcmp(r->event_id, row->event_id, 16) == 0;
}

/* The first record of its row in its partition? */
static bool naive_first(const struct log *l, const struct record_entry *r,
                        const struct row_entry *row)
{
    for (size_t i = 0; i < l->record_count; i++)
        if (counts_for(&l->records[i], row) && l->records[i].partition == r->partition &&
            l->records[i].offset < r->offset)
            return false;
    return counts_for(r, row);
}

static bool naive_inverted(const struct log *l, const struct record_entry *r,
                           const struct row_entry *row)
{
    for (size_t i = 0; i < l->record_count; i++) {
        const struct record_entry *o = &l->records[i];
        const struct row_entry *other = naive_row(l, o->event_id);

        if (other != NULL && other->id > row->id && other->key.hash == row->key.hash &&
            o->topic == r->topic && o->partition == r->partition && o->offset < r->offset &&
            naive_first(l, o, other))
            return true;
    }
    return false;
}

static void naive_judge(const struct log *l, int64_t found[JUDGED_COUNT])
{
    memset(found, 0, sizeof(int64_t) * JUDGED_COUNT);
    for (size_t i = 0; i < l->row_count; i++) {
        bool there = l->rows[i].state != ROW_SETTLED || l->rows[i].topic == ENTRY_NO_TOPIC;
        bool replayed = false;

        for (size_t r = 0; r < l->record_count; r++) {
            there = there || counts_for(&l->records[r], &l->rows[i]);
            replayed =
                replayed || (l->records[r].replayed && l->records[r].topic == l->rows[i].topic &&
                             memcmp(l->records[r].event_id, l->rows[i].event_id, 16) == 0);
        }
        found[JUDGED_LOST] += !there && !replayed;
    }
    for (size_t i = 0; i < l->record_count; i++) {
        const struct record_entry *r = &l->records[i];
        const struct row_entry *row = naive_row(l, r->event_id);
        bool further = false;

        if (row == NULL) {
            found[JUDGED_GHOST]++;
            continue;
        }
        for (size_t o = 0; o < l->record_count; o++)
            further = further || (counts_for(&l->records[o], row) && is_before(&l->records[o], r));
        found[JUDGED_DUPLICATE] += counts_for(r, row) && further;
        found[JUDGED_INVERTED] += naive_first(l, r, row) && naive_inverted(l, r, row);
    }
}

static void random_log(struct log *l, unsigned size)
{
    memset(l, 0, sizeof *l);
    for (unsigned n = 0; n < size; n++) {
        char key[2] = {(char)('a' + pick(4)), '\0'};
        struct row_entry *row = add_row(l, n, key);

        row->topic = (uint16_t)(pick(20) == 0 ? ENTRY_NO_TOPIC : pick(TOPICS));
        row->state = (uint8_t)(pick(10) == 0 ? pick(3) : ROW_SETTLED);
    }
    for (unsigned n = 0; n < size; n++) {
        unsigned at = n;

        if (pick(8) == 0) /* backwards: a duplicate, or a hole that comes late */
            at = pick(n + 1);
        if (pick(12) == 0)
            continue;
        for (unsigned times = 1 + (pick(6) == 0); times > 0; times--) {
            uint16_t topic = l->rows[at].topic == ENTRY_NO_TOPIC ? 0 : l->rows[at].topic;
            int32_t partition = l->rows[at].key.murmur % PARTITIONS;
            struct record_entry *r = add_record(l, pick(15) == 0 ? 1000 + at : at, partition);

            r->topic = topic;
            r->offset = l->next[topic][partition]++ * 7;
            r->replayed = pick(15) == 0;
        }
    }
}

static void agrees_with_the_naive_judge(void **state)
{
    struct log *l = new_log(0);
    int64_t sum[JUDGED_COUNT] = {0};
    struct judge_params params = PLAIN;

    (void)state;
    for (unsigned seed = 1; seed <= 300; seed++) {
        int64_t expected[JUDGED_COUNT];
        struct judge_totals t;

        random_state = UINT64_C(0x9e3779b97f4a7c15) * seed;
        random_log(l, seed % 60 == 0 ? 250 + pick(100) : 1 + pick(100));
        params.memory_bytes = seed % 60 != 0 ? 1 << 20 : 1; /* the smallest: runs of 192 */
        t = judge(l, &params);
        naive_judge(l, expected);
        for (int k = 0; k < JUDGED_COUNT; k++) {
            CHECK(t.found[k] == expected[k], "seed %u: %lld %s, expected %lld", seed,
                  (long long)t.found[k], judged_word((enum judged)k), (long long)expected[k]);
            sum[k] += expected[k];
        }
    }
    for (int k = 0; k < JUDGED_COUNT; k++)
        assert_true(sum[k] > 100); /* of each kind enough to see */
    free(l);
}

/* ---- what it stands on ----------------------------------------------------------------------- */

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
        cmocka_unit_test(nothing_is_clean),
        cmocka_unit_test(duplicates_are_no_inversion),
        cmocka_unit_test(each_fault_is_found),
        cmocka_unit_test(only_what_belongs_together_is_compared),
        cmocka_unit_test(a_record_in_another_topic_does_not_count),
        cmocka_unit_test(replays_are_counted_apart),
        cmocka_unit_test(rows_may_come_twice),
        cmocka_unit_test(rows_that_share_an_id_need_as_many_records),
        cmocka_unit_test(a_day_without_rows_excuses_its_records),
        cmocka_unit_test(agrees_with_the_naive_judge),
        cmocka_unit_test(names_have_numbers),
        cmocka_unit_test(entries_sort_as_they_should),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
