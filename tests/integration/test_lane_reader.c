/* Reading a lane on a real Postgres: random routes, rows and lanes, pages of any size, rows that
 * are held and dropped, with stragglers in the batch. What comes must be what an unfiltered read
 * gives and the lane covers, in the same order. Then a rare key and a whole topic of a long log. */
#include "../support/check.h"
#include "../support/source_user.h"
#include "one_pg.h"

#include "message/message.h"
#include "message/murmur2.h"

#include <event2/event.h>

#include <stdio.h>
#include <stdlib.h>

static unsigned seed;

static unsigned pick(unsigned n)
{
    seed = seed * 1103515245U + 12345U;
    return (seed >> 16) % n;
}

/* ---- what is read ---- */

#define ROWS_MAX 4000

struct address {
    int64_t id;
    char *topic; /* NULL: no legal name */
    char *key;
};

/* Every row of the batch. */
static struct address all[ROWS_MAX];
static size_t all_count;

struct reading {
    struct source_user *u;
    const struct route_table *routes;
    const struct lane_filter *filter; /* NULL: all rows, into `all` */
    struct message message;
    int64_t covered[ROWS_MAX];
    size_t count;
    size_t offered;
    int64_t last_id;
    unsigned hold_one_in; /* 0: none */
    bool holding;
};

static enum row_verdict take(void *ctx, const struct event *e)
{
    struct reading *r = ctx;

    if (r->hold_one_in > 0 && !r->holding && pick(r->hold_one_in) == 0) {
        r->holding = true;
        return ROW_HOLD;
    }
    r->holding = false;
    CHECK(e->id > r->last_id, "id %lld after %lld", (long long)e->id, (long long)r->last_id);
    r->last_id = e->id;
    r->offered++;
    message_address(&r->message, r->routes, e);
    assert_true(r->count < ROWS_MAX);
    if (r->filter == NULL)
        all[all_count++] = (struct address){
            e->id,
            r->message.topic.ptr != NULL ? strndup(r->message.topic.ptr, r->message.topic.len)
                                         : NULL,
            strndup(r->message.key.ptr, r->message.key.len)};
    else if (lane_filter_covers(r->filter, r->message.topic, r->message.key))
        r->covered[r->count++] = e->id;
    return ROW_TAKEN;
}

/* One page; resumes what is held, or drops the rest. */
static void read_page(struct reading *r, uint32_t stream, const struct page_request *request)
{
    unsigned was = r->u->fetches;
    uint64_t end = test_now_ms() + 20000;

    SOURCE_OP(r->u, page(r->u->source, stream, request));
    while (r->u->fetches == was) {
        (void)event_base_loop(r->u->base, EVLOOP_ONCE);
        CHECK(test_now_ms() < end && r->u->lost == 0, "no page: %s", r->u->why.text);
        if (!r->holding)
            continue;
        if (pick(2) == 0) {
            SOURCE_OP(r->u, resume(r->u->source, stream));
            source_user_turn(r->u, 1);
        } else {
            r->holding = false;
            SOURCE_OP(r->u, drop_rest(r->u->source, stream));
        }
    }
    if (stream != r->u->stream && r->u->rows > 0)
        CHECK(false, "stream %u", r->u->stream);
}

static unsigned read_lane(struct reading *r, const struct position *from, bool many,
                          int64_t min_new_id, uint32_t max_rows, uint32_t scan_rows)
{
    struct position at = {.base = from->base, .target = from->target, .last_id = from->last_id};
    unsigned pages = 0;
    struct page_request request = {.position = &at,
                                   .new_from = min_new_id > 0 ? min_new_id - 1 : 0,
                                   .many_new = many,
                                   .max_rows = max_rows,
                                   .filter = r->filter,
                                   .scan_rows = scan_rows};

    message_init(&r->message);
    r->count = r->offered = 0;
    r->last_id = from->last_id;
    r->holding = false;
    r->u->row = take;
    r->u->row_ctx = r;
    do {
        read_page(r, 2, &request);
        pages++;
        if (r->filter == NULL) {
            at.last_id = r->last_id;
        } else {
            CHECK(r->u->read_to >= at.last_id && (r->u->read_to > at.last_id || r->u->dropped),
                  "it stands still at %lld", (long long)at.last_id);
            CHECK(r->u->read_to >= r->last_id, "read to %lld, but %lld was offered",
                  (long long)r->u->read_to, (long long)r->last_id);
            at.last_id = r->last_id = r->u->read_to;
        }
    } while (r->filter == NULL ? r->u->rows == max_rows : r->u->read_to != INT64_MAX);
    message_release(&r->message);
    return pages;
}

