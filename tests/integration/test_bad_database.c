/* Bad input, by the whole program: a database, a server or a role that is not as it must be. Each
 * ends with the right exit code and one line that names the place and the way out; no secret is
 * shown, nothing in the database changes, and once the way out has been gone, the relay leads. What
 * can pass by itself is waited for instead. */
#include "../support/check.h"

#include "../support/outboxd.h"
#include "../support/pg.h"
#include "../support/refusal.h"
#include "../support/tmp.h"

#include "outbox/migrate.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define NOBODY_HOME "127.0.0.1:1" /* brokers that refuse every connection */

static struct pg_server pg;
static struct outboxd relay;
static PGconn *owner;
static char database[32]; /* of the test that runs: the schema, relay `orders` at the beginning,
                             three events */

/* ---- the ground ---- */

static PGconn *connect_to(const char *name)
{
    PGconn *conn = PQconnectdb(pg_url(&pg, "postgres", name).text);

    if (PQstatus(conn) != CONNECTION_OK)
        support_fail("connect to %s: %s", name, PQerrorMessage(conn));
    return conn;
}

static void make_database(const char *name, const char *template)
{
    PGconn *conn = connect_to("template1");

    pg_exec(conn, "CREATE DATABASE %s TEMPLATE %s", name, template);
    PQfinish(conn);
}

static int setup_server(void **state)
{
    static const char hba[] = "local all all trust\n"
                              "host all keyed 127.0.0.1/32 scram-sha-256\n"
                              "host all banned 127.0.0.1/32 reject\n"
                              "host all,replication all 127.0.0.1/32 trust\n";

    (void)state;
    pg_create(&pg, &(struct pg_params){.hba = hba});
    pg_apply_schema(&pg);
    owner = pg_open(&pg, NULL);
    pg_exec(owner,
            "SELECT outbox.publish('order', 'k', 'order.placed', '{}') FROM generate_series(1, 3)");
    pg_exec(owner, "CREATE ROLE keyed LOGIN PASSWORD '" SECRET "' IN ROLE outbox_relay");
    pg_exec(owner, "CREATE ROLE banned LOGIN; CREATE ROLE fresh LOGIN");
    PQfinish(owner);
    return 0;
}

static int teardown_server(void **state)
{
    (void)state;
    pg_drop(&pg);
    return 0;
}

static int setup(void **state)
{
    static unsigned count;

    (void)state;
    relay = (struct outboxd){0};
    if (!pg_is_ready(&pg))
        pg_start(&pg);
    (void)snprintf(database, sizeof database, "case_%u", ++count);
    make_database(database, "postgres");
    owner = connect_to(database);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    outboxd_kill9(&relay);
    PQfinish(owner);
    return 0;
}

/* Relay `name` on the test's database, each time another instance; `postgres` is "" or ", key:
 * value". */
static void configure(struct outboxd *o, const char *user, const char *name, const char *postgres)
{
    static unsigned count;
    char text[1024];

    (void)snprintf(text, sizeof text,
                   "postgres: {url: \"%s\"%s}\nkafka: {brokers: \"" NOBODY_HOME "\"}\n"
                   "relay: {name: %s, instance: test-%u, shutdown_timeout: 1s}\n",
                   pg_url(&pg, user, database).text, postgres, name, ++count);
    outboxd_configure_text(o, text);
}

/* All that a refused command must leave alone. */
static const char *fingerprint(void)
{
    if (pg_int(owner, "SELECT count(*) FROM pg_namespace WHERE nspname = 'outbox'") == 0)
        return "no schema";
    return pg_scalar(
        owner,
        "SELECT md5(concat((SELECT string_agg(r::text, '|' ORDER BY name) FROM outbox.relay r),"
        "(SELECT string_agg(l::text, '|' ORDER BY relay, id) FROM outbox.lane l),"
        "(SELECT string_agg(e::text, '|' ORDER BY id) FROM outbox.event e),"
        "(SELECT string_agg(m::text, '|' ORDER BY version) FROM outbox.migration m)))");
}

/* As outboxd_refuses, and the database is as it was. */
static void refuses(int code, const char *const *words, const char *const *parts)
{
    const char *before = fingerprint();

    outboxd_refuses(&relay, code, words, parts);
    CHECK(strcmp(before, fingerprint()) == 0, "outboxd %s has changed the database", words[0]);
}

static const char *succeeds(const char *const *words, const char *part)
{
    return outboxd_succeeds(&relay, words, part);
}

/* Nothing is in the way any more: the relay leads, and has lost nothing. */
static void leads(void)
{
    outboxd_log_truncate(&relay);
    outboxd_start(&relay);
    outboxd_wait_log(&relay, "lease taken", 10000);
    assert_int_equal(pg_int(owner, "SELECT count(*) FROM outbox.event"), 3);
    outboxd_stops_at_once(&relay);
    assert_int_equal(pg_int(owner, "SELECT count(*) FROM outbox.relay WHERE holder IS NOT NULL"),
                     0);
}

