/* The SQL files on a real Postgres: applied by psql, run again, taken back; roles, events, checks.
 */
#include "../support/check.h"
#include "../support/pg.h"

#include "outbox/sql_texts.h"

#include <stdio.h>
#include <stdlib.h>

static struct pg_server server;
static PGconn *owner; /* superuser */

#define EVENT(key)                                                                                 \
    "INSERT INTO outbox.event (aggregate_type, aggregate_id, event_type, payload) "                \
    "VALUES ('order', '" key "', 'order.placed', '{}')"

static int start_server(void **state)
{
    (void)state;
    pg_create(&server, NULL);
    pg_apply_schema(&server);
    owner = pg_open(&server, NULL);
    pg_exec(owner, "SET statement_timeout = '30s'"); /* a failed test leaves its locks */
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    PQfinish(owner);
    pg_drop(&server);
    return 0;
}

/* ---- the files ---- */

static void migration_path(const struct sql_migration *m, bool up, char path[PATH_SIZE])
{
    (void)snprintf(path, PATH_SIZE, "%s/sql/outbox/%s%04d_%s.%s.sql", source_root(),
                   up ? "" : "down/", m->version, m->name, up ? "up" : "down");
}

static void run_files(bool up)
{
    char path[PATH_SIZE];
    char log[PATH_SIZE];

    path_join(log, tmp_root(), "psql.log");
    for (size_t i = 0; i < sql_migration_count; i++) {
        migration_path(&sql_migrations[up ? i : sql_migration_count - 1 - i], up, path);
        if (pg_psql(&server, "postgres", path, NULL, log) != 0)
            fail_msg("%s failed:\n%s", path, file_read(log));
    }
}

/* Everything that makes up the schema, as one hash. */
static const char *schema_digest(void)
{
    return pg_scalar(
        owner,
        "SELECT md5(string_agg(x, ' ' ORDER BY x)) FROM ("
        "SELECT concat(pg_get_functiondef(oid), proacl, proowner::regrole) AS x "
        "FROM pg_proc WHERE pronamespace = 'outbox'::regnamespace "
        "UNION ALL SELECT concat(relname, relkind, relacl, relowner::regrole, reloptions) "
        "FROM pg_class WHERE relnamespace = 'outbox'::regnamespace "
        "UNION ALL SELECT concat(c.relname, attname, format_type(atttypid, atttypmod), attnotnull, "
        "attacl, pg_get_expr(adbin, adrelid)) "
        "FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid "
        "LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum "
        "WHERE relnamespace = 'outbox'::regnamespace AND attnum > 0 "
        "UNION ALL SELECT concat(conrelid::regclass, pg_get_constraintdef(oid)) FROM pg_constraint "
        "WHERE connamespace = 'outbox'::regnamespace "
        "UNION ALL SELECT pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c "
        "ON c.oid = tgrelid WHERE relnamespace = 'outbox'::regnamespace AND NOT tgisinternal) AS "
        "d");
}

static void test_embedded_texts_are_the_files(void **state)
{
    char path[PATH_SIZE];

    (void)state;
    assert_true(sql_migration_count >= 2);
    for (size_t i = 0; i < sql_migration_count; i++) {
        const char *const texts[] = {sql_migrations[i].down, sql_migrations[i].up};

        assert_int_equal(sql_migrations[i].version, (int)i + 1);
        for (int up = 0; up < 2; up++) {
            char *text;

            migration_path(&sql_migrations[i], up != 0, path);
            text = file_read(path);
            assert_string_equal(texts[up], text);
            assert_lacks(text, "${");
            assert_lacks(text, "\n\\");
            assert_lacks(text, "$$");
            free(text);
        }
    }
    assert_contains(sql_query("status_unsent"), "outbox.lane");
}

static void test_twice_without_harm(void **state)
{
    char before[64];
    PGconn *writer = pg_open(&server, "svc");
    int64_t rows;

    (void)state;
    pg_exec(owner, EVENT("1"));
    rows = pg_int(owner, "SELECT count(*) FROM outbox.event");
    (void)snprintf(before, sizeof before, "%s", schema_digest());
    /* an open writer: the second run needs no lock that it could be in the way of */
    pg_exec(writer, "BEGIN");
    pg_exec(writer, EVENT("2"));
    run_files(true);
    pg_exec(writer, "COMMIT");
    assert_string_equal(schema_digest(), before);
    assert_int_equal(pg_int(owner, "SELECT count(*) FROM outbox.event"), rows + 1);
    assert_int_equal(pg_int(owner, "SELECT count(*) FROM outbox.migration"), sql_migration_count);
    PQfinish(writer);
}

