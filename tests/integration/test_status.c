/* The commands rebase and status on a real Postgres, and what they say when it cannot be reached.
 */
#include "commands.h"

#include "outbox/admin.h"
#include "outbox/sql_texts.h"

#include <stdio.h>

static int start_server(void **state)
{
    PGconn *conn;

    (void)state;
    pg_create(&server, &(struct pg_params){.hba = "host all pw 127.0.0.1/32 scram-sha-256\n"
                                                  "host all all 127.0.0.1/32 trust\n"
                                                  "local all all trust\n"});
    conn = pg_open(&server, NULL);
    pg_exec(conn, "SET password_encryption = 'scram-sha-256'; CREATE ROLE pw LOGIN PASSWORD "
                  "'right'; CREATE ROLE nobody LOGIN");
    PQfinish(conn);
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    PQfinish(db);
    pg_drop(&server);
    return 0;
}

static void status_fails(const struct command_server *s, enum err_kind kind, const char *part)
{
    struct admin_status status;
    struct err err;

    assert_fails(admin_status(s, "orders", &status, &err), &err, kind, part);
    assert_lacks(err.text, "wrong");
    admin_status_release(&status);
}

static void test_connection_errors(void **state)
{
    struct command_server s = {.url = url.text};

    (void)state;
    url = pg_url(&server, "postgres", "absent");
    status_fails(&s, ERR_CONFIG, "absent");
    url = pg_url(&server, "stranger", "postgres");
    status_fails(&s, ERR_CONFIG, "stranger");
    url = pg_url(&server, "pw", "postgres");
    status_fails(&s, ERR_CONFIG, "no password supplied");
    s.password = "wrong";
    status_fails(&s, ERR_CONFIG, "password authentication failed");
    s.password = "right";
    status_fails(&s, ERR_CONFIG, "no outbox tables");
    (void)snprintf(url.text, sizeof url.text, "postgres://postgres@127.0.0.1:%d/postgres",
                   port_free());
    status_fails(&s, ERR_UNAVAILABLE, "refused");
    s.url = "postgres://[";
    status_fails(&s, ERR_CONFIG, "connection string");
}

/* ---- rebase ---- */

static void test_rebase(void **state)
{
    struct migrate_params p;
    struct admin_rebase moved;
    struct err err;

    (void)state;
    new_database("rebased", "postgres");
    p = params_for("orders");
    apply(&p);
    pg_exec(db, "UPDATE outbox.relay SET system_identifier = 1, epoch = 41; "
                "UPDATE outbox.lane SET base = '5:5:', target = '9:9:', last_id = 3");
    assert_ok(admin_rebase(&p.server, "orders", "now", &moved, &err), &err);
    assert_string_equal(str_text(&moved.was.base), "5:5:");
    assert_string_equal(str_text(&moved.was.target), "9:9:");
    assert_int_equal(moved.was.last_id, 3);
    assert_int_equal(moved.epoch, 42);
    assert_true(moved.server_changed);
    assert_string_equal(str_text(&moved.is.base), pg_scalar(db, "SELECT base FROM outbox.lane"));
    admin_rebase_release(&moved);
    assert_ok(admin_rebase(&p.server, "orders", "beginning", &moved, &err), &err);
    assert_string_equal(str_text(&moved.is.base), "1:1:");
    assert_false(moved.server_changed);
    admin_rebase_release(&moved);

    assert_fails(admin_rebase(&p.server, "order", "now", &moved, &err), &err, ERR_CONFIG,
                 "only: orders");
    assert_fails(admin_rebase(&p.server, "orders", "then", &moved, &err), &err, ERR_USAGE, "then");
    url = pg_url(&server, "nobody", "rebased");
    assert_fails(admin_rebase(&p.server, "orders", "now", &moved, &err), &err, ERR_CONFIG,
                 "member of outbox_owner");
    admin_rebase_release(&moved);
}

/* ---- status ---- */

