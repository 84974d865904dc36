/* What `outboxd check` says of a real Postgres: of a healthy one nothing but good, and for each
 * thing that is not right one line with the way out. */
#include "../support/check.h"
#include "../support/pg.h"
#include "report_words.h"

#include "base/clock.h"
#include "base/str.h"
#include "outbox/inspect.h"
#include "outbox/sql_texts.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MAX_LINES 40

static struct pg_server server;
static PGconn *db; /* superuser */

/* ---- the report of the last run ---- */

static struct {
    enum finding finding;
    char *what;
    char *way_out; /* "" when there is none */
} lines[MAX_LINES];
static size_t line_count;

static void forget(void)
{
    for (size_t i = 0; i < line_count; i++) {
        free(lines[i].what);
        free(lines[i].way_out);
    }
    line_count = 0;
}

static void take_line(void *ctx, enum finding finding, const char *what, const char *way_out)
{
    (void)ctx;
    assert_true(line_count < MAX_LINES);
    CHECK(finding != FINDING_WRONG || (names_its_problem(what) && way_out != NULL),
          "no problem, or no way out: %s", what);
    lines[line_count].finding = finding;
    lines[line_count].what = xstrdup(what);
    lines[line_count].way_out = xstrdup(way_out != NULL ? way_out : "");
    line_count++;
}

static void inspect_url(const char *url, const char *password, const char *relay,
                        int64_t (*wall_us)(void))
{
    struct report report = {.line = take_line};
    struct command_server s = {.url = url, .password = password};

    forget();
    outbox_inspect(&s, relay, wall_us, &report);
    assert_true(line_count > 0);
}

static void inspect(const char *user, const char *dbname)
{
    inspect_url(pg_url(&server, user, dbname).text, NULL, "orders", clock_wall_us);
}

static size_t count(enum finding finding)
{
    size_t n = 0;

    for (size_t i = 0; i < line_count; i++)
        n += lines[i].finding == finding;
    return n;
}

static void show(void)
{
    for (size_t i = 0; i < line_count; i++)
        print_error("%d %s\n     -> %s\n", (int)lines[i].finding, lines[i].what, lines[i].way_out);
}

/* Exactly one line says this, with this finding and way out. */
static void expect(enum finding finding, const char *what, const char *way_out)
{
    size_t found = 0;

    for (size_t i = 0; i < line_count; i++)
        found += lines[i].finding == finding && strstr(lines[i].what, what) != NULL &&
                 strstr(lines[i].way_out, way_out) != NULL;
    if (found != 1) {
        show();
        fail_msg("%zu lines say: %d %s -> %s", found, (int)finding, what, way_out);
    }
}

static void expect_counts(size_t notes, size_t warnings, size_t wrong)
{
    if (count(FINDING_NOTE) != notes || count(FINDING_WARN) != warnings ||
        count(FINDING_WRONG) != wrong) {
        show();
        fail_msg("expected %zu notes, %zu warnings, %zu wrong", notes, warnings, wrong);
    }
}

/* The only thing that is not right. */
static void expect_only(enum finding finding, const char *what, const char *way_out)
{
    expect(finding, what, way_out);
    expect_counts(finding == FINDING_NOTE, finding == FINDING_WARN, finding == FINDING_WRONG);
}

static void assert_healthy(void)
{
    inspect("relay", "postgres");
    expect_counts(0, 0, 0);
}

/* ---- the server ---- */

static void connect_db(void)
{
    PQfinish(db);
    db = pg_open(&server, NULL);
}