/* It says that it waits, and why, and goes on waiting until it is told to stop. */
static void waits(const char *why)
{
    outboxd_start(&relay);
    outboxd_wait_log(&relay, why, 5000);
    outboxd_wait_log(&relay, "tried again until it answers", 1000);
    test_sleep_ms(700); /* several tries: the same trouble is told once */
    CHECK(outboxd_log_count(&relay, why) == 1, "said %d times: %s", outboxd_log_count(&relay, why),
          why);
    outboxd_stops_at_once(&relay);
    outboxd_log_truncate(&relay);
    outboxd_start(&relay);
    outboxd_wait_log(&relay, why, 5000);
    assert_true(proc_alive(&relay.proc));
}

/* What is printed makes the schema. */
static void test_sql_without_a_configuration(void **state)
{
    char file[PATH_SIZE];
    char name[48];

    (void)state;
    if (access("/etc/outboxd/outboxd.yaml", F_OK) != 0) {
        outboxd_refuses_bare(78, WORDS("run"),
                             WORDS("/etc/outboxd/outboxd.yaml: does not exist", "-c FILE"));
    }
    assert_int_equal(outboxd_bare(WORDS("migrate", "--print"), file), 0);
    assert_true(file_holds(file, "outbox.make_relay('NAME', 'beginning')") ||
                access("/etc/outboxd/outboxd.yaml", F_OK) == 0);
    (void)snprintf(name, sizeof name, "%s_sql", database);
    make_database(name, "template0");
    PQfinish(owner);
    owner = connect_to(name);
    assert_int_equal(proc_run(WORDS("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d",
                                    pg_url(&pg, "postgres", name).text, "-f", file),
                              NULL, 20000),
                     0);
    assert_int_equal(pg_int(owner, "SELECT max(version) FROM outbox.migration"),
                     migrate_newest_version());
}

/* ---- the database ---- */

static const char *owner_url(void)
{
    static struct pg_url url;

    url = pg_url(&pg, "postgres", database);
    return url.text;
}

static void test_no_schema(void **state)
{
    (void)state;
    (void)strncat(database, "_empty", sizeof database - strlen(database) - 1);
    make_database(database, "template0");
    PQfinish(owner);
    owner = connect_to(database);
    configure(&relay, "relay", "orders", "");
    refuses(78, WORDS("run"), WORDS("no outbox tables", database, "run `outboxd migrate`"));
    refuses(78, WORDS("status"), WORDS("no outbox schema", database, "run `outboxd migrate`"));
    refuses(78, WORDS("rebase", "--to", "now", "--yes", "--url", owner_url()),
            WORDS("run `outboxd migrate`"));
    (void)succeeds(WORDS("migrate", "--url", owner_url()),
                   "relay orders: made, starts at beginning");
    (void)succeeds(WORDS("status"), "relay orders: no leader");
}

static void test_older_schema(void **state)
{
    (void)state;
    configure(&relay, "relay", "orders", "");
    pg_exec(owner, "DELETE FROM outbox.migration");
    refuses(78, WORDS("run"), WORDS("version 0", "needs 1", "run `outboxd migrate`"));
    assert_contains(succeeds(WORDS("status"), "relay orders: older schema"),
                    "run `outboxd migrate`");
    (void)succeeds(WORDS("migrate", "--url", owner_url()), "0001 base: applied");
    leads();
}

static void test_newer_schema(void **state)
{
    (void)state;
    configure(&relay, "relay", "orders", "");
    pg_exec(owner, "INSERT INTO outbox.migration (version, name) VALUES (99, 'x')");
    refuses(78, WORDS("run"), WORDS("version 99", "use a newer outboxd"));
    refuses(78, WORDS("migrate", "--url", owner_url()), WORDS("version 99", "use a newer outboxd"));
    refuses(78, WORDS("migrate", "--down", "0", "--yes", "--url", owner_url()),
            WORDS("version 99", "use a newer outboxd"));
    assert_contains(succeeds(WORDS("status"), "relay orders: newer schema"), "use a newer outboxd");
}

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
    refuses(78, WORDS("status"), WORDS("permission denied", "GRANT outbox_relay TO fresh;"));
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
    refuses(78, WORDS("status"), WORDS("permission denied", "event"));
    pg_exec(owner, "GRANT SELECT ON outbox.event TO fresh; GRANT UPDATE ON outbox.lane TO fresh");
    leads();
    pg_exec(owner, "REVOKE outbox_relay FROM fresh");
}

static void test_no_such_relay(void **state)
{
    (void)state;
    configure(&relay, "relay", "other", "");
    refuses(78, WORDS("run"), WORDS("\"other\"", "outboxd migrate", "relay.name"));
    refuses(78, WORDS("status"), WORDS("\"other\"", "only: orders"));
    refuses(78, WORDS("rebase", "--to", "now", "--yes", "--url", owner_url()),
            WORDS("\"other\"", "only: orders"));
    refuses(64, WORDS("migrate", "--url", owner_url()),
            WORDS("\"other\"", "--start beginning", "--start now"));
    (void)succeeds(WORDS("migrate", "--start", "now", "--url", owner_url()),
                   "relay other: made, starts at now");
    (void)succeeds(WORDS("status"), "unsent       0 events");
    leads();
}