/* ---- rows and routes at random ---- */

static const char *const types[] = {"a",        "ab", "a%b",          "a_b",     "a\\b",
                                    "\xc3\xa9", "b",  "{event_type}", "x-events"};
static const char *const topics[] = {"fixed", "a-events", "no topic", "ab"};
static const char *const patterns[] = {NULL,   "*",  "a*",        "?",  "a?b", "a%b", "a_b",
                                       "a\\b", "*b", "\xc3\xa9*", "??", "*%*", "b\\*"};
static const char *const templates[] = {NULL, "{aggregate_type}", "fixed",
                                        "{aggregate_type}-{event_type}", "x.{event_type}"};

#define PICK(list) (list)[pick(ARRAY_LEN(list))]

static char *maybe(const char *text)
{
    return text != NULL ? xstrdup(text) : NULL;
}

static void random_routes(struct route_table *t)
{
    unsigned n = pick(5);

    route_table_init(t);
    t->routes[0].topic = maybe(PICK(templates));
    for (unsigned i = 0; i < n; i++) {
        struct route *r = route_table_add(t);

        r->match_aggregate_type = maybe(PICK(patterns));
        r->match_event_type = maybe(PICK(patterns));
        r->topic = maybe(PICK(templates));
    }
}

static void random_rows(PGconn *conn, unsigned n)
{
    char keys[2][16];
    const char *values[5];

    for (unsigned i = 0; i < n; i++) {
        (void)snprintf(keys[0], sizeof keys[0], "k%u", pick(4));
        (void)snprintf(keys[1], sizeof keys[1], "k%u", pick(4));
        values[0] = PICK(types);
        values[1] = PICK(types);
        values[2] = keys[0];
        values[3] = pick(4) == 0 ? PICK(topics) : NULL;
        values[4] = pick(3) == 0 ? keys[1] : NULL;
        PGresult *result = PQexecParams(
            conn,
            "INSERT INTO outbox.event (aggregate_type, event_type, aggregate_id, topic, "
            "partition_key, payload) VALUES ($1, $2, $3, $4, $5, '1')",
            5, NULL, values, NULL, NULL, 0);
        CHECK(PQresultStatus(result) == PGRES_COMMAND_OK, "%s", PQerrorMessage(conn));
        PQclear(result);
    }
}

static const char *now_snapshot(void)
{
    return pg_scalar(db, "SELECT pg_current_snapshot()");
}

/* Settled rows, two stragglers, new ones, and later ones. */
static void random_log(struct position *at)
{
    PGconn *slow[2];

    pg_exec(db, "TRUNCATE outbox.event");
    random_rows(db, 10);
    for (int i = 0; i < 2; i++) {
        slow[i] = pg_open(&pg, "svc");
        pg_exec(slow[i], "BEGIN");
        random_rows(slow[i], 30);
    }
    random_rows(db, 10);
    str_set(&at->base, now_snapshot());
    for (int i = 0; i < 5; i++) {
        random_rows(db, 15);
        random_rows(slow[i % 2], 15);
    }
    pg_exec(slow[0], "COMMIT");
    random_rows(db, 30);
    str_set(&at->target, now_snapshot());
    at->last_id = pick(2) == 0 ? 0 : pg_int(db, "SELECT min(id) + 60 FROM outbox.event");
    pg_exec(slow[1], "COMMIT");
    random_rows(db, 20);
    PQfinish(slow[0]);
    PQfinish(slow[1]);
}