static void test_down_and_up_again(void **state)
{
    char before[64];

    (void)state;
    (void)snprintf(before, sizeof before, "%s", schema_digest());
    run_files(false);
    assert_null(pg_scalar(owner, "SELECT to_regnamespace('outbox')"));
    assert_int_equal(pg_int(owner, "SELECT count(*) FROM pg_roles WHERE rolname IN "
                                   "('outbox_owner', 'outbox_writer', 'outbox_relay')"),
                     3);
    run_files(false); /* twice without harm, too */
    run_files(true);
    assert_string_equal(schema_digest(), before);
    pg_exec(owner, "SELECT outbox.make_relay('orders', 'beginning')");
}

static void test_foreign_table_is_left_alone(void **state)
{
    char path[PATH_SIZE];
    char log[PATH_SIZE];

    (void)state;
    path_join(log, tmp_root(), "foreign.log");
    migration_path(&sql_migrations[0], true, path);
    run_files(false);
    pg_exec(owner, "CREATE SCHEMA outbox AUTHORIZATION outbox_owner");
    pg_exec(owner, "CREATE TABLE outbox.event (id uuid, payload jsonb)");
    assert_int_not_equal(pg_psql(&server, "postgres", path, NULL, log), 0);
    assert_true(file_holds(log, "that outboxd did not make"));
    pg_exec(owner, "DROP SCHEMA outbox CASCADE");
    run_files(true);
    pg_exec(owner, "SELECT outbox.make_relay('orders', 'beginning')");
}

/* ---- roles ---- */

static void assert_denied(PGconn *conn, const char *sql)
{
    char message[PG_MESSAGE];

    if (strcmp(pg_expect_error(conn, message, "%s", sql), "42501") != 0)
        fail_msg("%s: expected \"permission denied\", got: %s", sql, message);
}

static void test_writer_may_only_write(void **state)
{
    static const char *const denied[] = {
        "INSERT INTO outbox.event (id, aggregate_type, aggregate_id, event_type) "
        "OVERRIDING SYSTEM VALUE VALUES (1, 'a', 'b', 'c')",
        "INSERT INTO outbox.event (xid, aggregate_type, aggregate_id, event_type) "
        "VALUES ('1', 'a', 'b', 'c')",
        "INSERT INTO outbox.event (created_at, aggregate_type, aggregate_id, event_type) "
        "VALUES (now(), 'a', 'b', 'c')",
        "INSERT INTO outbox.event_default (aggregate_type, aggregate_id, event_type) "
        "VALUES ('a', 'b', 'c')",
        "SELECT * FROM outbox.event",
        "UPDATE outbox.event SET topic = 'x'",
        "DELETE FROM outbox.event",
        "TRUNCATE outbox.event",
        "SELECT * FROM outbox.lane",
        "SELECT outbox.ensure_days(1)",
        "SELECT outbox.make_day('2000-01-01')",
        "SELECT outbox.make_relay('x', 'now')",
        "SELECT outbox.rebase('orders', 'now')",
        "SELECT outbox.set_bells(2)",
        "CREATE TABLE outbox.mine (x int)",
    };
    PGconn *writer = pg_open(&server, "svc");

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(denied); i++)
        assert_denied(writer, denied[i]);
    pg_exec(writer, EVENT("w"));
    pg_exec(writer, "SELECT outbox.publish('order', 'w', 'order.paid', '{}')");
    PQfinish(writer);
}

