/* The reader on a real Postgres: every column, limits, holding, oversize, lost servers, memory. */
#include "../support/check.h"
#include "../support/source_user.h"

#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

static struct pg_server pg;

/* ---- columns ---- */

struct seen_columns {
    int rows;
};

static enum row_verdict check_columns(void *ctx, const struct event *e)
{
    struct seen_columns *s = ctx;

    if (s->rows == 0) {
        assert_true(slice_is(e->aggregate_type, "order"));
        assert_true(slice_is(e->aggregate_id, ""));
        assert_true(slice_is(e->event_type, "\xc3\xa9vent"));
        assert_true(slice_is(e->event_version, "1.0"));
        assert_true(slice_is(e->payload, "{\"b\":1,  \"b\":2}"));
        assert_null(e->payload_bytes.ptr);
        assert_null(e->content_type.ptr);
        assert_null(e->headers.ptr);
        assert_null(e->topic.ptr);
        assert_null(e->partition_key.ptr);
        assert_true(e->occurred_at_us == INT64_MAX);
        assert_true(e->created_at_us > INT64_C(1700000000000000));
        assert_int_equal(e->event_id[0], 0x01);
        assert_int_equal(e->event_id[15], 0xff);
    } else if (s->rows == 1) {
        assert_null(e->payload.ptr);
        assert_int_equal(e->payload_bytes.len, 3);
        assert_memory_equal(e->payload_bytes.ptr, "\0\xff\1", 3);
        assert_true(slice_is(e->content_type, "application/avro"));
        assert_true(slice_is(e->headers, "{\"a\": \"b\"}"));
        assert_true(slice_is(e->topic, "t"));
        assert_non_null(e->partition_key.ptr);
        assert_int_equal(e->partition_key.len, 0);
        assert_true(e->occurred_at_us == 1500000);
    } else {
        assert_null(e->payload.ptr);
        assert_null(e->payload_bytes.ptr);
        assert_true(e->occurred_at_us == INT64_MIN);
    }
    s->rows++;
    return ROW_TAKEN;
}

static void test_columns(void **state)
{
    struct source_user u;
    PGconn *conn = pg_open(&pg, "svc");
    struct position at;

    (void)state;
    source_user_begin(&u, &pg);
    for (int round = 0; round < 3; round++) { /* by poll, and by both kinds of page */
        struct seen_columns seen = {0};

        position_now(&at, conn);
        pg_exec(conn, "INSERT INTO outbox.event (event_id, aggregate_type, aggregate_id, "
                      "event_type, payload, occurred_at)"
                      " VALUES ('01000000-0000-0000-0000-0000000000ff', 'order', '', 'évent', "
                      "'{\"b\":1,  \"b\":2}', 'infinity')");
        pg_exec(conn, "INSERT INTO outbox.event (aggregate_type, aggregate_id, event_type, "
                      "payload_bytes, content_type, headers,"
                      " topic, partition_key, occurred_at) VALUES ('order', '1', 'e', '\\x00ff01', "
                      "'application/avro',"
                      " '{\"a\": \"b\"}', 't', '', '1970-01-01 00:00:01.5Z')");
        pg_exec(conn,
                "INSERT INTO outbox.event (aggregate_type, aggregate_id, event_type, occurred_at)"
                " VALUES ('order', '1', 'e', '-infinity')");
        u.row = check_columns;
        u.row_ctx = &seen;
        assert_int_equal(source_user_read(&u, &at, round == 0 ? 10 : 2, 10, round - 1), 3);
        assert_int_equal(seen.rows, 3);
        assert_int_equal(source_user_read(&u, &at, 10, 10, -1), 0);
        assert_true(u.complete);
        position_release(&at);
    }
    source_user_release(&u);
    PQfinish(conn);
}

