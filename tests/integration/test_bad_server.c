/* Bad input, by the whole program: a server or a role that is not as it must be. Each
 * ends with the right exit code and one line that names the place and the way out; no secret is
 * shown, nothing in the database changes, and once the way out has been gone, the relay leads. What
 * can pass by itself is waited for instead. */
#include "../support/loopback.h"
#include "bad_database.h"

#include <unistd.h>

static void test_wrong_password(void **state)
{
    char folder[PATH_SIZE];
    char file[PATH_SIZE];
    char more[PATH_SIZE + 32];

    (void)state;
    tmp_folder("password", folder);
    path_join(file, folder, "pw");
    (void)snprintf(more, sizeof more, ", password_file: %s", file);
    configure(&relay, "keyed", "orders", more);
    file_write(file, "%s", SECRET "-not");
    refuses(78, WORDS("run"),
            WORDS("28P01", "\"keyed\"", "correct the password", "postgres.password_file"));
    refuses(78, WORDS("status"),
            WORDS("28P01", "\"keyed\"", "correct the password", "postgres.password_file"));
    file_write(file, "%s\n", SECRET);
    (void)succeeds(WORDS("status"), "relay orders: no leader");
    leads();

    configure(&relay, "keyed:" SECRET "-not", "orders", "");
    refuses(78, WORDS("run"), WORDS("28P01", "in the url"));
    refuses(78, WORDS("status"), WORDS("28P01", "in the url"));
    refuses(78, WORDS("migrate", "--url", pg_url(&pg, "keyed:" SECRET "-not", database).text),
            WORDS("28P01", "in the url"));
    configure(&relay, "keyed:" SECRET, "orders", "");
    (void)succeeds(WORDS("status"), "relay orders: no leader");

    configure(&relay, "keyed", "orders", "");
    refuses(78, WORDS("run"), WORDS("asks for a password", "postgres.password_file"));
    refuses(78, WORDS("status"), WORDS("asks for a password", "postgres.password_file"));
}