static struct admin_status status_of(const char *relay)
{
    struct command_server s = {.url = url.text};
    struct admin_status status;
    struct err err;

    assert_ok(admin_status(&s, relay, &status, &err), &err);
    return status;
}

static void test_status_fields(void **state)
{
    struct command_server s = {.url = url.text};
    struct admin_status status;
    struct migrate_params p;
    struct err err;

    (void)state;
    new_database("fields", "postgres");
    p = params_for("orders");
    apply(&p);
    pg_exec(db, "CREATE ROLE reader LOGIN IN ROLE outbox_relay");
    url = pg_url(&server, "reader", "fields"); /* the relay's own role is enough */
    status = status_of("orders");
    assert_int_equal(status.schema_version, migrate_newest_version());
    assert_int_equal(status.bells, 1);
    assert_false(status.leading);
    assert_false(status.foreign_server);
    assert_true(status.renewed_s < 0);
    assert_int_equal(status.unsent_events, 0);
    assert_true(status.oldest_unsent_s < 0);
    assert_string_equal(str_text(&status.position.base), "1:1:");
    assert_string_equal(status.trouble.cause, "");
    admin_status_release(&status);

    pg_exec(db,
            "UPDATE outbox.relay SET holder = gen_random_uuid(), instance = 'here', epoch = 3, "
            "beat = 7, renewed_at = clock_timestamp() - interval '2 s', ttl_ms = 10000, "
            "system_identifier = 1, trouble_cause = 'topic_missing', trouble_text = 'no topic', "
            "trouble_event_id = '11111111-2222-7333-8444-555555555555', trouble_row_id = 5, "
            "trouble_topic = 't', trouble_since = clock_timestamp() - interval '1 min', "
            "trouble_attempts = 4, trouble_halted = true, "
            "trouble_next_try = clock_timestamp() + interval '30 s'");
    status = status_of("orders");
    assert_true(status.leading);
    assert_true(status.foreign_server);
    assert_string_equal(str_text(&status.instance), "here");
    assert_int_equal(status.epoch, 3);
    assert_int_equal(status.beat, 7);
    assert_true(status.renewed_s >= 2 && status.renewed_s < 9);
    assert_string_equal(status.trouble.cause, "topic_missing");
    assert_string_equal(status.trouble.text, "no topic");
    assert_string_equal(status.trouble.event_id, "11111111-2222-7333-8444-555555555555");
    assert_int_equal(status.trouble.row_id, 5);
    assert_int_equal(status.trouble.attempts, 4);
    assert_true(status.trouble.halted);
    assert_true(status.trouble.next_try_ms > 20000 && status.trouble.next_try_ms <= 30000);
    assert_true(status.trouble_s >= 60);
    admin_status_release(&status);

    pg_exec(db, "UPDATE outbox.relay SET renewed_at = clock_timestamp() - interval '11 s'");
    status = status_of("orders");
    assert_false(status.leading);
    admin_status_release(&status);
    assert_fails(admin_status(&s, "x", &status, &err), &err, ERR_CONFIG, "only: orders");
}

#define PUBLISH "SELECT outbox.publish('a', 'b', 'c', '{}')"

/* The count by indexes against the plain definition of "settled", for the stored position. */
static void check_unsent(const char *what)
{
    struct admin_status status = status_of("orders");
    int64_t expected =
        pg_int(db, "SELECT count(*) FROM outbox.event e, outbox.lane l "
                   "WHERE NOT pg_visible_in_snapshot(e.xid, l.base) AND NOT coalesce("
                   "pg_visible_in_snapshot(e.xid, l.target) AND e.id <= l.last_id, false)");

    CHECK(status.unsent_events == expected, "%s: %lld unsent, expected %lld", what,
          (long long)status.unsent_events, (long long)expected);
    assert_int_equal(status.oldest_unsent_s >= 0, expected > 0);
    assert_false(status.unsent_estimated);
    admin_status_release(&status);
}