/* A look after one in vain asks for the snapshot alone, and finds what ends in any way. */
static void test_peek(void **state)
{
    struct source_user u;
    PGconn *conn = pg_open(&pg, "svc");
    PGconn *old = pg_open(&pg, "svc");
    PGconn *admin = pg_open(&pg, "postgres");
    struct position at;
    static const char publish[] = "SELECT outbox.publish('order', 'k', 'e', '{}')";
    static const char peeks[] =
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'relay' AND query LIKE "
        "'%ended since the last one%'";

    (void)state;
    source_user_begin(&u, &pg);
    pg_exec(old, "BEGIN");
    pg_exec(old, publish);
    position_now(&at, conn);
    assert_int_equal(source_user_read(&u, &at, 10, 10, -1), 0);
    assert_int_equal(pg_int(admin, "%s", peeks), 0);
    assert_int_equal(source_user_read(&u, &at, 10, 10, -1), 0);
    assert_int_equal(pg_int(admin, "%s", peeks), 1);
    for (int i = 0; i < 2; i++) { /* the transaction is above the snapshot, or within it */
        pg_exec(conn, publish);
        assert_int_equal(source_user_read(&u, &at, 10, 10, -1), 1);
        assert_int_equal(source_user_read(&u, &at, 10, 10, -1), 0);
        assert_int_equal(source_user_read(&u, &at, 10, 10, -1), 0);
    }
    pg_exec(old, "COMMIT");
    assert_int_equal(source_user_read(&u, &at, 10, 10, -1), 1);
    assert_int_equal(source_user_read(&u, &at, 10, 10, -1), 0);
    pg_exec(conn, "BEGIN; SAVEPOINT s; SELECT outbox.publish('order', 'k', 'e', '{}'); RELEASE s");
    assert_int_equal(source_user_read(&u, &at, 10, 10, -1), 0);
    pg_exec(conn, "COMMIT");
    assert_int_equal(source_user_read(&u, &at, 10, 10, -1), 1);
    position_release(&at);
    source_user_release(&u);
    PQfinish(admin);
    PQfinish(old);
    PQfinish(conn);
}

/* ---- limits ---- */

static void test_poll_limits(void **state)
{
    struct source_user u;
    PGconn *conn = pg_open(&pg, "svc");
    struct position at;

    (void)state;
    source_user_begin(&u, &pg);
    position_now(&at, conn);
    for (int i = 0; i < 10; i++)
        pg_exec(
            conn,
            "SELECT outbox.publish('order', 'k', 'e', json_build_object('x', repeat('y', 100)))");
    assert_true(source_user_poll(&u, &at, 10, 10000));
    assert_int_equal(u.rows, 10);
    assert_false(source_user_poll(&u, &at, 9, 10000));
    assert_int_equal(u.rows, 0);
    assert_false(u.dropped);
    assert_false(source_user_poll(&u, &at, 10, 1000));
    assert_true(source_user_poll(&u, &at, 10, 1200));
    position_release(&at);
    position_now(&at, conn);
    /* stored in about 12 kB, a megabyte when unpacked: its true size counts */
    pg_exec(
        conn,
        "SELECT outbox.publish('order', 'k', 'e', json_build_object('x', repeat('y', 1000000)))");
    assert_false(source_user_poll(&u, &at, 10, 900000));
    assert_true(source_user_poll(&u, &at, 10, 1100000));
    assert_int_equal(u.rows, 1);
    position_release(&at);
    source_user_release(&u);
    PQfinish(conn);
}

struct sizes {
    int rows;
    int64_t oversize[8];
    size_t payload[8];
    bool headers[8];
};

static enum row_verdict note_sizes(void *ctx, const struct event *e)
{
    struct sizes *s = ctx;

    assert_in_range(s->rows, 0, 7);
    s->oversize[s->rows] = e->oversize_bytes;
    s->payload[s->rows] = e->payload.len + e->payload_bytes.len;
    s->headers[s->rows] = e->headers.ptr != NULL;
    s->rows++;
    return ROW_TAKEN;
}

static void test_oversize(void **state)
{
    struct source_user u;
    struct outbox_params params = source_user_params(pg_url(&pg, "relay", "postgres").text);
    PGconn *conn = pg_open(&pg, "postgres");
    struct position at;
    struct sizes sizes = {0};

    (void)state;
    params.max_event_bytes = 100000;
    source_user_init(&u, &params);
    source_user_open(&u);
    position_now(&at, conn);
    pg_exec(conn,
            "INSERT INTO outbox.event (aggregate_type, aggregate_id, event_type, payload, "
            "payload_bytes, headers) VALUES"
            " ('o', 'k', 'e', to_json(repeat('x', 99998)), NULL, NULL)," /* just fits: two quotes */
            " ('o', 'k', 'e', to_json(repeat('x', 99999)), NULL, NULL)," /* one too many, stored
                                                                            in 1.2 kB */
            " ('o', 'k', 'e', NULL, (SELECT string_agg(decode(md5(g::text), 'hex'), '')"
            "   FROM generate_series(1, 10000) g), NULL)," /* 160,000 bytes that cannot be packed */
            " ('o', 'k', 'e', '{}', NULL, json_build_object('h', repeat('x', 200000)))," /* headers
                                                                                            count,
                                                                                            too */
            " ('o', 'k', 'e', '{}', NULL, '{\"a\": \"b\"}')");
    u.row = note_sizes;
    u.row_ctx = &sizes;
    assert_int_equal(source_user_read(&u, &at, 10, 10, -1), 5);
    assert_false(u.complete); /* such an event never comes by a poll */
    assert_int_equal(sizes.oversize[0], 0);
    assert_int_equal(sizes.payload[0], 100000);
    assert_int_equal(sizes.oversize[1], 100001);
    assert_int_equal(sizes.payload[1], 0);
    assert_true(sizes.oversize[2] >= 160000 && sizes.oversize[2] < 161000);
    assert_int_equal(sizes.payload[2], 0);
    assert_true(sizes.oversize[3] > 200000);
    assert_false(sizes.headers[3]);
    assert_int_equal(sizes.oversize[4], 0);
    assert_true(sizes.headers[4]);
    position_release(&at);
    source_user_release(&u);
    PQfinish(conn);
}

