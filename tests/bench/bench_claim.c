/* What a claim costs: beside 100 kept claims and beside many, of time-ordered ids (as the outbox
 * makes them) and of random ones, singly, in sets, and in sets that are all new; and a consumer's
 * transaction with one small write, without a claim, with one, and while purge takes old claims
 * away.
 *
 * The two tables lie in two databases of one server and take turns; the best of their rounds are
 * compared, because whatever else the machine does only adds to them. What counts is the processor
 * time of the session, many claims to a statement, so that no round trip or commit hides them. A
 * claim beside many that costs more than 1.2 times one beside 100 (ids ordered by time) is a
 * failure.
 *
 *   CLAIM_ROWS=10000000  kept claims; a million unless said */
#include "../support/percentile.h"
#include "../support/pg.h"
#include "../support/tmp.h"

#include "outbox/migrate.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SMALL_ROWS    100
#define ROUNDS        15
#define BATCH         2000 /* claims of one round */
#define SET_SIZE      500
#define KEPT_SET      200 /* of the claims that are kept already */
#define CELL_MS       4000
#define MAX_TIMES     200000
#define ALLOWED_RATIO 1.2

static struct pg_server server;

struct table {
    const char *name;
    PGconn *conn;
};

static long many_rows(void)
{
    const char *text = getenv("CLAIM_ROWS");

    return text == NULL ? 1000000 : strtol(text, NULL, 10);
}

/* Ids as outbox.new_event_id makes them: the time in front. */
static const char ordered_ids[] =
    "CREATE FUNCTION ordered_id(at timestamptz) RETURNS uuid LANGUAGE sql AS "
    "'SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, ''0'') || "
    "substr(replace(gen_random_uuid()::text, ''-'', ''''), 13))::uuid'";

/* Claims of the last 30 days, in sets, and such as purge has to take away: a tenth of them it has
 * taken already, so that there is room in the table as there is in daily life, and a tenth it has
 * not. */
static void fill(PGconn *conn, long rows)
{
    pg_exec(conn, "ALTER TABLE inbox.claimed DROP CONSTRAINT claimed_pkey");
    pg_exec(conn,
            "INSERT INTO inbox.claimed SELECT consumer, ordered_id(at), at, NULL FROM (SELECT CASE "
            "WHEN g < 0.1 * %ld THEN 'other' ELSE 'bench' END, now() - interval '36 days' + g / "
            "%d * %d * (interval '36 days' / (1.2 * %ld)) FROM generate_series(1, (1.2 * "
            "%ld)::bigint) g) AS t (consumer, at)",
            rows, KEPT_SET, KEPT_SET, rows, rows);
    pg_exec(conn, "INSERT INTO inbox.claimed_set SELECT consumer, claimed_at, array_agg(event_id) "
                  "FROM inbox.claimed GROUP BY claimed_at, consumer ORDER BY claimed_at");
    pg_exec(conn, "ALTER TABLE inbox.claimed ADD PRIMARY KEY (event_id, consumer)");
    pg_exec(conn, "VACUUM ANALYZE inbox.claimed, inbox.claimed_set");
    while (pg_int(conn, "SELECT inbox.purge(NULL, 10000, 'bench')") > 0)
        continue;
    pg_exec(conn, "VACUUM inbox.claimed, inbox.claimed_set");
}

static struct table open_table(const char *name, long rows)
{
    struct pg_url url = pg_url(&server, "postgres", name);
    struct migrate_params params = {.server = {.url = url.text}, .inbox = true, .wait_ms = 1000};
    struct table t = {.name = name};
    PGconn *maker = pg_open(&server, NULL);
    struct err err;

    pg_exec(maker, "CREATE DATABASE %s", name);
    PQfinish(maker);
    if (migrate_apply(&params, &err) != 0)
        support_fail("%s", err.text);
    t.conn = PQconnectdb(url.text);
    if (PQstatus(t.conn) != CONNECTION_OK)
        support_fail("%s", PQerrorMessage(t.conn));
    pg_exec(t.conn, "SET client_min_messages = warning");
    pg_exec(t.conn, "%s", ordered_ids);
    fill(t.conn, rows);
    pg_exec(t.conn, "CREATE TABLE effect (id bigint GENERATED ALWAYS AS IDENTITY, what text)");
    return t;
}

/* ---- claims, timed inside the server ---- */

enum way { SINGLE, SETS, NEW_SETS };

static const struct {
    const char *name;
    const char *sql;
} ways[] = {
    [SINGLE] = {"one by one", "SELECT count(inbox.claim('bench', id, now())) FROM fresh"},
    [SETS] = {"sets of 500", "SELECT count(inbox.claim_all('bench', ids, times)) FROM sets"},
    [NEW_SETS] = {"all new", "SELECT count(inbox.claim_new('bench', ids, now(), now())) FROM sets"},
};

/* Processor time of a backend so far. */
static double processor_us(int pid)
{
    char path[64];
    char *text;
    double ns;

    (void)snprintf(path, sizeof path, "/proc/%d/schedstat", pid);
    text = file_read(path);
    ns = strtod(text, NULL);
    free(text);
    return ns / 1000;
}