/* Transactions that overlap the two snapshots in every way, and every last_id. */
static void test_unsent_is_exact_when_few(void **state)
{
    struct migrate_params p;
    PGconn *w[5];

    (void)state;
    new_database("unsent", "postgres");
    p = params_for("orders");
    apply(&p);
    for (size_t i = 0; i < ARRAY_LEN(w); i++)
        w[i] = PQconnectdb(url.text);
    for (size_t i = 0; i < 4; i++) { /* open at base */
        pg_exec(w[i], "BEGIN; " PUBLISH);
        pg_exec(db, PUBLISH);
    }
    pg_exec(w[3], "COMMIT");
    pg_exec(db, "UPDATE outbox.lane SET base = pg_current_snapshot()");
    check_unsent("all settled");
    pg_exec(w[0], PUBLISH);
    pg_exec(w[0], "COMMIT"); /* a straggler */
    check_unsent("one straggler");
    pg_exec(w[4], "BEGIN; " PUBLISH);
    for (int i = 0; i < 3; i++)
        pg_exec(db, PUBLISH);
    check_unsent("no target");
    pg_exec(db, "UPDATE outbox.lane SET target = pg_current_snapshot()");
    pg_exec(w[1], "COMMIT"); /* open at both snapshots */
    pg_exec(w[4], "COMMIT"); /* begun between them, open at target */
    pg_exec(db, PUBLISH);    /* after target */
    for (int last = 0; last <= 16; last++) {
        char what[32];

        pg_exec(db, "UPDATE outbox.lane SET last_id = %d", last);
        (void)snprintf(what, sizeof what, "last_id %d", last);
        check_unsent(what);
    }
    pg_exec(w[2], "ROLLBACK");
    pg_exec(db, "UPDATE outbox.lane SET base = target, target = NULL, last_id = 0");
    check_unsent("next batch");
    for (size_t i = 0; i < ARRAY_LEN(w); i++)
        PQfinish(w[i]);
}

static void test_backlog_is_estimated_quickly(void **state)
{
    static const int settled[] = {0, 1, 150000, 299990};
    struct migrate_params p;
    struct admin_status status;

    (void)state;
    new_database("backlog", "postgres");
    p = params_for("orders");
    apply(&p);
    pg_exec(db, "INSERT INTO outbox.event (aggregate_type, aggregate_id, event_type, payload) "
                "SELECT 'a', g::text, 'c', '{}' FROM generate_series(1, 300000) g");
    for (size_t i = 0; i < ARRAY_LEN(settled); i++) {
        uint64_t begun = test_now_ms();

        pg_exec(db, "UPDATE outbox.lane SET last_id = %d, target = %s", settled[i],
                settled[i] == 0 ? "NULL" : "pg_current_snapshot()");
        status = status_of("orders");
        assert_true(status.unsent_estimated);
        assert_int_equal(status.unsent_events, 300000 - settled[i]);
        assert_true(status.oldest_unsent_s >= 0);
        assert_true(test_now_ms() - begun <
                    1000); /* counting takes as long only with millions; 10 ms is usual */
        admin_status_release(&status);
    }
    pg_exec(db, "UPDATE outbox.lane SET base = target, target = NULL, last_id = 0");
    status = status_of("orders");
    assert_int_equal(status.unsent_events, 0);
    admin_status_release(&status);
}

/* No plan of the query may walk a table, whatever the statistics say. */
static void test_unsent_uses_indexes(void **state)
{
    struct str sql = {0};
    PGresult *plan;

    (void)state;
    pg_exec(db, "ANALYZE outbox.event");
    pg_exec(db, "SET enable_seqscan = off; SET enable_bitmapscan = off; SET jit = off");
    str_printf(&sql, "PREPARE unsent (text, bigint) AS %s", sql_query("status_unsent"));
    pg_exec(db, "%s", sql.data);
    plan = pg_query(db, "EXPLAIN EXECUTE unsent ('orders', 10001)");
    for (int i = 0; i < PQntuples(plan); i++)
        assert_lacks(PQgetvalue(plan, i, 0), "Seq Scan");
    PQclear(plan);
    str_release(&sql);
}

