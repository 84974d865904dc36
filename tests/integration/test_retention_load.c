/* Retention at high speed beside many writers, held against what they committed; and what `outboxd
 * status` and `check` say of days that it could not take away. */
#include "../support/load.h"
#include "../support/source_user.h"
#include "outbox/overdue.h"
#include "retention_case.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define DAY_MS INT64_C(86400000)

/* ---- at high speed ---- */

#define LOAD_DAYS 12

/* Everybody writes into days that are over, which retention takes away as soon as they are
 * published, and which come back. */
struct churn {
    pthread_t thread;
    atomic_bool stop;
    atomic_uint emptied, dropped;
    char error[256];
};

static void churn_count(struct churn *c, PGresult *res)
{
    if (PQresultStatus(res) != PGRES_TUPLES_OK)
        (void)snprintf(c->error, sizeof(c->error), "%s", PQresultErrorMessage(res));
    for (int i = 0; i < PQntuples(res); i++) {
        if (strcmp(PQgetvalue(res, i, 0), "emptied") == 0)
            atomic_fetch_add(&c->emptied, 1);
        else if (strcmp(PQgetvalue(res, i, 0), "dropped") == 0)
            atomic_fetch_add(&c->dropped, 1);
    }
    PQclear(res);
}

static void *retire_again_and_again(void *arg)
{
    struct churn *c = arg;
    PGconn *conn = pg_try_open(&pg, "relay", 5);
    char sql[160];

    for (int day = 0; !atomic_load(&c->stop) && c->error[0] == '\0'; day = (day + 1) % LOAD_DAYS) {
        (void)snprintf(
            sql, sizeof(sql),
            "SELECT outcome FROM outbox.retire_next('1 ms', 'event_' || to_char(now() AT "
            "TIME ZONE 'UTC' - %d * interval '1 day', 'YYYYMMDD'))",
            LOAD_DAYS + 1 - day);
        churn_count(c, PQexec(conn, sql));
    }
    PQfinish(conn);
    return NULL;
}

/* Rows of a day that is away go to the default partition, and keep the day away. The lock keeps
 * writers out: one that is on its way into the default partition would be refused. */
static void bring_days_back(void)
{
    pg_exec(owner, "BEGIN; LOCK TABLE ONLY outbox.event IN SHARE ROW EXCLUSIVE MODE");
    pg_exec(owner,
            "DELETE FROM outbox.event_default WHERE pg_visible_in_snapshot(xid, (SELECT base "
            "FROM outbox.lane WHERE relay = 'orders' AND id = 0))");
    pg_exec(owner,
            "SET LOCAL ROLE outbox_owner; SELECT outbox.make_day((now() AT TIME ZONE 'UTC')::date "
            "- d) FROM generate_series(1, %d) d",
            LOAD_DAYS);
    pg_exec(owner, "COMMIT");
}

struct judge {
    uint8_t (*ids)[16];
    size_t count;
    size_t room;
    int64_t committed;
    int lost;
    int ghosts;
};

static enum row_verdict note_row(void *ctx, const struct event *e)
{
    struct judge *j = ctx;

    if (j->count == j->room) {
        j->room = j->room * 2 + 1024;
        j->ids = xrealloc(j->ids, j->room * sizeof(*j->ids));
    }
    memcpy(j->ids[j->count++], e->event_id, 16);
    return ROW_TAKEN;
}

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, 16);
}

static void judge_entry(void *ctx, const struct load_entry *e)
{
    struct judge *j = ctx;
    bool read = bsearch(e->event_id, j->ids, j->count, 16, compare_ids) != NULL;

    j->committed += e->fate == LOAD_COMMITTED;
    j->lost += e->fate == LOAD_COMMITTED && !read;
    j->ghosts += e->fate == LOAD_ROLLED_BACK && read;
}

/* Reads what has become visible, and stores the position, as a relay does. */
static void read_and_settle(struct source_user *u, struct position *at)
{
    (void)source_user_read(u, at, 100, 50, -1);
    pg_exec(owner, "UPDATE outbox.lane SET base = '%s' WHERE relay = 'orders'",
            str_text(&at->base));
}

