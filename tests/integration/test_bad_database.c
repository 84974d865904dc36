/* Bad input, by the whole program: a database that is not as it must be. Each
 * ends with the right exit code and one line that names the place and the way out; no secret is
 * shown, nothing in the database changes, and once the way out has been gone, the relay leads. */
#include "bad_database.h"

#include "outbox/migrate.h"

#include <unistd.h>

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

static void test_no_schema(void **state)
{
    (void)state;
    (void)strncat(database, "_empty", sizeof database - strlen(database) - 1);
    make_database(database, "template0");
    PQfinish(owner);
    owner = connect_to(database);
    configure(&relay, "relay", "orders", "");
    refuses(78, WORDS("run"), WORDS("no outbox tables", database, "run `outboxd migrate`"));
    refuses(78, WORDS("status"), WORDS("no outbox tables", database, "run `outboxd migrate`"));
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
    refuses(78, WORDS("run"), WORDS("schema_older", "version 0", "run `outboxd migrate`"));
    refuses(78, WORDS("status"), WORDS("schema_older", "version 0", "run `outboxd migrate`"));
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
    refuses(78, WORDS("status"), WORDS("schema_newer", "version 99", "use a newer outboxd"));
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
    refuses(78, WORDS("run"), WORDS("\"orders\"", "system_identifier 42", "outboxd rebase"));
    refuses(78, WORDS("status"),
            WORDS("foreign_database", "system_identifier 42", "outboxd rebase"));
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
    refuses(78, WORDS("run"), WORDS("\"orders\"", "1000000", "outboxd rebase"));
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_sql_without_a_configuration),
        CASE(test_no_schema),
        CASE(test_older_schema),
        CASE(test_newer_schema),
        CASE(test_no_such_relay),
        CASE(test_going_back_drops_no_events_unasked),
        CASE(test_another_migrate_is_at_work),
        CASE(test_a_foreign_position),
        CASE(test_a_position_ahead_of_the_server),
        CASE(test_tables_that_hide_or_reorder),
    };

    cmocka_set_test_filter(getenv("ONLY")); /* a pattern such as *grants*; NULL: all */
    return cmocka_run_group_tests_name("bad database", tests, setup_server, teardown_server);
}
