/* Opening and losing the source on a real Postgres: every refusal with its text, deadlines,
 * standbys. */
#include "../support/check.h"
#include "../support/loopback.h"
#include "../support/source_user.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

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

/* ---- what opening refuses ---- */

static void refused(const char *user, const char *dbname, const char *relay, enum problem problem,
                    const char *part)
{
    enum err_kind kind = problem == PROBLEM_DATABASE_STANDBY ? ERR_UNAVAILABLE : ERR_CONFIG;
    struct source_user u;
    struct pg_url url = pg_url(&pg, user, dbname);
    struct outbox_params params = source_user_params(url.text);

    params.relay = relay;
    source_user_init(&u, &params);
    source_user_open_fails(&u, kind, part);
    CHECK(u.why.problem == problem, "%s: %s", problem_word(u.why.problem), u.why.text);
    source_user_turn(&u, 30);
    assert_int_equal(u.lost, 1);
    assert_int_equal(u.opened, 0);
    source_user_release(&u);
}

static void test_connection_refusals(void **state)
{
    struct source_user u;
    struct outbox_params params = source_user_params("postgres://u:secret@127.0.0.1:1/x");
    struct pg_url url = pg_url(&pg, "locked", "postgres");

    (void)state;
    refused("nobody", "postgres", "orders", PROBLEM_DATABASE_REFUSED,
            "role \"nobody\" does not exist");
    refused("nobody", "postgres", "orders", PROBLEM_DATABASE_REFUSED, "create the role");
    refused("relay", "nowhere", "orders", PROBLEM_DATABASE_REFUSED,
            "database \"nowhere\" does not exist");
    refused("locked", "postgres", "orders", PROBLEM_DATABASE_REFUSED, "password");

    params.url = url.text;
    params.password = "wrong";
    source_user_init(&u, &params);
    source_user_open_fails(&u, ERR_CONFIG, "28P01");
    assert_contains(u.why.text, "correct the password");
    assert_lacks(u.why.text, "wrong");
    source_user_release(&u);

    params.password = "right";
    source_user_init(&u, &params);
    source_user_open(&u);
    PGconn *conn = pg_open(&pg, "postgres");
    pg_exec(conn, "ALTER ROLE locked PASSWORD 'other'"); /* once it has worked, it may be repaired
                                                            elsewhere */
    source_user_open_fails(&u, ERR_UNAVAILABLE, "28P01");
    assert_int_equal(u.why.problem, PROBLEM_DATABASE_REFUSED);
    PQfinish(conn);
    source_user_release(&u);

    params = source_user_params("postgres://u:secret@127.0.0.1:1/x");
    source_user_init(&u, &params);
    source_user_open_fails(&u, ERR_UNAVAILABLE, "refused");
    assert_int_equal(u.why.problem, PROBLEM_DATABASE_UNREACHABLE);
    source_user_release(&u);

    params.url = "postgres://u:secret@[::1/x"; /* libpq's own text would show it all */
    source_user_init(&u, &params);
    source_user_open_fails(&u, ERR_CONFIG, "postgres.url");
    assert_int_equal(u.why.problem, PROBLEM_CONFIGURATION);
    assert_lacks(u.why.text, "secret");
    source_user_release(&u);
}

/* A server that takes connections and says nothing. */
static void test_connect_deadline(void **state)
{
    struct source_user u;
    struct outbox_params params;
    char url[64];
    int port = port_free();
    int fd = loopback_listen(port, 8);
    uint64_t t0 = test_now_ms();

    (void)state;
    assert_true(fd >= 0);
    (void)snprintf(url, sizeof(url), "postgres://x@127.0.0.1:%d/x", port);
    params = source_user_params(url);
    params.connect_timeout_ms = 300;
    source_user_init(&u, &params);
    source_user_open_fails(&u, ERR_UNAVAILABLE, "connect: no answer within 300 ms");
    assert_in_range(test_now_ms() - t0, 290, 2000);
    source_user_release(&u);
    (void)close(fd);
}

