/* The judge on random logs, against a naive judge that keeps everything in memory and looks at
 * every pair. */
#include "judge_log.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_the_naive_judge),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
