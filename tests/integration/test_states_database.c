/* States of the database that only a person can mend: `run` ends with exit code 78, its last line
 * and `outboxd status` say the same word and the same way out, and once that has been gone, it
 * runs. */
#include "../support/check.h"

#include "../support/mock_kafka.h"
#include "../support/pg.h"
#include "../support/refusal.h"
#include "../support/state.h"
#include "../support/tmp.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static struct pg_server pg;
static struct mock_kafka kafka;
static struct state relay;
static PGconn *owner;
static char database[32]; /* of the test that runs: a schema, relay `orders`, an event */

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

static int setup_servers(void **state)
{
    static const char hba[] = "local all all trust\n"
                              "host all keyed 127.0.0.1/32 scram-sha-256\n"
                              "host all banned 127.0.0.1/32 reject\n"
                              "host all,replication all 127.0.0.1/32 trust\n";
    PGconn *conn;

    (void)state;
    mock_kafka_start(&kafka, "order-events:3");
    pg_create(&pg, &(struct pg_params){.hba = hba});
    pg_apply_schema(&pg);
    conn = pg_open(&pg, NULL);
    pg_exec(conn, "SELECT outbox.publish('order', 'k', 'order.placed', '{}')");
    pg_exec(conn, "CREATE ROLE keyed LOGIN PASSWORD '" SECRET "' IN ROLE outbox_relay");
    pg_exec(conn, "CREATE ROLE fresh LOGIN; CREATE ROLE banned LOGIN IN ROLE outbox_relay");
    PQfinish(conn);
    return 0;
}

static int teardown_servers(void **state)
{
    (void)state;
    mock_kafka_stop(&kafka);
    pg_drop(&pg);
    return 0;
}

static int setup(void **state)
{
    static unsigned count;

    (void)state;
    relay = (struct state){0};
    (void)snprintf(database, sizeof database, "state_%u", ++count);
    make_database(database, "postgres");
    owner = connect_to(database);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    outboxd_kill9(&relay.relay);
    PQfinish(owner);
    return 0;
}

static void configure_url(const char *url)
{
    char kafka_section[128];

    (void)snprintf(kafka_section, sizeof kafka_section, "brokers: \"%s\"", kafka.brokers);
    state_configure(&relay, url, kafka_section, NULL, NULL);
}

static void configure(const char *user)
{
    configure_url(pg_url(&pg, user, database).text);
}

static struct pg_url owner_url(void)
{
    return pg_url(&pg, "postgres", database);
}

/* It ends for that reason, and says so; the word is in the README's table. */
static void ends(enum problem p, const char *text)
{
    outboxd_start(&relay.relay);
    state_ends(&relay, p, text, 78);
}

/* Nothing is in the way any more. */
static void runs(void)
{
    outboxd_log_truncate(&relay.relay);
    state_start(&relay);
    outboxd_wait_drained(&relay.relay, 10000);
    assert_int_equal(outboxd_stop(&relay.relay), 0);
}

static void command(const char *const *words)
{
    char out[OUTBOXD_OUT];

    if (outboxd_command(&relay.relay, words[0], words + 1, out) != 0)
        fail_msg("outboxd %s: %s", words[0], out);
}

/* ---- the schema ---- */

static void test_schema_missing(void **state)
{
    (void)state;
    (void)strncat(database, "_empty", sizeof database - strlen(database) - 1);
    make_database(database, "template0");
    configure("relay");
    ends(PROBLEM_SCHEMA_MISSING, database);
    command(WORDS("migrate", "--url", owner_url().text));
    runs();
}

static void test_schema_older(void **state)
{
    (void)state;
    configure("relay");
    command(WORDS("migrate", "--down", "3", "--yes", "--url", owner_url().text));
    ends(PROBLEM_SCHEMA_OLDER, "3");
    command(WORDS("migrate", "--url", owner_url().text));
    runs();
}

static void test_schema_newer(void **state)
{
    (void)state;
    configure("relay");
    pg_exec(owner, "INSERT INTO outbox.migration (version, name) VALUES (99, 'x')");
    ends(PROBLEM_SCHEMA_NEWER, "99");
    pg_exec(owner, "DELETE FROM outbox.migration WHERE version = 99");
    runs();
}

static void test_relay_missing(void **state)
{
    (void)state;
    configure("relay");
    pg_exec(owner, "DELETE FROM outbox.relay");
    ends(PROBLEM_RELAY_MISSING, "\"orders\"");
    command(WORDS("migrate", "--start", "beginning", "--url", owner_url().text));
    runs();
}

static void test_row_security(void **state)
{
    (void)state;
    configure("relay");
    pg_exec(owner, "ALTER TABLE outbox.event ENABLE ROW LEVEL SECURITY");
    ends(PROBLEM_ROW_SECURITY, "role relay");
    pg_exec(owner, "ALTER TABLE outbox.event DISABLE ROW LEVEL SECURITY");
    runs();
}

static void test_sequence_caches(void **state)
{
    (void)state;
    configure("relay");
    pg_exec(owner, "ALTER SEQUENCE outbox.event_id_seq CACHE 20");
    ends(PROBLEM_SEQUENCE_CACHES, "ALTER SEQUENCE outbox.event_id_seq CACHE 1;");
    pg_exec(owner, "ALTER SEQUENCE outbox.event_id_seq CACHE 1");
    runs();
}

/* ---- who may what ---- */