/* A query that the server never answers. */
static void test_statement_deadline(void **state)
{
    struct source_user u;
    struct pg_url url = pg_url(&pg, "relay", "postgres");
    struct outbox_params params = source_user_params(url.text);
    PGconn *conn = pg_open(&pg, "postgres");

    (void)state;
    params.statement_timeout_ms = 300;
    source_user_init(&u, &params);
    source_user_open(&u);
    pg_exec(conn, "BEGIN; LOCK TABLE outbox.relay");
    SOURCE_OP(&u, renew(u.source, 1));
    source_user_wait(&u, &u.lost, 0);
    assert_contains(u.why.text, "query renew");
    assert_int_equal(u.why.kind, ERR_UNAVAILABLE);
    pg_exec(conn, "ROLLBACK");
    source_user_open(&u);
    source_user_release(&u);
    PQfinish(conn);
}

static void test_check_refusals(void **state)
{
    PGconn *conn = pg_open(&pg, "postgres");

    (void)state;
    pg_exec(conn, "CREATE DATABASE empty");
    refused("relay", "empty", "orders", PROBLEM_SCHEMA_MISSING,
            "database \"empty\" has no outbox tables");
    refused("bare", "postgres", "orders", PROBLEM_GRANTS_MISSING, "GRANT outbox_relay TO bare;");
    refused("relay", "postgres", "nope", PROBLEM_RELAY_MISSING,
            "there is no relay \"nope\" in outbox.relay");

    pg_exec(conn, "REVOKE UPDATE ON outbox.lane FROM outbox_relay; REVOKE SELECT ON outbox.event "
                  "FROM outbox_relay");
    refused(
        "relay", "postgres", "orders", PROBLEM_GRANTS_MISSING,
        "one by one: GRANT SELECT ON outbox.event TO relay; GRANT UPDATE ON outbox.lane TO relay;");
    pg_exec(conn, "GRANT UPDATE ON outbox.lane TO outbox_relay; GRANT SELECT ON outbox.event TO "
                  "outbox_relay");

    pg_exec(conn, "ALTER TABLE outbox.event ENABLE ROW LEVEL SECURITY");
    refused("relay", "postgres", "orders", PROBLEM_ROW_SECURITY,
            "ALTER TABLE outbox.event DISABLE ROW LEVEL SECURITY");
    pg_exec(conn, "ALTER TABLE outbox.event DISABLE ROW LEVEL SECURITY");

    pg_exec(conn, "ALTER SEQUENCE outbox.event_id_seq CACHE 50");
    refused("relay", "postgres", "orders", PROBLEM_SEQUENCE_CACHES,
            "ALTER SEQUENCE outbox.event_id_seq CACHE 1;");
    pg_exec(conn, "ALTER SEQUENCE outbox.event_id_seq CACHE 1");

    pg_exec(conn, "INSERT INTO outbox.migration (version, name) VALUES (99, 'future')");
    refused("relay", "postgres", "orders", PROBLEM_SCHEMA_NEWER, "version 99");
    pg_exec(conn, "DELETE FROM outbox.migration WHERE version = 99");
    pg_exec(conn,
            "CREATE TABLE kept AS SELECT * FROM outbox.migration; DELETE FROM outbox.migration");
    refused("relay", "postgres", "orders", PROBLEM_SCHEMA_OLDER,
            "has version 0, this outboxd needs");
    pg_exec(conn, "INSERT INTO outbox.migration SELECT * FROM kept; DROP TABLE kept");

    pg_exec(conn, "UPDATE outbox.relay SET system_identifier = system_identifier + 1");
    refused("relay", "postgres", "orders", PROBLEM_FOREIGN_DATABASE, "belongs to another server");
    pg_exec(conn, "UPDATE outbox.relay SET system_identifier = system_identifier - 1");

    pg_exec(conn, "UPDATE outbox.lane SET target = '1:999999999:'");
    refused("relay", "postgres", "orders", PROBLEM_POSITION_AHEAD,
            "ahead of the server (transaction 999999999");
    pg_exec(conn, "UPDATE outbox.lane SET target = NULL");
    PQfinish(conn);
}

