/* Reading under a load that is made to lose and invert events: nothing is lost, nothing inverted,
 * nothing read twice. Prints how fast the reader is. */
#include "../support/check.h"
#include "../support/load.h"
#include "../support/source_user.h"

#include <stdlib.h>

static struct pg_server pg;

/* ---- the load ---- */

struct judge {
    struct {
        char key[48];
        long long seq;
    } keys[2048];
    size_t key_count;
    uint8_t (*ids)[16];
    size_t id_count, id_cap;
    int inverted;
};

static long long *last_of_key(struct judge *j, struct slice key)
{
    for (size_t i = 0; i < j->key_count; i++) {
        if (slice_is(key, j->keys[i].key))
            return &j->keys[i].seq;
    }
    CHECK(j->key_count < ARRAY_LEN(j->keys) && key.len < sizeof(j->keys[0].key), "too many keys");
    memcpy(j->keys[j->key_count].key, key.ptr, key.len);
    j->keys[j->key_count].seq = 0;
    return &j->keys[j->key_count++].seq;
}

static enum row_verdict judge_row(void *ctx, const struct event *e)
{
    struct judge *j = ctx;
    struct slice where = e->payload.ptr != NULL ? e->payload : e->headers;
    char *text = xstrndup(where.ptr, where.len);
    char *at = strstr(text, "\"seq\": ");
    long long *last = last_of_key(j, e->aggregate_id);
    long long seq;

    assert_non_null(at);
    seq = strtoll(at + 7 + (at[7] == '"'), NULL, 10);
    if (seq <= *last)
        j->inverted++;
    *last = seq;
    free(text);
    if (j->id_count == j->id_cap) {
        j->id_cap = j->id_cap * 2 + 1024;
        j->ids = xrealloc(j->ids, j->id_cap * sizeof(*j->ids));
    }
    memcpy(j->ids[j->id_count++], e->event_id, 16);
    return ROW_TAKEN;
}

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, 16);
}

struct lookup {
    struct judge *judge;
    int lost;
    int ghosts;
};

static void look_up(void *ctx, const struct load_entry *e)
{
    struct lookup *l = ctx;
    bool read = bsearch(e->event_id, l->judge->ids, l->judge->id_count, 16, compare_ids) != NULL;

    if (e->fate == LOAD_COMMITTED && !read)
        l->lost++;
    if (e->fate == LOAD_ROLLED_BACK && read)
        l->ghosts++;
}

static void test_adversarial_load(void **state)
{
    static struct judge judge;
    struct source_user u;
    PGconn *conn = pg_open(&pg, "postgres");
    struct position at;
    struct load *load;
    struct lookup found = {&judge, 0, 0};
    int polls = 0;
    int backlogs = 0;

    (void)state;
    load_prepare(&pg);
    source_user_begin(&u, &pg);
    position_now(&at, conn);
    u.row = judge_row;
    u.row_ctx = &judge;
    load = load_start(&(struct load_params){.pg = &pg,
                                            .writers = 12,
                                            .seed = 7,
                                            .max_events = 12000,
                                            .max_sleep_ms = 10,
                                            .long_transaction = true});
    while (load_is_running(load)) {
        /* sometimes sleepy, so that there are backlogs of all sizes; each kind of page in its turn
         */
        if (polls % 8 == 0)
            source_user_turn(&u, (unsigned)(polls % 5) * 20);
        (void)source_user_read(&u, &at, polls % 3 == 0 ? 5 : 200, 20 + (uint32_t)(polls % 7) * 40,
                               polls % 3 - 1);
        backlogs += !u.complete;
        polls++;
    }
    load_stop(load);
    while (source_user_read(&u, &at, 200, 100, -1) > 0)
        ;
    qsort(judge.ids, judge.id_count, 16, compare_ids);
    for (size_t i = 1; i < judge.id_count; i++)
        CHECK(memcmp(judge.ids[i - 1], judge.ids[i], 16) != 0, "an event was read twice");
    load_each(load, look_up, &found);
    print_message("%lld committed, %zu read, %d looks, %d backlogs\n",
                  (long long)load_totals(load).committed, judge.id_count, polls, backlogs);
    assert_int_equal(found.lost, 0);
    assert_int_equal(found.ghosts, 0);
    assert_int_equal(judge.inverted, 0);
    assert_true((int64_t)judge.id_count == load_totals(load).committed);
    assert_true(backlogs > 10);
    load_free(load);
    free(judge.ids);
    position_release(&at);
    source_user_release(&u);
    PQfinish(conn);
}

/* ---- figures ---- */

static void test_figures(void **state)
{
    struct source_user u;
    PGconn *conn = pg_open(&pg, "postgres");
    struct position at;
    uint64_t t0;
    uint64_t idle;
    uint64_t one = 0;
    uint64_t pages;
    const unsigned polls = 500;

    (void)state;
    source_user_begin(&u, &pg);
    position_now(&at, conn);
    (void)source_user_poll(&u, &at, 500, 1 << 20);
    t0 = test_now_us();
    for (unsigned i = 0; i < polls; i++)
        assert_true(source_user_poll(&u, &at, 500, 1 << 20));
    idle = test_now_us() - t0;
    for (unsigned i = 0; i < polls; i++) {
        insert_events(conn, 1, 224);
        t0 = test_now_us();
        assert_int_equal(source_user_read(&u, &at, 500, 500, -1), 1);
        one += test_now_us() - t0;
    }
    insert_events(conn, 500000, 224);
    pg_exec(conn, "ANALYZE outbox.event");
    t0 = test_now_us();
    assert_int_equal(source_user_read(&u, &at, 500, 10000, -1), 500000);
    pages = test_now_us() - t0;
    print_message("poll: %llu us idle, %llu us with a row; pages: %llu rows/s\n",
                  (unsigned long long)idle / polls, (unsigned long long)one / polls,
                  500000ULL * 1000000 / pages);
    position_release(&at);
    source_user_release(&u);
    PQfinish(conn);
}

static int setup(void **state)
{
    (void)state;
    pg_create(&pg, NULL);
    pg_apply_schema(&pg);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pg_drop(&pg);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_adversarial_load),
                                       cmocka_unit_test(test_figures)};

    return cmocka_run_group_tests(tests, setup, teardown);
}
