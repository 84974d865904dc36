/* What the tests of bad databases and of bad servers start from: one server, a database of its own
 * for each test, the program's refusals held against it. Included by one program at a time. */
#ifndef OUTBOXD_TESTS_BAD_DATABASE_H
#define OUTBOXD_TESTS_BAD_DATABASE_H

#include "../support/check.h"

#include "../support/outboxd.h"
#include "../support/pg.h"
#include "../support/refusal.h"
#include "../support/tmp.h"

#include <stdio.h>
#include <stdlib.h>

#define NOBODY_HOME "127.0.0.1:1" /* brokers that refuse every connection */

static struct pg_server pg;
static struct outboxd relay;
static PGconn *owner;
static char database[32]; /* of the test that runs: the schema, relay `orders` at the beginning,
                             three events */

static inline PGconn *connect_to(const char *name)
{
    PGconn *conn = PQconnectdb(pg_url(&pg, "postgres", name).text);

    if (PQstatus(conn) != CONNECTION_OK)
        support_fail("connect to %s: %s", name, PQerrorMessage(conn));
    return conn;
}

static inline void make_database(const char *name, const char *template)
{
    PGconn *conn = connect_to("template1");

    pg_exec(conn, "CREATE DATABASE %s TEMPLATE %s", name, template);
    PQfinish(conn);
}

static inline int setup_server(void **state)
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

static inline int teardown_server(void **state)
{
    (void)state;
    pg_drop(&pg);
    return 0;
}

static inline int setup(void **state)
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

static inline int teardown(void **state)
{
    (void)state;
    outboxd_kill9(&relay);
    PQfinish(owner);
    return 0;
}

/* Relay `name` on the test's database, each time another instance; `postgres` is "" or ", key:
 * value". */
static inline void configure(struct outboxd *o, const char *user, const char *name,
                             const char *postgres)
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
static inline const char *fingerprint(void)
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
static inline void refuses(int code, const char *const *words, const char *const *parts)
{
    const char *before = fingerprint();

    outboxd_refuses(&relay, code, words, parts);
    CHECK(strcmp(before, fingerprint()) == 0, "outboxd %s has changed the database", words[0]);
}

static inline const char *succeeds(const char *const *words, const char *part)
{
    return outboxd_succeeds(&relay, words, part);
}

/* Nothing is in the way any more: the relay leads, and has lost nothing. */
static inline void leads(void)
{
    outboxd_log_truncate(&relay);
    outboxd_start(&relay);
    outboxd_wait_log(&relay, "lease taken", 10000);
    assert_int_equal(pg_int(owner, "SELECT count(*) FROM outbox.event"), 3);
    outboxd_stops_at_once(&relay);
    assert_int_equal(pg_int(owner, "SELECT count(*) FROM outbox.relay WHERE holder IS NOT NULL"),
                     0);
}

static inline const char *owner_url(void)
{
    static struct pg_url url;

    url = pg_url(&pg, "postgres", database);
    return url.text;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