static void forget_all(void)
{
    for (size_t i = 0; i < all_count; i++) {
        free(all[i].topic);
        free(all[i].key);
    }
    all_count = 0;
}

static struct lane_filter filter_of(const struct address *a)
{
    struct slice topic = a->topic != NULL ? slice_of(a->topic) : (struct slice){"", 0};
    struct lane_filter f = {.by = (enum lane_by)pick(LANE_BY_COUNT),
                            .topic = topic,
                            .key = slice_of(a->key),
                            .partitions = 3};

    if (topic.len == 0)
        f.by = LANE_BY_KEY;
    f.partition = murmur2_partition(a->key, strlen(a->key), 3);
    return f;
}

static void expect_same(const struct reading *r, const char *what)
{
    size_t n = 0;

    for (size_t i = 0; i < all_count; i++) {
        struct slice topic = all[i].topic != NULL ? slice_of(all[i].topic) : (struct slice){0};

        if (!lane_filter_covers(r->filter, topic, slice_of(all[i].key)))
            continue;
        CHECK(n < r->count && r->covered[n] == all[i].id,
              "%s, hold %u: event %lld is missing, got %lld (lane by %s of %.*s)", what,
              r->hold_one_in, (long long)all[i].id, n < r->count ? (long long)r->covered[n] : -1LL,
              lane_by_name(r->filter->by), SLICE_FMT(r->filter->topic));
        n++;
    }
    CHECK(n == r->count, "%s: %zu events, expected %zu", what, r->count, n);
}

static void one_world(unsigned number)
{
    static struct reading everything, lane;
    struct route_table routes;
    struct source_user u;
    struct pg_url url = pg_url(&pg, "relay", "postgres");
    struct outbox_params params = source_user_params(url.text);
    struct position at = {0};
    unsigned was;

    random_routes(&routes);
    random_log(&at);
    params.routes = &routes;
    source_user_init(&u, &params);
    source_user_open(&u);
    was = u.probes;
    SOURCE_OP(&u, probe(u.source, 1, &at, 5));
    source_user_wait(&u, &u.probes, was);
    assert_int_equal(u.stream, 1);
    everything = (struct reading){.u = &u, .routes = &routes};
    (void)read_lane(&everything, &at, true, u.min_new_id, 1000, 0);
    assert_true(all_count > 50);
    for (int i = 0; i < 14; i++) {
        static const uint32_t sizes[] = {1, 2, 7, 40, 1000};
        struct lane_filter f = filter_of(&all[pick((unsigned)all_count)]);
        uint32_t max_rows = PICK(sizes);
        uint32_t scan_rows = PICK(sizes);
        bool many = pick(3) > 0;
        char what[100];

        lane = (struct reading){
            .u = &u, .routes = &routes, .filter = &f, .hold_one_in = pick(2) == 0 ? 0 : 20};
        (void)read_lane(&lane, &at, many, u.min_new_id, max_rows, scan_rows);
        (void)snprintf(what, sizeof what, "world %u, %u rows of %u, many %d", number, max_rows,
                       scan_rows, many);
        expect_same(&lane, what);
    }
    forget_all();
    source_user_release(&u);
    route_table_release(&routes);
    position_release(&at);
}

static void test_at_random(void **state)
{
    const char *given = getenv("SEED");
    unsigned first = given != NULL ? (unsigned)strtoul(given, NULL, 10) : 1;

    (void)state;
    for (unsigned i = first; i < first + (given != NULL ? 1 : 5); i++) {
        seed = i * 7919;
        one_world(i);
    }
}

/* ---- a long log ---- */

#define LONG_ROWS 300000

static enum row_verdict count_only(void *ctx, const struct event *e)
{
    (void)e;
    ++*(unsigned *)ctx;
    return ROW_TAKEN;
}

static uint64_t page_us(struct source_user *u, uint32_t stream, const struct page_request *request)
{
    unsigned was = u->fetches;
    uint64_t began = test_now_ms();

    SOURCE_OP(u, page(u->source, stream, request));
    source_user_wait(u, &u->fetches, was);
    return (test_now_ms() - began) * 1000;
}