/* ---- holding ---- */

struct holder {
    int64_t last_id;
    int64_t held_id; /* 0: none */
    int held_at;     /* hold the row of this number, every row if 0 */
    int rows;
    bool twice; /* each row is held before it is taken */
};

static enum row_verdict hold_row(void *ctx, const struct event *e)
{
    struct holder *h = ctx;

    if (h->held_id != 0) {
        assert_int_equal(e->id, h->held_id); /* the same one is offered again */
        h->held_id = 0;
    } else if (h->twice || h->rows == h->held_at) {
        h->held_id = e->id;
        return ROW_HOLD;
    }
    CHECK(e->id > h->last_id, "out of order");
    h->last_id = e->id;
    h->rows++;
    return ROW_TAKEN;
}

static void wait_held(struct source_user *u, const struct holder *h, unsigned was)
{
    uint64_t end = test_now_ms() + 10000;

    while (h->held_id == 0 && u->fetches == was) {
        source_user_turn(u, 1);
        CHECK(test_now_ms() < end, "no row was offered");
    }
}

static void ask(struct source_user *u, const struct position *at, bool page)
{
    struct page_request request = {.position = at, .many_new = true, .max_rows = 1000};

    if (page)
        SOURCE_OP(u, page(u->source, MAIN_STREAM, &request));
    else
        SOURCE_OP(u, poll(u->source, &at->base, 1000, 1 << 20));
}

static void test_hold_and_resume(void **state)
{
    struct source_user u;
    PGconn *conn = pg_open(&pg, "postgres");
    struct position at;

    (void)state;
    source_user_begin(&u, &pg);
    position_now(&at, conn);
    insert_events(conn, 200, 64);
    str_set(&at.target, pg_scalar(conn, "SELECT pg_current_snapshot()"));
    for (int page = 0; page < 2; page++) {
        struct holder h = {.twice = true};
        unsigned was = u.fetches;

        u.row = hold_row;
        u.row_ctx = &h;
        ask(&u, &at, page != 0);
        for (;;) {
            wait_held(&u, &h, was);
            if (u.fetches != was)
                break;
            SOURCE_OP(&u, resume(u.source, MAIN_STREAM));
            uint64_t end = test_now_ms() + 10000;
            int rows = h.rows;
            while (h.rows == rows && test_now_ms() < end)
                source_user_turn(&u, 1);
        }
        assert_int_equal(h.rows, 200);
        assert_int_equal(u.rows, 200);
        assert_false(u.dropped);
    }
    position_release(&at);
    source_user_release(&u);
    PQfinish(conn);
}

/* What is dropped does not come, the server does not send it, and the session goes on as if nothing
 * had been. */