static void test_relay_may_do_its_job(void **state)
{
    PGconn *relay = pg_open(&server, "relay");

    (void)state;
    assert_true(pg_int(relay, "SELECT count(*) FROM outbox.event") >= 0);
    pg_exec(relay, "SELECT * FROM outbox.relay WHERE name = 'orders' FOR SHARE");
    pg_exec(relay, "UPDATE outbox.relay SET epoch = epoch + 1, holder = gen_random_uuid(), "
                   "instance = 'here', renewed_at = clock_timestamp(), ttl_ms = 10000");
    pg_exec(relay, "UPDATE outbox.lane SET target = pg_current_snapshot(), last_id = 7");
    pg_exec(relay, "INSERT INTO outbox.lane (relay, id, filter, topic, routes, base) "
                   "VALUES ('orders', 1, 'topic', 'a', 0, '1:1:')");
    pg_exec(relay, "DELETE FROM outbox.lane WHERE id = 1");
    pg_exec(relay, "INSERT INTO outbox.dead (relay, row_id, event_id, cause) "
                   "VALUES ('orders', 1, gen_random_uuid(), 'message_invalid')");
    pg_exec(relay, "DELETE FROM outbox.dead");
    pg_exec(relay, "SELECT * FROM outbox.ensure_days(7)");
    pg_exec(relay, "UPDATE outbox.lane SET target = NULL, last_id = 0");
    pg_exec(relay, "UPDATE outbox.relay SET holder = NULL");

    assert_denied(relay, EVENT("x"));
    assert_denied(relay, "DELETE FROM outbox.event");
    assert_denied(relay, "INSERT INTO outbox.relay (name, system_identifier) VALUES ('x', 1)");
    assert_denied(relay, "DELETE FROM outbox.relay");
    assert_denied(relay, "SELECT outbox.rebase('orders', 'now')");
    assert_denied(relay, "SELECT outbox.make_relay('x', 'now')");
    PQfinish(relay);
}

/* A schema of lookalikes first in the search_path: none may be called, least of all with the
 * owner's rights. */
static void test_malicious_search_path(void **state)
{
    PGconn *writer = pg_open(&server, "svc");
    PGconn *relay = pg_open(&server, "relay");
    int64_t rows = pg_int(owner, "SELECT count(*) FROM outbox.event");

    (void)state;
    pg_exec(
        owner,
        "CREATE SCHEMA evil; GRANT ALL ON SCHEMA evil TO PUBLIC; CREATE TABLE evil.mark (x text); "
        "GRANT ALL ON evil.mark TO PUBLIC; CREATE TABLE evil.event (LIKE outbox.event); "
        "GRANT ALL ON evil.event TO PUBLIC; "
        "CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS "
        "$f$BEGIN INSERT INTO evil.mark VALUES ('clock'); RETURN '2000-01-01'; END$f$; "
        "CREATE FUNCTION evil.to_char(timestamptz, text) RETURNS text LANGUAGE plpgsql AS "
        "$f$BEGIN INSERT INTO evil.mark VALUES ('to_char'); RETURN 'x'; END$f$; "
        "CREATE FUNCTION evil.gen_random_uuid() RETURNS uuid LANGUAGE plpgsql AS "
        "$f$BEGIN INSERT INTO evil.mark VALUES ('uuid'); RETURN NULL; END$f$; "
        "CREATE FUNCTION evil.plus(date, int) RETURNS date LANGUAGE plpgsql AS "
        "$f$BEGIN INSERT INTO evil.mark VALUES ('plus'); RETURN $1; END$f$; "
        "CREATE OPERATOR evil.+ (FUNCTION = evil.plus, LEFTARG = date, RIGHTARG = int); "
        "CREATE FUNCTION evil.times(float8, float8) RETURNS float8 LANGUAGE plpgsql AS "
        "$f$BEGIN INSERT INTO evil.mark VALUES ('times'); RETURN 1; END$f$; "
        "CREATE OPERATOR evil.* (FUNCTION = evil.times, LEFTARG = float8, RIGHTARG = float8); "
        "CREATE FUNCTION evil.minus(int, int) RETURNS int LANGUAGE plpgsql AS "
        "$f$BEGIN INSERT INTO evil.mark VALUES ('minus'); RETURN $1; END$f$; "
        "CREATE OPERATOR evil.- (FUNCTION = evil.minus, LEFTARG = int, RIGHTARG = int)");
    pg_exec(writer, "SET search_path = evil, pg_catalog");
    pg_exec(writer, "SELECT outbox.publish('order', 'p', 'order.placed', '{}')");
    pg_exec(writer, "SELECT outbox.new_event_id()");
    pg_exec(writer, EVENT("e"));
    pg_exec(writer, "SET search_path = ''");
    pg_exec(writer, "SELECT outbox.publish('order', 'p', 'order.placed', '{}')");
    pg_exec(writer, EVENT("e"));
    pg_exec(relay, "SET search_path = evil, pg_catalog");
    pg_exec(relay, "SELECT * FROM outbox.ensure_days(8)");
    assert_int_equal(pg_int(owner, "SELECT count(*) FROM evil.mark"), 0);
    assert_int_equal(pg_int(owner, "SELECT count(*) FROM evil.event"), 0);
    assert_int_equal(pg_int(owner, "SELECT count(*) FROM outbox.event"), rows + 4);
    pg_exec(owner, "DROP SCHEMA evil CASCADE");
    PQfinish(writer);
    PQfinish(relay);
}