static void test_roles_and_databases_that_are_not_let_in(void **state)
{
    static const struct {
        const char *user;
        const char *parts[4];
    } cases[] = {
        {"absent", {"role \"absent\" does not exist", "create the role"}},
        {"banned", {"pg_hba.conf", "\"banned\"", "let it in"}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        configure(&relay, cases[i].user, "orders", "");
        refuses(78, WORDS("run"), cases[i].parts);
        refuses(78, WORDS("status"), cases[i].parts);
        refuses(78, WORDS("migrate", "--url", pg_url(&pg, cases[i].user, database).text),
                cases[i].parts);
    }
    (void)strncat(database, "_gone", sizeof database - strlen(database) - 1);
    configure(&relay, "relay", "orders", "");
    refuses(78, WORDS("run"), WORDS("_gone\" does not exist", "create the database"));
    refuses(78, WORDS("status"), WORDS("_gone\" does not exist", "create the database"));
}

static void test_a_role_without_grants(void **state)
{
    (void)state;
    configure(&relay, "fresh", "orders", "");
    refuses(78, WORDS("run"), WORDS("role fresh", "GRANT outbox_relay TO fresh;"));
    refuses(78, WORDS("status"), WORDS("grants_missing", "GRANT outbox_relay TO fresh;"));
    refuses(78, WORDS("migrate", "--url", pg_url(&pg, "fresh", database).text),
            WORDS("superuser", "outbox_owner"));
    refuses(78,
            WORDS("rebase", "--to", "now", "--yes", "--url", pg_url(&pg, "fresh", database).text),
            WORDS("superuser", "outbox_owner"));
    pg_exec(owner, "GRANT outbox_relay TO fresh");
    leads();
    pg_exec(owner, "REVOKE UPDATE ON outbox.lane FROM outbox_relay; REVOKE SELECT ON outbox.event "
                   "FROM outbox_relay");
    refuses(78, WORDS("run"),
            WORDS("role fresh", "GRANT SELECT ON outbox.event TO fresh;",
                  "GRANT UPDATE ON outbox.lane TO fresh;"));
    refuses(78, WORDS("status"), WORDS("grants_missing", "GRANT SELECT ON outbox.event TO fresh;"));
    pg_exec(owner, "GRANT SELECT ON outbox.event TO fresh; GRANT UPDATE ON outbox.lane TO fresh");
    leads();
    pg_exec(owner, "REVOKE outbox_relay FROM fresh");
}

/* ---- what can pass by itself ---- */

/* It says that it waits, and why, and goes on waiting until it is told to stop. */
static void waits(const char *why)
{
    outboxd_start(&relay);
    outboxd_wait_log(&relay, why, 5000);
    outboxd_wait_log(&relay, "problem=database_", 1000);
    test_sleep_ms(700); /* several tries: the same trouble is told once */
    CHECK(outboxd_log_count(&relay, why) == 1, "said %d times: %s", outboxd_log_count(&relay, why),
          why);
    outboxd_stops_at_once(&relay);
    outboxd_log_truncate(&relay);
    outboxd_start(&relay);
    outboxd_wait_log(&relay, why, 5000);
    assert_true(proc_alive(&relay.proc));
}

static void test_postgres_is_down(void **state)
{
    (void)state;
    configure(&relay, "relay", "orders", "");
    PQfinish(owner);
    owner = NULL;
    pg_stop(&pg);
    outboxd_refuses(&relay, 69, WORDS("status"),
                    WORDS("connect to Postgres", "Connection refused"));
    waits("failed: Connection refused; Is the server running");
    pg_start(&pg);
    outboxd_wait_log(&relay, "lease taken", 10000);
    outboxd_stops_at_once(&relay);
    owner = connect_to(database);
    assert_int_equal(pg_int(owner, "SELECT count(*) FROM outbox.event"), 3);
}

static void test_postgres_says_nothing(void **state)
{
    int port = port_free();
    int fd = loopback_listen(port, 16);
    char text[512];

    (void)state;
    assert_true(fd >= 0);
    (void)snprintf(text, sizeof text,
                   "kafka: {brokers: \"" NOBODY_HOME "\"}\n"
                   "postgres: {url: \"postgres://u@127.0.0.1:%d/d\", connect_timeout: 200ms}\n",
                   port);
    outboxd_configure_text(&relay, text);
    waits("no answer within 200 ms");
    outboxd_stops_at_once(&relay);
    (void)close(fd);
}

/* A copy of the server that follows it, promoted at the end. */
static void start_standby(struct pg_server *standby)
{
    char log[PATH_SIZE];
    char path[PATH_SIZE];
    FILE *f;

    *standby = (struct pg_server){.port = port_free()};
    tmp_folder("standby", standby->dir);
    path_join(standby->data, standby->dir, "data");
    path_join(standby->log, standby->dir, "log");
    path_join(log, standby->dir, "basebackup");
    if (proc_run(WORDS("pg_basebackup", "-R", "-X", "stream", "-c", "fast", "--no-sync", "-D",
                       standby->data, "-d", pg_url(&pg, "postgres", "postgres").text),
                 log, 30000) != 0)
        support_fail("pg_basebackup: %s", file_read(log));
    path_join(path, standby->data, "postgresql.auto.conf");
    f = fopen(path, "ae");
    if (f == NULL ||
        fprintf(f, "port = %d\nunix_socket_directories = '%s'\n", standby->port, standby->dir) <
            0 ||
        fclose(f) != 0)
        support_fail("write %s", path);
    if (geteuid() == 0 && proc_run(WORDS("chown", "-R", "postgres", standby->dir), log, 10000) != 0)
        support_fail("chown: %s", file_read(log));
    pg_start(standby);
}

static void test_a_standby_is_waited_out(void **state)
{
    struct pg_server standby;
    PGconn *conn;
    char text[512];

    (void)state;
    start_standby(&standby);
    (void)snprintf(text, sizeof text,
                   "postgres: {url: \"%s\"}\nkafka: {brokers: \"" NOBODY_HOME
                   "\"}\nrelay: {name: orders, shutdown_timeout: 1s}\n",
                   pg_url(&standby, "relay", database).text);
    outboxd_configure_text(&relay, text);
    waits("waiting for a primary");
    (void)succeeds(WORDS("status"), "relay orders: no leader");
    conn = pg_open(&standby, NULL);
    pg_exec(conn, "SELECT pg_promote()");
    PQfinish(conn);
    outboxd_wait_log(&relay, "lease taken", 15000);
    outboxd_stops_at_once(&relay);
    pg_drop(&standby);
}

static void test_a_second_relay_stands_by(void **state)
{
    struct outboxd second = {0};

    (void)state;
    configure(&relay, "relay", "orders", "");
    outboxd_start(&relay);
    outboxd_wait_log(&relay, "lease taken", 10000);
    configure(&second, "relay", "orders", "");
    outboxd_start(&second);
    outboxd_wait_log(&second, "standing by", 5000);
    assert_false(outboxd_log_has(&second, "level=error"));
    (void)succeeds(WORDS("status"), "epoch 1, renewed");
    outboxd_stops_at_once(&second);
    outboxd_log_truncate(&second);
    outboxd_start(&second);
    outboxd_wait_log(&second, "standing by", 5000);
    outboxd_stops_at_once(&relay);
    outboxd_wait_log(&second, "lease taken", 2000);
    outboxd_stops_at_once(&second);
    assert_int_equal(pg_int(owner, "SELECT epoch FROM outbox.relay"), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_wrong_password),           CASE(test_roles_and_databases_that_are_not_let_in),
        CASE(test_a_role_without_grants),    CASE(test_postgres_is_down),
        CASE(test_postgres_says_nothing),    CASE(test_a_standby_is_waited_out),
        CASE(test_a_second_relay_stands_by),
    };

    cmocka_set_test_filter(getenv("ONLY")); /* a pattern such as *grants*; NULL: all */
    return cmocka_run_group_tests_name("bad server", tests, setup_server, teardown_server);
}