static int start_server(void **state)
{
    (void)state;
    pg_create(&server, &(struct pg_params){.fsync = true,
                                           .hba = "host all pw 127.0.0.1/32 scram-sha-256\n"
                                                  "host all shut 127.0.0.1/32 reject\n"
                                                  "host all all 127.0.0.1/32 trust\n"
                                                  "local all all trust\n"});
    pg_apply_schema(&server);
    connect_db();
    pg_exec(db, "GRANT pg_read_all_stats TO relay; SET password_encryption = 'scram-sha-256'; "
                "CREATE ROLE pw LOGIN PASSWORD 'right'; CREATE ROLE shut LOGIN; "
                "CREATE ROLE \"No body\" LOGIN");
    pg_exec(db, "CREATE DATABASE empty");
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    forget();
    PQfinish(db);
    pg_drop(&server);
    return 0;
}

static void change_setting(const char *sql)
{
    pg_exec(db, "%s", sql);
    pg_restart(&server);
    connect_db();
}

/* ---- the tests ---- */

static void test_healthy(void **state)
{
    (void)state;
    assert_healthy();
    expect(FINDING_OK, "connected to database postgres on 127.0.0.1", "");
    expect(FINDING_OK, "PostgreSQL 1", "");
    expect(FINDING_OK, "is a primary", "");
    expect(FINDING_OK, "encoding is UTF8", "");
    expect(FINDING_OK, "clock agrees", "");
    expect(FINDING_OK, "no transaction is open for more than an hour", "");
    expect(FINDING_OK, "1 doorbell", "");
    expect(FINDING_OK, "row level security", "");
    expect(FINDING_OK, "sequence", "");
    expect(FINDING_OK, "today and 7 days", "");
    expect(FINDING_OK, "role relay has the privileges", "");
    expect(FINDING_OK, "outbox schema has version", "");
    expect(FINDING_OK, "relay \"orders\" is there", "");
    for (size_t i = 0; i < line_count; i++)
        assert_string_equal(lines[i].way_out, "");
    inspect_url(pg_url(&server, "relay", "postgres").text, NULL, "orders", NULL);
    expect_counts(0, 0, 0);
}

static void test_connection(void **state)
{
    char url[256];

    (void)state;
    inspect("relay", "absent");
    expect_only(FINDING_WRONG, "absent", "correct the database's name");
    inspect("stranger", "postgres");
    expect_only(FINDING_WRONG, "stranger", "create the role");
    inspect("shut", "postgres");
    expect_only(FINDING_WRONG, "shut", "pg_hba.conf");
    inspect("pw", "postgres");
    expect_only(FINDING_WRONG, "no password supplied", "asks for a password");
    inspect_url(pg_url(&server, "pw", "postgres").text, "wrong", "orders", clock_wall_us);
    expect_only(FINDING_WRONG, "password authentication failed", "correct the password");
    assert_lacks(lines[0].what, "wrong");
    (void)snprintf(url, sizeof url, "postgres://pw:se%%zzcret@127.0.0.1:%d/postgres", server.port);
    inspect_url(url, NULL, "orders", clock_wall_us);
    expect_only(FINDING_WRONG, "cannot be understood", "");
    assert_lacks(lines[0].what, "cret");
    (void)snprintf(url, sizeof url, "postgres://relay@127.0.0.1:%d/postgres", port_free());
    inspect_url(url, NULL, "orders", clock_wall_us);
    expect_only(FINDING_WRONG, "refused", "start the server");
    assert_int_equal(line_count, 1);
}

static void test_no_schema(void **state)
{
    (void)state;
    inspect("relay", "empty");
    expect_only(FINDING_WRONG, "database \"empty\" has no outbox tables", "outboxd migrate");
    expect(FINDING_OK, "encoding", "");
}

