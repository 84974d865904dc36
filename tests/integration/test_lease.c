/* Lease, positions and doorbell on a real Postgres: two sources that compete, writes that meet a
 * takeover, and the doorbell against writers who commit at random moments. */
#include "../support/check.h"
#include "../support/load.h"
#include "../support/source_user.h"

static struct pg_server pg;

static void open_as(struct source_user *u, const char *instance, uint32_t ttl_ms)
{
    struct pg_url url = pg_url(&pg, "relay", "postgres");
    struct outbox_params params = source_user_params(url.text);

    params.instance = instance;
    params.lease_ttl_ms = ttl_ms;
    source_user_init(u, &params);
    source_user_open(u);
}

/* ---- lease ---- */

static void position_set(struct position *at, const char *base, const char *target, int64_t last_id)
{
    str_set(&at->base, base);
    str_set(&at->target, target);
    at->last_id = last_id;
}

static void test_lease(void **state)
{
    struct source_user a, b;
    PGconn *conn = pg_open(&pg, "postgres");
    struct position at = {0};
    int64_t epoch;

    (void)state;
    open_as(&a, "host-a", 10000);
    open_as(&b, "host-b", 10000);
    assert_true(source_user_take(&a, TAKE_IF_FREE, 0, 0)->ours);
    epoch = a.view.epoch;
    assert_string_equal(str_text(&a.view.position.base), "1:1:");
    assert_int_equal(a.view.position.target.len, 0);
    assert_string_equal(pg_scalar(conn, "SELECT instance FROM outbox.relay"), "host-a");

    assert_false(source_user_take(&b, TAKE_IF_FREE, 0, 0)->ours);
    assert_false(b.view.free);
    assert_false(b.view.same_instance);
    assert_true(source_user_renew(&a, epoch));
    assert_false(source_user_take(&b, TAKE_IF_UNCHANGED, b.view.epoch, b.view.beat)
                     ->ours); /* it was renewed */
    position_set(&at, "10:20:15", "20:30:", 7);
    assert_true(source_user_store(&a, epoch, &at, false));
    assert_false(source_user_store(&a, epoch - 1, &at, true));

    assert_true(source_user_take(&b, TAKE_IF_UNCHANGED, b.view.epoch, b.view.beat)->ours);
    assert_int_equal(b.view.epoch, epoch + 1);
    assert_string_equal(str_text(&b.view.position.base), "10:20:15");
    assert_string_equal(str_text(&b.view.position.target), "20:30:");
    assert_int_equal(b.view.position.last_id, 7);
    position_set(&at, "1:2:", "", 0);
    assert_false(source_user_renew(&a, epoch));
    assert_false(source_user_store(&a, epoch, &at, false));
    assert_false(
        source_user_store(&a, epoch + 1, &at, false)); /* the right epoch in the wrong hands */
    assert_false(source_user_take(&a, TAKE_OWN, 0, 0)->ours);
    assert_string_equal(pg_scalar(conn, "SELECT base FROM outbox.lane"), "10:20:15");

    unsigned was = a.releases; /* not ours: changes nothing */
    SOURCE_OP(&a, release(a.source));
    source_user_wait(&a, &a.releases, was);
    assert_true(source_user_renew(&b, epoch + 1));

    pg_exec(conn, "SELECT outbox.rebase('orders', 'now')"); /* a command raises the epoch */
    assert_false(source_user_renew(&b, epoch + 1));
    assert_true(source_user_take(&b, TAKE_OWN, 0, 0)->ours);
    assert_int_equal(b.view.epoch, epoch + 3);
    assert_true(source_user_take(&b, TAKE_IF_FREE, 0, 0)
                    ->ours); /* what we hold is ours after a lost connection, too */
    was = b.releases;
    SOURCE_OP(&b, release(b.source));
    source_user_wait(&b, &b.releases, was);
    assert_true(source_user_take(&a, TAKE_IF_FREE, 0, 0)->ours);
    pg_exec(conn, "UPDATE outbox.relay SET holder = NULL");
    str_release(&at.base);
    str_release(&at.target);
    source_user_release(&a);
    source_user_release(&b);
    PQfinish(conn);
}