static void test_a_long_log(void **state)
{
    struct route_table routes;
    struct source_user u;
    struct pg_url url = pg_url(&pg, "relay", "postgres");
    struct outbox_params params = source_user_params(url.text);
    struct lane_filter key = {
        .by = LANE_BY_KEY, .topic = slice_of("bulk-events"), .key = slice_of("k4")};
    struct lane_filter topic = {.by = LANE_BY_TOPIC, .topic = slice_of("bulk-events")};
    struct position at = {0};
    struct page_request request = {
        .position = &at, .many_new = true, .max_rows = 2000, .scan_rows = 50000};
    unsigned rows = 0;
    uint64_t us[2] = {0};
    int64_t first;

    (void)state;
    route_table_init(&routes);
    params.routes = &routes;
    pg_exec(db, "TRUNCATE outbox.event");
    pg_exec(db, "SELECT * FROM outbox.ensure_days(34)");
    str_set(&at.base, now_snapshot());
    pg_exec(
        db,
        "INSERT INTO outbox.event (aggregate_type, aggregate_id, event_type, payload, "
        "created_at) SELECT 'bulk', 'k' || g, 'e', to_json(repeat(md5(g::text), 20)), now() + g "
        "%% 30 * interval '1 day' FROM generate_series(1, %d) g",
        LONG_ROWS);
    str_set(&at.target, now_snapshot());
    first = pg_int(db, "SELECT min(id) FROM outbox.event");
    source_user_init(&u, &params);
    source_user_open(&u);
    u.row = count_only;
    u.row_ctx = &rows;

    /* one row of it, and the page ends with what it may look at */
    request.new_from = first - 1;
    request.filter = &key;
    (void)page_us(&u, 1, &request);
    printf("# a page of a rare key took %llu us\n", (unsigned long long)page_us(&u, 1, &request));
    assert_in_range(rows, 2, 4);
    assert_true(u.read_to == first + 50000 - 2); /* the last that it looked at was not the lane's */

    for (int round = 0; round < 10; round++)
        for (int lane = 0; lane < 2; lane++) {
            request.filter = lane == 1 ? &topic : NULL;
            rows = 0;
            us[lane] += page_us(&u, lane == 1 ? 1 : 0, &request);
            assert_int_equal(rows, 2000);
        }
    assert_true(u.read_to == first + 2000 - 1);
    printf("# ten pages of 2000 rows: main %llu us, a topic lane %llu us\n",
           (unsigned long long)us[0], (unsigned long long)us[1]);
    CHECK(us[1] < 2 * us[0] + 50000, "a topic lane reads slowly: %llu us, main %llu us",
          (unsigned long long)us[1], (unsigned long long)us[0]);
    source_user_release(&u);
    route_table_release(&routes);
    position_release(&at);
}

/* The session of the lanes is there once a lane is read; its loss is the loss of all. */
static void test_the_session(void **state)
{
    struct source_user u;
    struct position at = {0};
    const char *sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = "
                           "'outboxd orders lanes'";
    unsigned was;

    (void)state;
    position_now(&at, db);
    str_set(&at.target, now_snapshot());
    source_user_begin(&u, &pg);
    for (int round = 0; round < 2; round++) {
        WAIT_UNTIL(pg_int(db, "%s", sessions) == 0, 10000);
        was = u.probes;
        SOURCE_OP(&u, probe(u.source, 3, &at, 5));
        source_user_wait(&u, &u.probes, was);
        assert_int_equal(pg_int(db, "%s", sessions), 1);
        was = u.lost;
        pg_exec(db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name "
                    "= 'outboxd orders lanes'");
        source_user_wait(&u, &u.lost, was);
        assert_contains(u.why.text, "postgres (lanes)");
        source_user_open(&u);
    }
    source_user_release(&u);
    position_release(&at);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_at_random),
        cmocka_unit_test(test_the_session),
        cmocka_unit_test(test_a_long_log),
    };

    return cmocka_run_group_tests(tests, setup_pg, teardown_pg);
}