static void test_grants(void **state)
{
    (void)state;
    inspect("No body", "postgres");
    expect(FINDING_WRONG, "\"No body\" may not use the schema",
           "GRANT outbox_relay TO \"No body\"; or one by one: GRANT USAGE ON SCHEMA outbox TO "
           "\"No body\"; GRANT SELECT ON outbox.event TO \"No body\";");
    expect(FINDING_NOTE, "other roles' transactions", "GRANT pg_read_all_stats TO \"No body\";");
    expect_counts(1, 0, 1);
    expect(FINDING_OK, "today and 7 days", ""); /* the catalogs are open to everybody */

    pg_exec(db, "GRANT USAGE ON SCHEMA outbox TO \"No body\"");
    inspect("No body", "postgres");
    expect(FINDING_WRONG, "\"No body\" lacks privileges",
           "GRANT UPDATE ON outbox.lane TO \"No body\";");

    pg_exec(db, "GRANT outbox_relay TO \"No body\"");
    inspect("No body", "postgres");
    expect_counts(1, 0, 0);
}

static void test_order(void **state)
{
    (void)state;
    pg_exec(db, "ALTER SEQUENCE outbox.event_id_seq CACHE 20; "
                "ALTER TABLE outbox.event ENABLE ROW LEVEL SECURITY");
    inspect("relay", "postgres");
    expect(FINDING_WRONG, "sequence", "ALTER SEQUENCE outbox.event_id_seq CACHE 1;");
    expect(FINDING_WRONG, "row level security can hide", "ALTER ROLE relay BYPASSRLS;");
    expect_counts(0, 0, 2);
    expect(FINDING_OK, "relay \"orders\" is there", ""); /* it went on */
    pg_exec(db, "ALTER SEQUENCE outbox.event_id_seq CACHE 1; "
                "ALTER TABLE outbox.event DISABLE ROW LEVEL SECURITY");
    assert_healthy();
}

static void test_relay(void **state)
{
    (void)state;
    inspect_url(pg_url(&server, "relay", "postgres").text, NULL, "it's \\ absent", clock_wall_us);
    expect_only(FINDING_WRONG, "there is no relay \"it's \\ absent\"", "outboxd migrate");

    pg_exec(db, "UPDATE outbox.relay SET system_identifier = system_identifier + 1");
    inspect("relay", "postgres");
    expect_only(FINDING_WRONG, "belongs to another server", "outboxd rebase");
    pg_exec(db, "UPDATE outbox.relay SET system_identifier = system_identifier - 1");

    pg_exec(db, "UPDATE outbox.lane SET target = '1:999999999:'");
    inspect("relay", "postgres");
    expect_only(FINDING_WRONG, "ahead of the server (transaction 999999999", "outboxd rebase");
    pg_exec(db, "UPDATE outbox.lane SET target = NULL");

    pg_exec(db, "UPDATE outbox.relay SET bell = 1");
    inspect("relay", "postgres");
    expect_only(FINDING_WARN, "no doorbell rings for this relay", "SELECT outbox.set_bells(2);");
    pg_exec(db, "UPDATE outbox.relay SET bell = 0");

    pg_exec(db, "INSERT INTO outbox.migration (version, name) VALUES (99, 'future')");
    inspect("relay", "postgres");
    expect_only(FINDING_WRONG, "has version 99, this outboxd knows", "use a newer outboxd");
    pg_exec(db, "BEGIN; CREATE TABLE kept AS SELECT * FROM outbox.migration WHERE version < 99; "
                "DELETE FROM outbox.migration; COMMIT");
    inspect("relay", "postgres");
    expect_only(FINDING_WRONG, "has version 0, this outboxd needs", "outboxd migrate");
    pg_exec(db, "INSERT INTO outbox.migration SELECT * FROM kept; DROP TABLE kept");
    assert_healthy();
}