/* Microseconds of the server's processor time for one claim of BATCH new events. */
static double time_claims(PGconn *conn, bool ordered, enum way way)
{
    const char *id = ordered ? "ordered_id(clock_timestamp())" : "gen_random_uuid()";
    double began;
    double ended;

    pg_exec(conn, "CREATE TEMP TABLE fresh AS SELECT g, %s AS id FROM generate_series(0, %d) g", id,
            BATCH - 1);
    pg_exec(conn,
            "CREATE TEMP TABLE sets AS SELECT array_agg(id ORDER BY g) AS ids, "
            "array_agg(now() ORDER BY g) AS times FROM fresh GROUP BY g / %d",
            SET_SIZE);
    began = processor_us(PQbackendPID(conn));
    pg_exec(conn, "%s", ways[way].sql);
    ended = processor_us(PQbackendPID(conn));
    pg_exec(conn, "DROP TABLE fresh, sets");
    return (ended - began) / BATCH;
}

static double smaller(double a, double b)
{
    return a < b ? a : b;
}

/* Brings the small table back to its size. */
static void shrink(PGconn *conn)
{
    pg_exec(conn, "DELETE FROM inbox.claimed WHERE claimed_at > now() - interval '1 hour'");
    pg_exec(conn, "DELETE FROM inbox.claimed_set WHERE claimed_at > now() - interval '1 hour'");
    pg_exec(conn, "VACUUM inbox.claimed, inbox.claimed_set");
}

/* Prints a line; returns how many times as much a claim beside many costs. */
static double compare(struct table *small, struct table *large, bool ordered, enum way way)
{
    double few = 1e9;
    double many = 1e9;

    for (int i = 0; i < ROUNDS; i++) {
        shrink(small->conn);
        few = smaller(few, time_claims(small->conn, ordered, way));
        many = smaller(many, time_claims(large->conn, ordered, way));
    }
    printf("  %-12s %-14s %8.1f us %8.1f us %8.2f\n", ordered ? "by time" : "random",
           ways[way].name, few, many, many / few);
    return many / few;
}

/* ---- a consumer's transactions ---- */

static uint32_t times_us[MAX_TIMES];

/* Transactions of one small write for CELL_MS, one after the other. */
static void run_cell(PGconn *conn, const char *what, const char *claim)
{
    uint64_t end = test_now_ms() + CELL_MS;
    size_t count = 0;

    while (test_now_ms() < end && count < MAX_TIMES) {
        uint64_t began = test_now_us();

        pg_exec(conn, "BEGIN");
        if (claim != NULL)
            pg_exec(conn, "%s", claim);
        pg_exec(conn, "INSERT INTO effect (what) VALUES ('paid')");
        pg_exec(conn, "COMMIT");
        times_us[count++] = (uint32_t)(test_now_us() - began);
    }
    printf("  %-28s %8.0f/s  p50 %6.3f ms  p99 %6.3f ms\n", what, (double)count * 1000 / CELL_MS,
           percentile_ms(times_us, count, 50), percentile_ms(times_us, count, 99));
}

struct purger {
    pthread_t thread;
    PGconn *conn;
    atomic_bool stop;
    long gone;
    bool failed;
};

static void *purge(void *arg)
{
    struct purger *p = arg;

    while (!p->stop && !p->failed) {
        PGresult *rows = PQexec(p->conn, "SELECT inbox.purge()");

        if (PQresultStatus(rows) == PGRES_TUPLES_OK)
            p->gone += strtol(PQgetvalue(rows, 0, 0), NULL, 10);
        else
            p->failed = true;
        PQclear(rows);
    }
    return NULL;
}

static void run_beside_purge(struct table *t, const char *claim)
{
    struct pg_url url = pg_url(&server, "postgres", t->name);
    struct purger p = {.conn = PQconnectdb(url.text)};

    if (pthread_create(&p.thread, NULL, purge, &p) != 0)
        support_fail("no thread");
    run_cell(t->conn, "the same, purge beside it", claim);
    p.stop = true;
    (void)pthread_join(p.thread, NULL);
    if (p.failed)
        support_fail("purge: %s", PQerrorMessage(p.conn));
    printf("  %-28s %8.0f/s\n", "purged meanwhile", (double)p.gone * 1000 / CELL_MS);
    PQfinish(p.conn);
}

int main(void)
{
    static const char *const settings[] = {"shared_buffers = 256MB", "max_wal_size = 4GB",
                                           "maintenance_work_mem = 256MB", NULL};
    const char *const claim = "SELECT inbox.claim('bench', ordered_id(clock_timestamp()), now())";
    const struct pg_params params = {.settings = settings};
    struct table small;
    struct table large;
    double ratio;

    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    pg_create(&server, &params);
    small = open_table("few", SMALL_ROWS);
    large = open_table("many", many_rows());
    printf("processor time of the server for one claim, the best of %d rounds; fsync off\n",
           ROUNDS);
    printf("  %-12s %-14s %11s %11s %8s\n", "ids", "claimed", "beside 100", "beside many", "ratio");
    ratio = compare(&small, &large, true, SINGLE);
    (void)compare(&small, &large, true, SETS);
    (void)compare(&small, &large, true, NEW_SETS);
    (void)compare(&small, &large, false, SINGLE);
    (void)compare(&small, &large, false, SETS);
    (void)compare(&small, &large, false, NEW_SETS);
    printf("a transaction with one small write, from BEGIN to the answer to COMMIT; many = %ld\n",
           many_rows());
    run_cell(large.conn, "no claim", NULL);
    run_cell(small.conn, "a claim beside 100", claim);
    run_cell(large.conn, "a claim beside many", claim);
    run_beside_purge(&large, claim);
    PQfinish(small.conn);
    PQfinish(large.conn);
    pg_drop(&server);
    if (ratio > ALLOWED_RATIO) {
        printf("a claim beside %ld kept ones costs more than %.1f times one beside %d\n",
               many_rows(), ALLOWED_RATIO, SMALL_ROWS);
        return 1;
    }
    return 0;
}