/* A standby is not read, whoever asks; when it is promoted, the same source opens. */
static void test_recovery(void **state)
{
    struct source_user u;
    struct outbox_params params;
    char signal[PATH_SIZE];
    char any[512];

    (void)state;
    path_join(signal, pg.data, "standby.signal");
    pg_stop(&pg);
    file_write(signal, "%s", "");
    pg_start(&pg);
    refused("relay", "postgres", "orders", PROBLEM_DATABASE_STANDBY, "session is read-only");
    (void)snprintf(any, sizeof(any), "%s?target_session_attrs=any",
                   pg_url(&pg, "relay", "postgres").text);
    params = source_user_params(any);
    source_user_init(&u, &params);
    source_user_open_fails(&u, ERR_UNAVAILABLE, "recovery");
    assert_int_equal(u.why.problem, PROBLEM_DATABASE_STANDBY);
    pg_stop(&pg);
    assert_int_equal(unlink(signal), 0);
    pg_start(&pg);
    source_user_open(&u);
    source_user_release(&u);
}

/* ---- life ---- */

static void test_without_a_doorbell(void **state)
{
    struct source_user u;
    struct pg_url url = pg_url(&pg, "relay", "postgres");
    struct outbox_params params = source_user_params(url.text);
    PGconn *conn = pg_open(&pg, "postgres");

    (void)state;
    params.doorbell = false;
    source_user_init(&u, &params);
    source_user_open(&u);
    assert_false(source_user_arm(&u, 0));
    assert_string_equal(
        pg_scalar(conn, "SELECT string_agg(application_name, ',' ORDER BY application_name)"
                        " FROM pg_stat_activity WHERE usename = 'relay'"),
        "outboxd orders control,outboxd orders read");
    source_user_release(&u);
    PQfinish(conn);
}

static void test_open_and_close(void **state)
{
    struct source_user u;
    PGconn *conn = pg_open(&pg, "postgres");
    int fds;

    (void)state;
    open_as(&u, "host", 10000);
    fds = proc_fd_count(getpid());
    for (int i = 0; i < 20; i++) {
        unsigned was;

        SOURCE_OP(&u, open(u.source));
        source_user_turn(&u, (unsigned)i); /* closed at any moment */
        SOURCE_OP(&u, close(u.source));
        SOURCE_OP(&u, close(u.source));
        was = u.opened;
        source_user_turn(&u, 20);
        assert_int_equal(u.opened, was);
    }
    source_user_open(&u);
    assert_int_equal(u.lost, 0);
    assert_int_equal(proc_fd_count(getpid()), fds);
    WAIT_UNTIL(pg_int(conn, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'relay'") == 3,
               3000);
    pg_exec(conn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = "
                  "'outboxd orders bell'");
    source_user_wait(&u, &u.lost, 0);
    assert_contains(u.why.text, "postgres (bell)");
    WAIT_UNTIL(pg_int(conn, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'relay'") == 0,
               3000);
    source_user_release(&u);
    PQfinish(conn);
}

static int setup(void **state)
{
    PGconn *conn;

    (void)state;
    pg_create(
        &pg,
        &(struct pg_params){
            .hba = "host all locked 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n"
                   "local all all trust\n"});
    pg_apply_schema(&pg);
    conn = pg_open(&pg, "postgres");
    pg_exec(
        conn,
        "CREATE ROLE bare LOGIN; CREATE ROLE locked LOGIN PASSWORD 'right' IN ROLE outbox_relay");
    PQfinish(conn);
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
        cmocka_unit_test(test_connection_refusals),
        cmocka_unit_test(test_connect_deadline),
        cmocka_unit_test(test_statement_deadline),
        cmocka_unit_test(test_check_refusals),
        cmocka_unit_test(test_without_a_doorbell),
        cmocka_unit_test(test_open_and_close),
        cmocka_unit_test(test_recovery),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