static void test_triggers(void **state)
{
    (void)state;
    pg_exec(db, "ALTER TABLE outbox.event DISABLE TRIGGER event_commit_durably");
    inspect("relay", "postgres");
    expect_only(FINDING_WARN, "event_commit_durably does not run",
                "ENABLE TRIGGER event_commit_durably;");
    pg_exec(db, "DROP TRIGGER event_commit_durably ON outbox.event");
    inspect("relay", "postgres");
    expect_only(FINDING_WARN, "event_commit_durably does not run", "CREATE TRIGGER");
    for (size_t i = 0; i < line_count; i++)
        if (lines[i].finding == FINDING_WARN)
            pg_exec(db, "%s", lines[i].way_out); /* the way out is a statement that mends it */
    assert_healthy();

    pg_exec(db, "ALTER ROLE relay SET synchronous_commit = off");
    inspect("relay", "postgres");
    expect_only(FINDING_NOTE, "synchronous_commit is off by default", "");
    pg_exec(db, "ALTER ROLE relay RESET synchronous_commit");

    pg_exec(db, "DROP TRIGGER event_ring ON outbox.event");
    inspect("relay", "postgres");
    expect_only(FINDING_NOTE, "no doorbell", "outboxd migrate");
    pg_exec(db, "SELECT outbox.set_bells(1)");
    assert_healthy();
}

static const char *day(int ahead)
{
    return pg_scalar(db, "SELECT to_char((now() AT TIME ZONE 'UTC')::date + %d, 'YYYYMMDD')",
                     ahead);
}

static void test_days(void **state)
{
    (void)state;
    pg_exec(db, "DROP TABLE outbox.event_%s, outbox.event_%s", day(1), day(3));
    inspect("relay", "postgres");
    expect_only(FINDING_WARN, "no partition for tomorrow", "SELECT outbox.ensure_days(7);");
    pg_exec(db, "DROP TABLE outbox.event_%s", day(0));
    inspect("relay", "postgres");
    expect_only(FINDING_WARN, "no partition for today", "SELECT outbox.ensure_days(7);");

    pg_exec(db, "INSERT INTO outbox.event (aggregate_type, aggregate_id, event_type) "
                "VALUES ('order', '1', 'order.placed')");
    inspect("relay", "postgres");
    expect(FINDING_WARN, "default partition holds rows (8 kB)", "keep a relay running");
    expect_counts(0, 2, 0);
    pg_exec(db, "DROP TABLE outbox.event_default");
    inspect("relay", "postgres");
    expect(FINDING_WARN, "no default partition", "");
    for (size_t i = 0; i < line_count; i++)
        if (strstr(lines[i].way_out, "CREATE TABLE") != NULL)
            pg_exec(db, "SET ROLE outbox_owner; %s RESET ROLE", lines[i].way_out);
    pg_exec(db, "SELECT outbox.ensure_days(7)");
    inspect("relay", "postgres");
    expect_counts(0, 0, 0);
    expect(FINDING_OK, "today and 7 days", "");
}

static int64_t slow_clock(void)
{
    return clock_wall_us() - 3000000;
}

static int64_t fast_clock(void)
{
    return clock_wall_us() + 60000000;
}

static int64_t nearly_right_clock(void)
{
    return clock_wall_us() + 1000000;
}

static void test_clock(void **state)
{
    struct pg_url url = pg_url(&server, "relay", "postgres");

    (void)state;
    inspect_url(url.text, NULL, "orders", slow_clock);
    expect_only(FINDING_WARN, "3.0 s ahead of this machine's", "NTP");
    inspect_url(url.text, NULL, "orders", fast_clock);
    expect_only(FINDING_WARN, "s behind this machine's", "NTP");
    inspect_url(url.text, NULL, "orders", nearly_right_clock);
    expect_counts(0, 0, 0);
}