static void test_going_back_drops_no_events_unasked(void **state)
{
    (void)state;
    configure(&relay, "relay", "orders", "");
    refuses(64, WORDS("migrate", "--down", "0", "--url", owner_url()),
            WORDS("holds events", "--yes"));
}

static void test_another_migrate_is_at_work(void **state)
{
    (void)state;
    configure(&relay, "relay", "orders", "");
    pg_exec(owner, "SELECT pg_advisory_lock(1868722040, -1)");
    outboxd_refuses(&relay, 75, WORDS("migrate", "--timeout", "300ms", "--url", owner_url()),
                    WORDS("another migrate is still at work", "try again"));
    pg_exec(owner, "SELECT pg_advisory_unlock(1868722040, -1)");
    (void)succeeds(WORDS("migrate", "--url", owner_url()), "0001 base: applied already");
}

static void test_a_foreign_position(void **state)
{
    (void)state;
    configure(&relay, "relay", "orders", "");
    pg_exec(owner, "UPDATE outbox.relay SET system_identifier = 42");
    refuses(78, WORDS("run"),
            WORDS("\"orders\"", "system_identifier 42", "outboxd rebase --to now|beginning"));
    assert_contains(succeeds(WORDS("status"), "relay orders: foreign database"), "outboxd rebase");
    refuses(64, WORDS("rebase", "--to", "now", "--url", owner_url()),
            WORDS("nothing was changed", "--yes"));
    (void)succeeds(WORDS("rebase", "--to", "now", "--dry-run", "--url", owner_url()),
                   "Nothing was changed");
    assert_int_equal(pg_int(owner, "SELECT system_identifier FROM outbox.relay"), 42);
    (void)succeeds(WORDS("rebase", "--to", "now", "--yes", "--url", owner_url()),
                   "this server is now the position's own");
    (void)succeeds(WORDS("status"), "unsent       0 events");
    leads();
}

static void test_a_position_ahead_of_the_server(void **state)
{
    (void)state;
    configure(&relay, "relay", "orders", "");
    pg_exec(owner, "UPDATE outbox.lane SET base = '1000000:1000000:'");
    refuses(78, WORDS("run"), WORDS("\"orders\"", "1000000", "outboxd rebase --to now|beginning"));
    (void)succeeds(WORDS("rebase", "--to", "beginning", "--yes", "--url", owner_url()),
                   "1000000:1000000:");
    (void)succeeds(WORDS("status"), "unsent       3 events");
    leads();
}

static void test_tables_that_hide_or_reorder(void **state)
{
    (void)state;
    configure(&relay, "relay", "orders", "");
    pg_exec(owner, "ALTER TABLE outbox.event ENABLE ROW LEVEL SECURITY");
    refuses(
        78, WORDS("run"),
        WORDS("role relay", "ALTER TABLE outbox.event DISABLE ROW LEVEL SECURITY;", "BYPASSRLS"));
    pg_exec(owner, "ALTER TABLE outbox.event DISABLE ROW LEVEL SECURITY; ALTER SEQUENCE "
                   "outbox.event_id_seq CACHE 20");
    refuses(78, WORDS("run"),
            WORDS("outbox.event.id", "ALTER SEQUENCE outbox.event_id_seq CACHE 1;"));
    pg_exec(owner, "ALTER SEQUENCE outbox.event_id_seq CACHE 1");
    leads();
}

/* ---- what can pass by itself ---- */

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
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t len = sizeof at;
    char text[512];

    (void)state;
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, len) != 0 || listen(fd, 16) != 0 ||
        getsockname(fd, (struct sockaddr *)&at, &len) != 0)
        support_fail("no socket to listen on");
    (void)snprintf(text, sizeof text,
                   "kafka: {brokers: \"" NOBODY_HOME "\"}\n"
                   "postgres: {url: \"postgres://u@127.0.0.1:%d/d\", connect_timeout: 200ms}\n",
                   ntohs(at.sin_port));
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
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_sql_without_a_configuration),
        CASE(test_no_schema),
        CASE(test_older_schema),
        CASE(test_newer_schema),
        CASE(test_wrong_password),
        CASE(test_roles_and_databases_that_are_not_let_in),
        CASE(test_a_role_without_grants),
        CASE(test_no_such_relay),
        CASE(test_going_back_drops_no_events_unasked),
        CASE(test_another_migrate_is_at_work),
        CASE(test_a_foreign_position),
        CASE(test_a_position_ahead_of_the_server),
        CASE(test_tables_that_hide_or_reorder),
        CASE(test_postgres_is_down),
        CASE(test_postgres_says_nothing),
        CASE(test_a_standby_is_waited_out),
        CASE(test_a_second_relay_stands_by),
    };

    cmocka_set_test_filter(getenv("ONLY")); /* a pattern such as *grants*; NULL: all */
    return cmocka_run_group_tests_name("bad database", tests, setup_server, teardown_server);
}