/* ---- events ---- */

static void test_publish(void **state)
{
    PGconn *writer = pg_open(&server, "svc");
    char id[64];

    (void)state;
    (void)snprintf(id, sizeof id, "%s",
                   pg_scalar(writer,
                             "SELECT outbox.publish('order', 'k1', 'order.placed', "
                             "'{\"b\":1,  \"a\":2, \"b\":3}', '{\"traceparent\": \"00-1\"}')"));
    assert_int_equal(
        pg_int(
            owner,
            "SELECT count(*) FROM outbox.event WHERE event_id = '%s' AND aggregate_id = 'k1' AND "
            "payload::text = '{\"b\":1,  \"a\":2, \"b\":3}' AND event_version = '1.0' AND "
            "headers->>'traceparent' = '00-1' AND topic IS NULL AND partition_key IS NULL AND "
            "payload_bytes IS NULL AND content_type IS NULL AND "
            "occurred_at BETWEEN now() - interval '1 min' AND clock_timestamp()",
            id),
        1);
    assert_string_equal(
        pg_scalar(
            writer,
            "SELECT outbox.publish('order', 'k2', 'order.placed', payload => NULL, event_id => "
            "'11111111-2222-7333-8444-555555555555', event_version => '2.1', topic => 't', "
            "partition_key => 'p', payload_bytes => '\\x00ff', content_type => 'avro/binary', "
            "occurred_at => '2026-01-02 03:04:05Z')"),
        "11111111-2222-7333-8444-555555555555");
    assert_int_equal(
        pg_int(owner, "SELECT count(*) FROM outbox.event WHERE aggregate_id = 'k2' AND "
                      "payload IS NULL AND payload_bytes = '\\x00ff' AND event_version = '2.1' AND "
                      "topic = 't' AND partition_key = 'p' AND content_type = 'avro/binary' AND "
                      "occurred_at = '2026-01-02 03:04:05Z' AND created_at > occurred_at"),
        1);
    /* a forgotten payload is no tombstone */
    assert_string_equal(
        pg_expect_error(writer, NULL, "SELECT outbox.publish('order', 'k', 'order.placed')"),
        "42883");
    PQfinish(writer);
}

static void test_event_ids(void **state)
{
    static const char *const makers[] = {"outbox.new_event_id()", "event_id"};

    (void)state;
    pg_exec(owner, "TRUNCATE outbox.event");
    for (int i = 0; i < 20; i++)
        pg_exec(owner, "INSERT INTO outbox.event (aggregate_type, aggregate_id, event_type) "
                       "SELECT 'a', g::text, 'e' FROM generate_series(1, 200) g");
    for (size_t i = 0; i < ARRAY_LEN(makers); i++) {
        pg_exec(owner,
                "CREATE TEMP TABLE ids AS SELECT id AS n, %s AS u, created_at AS at "
                "FROM outbox.event ORDER BY id",
                makers[i]);
        assert_int_equal(pg_int(owner, "SELECT count(DISTINCT u) FROM ids"), 4000);
        /* version 7, variant 10, the milliseconds of now in front */
        assert_int_equal(pg_int(owner,
                                "SELECT count(*) FROM ids WHERE u::text !~ "
                                "'^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-'"),
                         0);
        assert_int_equal(
            pg_int(owner,
                   "SELECT count(*) FROM ids WHERE abs(('x' || left(replace(u::text, '-', ''), "
                   "12))::bit(48)::bigint - extract(epoch FROM clock_timestamp()) * 1000) > 60000"),
            0);
        /* in the order of time, as far as a quarter of a microsecond can tell: those of one
         * microsecond are random */
        assert_int_equal(
            pg_int(
                owner,
                "SELECT count(*) FROM (SELECT left(u::text, 18) AS u, "
                "lag(left(u::text, 18)) OVER (ORDER BY n) AS before FROM ids) o WHERE u < before"),
            0);
        pg_exec(owner, "DROP TABLE ids");
    }
    /* the column's default is the function's expression, not a call of it */
    assert_int_equal(
        pg_int(owner,
               "SELECT count(*) FROM pg_attrdef WHERE adrelid = 'outbox.event'::regclass AND "
               "pg_get_expr(adbin, adrelid) LIKE '%%gen_random_uuid%%'"),
        1);
}

