/* What the tests of lanes start from: relays whose routes park, keys whose events are poison, and
 * what waits, flows and is merged, as the database, /metrics and `outboxd parked` tell it. A
 * program has its own Kafka, of one broker or more. Included by one program at a time. */
#ifndef OUTBOXD_TESTS_LANES_CASE_H
#define OUTBOXD_TESTS_LANES_CASE_H

#include "../support/check.h"

#include "../support/load.h"
#include "../support/oracle.h"
#include "../support/outboxd.h"
#include "../support/pg.h"
#include "../support/state.h"
#include "../support/tmp.h"
#include "one_kafka.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

#define TOPIC        "order-events"
#define SMALL_TOPIC  ((const char *const[]){"max.message.bytes", "20000", NULL})
#define POISON_BYTES 60000 /* of which compression makes no less than half */
#define PATIENCE_MS  30000

#define PARK "routes:\n  - {name: all, match: {aggregate_type: \"*\"}, on_error: park}\n"

/* The limit: how long a poison event may hold up those of other keys. */
#define FLOW_AGAIN_MS 2000

static struct pg_server pg;
static struct outboxd relay;
static struct outboxd other;
static PGconn *owner;
static char out[OUTBOXD_OUT]; /* of the last command */

static inline int setup(void **state)
{
    (void)state;
    relay = (struct outboxd){0};
    other = (struct outboxd){0};
    pg_create(&pg, NULL);
    pg_apply_schema(&pg);
    load_prepare(&pg);
    owner = pg_open(&pg, NULL);
    return 0;
}

static inline void drop_topic(const char *name)
{
    if (kafka_partitions(kafka_brokers(&kafka), name) > 0)
        kafka_delete_topic(&kafka, name);
}

static inline int teardown(void **state)
{
    (void)state;
    outboxd_kill9(&relay);
    outboxd_kill9(&other);
    drop_topic(TOPIC);
    PQfinish(owner);
    pg_drop(&pg);
    return 0;
}

/* ---- events -------------------------------------------------------------------------------------
 */

/* An SQL expression: a payload that is refused by a topic of SMALL_TOPIC. */
#define POISON                                                                                     \
    "(SELECT json_build_object('pad', string_agg(md5(random()::text || n), '')) "                  \
    "FROM generate_series(1, 1875) n)"

static inline void publish(const char *type, const char *key, const char *payload)
{
    pg_exec(owner, "SELECT outbox.publish('%s', '%s', 'order.placed', %s)", type, key, payload);
}

/* In one transaction: so many events over twenty keys, every tenth of key `hot`, that number `at`
 * (a multiple of ten) a poison. */
static inline void publish_around(int events, int at)
{
    pg_exec(owner,
            "INSERT INTO outbox.event (aggregate_type, aggregate_id, event_type, payload) "
            "SELECT 'order', CASE WHEN i %% 10 = 0 THEN 'hot' ELSE 'k' || i %% 20 END, "
            "'order.placed', CASE WHEN i = %d THEN " POISON " ELSE '{\"a\": 1}' END "
            "FROM generate_series(1, %d) i",
            at, events);
}

/* The id of the only event (of those that were not given up) that is a poison. */
static inline int64_t poison_row(void)
{
    return pg_int(owner, "SELECT id FROM outbox.event WHERE octet_length(payload::text) > %d",
                  POISON_BYTES / 2);
}

/* ---- looks --------------------------------------------------------------------------------------
 */

static inline double metric(const struct outboxd *o, const char *series)
{
    double value = state_metric(&(struct state){.port = o->http_port}, series);

    CHECK(!isnan(value), "/metrics does not tell %s", series);
    return value;
}

#define LANES            "SELECT count(*) FROM outbox.lane WHERE id > 0"
#define LANES_BY(filter) LANES " AND filter = '" filter "' AND cause IS NOT NULL"

static inline int64_t number(const char *sql)
{
    return pg_int(owner, "%s", sql);
}

static inline void await_lanes(const char *sql, int64_t count)
{
    const uint64_t end = test_now_ms() + PATIENCE_MS;

    while (number(sql) != count)
        if (test_now_ms() > end)
            outboxd_fail(&relay, "%s: %lld, not %lld after %d ms; lanes: %s", sql,
                         (long long)number(sql), (long long)count, PATIENCE_MS,
                         pg_scalar(owner, "SELECT string_agg(concat_ws(' ', id, filter, topic, "
                                          "key, partition, state, cause, attempts), '; ' ORDER BY "
                                          "id) FROM outbox.lane"));
        else
            test_sleep_ms(5);
}

static inline void await_merged(void)
{
    await_lanes(LANES, 0);
    outboxd_wait_drained(&relay, PATIENCE_MS);
}

/* Main has settled all that it reads: nothing but what lanes hold is unsent. */
static inline bool main_is_done(void)
{
    return pg_int(owner,
                  "SELECT count(*) FROM outbox.event e, outbox.lane l WHERE l.id = 0 AND NOT "
                  "pg_visible_in_snapshot(e.xid, l.base) AND (l.target IS NULL OR NOT "
                  "pg_visible_in_snapshot(e.xid, l.target) OR e.id > l.last_id)") == 0;
}

/* The command must end with this code; what it prints stands in `out`. */
static inline void parked(int code, const char *const *more)
{
    int rc = outboxd_command(&relay, "parked", more, out);

    CHECK(rc == code, "parked %s ended with %d, not %d: %s", more[0], rc, code, out);
}

/* ---- judgement ----------------------------------------------------------------------------------
 */

/* The rows of which `where` is true are in the topics, in order, and nothing else is. */
static inline void assert_published(const char *where, int64_t max_duplicates)
{
    struct oracle_params p = {
        .pg = &pg, .brokers = kafka_brokers(&kafka), .where = where, .wait_ms = 10000};

    (void)oracle_assert(&p, max_duplicates);
}

/* What is published while the lane of `hot` waits, from row `poison` on. */
static inline void assert_only_its_key_waits(int64_t poison, int64_t max_duplicates)
{
    char where[160];

    (void)snprintf(where, sizeof where, "e.aggregate_id <> 'hot' OR e.id < %lld",
                   (long long)poison);
    assert_published(where, max_duplicates);
}

/* As many as may be there twice for what has happened to producers so far. */
static inline int64_t twice(void)
{
    return (int64_t)metric(&relay, "outboxd_duplicates_possible_total");
}

/* Stops the relay, and all rows are there; twice at most what it says. */
static inline void assert_all_published(const char *where)
{
    int64_t twice;

    assert_int_equal(outboxd_stop(&relay), 0);
    twice = outboxd_log_number(&relay, "duplicates_possible");
    assert_true(twice >= 0);
    assert_published(where, twice);
}

#endif