static void test_role_without_grants(void **state)
{
    (void)state;
    configure("fresh");
    ends(PROBLEM_GRANTS_MISSING, "GRANT outbox_relay TO fresh;");
    pg_exec(owner, "GRANT outbox_relay TO fresh");
    runs();
    /* taken away while it runs */
    state_start(&relay);
    pg_exec(owner, "REVOKE outbox_relay FROM fresh");
    pg_exec(owner, "SELECT outbox.publish('order', 'k', 'order.placed', '{}')");
    state_ends(&relay, PROBLEM_GRANTS_MISSING, "GRANT outbox_relay TO fresh;", 78);
    pg_exec(owner, "GRANT outbox_relay TO fresh");
    runs();
    pg_exec(owner, "REVOKE outbox_relay FROM fresh");
}

static void test_role_refused(void **state)
{
    char url[256];

    (void)state;
    (void)snprintf(url, sizeof url, "%s", pg_url(&pg, "keyed:" SECRET "-not", database).text);
    configure_url(url);
    ends(PROBLEM_DATABASE_REFUSED, "\"keyed\"");
    assert_false(outboxd_log_has(&relay.relay, SECRET));
    configure("keyed:" SECRET);
    runs();
    configure("banned");
    ends(PROBLEM_DATABASE_REFUSED, "\"banned\"");
    configure("absent");
    ends(PROBLEM_DATABASE_REFUSED, "\"absent\"");
}

/* ---- the position ---- */

/* A server that initdb made for itself: all others here are copies of one. */
static void create_other_server(struct pg_server *other)
{
    pg_place(other, NULL);
    pg_tool(other, WORDS("initdb", "-D", other->data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
                         "--locale=C.UTF-8", "--no-sync"));
    pg_settle(other, NULL);
    pg_start(other);
}

/* A dump of this server, loaded into another one, as after a disaster. */
static void restore_into(const struct pg_server *other)
{
    char roles[PATH_SIZE];
    char tables[PATH_SIZE];
    char log[PATH_SIZE];
    struct pg_url from = pg_url(&pg, "postgres", database);
    struct pg_url to = pg_url(other, "postgres", "postgres");

    path_join(roles, tmp_root(), "roles.sql");
    path_join(tables, tmp_root(), "tables.sql");
    path_join(log, tmp_root(), "restore.log");
    assert_int_equal(
        proc_run(WORDS("pg_dumpall", "-d", from.text, "--roles-only", "-f", roles), log, 20000), 0);
    assert_int_equal(proc_run(WORDS("pg_dump", "-d", from.text, "-f", tables), log, 20000), 0);
    assert_int_equal(proc_run(WORDS("psql", "-X", "-q", "-d", to.text, "-f", roles), log, 20000),
                     0); /* role postgres is there already */
    assert_int_equal(
        proc_run(WORDS("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", to.text, "-f", tables),
                 log, 20000),
        0);
}

static void test_restored_dump(void **state)
{
    struct pg_server other;

    (void)state;
    configure("relay");
    runs();
    create_other_server(&other);
    restore_into(&other);
    configure_url(pg_url(&other, "relay", "postgres").text);
    ends(PROBLEM_FOREIGN_DATABASE, "system_identifier");
    command(WORDS("rebase", "--to", "now", "--yes", "--url",
                  pg_url(&other, "postgres", "postgres").text));
    runs();
    pg_drop(&other);
}

static void test_server_set_back(void **state)
{
    (void)state;
    configure("relay");
    pg_exec(owner, "UPDATE outbox.lane SET base = '1000000:1000000:'");
    ends(PROBLEM_POSITION_AHEAD, "1000000");
    command(WORDS("rebase", "--to", "beginning", "--yes", "--url", owner_url().text));
    runs();
}

/* ---- the configuration ---- */

static void test_configuration(void **state)
{
    char *text;

    (void)state;
    configure("relay");
    text = file_read(relay.relay.config);
    file_write(relay.relay.config, "%s\nlog: {levle: info}\n", text);
    ends(PROBLEM_CONFIGURATION, "did you mean \"level\"?");
    file_write(relay.relay.config, "%s", text);
    free(text);
    runs();
}

/* A log that is read by machines ends as it went on. */
static void test_the_end_as_json(void **state)
{
    char kafka_section[128];
    char *log;
    const char *last;
    json_t *doc;

    (void)state;
    (void)snprintf(kafka_section, sizeof kafka_section, "brokers: \"%s\"", kafka.brokers);
    state_configure(&relay, pg_url(&pg, "fresh", database).text, kafka_section, NULL,
                    "log: {format: json}");
    outboxd_start(&relay.relay);
    assert_true(proc_wait(&relay.relay.proc, 15000));
    assert_int_equal(proc_exit_code(&relay.relay.proc), 78);
    log = file_read(relay.relay.log);
    log[strlen(log) - 1] = '\0';
    last = strrchr(log, '\n');
    assert_non_null(last);
    doc = json_loads(last + 1, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(doc, "problem")), "grants_missing");
    assert_string_equal(json_string_value(json_object_get(doc, "advice")),
                        problem_advice(PROBLEM_GRANTS_MISSING));
    assert_contains(json_string_value(json_object_get(doc, "error")),
                    "GRANT outbox_relay TO fresh");
    assert_int_equal(json_integer_value(json_object_get(doc, "exit_code")), 78);
    json_decref(doc);
    free(log);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_schema_missing),      CASE(test_schema_older),  CASE(test_schema_newer),
        CASE(test_relay_missing),       CASE(test_row_security),  CASE(test_sequence_caches),
        CASE(test_role_without_grants), CASE(test_role_refused),  CASE(test_restored_dump),
        CASE(test_server_set_back),     CASE(test_configuration), CASE(test_the_end_as_json),
    };

    cmocka_set_test_filter(getenv("ONLY")); /* a pattern such as *schema*; NULL: all */
    return cmocka_run_group_tests_name("states of the database", tests, setup_servers,
                                       teardown_servers);
}