/* Every answer about the row tells that it is paused, and a store counts what it covers. */
static void test_paused(void **state)
{
    struct source_user u;
    PGconn *conn = pg_open(&pg, "postgres");
    struct position at = {0};

    (void)state;
    open_as(&u, "host-a", 10000);
    position_set(&at, "10:20:15", "", 0);
    assert_true(source_user_take(&u, TAKE_IF_FREE, 0, 0)->ours);
    assert_false(u.view.paused);
    assert_true(source_user_store(&u, u.view.epoch, &at, false));
    assert_int_equal(u.answer, LEASE_OURS);
    assert_true(source_user_renew(&u, u.view.epoch));
    assert_int_equal(u.answer, LEASE_OURS);
    assert_string_equal(pg_scalar(conn, "SELECT outbox.pause('orders')"), "t");
    assert_true(source_user_renew(&u, u.view.epoch)); /* the epoch stays */
    assert_int_equal(u.answer, LEASE_PAUSED);
    assert_true(source_user_store(&u, u.view.epoch, &at, false));
    assert_int_equal(u.answer, LEASE_PAUSED);
    assert_int_equal(pg_int(conn, "SELECT published FROM outbox.lane"), 2); /* one a store */
    assert_false(source_user_renew(&u, u.view.epoch + 1));
    assert_int_equal(u.answer, LEASE_LOST);
    assert_true(source_user_take(&u, TAKE_OWN, 0, 0)->ours);
    assert_true(u.view.paused);
    assert_string_equal(pg_scalar(conn, "SELECT outbox.resume('orders')"), "t");
    assert_true(source_user_renew(&u, u.view.epoch));
    assert_int_equal(u.answer, LEASE_OURS);
    pg_exec(conn, "UPDATE outbox.relay SET holder = NULL");
    pg_exec(conn, "UPDATE outbox.lane SET published = 0");
    str_release(&at.base);
    str_release(&at.target);
    source_user_release(&u);
    PQfinish(conn);
}

static void test_takeover_race(void **state)
{
    struct source_user a, b;
    PGconn *conn = pg_open(&pg, "postgres");

    (void)state;
    open_as(&a, "host", 10000);
    open_as(&b, "host", 10000);
    for (int round = 0; round < 100; round++) {
        int64_t epoch = pg_int(conn, "SELECT epoch FROM outbox.relay");
        int64_t beat = pg_int(conn, "SELECT beat FROM outbox.relay");
        unsigned was_a = a.leases;
        unsigned was_b = b.leases;

        SOURCE_OP(&a, take(a.source, TAKE_IF_UNCHANGED, epoch, beat));
        SOURCE_OP(&b, take(b.source, TAKE_IF_UNCHANGED, epoch, beat));
        source_user_wait(&a, &a.leases, was_a);
        source_user_wait(&b, &b.leases, was_b);
        assert_true(a.view.ours != b.view.ours);
        assert_true(a.view.same_instance && b.view.same_instance);
    }
    pg_exec(conn, "UPDATE outbox.relay SET holder = NULL");
    source_user_release(&a);
    source_user_release(&b);
    PQfinish(conn);
}

/* Writes that meet a takeover in flight wait for it, and see it. */
static void test_waiting_for_the_row(void **state)
{
    struct source_user u;
    PGconn *conn = pg_open(&pg, "postgres");
    struct position at = {0};
    unsigned was;

    (void)state;
    open_as(&u, "host", 10000);
    assert_true(source_user_take(&u, TAKE_IF_FREE, 0, 0)->ours);
    position_set(&at, "5:5:", "", 0);
    pg_exec(conn, "BEGIN; UPDATE outbox.relay SET epoch = epoch + 1, holder = gen_random_uuid()");
    was = u.stores;
    SOURCE_OP(&u,
              store(u.source, u.view.epoch, &(struct store_request){.position = &at, .events = 1}));
    source_user_turn(&u, 100);
    assert_int_equal(u.stores, was);
    pg_exec(conn, "COMMIT");
    source_user_wait(&u, &u.stores, was);
    assert_false(u.still_ours);

    /* a takeover waits for the checkpoint of the one before it, and starts from there */
    pg_exec(conn, "UPDATE outbox.relay SET holder = NULL");
    pg_exec(conn,
            "BEGIN; SELECT 1 FROM outbox.relay FOR SHARE; UPDATE outbox.lane SET base = '77:77:'");
    was = u.leases;
    SOURCE_OP(&u, take(u.source, TAKE_IF_FREE, 0, 0));
    source_user_turn(&u, 100);
    assert_int_equal(u.leases, was);
    pg_exec(conn, "COMMIT");
    source_user_wait(&u, &u.leases, was);
    assert_true(u.view.ours);
    assert_string_equal(str_text(&u.view.position.base), "77:77:");
    pg_exec(conn, "UPDATE outbox.relay SET holder = NULL; UPDATE outbox.lane SET base = '1:1:'");
    str_release(&at.base);
    str_release(&at.target);
    source_user_release(&u);
    PQfinish(conn);
}

