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
#include <stdio.h>
#include <stdlib.h>

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

#define TOPIC "order-events"
/* Far above what a topic takes unless told (1 MiB), which in turn is above what a batch of ordinary
 * events comes to: a smaller limit would refuse those, too. */
#define POISON_BYTES 2400000
#define TAKES_POISON ((const char *const[]){"max.message.bytes", "4000000", NULL})
#define PATIENCE_MS  30000

#define PARK "routes:\n  - {name: all, match: {aggregate_type: \"*\"}, on_error: park}\n"

/* How long a poison event may hold up those of other keys. */
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

/* An SQL expression: a payload of which compression makes no less than half. */
#define POISON                                                                                     \
    "(SELECT json_build_object('pad', string_agg(md5(random()::text || n), '')) "                  \
    "FROM generate_series(1, 75000) n)"

static inline void let_poison_in(void)
{
    kafka_set_topic_config(&kafka, TOPIC, "max.message.bytes", "4000000");
}

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

/* ---- how fast ----------------------------------------------------------------------------------
 */

#define PUBLISHED      "outboxd_events_published_total{route=\"all\"}"
#define PUBLISHED_LANE "outboxd_lane_events_published_total"

/* A relay of a database and a topic of its own, whose events meet no trouble: at any moment it
 * shows how fast this machine can be, whatever else it does. */
struct control {
    struct pg_server pg;
    struct outboxd relay;
    PGconn *owner;
};

#define CONTROL_TOPIC "control-events"
#define CONTROL_ROUTES                                                                             \
    "routes:\n  - {name: all, match: {aggregate_type: \"*\"}, topic: " CONTROL_TOPIC "}\n"

static inline void control_begin(struct control *c)
{
    *c = (struct control){0};
    pg_create(&c->pg, NULL);
    pg_apply_schema(&c->pg);
    c->owner = pg_open(&c->pg, NULL);
    kafka_create_topic(&kafka, CONTROL_TOPIC, 3, NULL);
}

static inline void control_end(struct control *c)
{
    outboxd_kill9(&c->relay);
    PQfinish(c->owner);
    pg_drop(&c->pg);
    drop_topic(CONTROL_TOPIC);
}

/* So many events over a thousand keys of that prefix, in the caller's transaction if there is one.
 */
static inline void publish_many(PGconn *conn, const char *type, const char *prefix, int64_t events)
{
    pg_exec(conn,
            "INSERT INTO outbox.event (aggregate_type, aggregate_id, event_type, payload) "
            "SELECT '%s', '%s-' || n %% 1000, 'order.placed', "
            "('{\"seq\": ' || n || ', \"pad\": \"' || repeat('x', 170) || '\"}')::json "
            "FROM generate_series(1, %lld) n",
            type, prefix, (long long)events);
}

/* How many events of `series` the relay publishes while the control publishes one, until either has
 * published so many. Returns when both have. */
static inline double race_from(const double start[2], const struct outboxd *o, const char *series,
                               const struct control *c, int64_t events)
{
    const uint64_t begun = test_now_ms();
    double ratio = 0;
    double a;
    double b;

    do {
        double seconds;

        test_sleep_ms(20);
        a = metric(o, series) - start[0];
        b = metric(&c->relay, PUBLISHED) - start[1];
        seconds = (double)(test_now_ms() - begun) / 1e3;
        if (seconds > 300)
            outboxd_fail(o, "%.0f events while the control published %.0f", a, b);
        if (ratio == 0 && fmax(a, b) >= (double)events) {
            ratio = a / b;
            print_message("%.0f events a second, %.0f of the control\n", a / seconds, b / seconds);
        }
    } while (fmin(a, b) < (double)events);
    return ratio;
}

/* From now on: both are at it. */
static inline double race(const struct outboxd *o, const char *series, const struct control *c,
                          int64_t events)
{
    const double start[2] = {metric(o, series), metric(&c->relay, PUBLISHED)};

    return race_from(start, o, series, c, events);
}

/* The same for a backlog of ordinary events. One of the two hears of it first, in turns: the mean
 * of both, and the best of a few, because a machine that does something else may do it to one
 * relay. */
static inline double race_of_backlogs(const struct outboxd *o, const struct control *c,
                                      int64_t events)
{
    static int slice;
    double best[2] = {0};

    for (int i = 0; i < 8; i++) {
        PGconn *const first = i % 2 == 0 ? owner : c->owner;
        PGconn *const second = i % 2 == 0 ? c->owner : owner;
        double start[2];
        char prefix[16];

        (void)snprintf(prefix, sizeof prefix, "slice%d", slice++);
        pg_exec(owner, "BEGIN");
        pg_exec(c->owner, "BEGIN");
        publish_many(owner, "order", prefix, events);
        publish_many(c->owner, "order", prefix, events);
        start[0] = metric(o, PUBLISHED);
        start[1] = metric(&c->relay, PUBLISHED);
        pg_exec(first, "COMMIT");
        pg_exec(second, "COMMIT");
        best[i % 2] = fmax(best[i % 2], race_from(start, o, PUBLISHED, c, events));
        if (i % 2 == 1 && sqrt(best[0] * best[1]) >= 0.95)
            break;
    }
    return sqrt(best[0] * best[1]);
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