/* ---- what `run` would refuse ---- */

static void refuses(enum problem problem, const char *part, const char *break_sql,
                    const char *mend_sql)
{
    struct admin_status status;

    pg_exec(db, "%s", break_sql);
    status = status_of("orders");
    CHECK(status.refusal.problem == problem, "%s: %s", problem_word(problem),
          problem_word(status.refusal.problem));
    assert_int_equal(status.refusal.kind, ERR_CONFIG);
    assert_contains(status.refusal.text, part);
    admin_status_release(&status);
    pg_exec(db, "%s", mend_sql);
    status = status_of("orders");
    assert_int_equal(status.refusal.kind, ERR_NONE);
    admin_status_release(&status);
}

static void test_what_run_refuses(void **state)
{
    struct migrate_params p;
    struct command_server s = {.url = url.text};
    struct admin_status status;
    struct err err;

    (void)state;
    new_database("refused", "postgres");
    p = params_for("orders");
    apply(&p);
    pg_exec(db, "CREATE ROLE looker LOGIN; GRANT outbox_relay TO looker");
    url = pg_url(&server, "looker", "refused");
    refuses(PROBLEM_ROW_SECURITY, "ALTER ROLE looker BYPASSRLS;",
            "ALTER TABLE outbox.event ENABLE ROW LEVEL SECURITY",
            "ALTER TABLE outbox.event DISABLE ROW LEVEL SECURITY");
    refuses(PROBLEM_SEQUENCE_CACHES, "ALTER SEQUENCE outbox.event_id_seq CACHE 1;",
            "ALTER SEQUENCE outbox.event_id_seq CACHE 5",
            "ALTER SEQUENCE outbox.event_id_seq CACHE 1;");
    refuses(PROBLEM_POSITION_AHEAD, "transaction 99999999",
            "UPDATE outbox.lane SET target = '1:99999999:'",
            "UPDATE outbox.lane SET target = NULL");
    refuses(PROBLEM_FOREIGN_DATABASE, "belongs to another server",
            "UPDATE outbox.relay SET system_identifier = system_identifier + 1",
            "UPDATE outbox.relay SET system_identifier = system_identifier - 1");
    refuses(PROBLEM_SCHEMA_NEWER, "version 99",
            "INSERT INTO outbox.migration (version, name) VALUES (99, 'x')",
            "DELETE FROM outbox.migration WHERE version = 99");
    pg_exec(db, "REVOKE outbox_relay FROM looker");
    assert_fails(admin_status(&s, "orders", &status, &err), &err, ERR_CONFIG,
                 "GRANT outbox_relay TO looker;");
    assert_int_equal(err.problem, PROBLEM_GRANTS_MISSING);
    admin_status_release(&status);
}

/* A real older schema has fewer columns. */
static void test_an_older_schema(void **state)
{
    struct migrate_params p;
    struct admin_status status;
    struct err err;

    (void)state;
    new_database("older", "postgres");
    p = params_for("orders");
    apply(&p);
    assert_ok(migrate_down(&p, 3, &err), &err);
    status = status_of("orders");
    assert_int_equal(status.refusal.problem, PROBLEM_SCHEMA_OLDER);
    assert_int_equal(status.schema_version, 3);
    assert_int_equal(status.published, -1);
    assert_true(status.paused_s < 0 && status.rate < 0);
    admin_status_release(&status);
}

/* ---- pause, rate, transactions ---- */