static void test_drop_rest(void **state)
{
    struct source_user u;
    PGconn *conn = pg_open(&pg, "postgres");
    struct position at;

    (void)state;
    source_user_begin(&u, &pg);
    position_now(&at, conn);
    insert_events(conn, 800, 100000); /* 80 MB: the server cannot have sent it all */
    str_set(&at.target, pg_scalar(conn, "SELECT pg_current_snapshot()"));
    for (int round = 0; round < 20; round++) {
        struct holder h = {.held_at = round * 7 % 50};
        unsigned was = u.fetches;

        u.row = hold_row;
        u.row_ctx = &h;
        ask(&u, &at, true);
        wait_held(&u, &h, was);
        assert_int_equal(u.fetches, was);
        SOURCE_OP(&u, drop_rest(u.source, MAIN_STREAM));
        source_user_wait(&u, &u.fetches, was);
        assert_true(u.dropped);
        assert_int_equal(u.rows, h.rows);
        assert_int_equal(h.rows, round * 7 % 50);
        u.row = NULL;
        assert_false(source_user_poll(&u, &at, 1, 1000)); /* was not hit by the cancellation */
    }
    assert_int_equal(u.lost, 0);
    /* a held COPY waits in the socket, without growing us */
    struct holder h = {.held_at = 3};
    u.row = hold_row;
    u.row_ctx = &h;
    long before = proc_rss_kib(getpid());
    ask(&u, &at, true);
    wait_held(&u, &h, u.fetches);
    source_user_turn(&u, 300);
    CHECK(proc_rss_kib(getpid()) - before < 2048, "grew by %ld KiB",
          proc_rss_kib(getpid()) - before);
    SOURCE_OP(&u, close(u.source)); /* in the middle of it */
    u.row = NULL;
    source_user_open(&u);
    assert_false(source_user_poll(&u, &at, 1, 1000));
    position_release(&at);
    source_user_release(&u);
    PQfinish(conn);
}

static void test_drop_rest_of_a_poll(void **state)
{
    struct source_user u;
    PGconn *conn = pg_open(&pg, "postgres");
    struct position at;
    struct holder h = {.held_at = 5};
    unsigned was;

    (void)state;
    source_user_begin(&u, &pg);
    position_now(&at, conn);
    insert_events(conn, 20, 64);
    was = u.fetches;
    u.row = hold_row;
    u.row_ctx = &h;
    ask(&u, &at, false);
    wait_held(&u, &h, was);
    SOURCE_OP(&u, drop_rest(u.source, MAIN_STREAM));
    source_user_wait(&u, &u.fetches, was);
    assert_true(u.dropped);
    assert_int_equal(u.rows, 5);
    position_release(&at);
    source_user_release(&u);
    PQfinish(conn);
}

/* ---- memory ---- */

static void test_memory(void **state)
{
    struct source_user u;
    PGconn *conn = pg_open(&pg, "postgres");
    struct position at;
    long before;
    long grown;
#ifdef __SANITIZE_ADDRESS__
    const long most = LONG_MAX; /* it keeps what is freed */
#else
    const long most = 8192;
#endif

    (void)state;
    source_user_begin(&u, &pg);
    position_now(&at, conn);
    pg_exec(conn, "ALTER TABLE outbox.event ALTER COLUMN payload SET STORAGE EXTERNAL");
    for (int i = 0; i < 10; i++)
        insert_events(conn, 30, 1000000);
    before = proc_rss_kib(getpid());
    assert_int_equal(source_user_read(&u, &at, 100, 100, -1), 300);
    grown = proc_peak_kib(getpid()) - before;
    CHECK(grown < most, "peak %ld KiB above", grown);
    pg_exec(conn, "DELETE FROM outbox.event WHERE octet_length(payload::text) > 900000");
    position_release(&at);
    source_user_release(&u);
    PQfinish(conn);
}

/* ---- lost servers ---- */

static void test_server_crash(void **state)
{
    struct source_user u;
    PGconn *conn = pg_open(&pg, "postgres");
    struct position at;

    (void)state;
    source_user_begin(&u, &pg);
    position_now(&at, conn);
    PQfinish(conn);
    for (int round = 0; round < 3; round++) {
        unsigned was = u.lost;

        if (round == 1) { /* while a query is out */
            conn = pg_open(&pg, "postgres");
            insert_events(conn, 100000, 320);
            str_set(&at.target, pg_scalar(conn, "SELECT pg_current_snapshot()"));
            PQfinish(conn);
            ask(&u, &at, true);
        }
        pg_crash(&pg);
        source_user_wait(&u, &u.lost, was);
        assert_int_equal(u.why.kind, ERR_UNAVAILABLE);
        source_user_turn(&u, 50);
        assert_int_equal(u.lost, was + 1); /* three sessions, one report */
        source_user_open_fails(&u, ERR_UNAVAILABLE, "refused");
        pg_start(&pg);
        source_user_open(&u);
    }
    position_release(&at);
    source_user_release(&u);
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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_columns),
        cmocka_unit_test(test_peek),
        cmocka_unit_test(test_poll_limits),
        cmocka_unit_test(test_oversize),
        cmocka_unit_test(test_hold_and_resume),
        cmocka_unit_test(test_drop_rest),
        cmocka_unit_test(test_drop_rest_of_a_poll),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_server_crash),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