static void test_commits_on_disk(void **state)
{
    struct source_user u;
    PGconn *conn = pg_open(&pg, "postgres");
    struct position at = {0};
    int unflushed[2] = {0};

    (void)state;
    open_as(&u, "host", 10000);
    assert_true(source_user_take(&u, TAKE_IF_FREE, 0, 0)->ours);
    position_set(&at, "5:5:", "", 0);
    for (int i = 0; i < 60; i++) {
        assert_true(source_user_store(&u, u.view.epoch, &at, i % 2 != 0));
        unflushed[i % 2] +=
            pg_int(conn,
                   "SELECT (pg_current_wal_insert_lsn() > pg_current_wal_flush_lsn())::int") != 0;
    }
    CHECK(unflushed[0] >= 15 && unflushed[1] <= 3, "of 30: %d and %d not on disk", unflushed[0],
          unflushed[1]);
    pg_exec(conn, "UPDATE outbox.relay SET holder = NULL; UPDATE outbox.lane SET base = '1:1:'");
    str_release(&at.base);
    str_release(&at.target);
    source_user_release(&u);
    PQfinish(conn);
}

static void test_trouble(void **state)
{
    struct source_user u;
    PGconn *conn = pg_open(&pg, "postgres");
    struct trouble t = {.cause = "message_too_large",
                        .text = "it's \\ too large",
                        .event_id = "00000000-0000-0000-0000-000000000001",
                        .row_id = 42,
                        .topic = "order-events",
                        .attempts = 1,
                        .next_try_ms = 30000,
                        .halted = true};
    const char *since;

    (void)state;
    open_as(&u, "host", 10000);
    assert_true(source_user_take(&u, TAKE_IF_FREE, 0, 0)->ours);
    for (uint32_t i = 0; i < 50; i++) { /* more than the queue holds: the newest counts */
        t.attempts = i + 1;
        SOURCE_OP(&u, tell(u.source, u.view.epoch, &t));
    }
    assert_true(source_user_renew(&u, u.view.epoch));
    source_user_turn(&u, 50);
    assert_string_equal(
        pg_scalar(
            conn,
            "SELECT concat_ws('|', trouble_cause, trouble_text, trouble_event_id, trouble_row_id,"
            " trouble_topic, trouble_attempts, trouble_halted) FROM outbox.relay"),
        "message_too_large|it's \\ too "
        "large|00000000-0000-0000-0000-000000000001|42|order-events|50|t");
    assert_int_equal(pg_int(conn, "SELECT round(extract(epoch FROM trouble_next_try - now()))::int "
                                  "/ 10 FROM outbox.relay"),
                     3);
    since = pg_scalar(conn, "SELECT trouble_since FROM outbox.relay");
    t.attempts++;
    SOURCE_OP(&u, tell(u.source, u.view.epoch, &t));
    assert_true(source_user_renew(&u, u.view.epoch));
    assert_string_equal(pg_scalar(conn, "SELECT trouble_since FROM outbox.relay"), since);
    t = (struct trouble){.cause = ""};
    SOURCE_OP(&u, tell(u.source, u.view.epoch, &t));
    assert_true(source_user_renew(&u, u.view.epoch));
    assert_int_equal(
        pg_int(conn,
               "SELECT num_nonnulls(trouble_cause, trouble_text, trouble_event_id, trouble_row_id,"
               " trouble_topic, trouble_since, trouble_next_try) + trouble_attempts FROM "
               "outbox.relay"),
        0);
    pg_exec(conn, "UPDATE outbox.relay SET holder = NULL");
    source_user_release(&u);
    PQfinish(conn);
}

/* ---- doorbell ---- */

#define INSERT "SELECT outbox.publish('order', 'k', 'e', '{}')"