static void test_nothing_is_lost_at_speed(void **state)
{
    static struct churn churn[2]; /* a failed test leaves its threads */
    struct judge j = {0};
    struct source_user u;
    struct pg_url url = pg_url(&pg, "relay", "postgres");
    struct outbox_params params = source_user_params(url.text);
    struct position at = {.last_id = 0};
    uint64_t enough = test_now_ms() + 7000;
    struct load *load;

    (void)state;
    begin(LOAD_DAYS);
    pg_exec(owner,
            "ALTER TABLE outbox.event ALTER created_at SET DEFAULT clock_timestamp() - (1 + "
            "random() * %d) * interval '1 day'",
            LOAD_DAYS - 2);
    pg_exec(owner, "ALTER ROLE relay RESET log_statement"); /* else the log grows large */
    load_prepare(&pg);
    str_set(&at.base, pg_scalar(owner, "SELECT pg_current_snapshot()"));
    source_user_init(&u, &params);
    source_user_open(&u);
    u.row = note_row;
    u.row_ctx = &j;
    for (size_t i = 0; i < ARRAY_LEN(churn); i++)
        assert_int_equal(pthread_create(&churn[i].thread, NULL, retire_again_and_again, &churn[i]),
                         0);
    load = load_start(&(struct load_params){
        .pg = &pg, .writers = 6, .seed = 4, .duration_ms = 30000, .max_sleep_ms = 5});
    for (unsigned i = 0; load_is_running(load) && (test_now_ms() < enough || churn[0].emptied < 20);
         i++) {
        read_and_settle(&u, &at);
        if (i % 8 == 0)
            bring_days_back();
    }
    load_stop(load);
    while (source_user_read(&u, &at, 200, 100, -1) > 0)
        ;
    for (size_t i = 0; i < ARRAY_LEN(churn); i++) {
        atomic_store(&churn[i].stop, true);
        assert_int_equal(pthread_join(churn[i].thread, NULL), 0);
        assert_string_equal(churn[i].error, "");
    }
    qsort(j.ids, j.count, 16, compare_ids);
    load_each(load, judge_entry, &j);
    print_message("# %lld events committed, days emptied %u times and dropped %u times; %d lost\n",
                  (long long)j.committed, churn[0].emptied + churn[1].emptied,
                  churn[0].dropped + churn[1].dropped, j.lost);
    assert_int_equal(j.lost, 0);
    assert_int_equal(j.ghosts, 0);
    assert_true(j.committed > 100);
    assert_true(churn[0].emptied + churn[1].emptied >= 5);
    load_free(load);
    free(j.ids);
    str_release(&at.base);
    str_release(&at.target);
    source_user_release(&u);
    pg_exec(owner, "ALTER TABLE outbox.event ALTER created_at SET DEFAULT clock_timestamp()");
    pg_exec(owner, "ALTER ROLE relay SET log_statement = 'all'");
}

/* ---- what status and check say ---- */

static const char *said[32];
static size_t said_count;

static void say_line(void *ctx, enum finding finding, const char *what, const char *way_out)
{
    (void)ctx;
    (void)way_out;
    assert_true(said_count < ARRAY_LEN(said));
    said[said_count] = xstrdup(what);
    print_message("# %d %s\n", (int)finding, what);
    said_count++;
}

/* What status and check say, with the relay's own rights. */
static void test_overdue(void **state)
{
    struct pg_url url = pg_url(&pg, "relay", "postgres");
    struct command_server server = {.url = url.text};
    struct report report = {.line = say_line};
    struct overdue overdue;
    struct err err;

    (void)state;
    begin(9);
    for (int day = 1; day <= 9; day += 2)
        pg_exec(owner, OLD_EVENT, day);
    settle("orders");
    pg_exec(owner, "SELECT outbox.make_relay('slow', 'beginning')");
    assert_ok(overdue_ask(&server, 4 * DAY_MS, &overdue, &err), &err);
    assert_true(overdue.supported);
    assert_int_equal(overdue.count, 3);
    assert_string_equal(overdue.days[0].reason, "relay slow has not published all of it");
    assert_true(overdue.days[0].bytes >= 8192);
    overdue_inspect(&server, 4 * DAY_MS, &report);
    assert_contains(said[0], "3 partitions should be gone by retention.keep; event_");
    overdue_inspect(&server, 0, &report);
    assert_contains(said[1], "kept for ever");
    overdue_inspect(&server, 30 * DAY_MS, &report);
    assert_contains(said[2], "no day is kept beyond");

    assert_int_equal(said_count, 3);
}

/* Why, and what the rights and the schema allow to ask. */
static void test_overdue_reasons(void **state)
{
    struct pg_url url = pg_url(&pg, "relay", "postgres");
    struct command_server server = {.url = url.text};
    struct report report = {.line = say_line};
    struct overdue overdue;
    PGconn *reader = pg_open(&pg, NULL);
    struct err err;

    (void)state;
    begin(9);
    pg_exec(owner, OLD_EVENT, 9);
    settle("orders");
    said_count = 0;
    assert_ok(overdue_ask(&server, 4 * DAY_MS, &overdue, &err), &err);
    assert_string_equal(overdue.days[0].reason, "no relay with retention.keep has looked");
    pg_exec(reader, "BEGIN; SELECT count(*) FROM outbox.event");
    assert_ok(overdue_ask(&server, 4 * DAY_MS, &overdue, &err), &err);
    assert_contains(overdue.days[0].reason, "used by process ");
    pg_exec(reader, "COMMIT");
    pg_exec(owner, OLD_EVENT, 30);
    assert_ok(overdue_ask(&server, 0, &overdue, &err), &err);
    assert_int_equal(overdue.count, 1);
    assert_string_equal(overdue.days[0].partition, "event_default");

    pg_exec(owner, "REVOKE EXECUTE ON FUNCTION outbox.overdue_days(interval) FROM outbox_relay");
    overdue_inspect(&server, 0, &report);
    assert_contains(said[0], "there is no retention for this role");
    pg_exec(owner, "GRANT EXECUTE ON FUNCTION outbox.overdue_days(interval) TO outbox_relay");
    assert_int_equal(said_count, 1);
    PQfinish(reader);
}

/* ---- */

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_lost_at_speed),
        cmocka_unit_test(test_overdue),
        cmocka_unit_test(test_overdue_reasons),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