static void test_checks(void **state)
{
    static const struct {
        const char *columns, *values, *constraint;
    } cases[] = {
        {"aggregate_type, aggregate_id, event_type", "'', 'b', 'c'",
         "event_aggregate_type_not_empty"},
        {"aggregate_type, aggregate_id, event_type", "'a', 'b', ''", "event_type_not_empty"},
        {"aggregate_type, aggregate_id, event_type, topic", "'a', 'b', 'c', ''",
         "event_topic_not_empty"},
        {"aggregate_type, aggregate_id, event_type, headers", "'a', 'b', 'c', '[1]'",
         "event_headers_is_object"},
        {"aggregate_type, aggregate_id, event_type, headers", "'a', 'b', 'c', 'null'",
         "event_headers_is_object"},
        {"aggregate_type, aggregate_id, event_type, payload, payload_bytes",
         "'a', 'b', 'c', '{}', '\\x00'", "event_one_payload"},
        {"aggregate_type, aggregate_id, event_type, content_type", "'a', 'b', 'c', ''",
         "event_content_type_not_empty"},
    };
    char message[PG_MESSAGE];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_string_equal(pg_expect_error(owner, message,
                                            "INSERT INTO outbox.event (%s) VALUES (%s)",
                                            cases[i].columns, cases[i].values),
                            "23514");
        assert_contains(message, cases[i].constraint);
    }
    assert_string_equal(pg_expect_error(owner, NULL,
                                        "INSERT INTO outbox.event (aggregate_type, aggregate_id, "
                                        "event_type) VALUES ('a', NULL, 'c')"),
                        "23502");
    /* an empty key, a tombstone and headers of an object are fine */
    pg_exec(owner, "INSERT INTO outbox.event (aggregate_type, aggregate_id, event_type, headers) "
                   "VALUES ('a', '', 'c', '{}')");
}

static void test_commits_are_durable(void **state)
{
    PGconn *writer = pg_open(&server, "svc");

    (void)state;
    pg_exec(writer, "SET synchronous_commit = off");
    pg_exec(writer, "BEGIN");
    assert_string_equal(pg_scalar(writer, "SHOW synchronous_commit"), "off");
    pg_exec(writer, EVENT("s"));
    assert_string_equal(pg_scalar(writer, "SHOW synchronous_commit"), "on");
    pg_exec(writer, "COMMIT");
    assert_string_equal(pg_scalar(writer, "SHOW synchronous_commit"), "off");
    pg_exec(writer, "BEGIN");
    pg_exec(writer, "SELECT outbox.publish('order', 's', 'order.placed', '{}')");
    assert_string_equal(pg_scalar(writer, "SHOW synchronous_commit"), "on");
    pg_exec(writer, "COMMIT");
    /* "local" waits for our own disk: that is enough, and the writer's choice */
    pg_exec(writer, "BEGIN");
    pg_exec(writer, "SET LOCAL synchronous_commit = local");
    pg_exec(writer, EVENT("s"));
    assert_string_equal(pg_scalar(writer, "SHOW synchronous_commit"), "local");
    pg_exec(writer, "COMMIT");
    PQfinish(writer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_embedded_texts_are_the_files),
        cmocka_unit_test(test_twice_without_harm),
        cmocka_unit_test(test_down_and_up_again),
        cmocka_unit_test(test_foreign_table_is_left_alone),
        cmocka_unit_test(test_writer_may_only_write),
        cmocka_unit_test(test_relay_may_do_its_job),
        cmocka_unit_test(test_malicious_search_path),
        cmocka_unit_test(test_publish),
        cmocka_unit_test(test_event_ids),
        cmocka_unit_test(test_checks),
        cmocka_unit_test(test_commits_are_durable),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