static void test_encodings(void **state)
{
    (void)state;
    pg_exec(db, "CREATE DATABASE bytes ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0");
    pg_exec(db, "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    inspect("relay", "bytes");
    expect(FINDING_WARN, "encoding is SQL_ASCII", "ENCODING 'UTF8'");
    inspect("relay", "latin");
    expect(FINDING_NOTE, "encoding is LATIN1", "");
}

static int64_t ending_clock(void)
{
    pg_exec(db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'relay'");
    WAIT_UNTIL(pg_int(db, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'relay'") == 0,
               5000);
    return clock_wall_us();
}

static void test_connection_lost(void **state)
{
    (void)state;
    inspect_url(pg_url(&server, "relay", "postgres").text, NULL, "orders", ending_clock);
    expect_only(FINDING_WRONG, "a question to Postgres failed: connection lost: ", "");
    expect(FINDING_OK, "row level security", ""); /* was known before */
}

/* An hour cannot be waited for: the query is asked for a smaller one. */
static void test_long_transactions(void **state)
{
    PGconn *writer;
    PGconn *as_relay;
    const char *age = "0";
    struct err err;
    PGresult *rows;

    (void)state;
    change_setting("ALTER SYSTEM SET max_prepared_transactions = 5");
    writer = pg_open(&server, "svc");
    as_relay = pg_open(&server, "relay");
    pg_exec(writer, "BEGIN; SELECT pg_current_xact_id()");
    rows = command_query(as_relay, sql_query("inspect_long"), 1, &age, &err);
    assert_non_null(rows);
    assert_int_equal(PQntuples(rows), 1);
    assert_contains(PQgetvalue(rows, 0, 0),
                    "(role svc, no application name, idle in transaction) has been open");
    pg_exec(db, "%s", PQgetvalue(rows, 0, 1)); /* the way out ends it */
    PQclear(rows);
    WAIT_UNTIL(pg_int(db, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'svc'") == 0,
               5000);
    PQfinish(writer);

    pg_exec(db, "BEGIN; SELECT pg_current_xact_id(); PREPARE TRANSACTION 'it''s'");
    rows = command_query(as_relay, sql_query("inspect_long"), 1, &age, &err);
    assert_non_null(rows);
    assert_int_equal(PQntuples(rows), 1);
    assert_contains(PQgetvalue(rows, 0, 0), "prepared transaction 'it''s' (role postgres)");
    assert_contains(PQgetvalue(rows, 0, 1), "ROLLBACK PREPARED 'it''s';");
    PQclear(rows);
    pg_exec(db, "ROLLBACK PREPARED 'it''s'");
    PQfinish(as_relay);

    inspect("relay", "postgres");
    expect_only(FINDING_WARN, "max_prepared_transactions is 5", "DROP TRIGGER event_ring");
    change_setting("ALTER SYSTEM RESET max_prepared_transactions");
    assert_healthy();
}

static void test_fsync(void **state)
{
    (void)state;
    change_setting("ALTER SYSTEM SET fsync = off");
    inspect("relay", "postgres");
    expect_only(FINDING_WARN, "fsync is off", "fsync = on");
    change_setting("ALTER SYSTEM RESET fsync");
    assert_healthy();
}

static void test_standby(void **state)
{
    char signal[PATH_SIZE];
    char any[512];

    (void)state;
    path_join(signal, server.data, "standby.signal");
    pg_stop(&server);
    file_write(signal, "%s", "");
    pg_start(&server);
    inspect("relay", "postgres");
    expect_only(FINDING_WRONG, "session is read-only", "primary");
    (void)snprintf(any, sizeof any, "%s?target_session_attrs=any",
                   pg_url(&server, "relay", "postgres").text);
    inspect_url(any, NULL, "orders", clock_wall_us);
    expect_only(FINDING_WRONG, "in recovery", "name the primary");
    expect(FINDING_OK, "relay \"orders\" is there", "");
    pg_stop(&server);
    assert_int_equal(unlink(signal), 0);
    pg_start(&server);
    connect_db();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_healthy),
        cmocka_unit_test(test_connection),
        cmocka_unit_test(test_no_schema),
        cmocka_unit_test(test_grants),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_relay),
        cmocka_unit_test(test_triggers),
        cmocka_unit_test(test_days),
        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_encodings),
        cmocka_unit_test(test_long_transactions),
        cmocka_unit_test(test_standby),
        cmocka_unit_test(test_connection_lost),
        cmocka_unit_test(test_fsync),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