static void test_pause_and_rate(void **state)
{
    struct migrate_params p;
    struct admin_status status;
    PGconn *leader;

    (void)state;
    new_database("rates", "postgres");
    p = params_for("orders");
    apply(&p);
    status = status_of("orders");
    assert_true(status.paused_s < 0 && status.rate < 0); /* nobody leads */
    assert_int_equal(status.published, 0);
    admin_status_release(&status);

    pg_exec(db, "SELECT outbox.pause('orders', 'a reason', 'somebody')");
    pg_exec(db, "UPDATE outbox.relay SET holder = gen_random_uuid(), instance = 'here', "
                "renewed_at = clock_timestamp(), ttl_ms = 60000");
    status = status_of("orders");
    assert_true(status.paused_s >= 0);
    assert_string_equal(str_text(&status.paused_by), "somebody");
    assert_string_equal(str_text(&status.pause_reason), "a reason");
    assert_true(status.rate >= 0 && status.rate <= 0);
    admin_status_release(&status);

    leader = PQconnectdb(url.text); /* stores a hundred events every 50 ms, for up to ten seconds */
    assert_int_equal(PQsendQuery(leader, "DO $$ BEGIN FOR i IN 1..200 LOOP UPDATE outbox.lane SET "
                                         "published = published + 100; COMMIT; PERFORM "
                                         "pg_sleep(0.05); END LOOP; END $$"),
                     1);
    WAIT_UNTIL(pg_int(db, "SELECT published FROM outbox.lane") > 0, 5000);
    status = status_of("orders");
    assert_true(status.published > 0);
    CHECK(status.rate > 0 && status.rate < 2500, "%.0f events/s", status.rate);
    admin_status_release(&status);
    pg_exec(db, "SELECT pg_terminate_backend(%d)", PQbackendPID(leader));
    PQfinish(leader);
}

static void expect_transaction(const char *name, bool locks_event, const char *way_out)
{
    const char *seconds = "0"; /* a minute cannot be waited for */
    struct err err;
    PGresult *rows = command_query(db, sql_query("status_transactions"), 1, &seconds, &err);

    assert_non_null(rows);
    assert_int_equal(PQntuples(rows), 1);
    assert_contains(PQgetvalue(rows, 0, 0), name);
    assert_int_equal(command_bool(rows, 0, 2), locks_event);
    assert_contains(PQgetvalue(rows, 0, 3), way_out);
    pg_exec(db, "%s", PQgetvalue(rows, 0, 3)); /* the way out ends it */
    PQclear(rows);
    WAIT_UNTIL(pg_int(db, "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%%'") ==
                   0,
               5000);
}

static void test_transactions_that_matter(void **state)
{
    struct migrate_params p;
    struct admin_status status;
    PGconn *other;

    (void)state;
    new_database("open", "postgres");
    p = params_for("orders");
    apply(&p);
    other = PQconnectdb(url.text);
    pg_exec(other, "SET application_name = 'forgotten'; BEGIN; " PUBLISH);
    expect_transaction("(role postgres, forgotten, idle in transaction)", true,
                       "SELECT pg_terminate_backend(");
    PQfinish(other);
    other = PQconnectdb(url.text);
    pg_exec(other,
            "BEGIN; SELECT count(*) FROM outbox.event"); /* no xid, no snapshot: only locks */
    expect_transaction("role postgres, no name", true, "SELECT pg_terminate_backend(");
    PQfinish(other);
    other = PQconnectdb(url.text);
    pg_exec(other, "BEGIN; SELECT pg_current_xact_id()");
    status = status_of("orders");
    assert_int_equal(status.transaction_count, 0); /* younger than a minute */
    assert_true(status.sees_transactions);
    admin_status_release(&status);
    expect_transaction("role postgres, no name", false, "SELECT pg_terminate_backend(");
    PQfinish(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connection_errors),
        cmocka_unit_test(test_rebase),
        cmocka_unit_test(test_status_fields),
        cmocka_unit_test(test_unsent_is_exact_when_few),
        cmocka_unit_test(test_backlog_is_estimated_quickly),
        cmocka_unit_test(test_unsent_uses_indexes),
        cmocka_unit_test(test_what_run_refuses),
        cmocka_unit_test(test_an_older_schema),
        cmocka_unit_test(test_pause_and_rate),
        cmocka_unit_test(test_transactions_that_matter),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