static void test_doorbell(void **state)
{
    struct source_user u;
    PGconn *conn = pg_open(&pg, "svc");
    unsigned was;

    (void)state;
    open_as(&u, "host", 10000);
    pg_exec(conn, INSERT);
    source_user_turn(&u, 100);
    assert_int_equal(u.bells, 0); /* not armed */
    assert_true(source_user_arm(&u, 0));
    pg_exec(conn, INSERT);
    source_user_wait(&u, &u.bells, 0);
    assert_true(source_user_arm(&u, 0)); /* twice, and given back once */
    SOURCE_OP(&u, disarm(u.source, 0));
    source_user_turn(&u, 50);
    was = u.bells;
    pg_exec(conn, "BEGIN");
    pg_exec(conn, INSERT);
    assert_false(source_user_arm(&u, 0)); /* a writer is in */
    pg_exec(conn, "COMMIT");
    source_user_turn(&u, 50);
    assert_int_equal(u.bells, was);
    SOURCE_OP(&u, arm(u.source, 0)); /* disarmed before the lock came */
    SOURCE_OP(&u, disarm(u.source, 0));
    source_user_turn(&u, 100);
    pg_exec(conn, INSERT);
    source_user_turn(&u, 50);
    assert_int_equal(u.bells, was);

    for (int i = 0; i < 300; i++) /* anybody may notify */
        pg_exec(conn, "NOTIFY outbox, 'forged'");
    source_user_turn(&u, 200);
    assert_in_range(u.bells - was, 1, 41);
    source_user_release(&u);
    PQfinish(conn);
}

static void test_stopped_relay_disarms(void **state)
{
    struct source_user u;
    PGconn *conn = pg_open(&pg, "svc");

    (void)state;
    open_as(&u, "host", 400);
    assert_true(source_user_arm(&u, 0));
    source_user_turn(&u, 2000); /* touched: it stays */
    assert_int_equal(pg_int(conn, "SELECT pg_try_advisory_xact_lock_shared(1868722040, 0)::int"),
                     0);
    WAIT_UNTIL(pg_int(conn, "SELECT pg_try_advisory_xact_lock_shared(1868722040, 0)::int") == 1,
               3000); /* stopped */
    source_user_wait(&u, &u.lost, 0);
    source_user_release(&u);
    PQfinish(conn);
}

/* Armed, looked once more and found nothing: whatever is committed from here on must ring. */
static void test_no_commit_without_a_ring(void **state)
{
    struct source_user u;
    PGconn *conn = pg_open(&pg, "postgres");
    struct position at = {0};
    struct load *load;
    int slept = 0;

    (void)state;
    load_prepare(&pg);
    open_as(&u, "host", 10000);
    str_set(&at.base, pg_scalar(conn, "SELECT pg_current_snapshot()"));
    load = load_start(&(struct load_params){
        .pg = &pg, .writers = 3, .seed = 3, .max_events = 600, .max_pause_ms = 30});
    while (load_is_running(load)) {
        unsigned bells;
        uint64_t end;

        if (source_user_read(&u, &at, 500, 500, -1) > 0 || !source_user_arm(&u, 0))
            continue;
        bells = u.bells;
        if (source_user_read(&u, &at, 500, 500, -1) == 0) {
            slept++;
            end = test_now_ms() + 2000;
            while (u.bells == bells && test_now_ms() < end && load_is_running(load))
                source_user_turn(&u, 1);
            if (u.bells == bells && load_is_running(load))
                CHECK(source_user_read(&u, &at, 500, 500, -1) == 0, "events without a ring");
        }
        SOURCE_OP(&u, disarm(u.source, 0));
    }
    load_stop(load);
    print_message("%lld committed, slept %d times\n", (long long)load_totals(load).committed,
                  slept);
    assert_true(slept > 20);
    load_free(load);
    str_release(&at.base);
    str_release(&at.target);
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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lease),
        cmocka_unit_test(test_paused),
        cmocka_unit_test(test_takeover_race),
        cmocka_unit_test(test_waiting_for_the_row),
        cmocka_unit_test(test_commits_on_disk),
        cmocka_unit_test(test_trouble),
        cmocka_unit_test(test_doorbell),
        cmocka_unit_test(test_stopped_relay_disarms),
        cmocka_unit_test(test_no_commit_without_a_ring),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
