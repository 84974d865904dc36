#include "drain.h"

#include "floor.h"
#include "numbers.h"
#include "same.h"
#include "usage.h"

#include "../support/outboxd.h"

#include <inttypes.h>
#include <stdlib.h>

#define PARTITIONS  6
#define FLOOR_TOPIC "floor-events"
#define RELAY_TOPIC "order-events"
#define DRAINED_MS  600000
#define LOOK_MS     10
#define MAX_PAIRS   16

/* What one side took. */
struct cost {
    double wall_s;
    double own_us; /* processor time of relay or floor, for each event; so the others */
    double postgres_us;
    double broker_us;
    long peak_kib; /* of the relay; 0: not asked */
    long sleeps;   /* of the relay: how often a thread of it waited */
};

/* ---- where it begins ---- */

void drain_mark(const struct pg_server *pg)
{
    PGconn *conn = pg_open(pg, NULL);

    pg_exec(conn, "SELECT outbox.rebase('orders', 'now')");
    pg_exec(conn, "DROP TABLE IF EXISTS bench_mark");
    pg_exec(conn, "CREATE TABLE bench_mark AS SELECT l.base, l.target, l.last_id, "
                  "coalesce((SELECT max(id) FROM outbox.event), 0) AS above_id "
                  "FROM outbox.lane l WHERE l.relay = 'orders'");
    PQfinish(conn);
}

static void go_back(PGconn *conn)
{
    pg_exec(conn, "UPDATE outbox.lane l SET base = m.base, target = m.target, last_id = m.last_id "
                  "FROM bench_mark m WHERE l.relay = 'orders'");
}

/* ---- one side ---- */

static void begin(const struct drain *d, struct cost *c)
{
    c->postgres_us = -usage_cpu_s(d->pg->proc.pid);
    c->broker_us = -usage_cpu_s(d->kafka->node[0].proc.pid);
}

/* `own_s` is what relay or floor took. */
static void end(const struct drain *d, struct cost *c, double own_s)
{
    double to_us = 1e6 / (double)d->events;

    c->own_us = own_s * to_us;
    c->postgres_us = (c->postgres_us + usage_cpu_s(d->pg->proc.pid)) * to_us;
    c->broker_us = (c->broker_us + usage_cpu_s(d->kafka->node[0].proc.pid)) * to_us;
}

static struct cost run_floor(const struct drain *d)
{
    struct floor_params p = {.pg = d->pg,
                             .brokers = kafka_brokers(d->kafka),
                             .topic = FLOOR_TOPIC,
                             .codec = d->codec,
                             .events = d->events};
    PGconn *conn = pg_open(d->pg, NULL);
    struct cost c = {0};
    double own_s;

    p.above_id = pg_int(conn, "SELECT above_id FROM bench_mark");
    PQfinish(conn);
    kafka_create_topic(d->kafka, FLOOR_TOPIC, PARTITIONS, NULL);
    begin(d, &c);
    own_s = -usage_self_cpu_s();
    c.wall_s = floor_run(&p);
    end(d, &c, own_s + usage_self_cpu_s());
    return c;
}

static void prepare_look(PGconn *conn)
{
    PGresult *r =
        PQprepare(conn, "look",
                  "SELECT published FROM outbox.lane WHERE relay = 'orders' AND id = 0", 0, NULL);

    if (PQresultStatus(r) != PGRES_COMMAND_OK)
        support_fail("%s", PQerrorMessage(conn));
    PQclear(r);
}

/* Cheap, because it is asked while the drain is measured. */
static int64_t published(PGconn *conn)
{
    PGresult *r = PQexecPrepared(conn, "look", 0, NULL, NULL, NULL, 0);
    int64_t n;

    if (PQresultStatus(r) != PGRES_TUPLES_OK || PQntuples(r) != 1)
        support_fail("%s", PQerrorMessage(conn));
    n = strtoll(PQgetvalue(r, 0, 0), NULL, 10);
    PQclear(r);
    return n;
}

static void configure(struct outboxd *relay, const struct drain *d)
{
    char text[1024];

    (void)snprintf(text, sizeof text,
                   "postgres: {url: \"%s\"}\n"
                   "kafka: {brokers: \"%s\", properties: {compression.codec: %s}}\n"
                   "relay: {name: orders, instance: bench}\n"
                   "http: {listen: \"127.0.0.1:%d\"}\n",
                   pg_url(d->pg, "relay", "postgres").text, kafka_brokers(d->kafka), d->codec,
                   port_free());
    outboxd_configure_text(relay, text);
}

static struct cost run_relay(const struct drain *d)
{
    PGconn *conn = pg_open(d->pg, NULL);
    uint64_t give_up = test_now_ms() + DRAINED_MS;
    struct outboxd relay;
    struct cost c = {0};
    uint64_t start;
    int64_t until;

    configure(&relay, d);
    go_back(conn);
    prepare_look(conn);
    until = published(conn) + d->events;
    kafka_create_topic(d->kafka, RELAY_TOPIC, PARTITIONS, NULL);
    begin(d, &c);
    start = test_now_us();
    outboxd_start(&relay);
    while (published(conn) < until) {
        if (!proc_alive(&relay.proc) || test_now_ms() > give_up)
            outboxd_fail(&relay, "%s: not drained", d->name);
        test_sleep_ms(LOOK_MS);
    }
    c.wall_s = (double)(test_now_us() - start) / 1e6;
    end(d, &c, usage_cpu_s(relay.proc.pid));
    c.peak_kib = proc_peak_kib(relay.proc.pid);
    c.sleeps = usage_sleeps(relay.proc.pid);
    if (outboxd_stop(&relay) != 0)
        outboxd_fail(&relay, "%s: it did not stop well", d->name);
    PQfinish(conn);
    return c;
}

static void drop_topics(const struct drain *d)
{
    kafka_delete_topic(d->kafka, FLOOR_TOPIC);
    kafka_delete_topic(d->kafka, RELAY_TOPIC);
}

/* ---- cells ---- */

static json_t *cost_json(const struct cost *c)
{
    json_t *j = json_object();

    number_set(j, "wall_s", c->wall_s);
    number_set(j, "own_us", c->own_us);
    number_set(j, "postgres_us", c->postgres_us);
    number_set(j, "broker_us", c->broker_us);
    if (c->peak_kib > 0) {
        (void)json_object_set_new(j, "peak_kib", json_integer(c->peak_kib));
        (void)json_object_set_new(j, "sleeps", json_integer(c->sleeps));
    }
    return j;
}

static double all_us(const struct cost *c)
{
    return c->own_us + c->postgres_us + c->broker_us;
}

enum member { WALL_S, OWN_US, POSTGRES_US, BROKER_US };

static double member_of(const struct cost *c, enum member m)
{
    switch (m) {
    case WALL_S:
        return c->wall_s;
    case OWN_US:
        return c->own_us;
    case POSTGRES_US:
        return c->postgres_us;
    case BROKER_US:
        return c->broker_us;
    }
    return 0;
}

static double median_of(const struct cost *costs, int pairs, enum member m)
{
    double values[MAX_PAIRS];

    for (int i = 0; i < pairs; i++)
        values[i] = member_of(&costs[i], m);
    return number_median(values, (size_t)pairs);
}

static json_t *side_json(const struct drain *d, const struct cost *costs)
{
    json_t *j = json_object();

    number_set(j, "per_s", (double)d->events / median_of(costs, d->pairs, WALL_S));
    number_set(j, "own_us", median_of(costs, d->pairs, OWN_US));
    number_set(j, "postgres_us", median_of(costs, d->pairs, POSTGRES_US));
    number_set(j, "broker_us", median_of(costs, d->pairs, BROKER_US));
    return j;
}

static json_t *cell_of(const struct drain *d, const struct cost *floors, const struct cost *relays)
{
    json_t *cell = json_pack("{ss,ss,ss,ss,sI,si}", "group", "drain", "name", d->name, "title",
                             d->title, "codec", d->codec, "events", (json_int_t)d->events,
                             "payload_bytes", d->payload_bytes);
    json_t *pairs = json_array();
    double by_wall[MAX_PAIRS];
    double by_cpu[MAX_PAIRS];
    long peak_kib = 0;

    for (int i = 0; i < d->pairs; i++) {
        by_wall[i] = floors[i].wall_s / relays[i].wall_s;
        by_cpu[i] = all_us(&floors[i]) / all_us(&relays[i]);
        peak_kib = relays[i].peak_kib > peak_kib ? relays[i].peak_kib : peak_kib;
        (void)json_array_append_new(pairs, json_pack("{so,so}", "floor", cost_json(&floors[i]),
                                                     "relay", cost_json(&relays[i])));
    }
    (void)json_object_set_new(cell, "floor", side_json(d, floors));
    (void)json_object_set_new(cell, "relay", side_json(d, relays));
    number_set(cell, "ratio", number_median(by_wall, (size_t)d->pairs));
    number_set(cell, "cpu_ratio", number_median(by_cpu, (size_t)d->pairs));
    (void)json_object_set_new(cell, "peak_kib", json_integer(peak_kib));
    (void)json_object_set_new(cell, "pairs", pairs);
    return cell;
}

json_t *drain_run(const struct drain *d)
{
    struct cost floors[MAX_PAIRS];
    struct cost relays[MAX_PAIRS];

    if (d->pairs < 1 || d->pairs > MAX_PAIRS)
        support_fail("1 to %d pairs", MAX_PAIRS);
    for (int i = 0; i < d->pairs; i++) {
        if (i % 2 == 0)
            floors[i] = run_floor(d);
        relays[i] = run_relay(d);
        if (i % 2 == 1)
            floors[i] = run_floor(d);
        drop_topics(d);
    }
    return cell_of(d, floors, relays);
}

json_t *drain_relay(const struct drain *d)
{
    struct cost c = run_relay(d);
    json_t *j = cost_json(&c);

    number_set(j, "per_s", (double)d->events / c.wall_s);
    kafka_delete_topic(d->kafka, RELAY_TOPIC);
    return j;
}

void drain_compare(const struct drain *d)
{
    (void)run_floor(d);
    (void)run_relay(d);
    same_records(kafka_brokers(d->kafka), FLOOR_TOPIC, RELAY_TOPIC, d->events);
    drop_topics(d);
}

json_t *drain_idle(const struct pg_server *pg, const struct kafka *kafka, unsigned settle_ms)
{
    struct drain d = {.name = "idle", .pg = pg, .kafka = kafka, .codec = "lz4"};
    struct outboxd relay;
    json_t *cell;

    configure(&relay, &d);
    outboxd_start(&relay);
    outboxd_wait_log(&relay, "lease taken", 20000);
    test_sleep_ms(settle_ms);
    cell = json_pack("{ss,ss,ss,sI}", "group", "memory", "name", "idle", "title",
                     "a relay that has nothing to do", "kib",
                     (json_int_t)proc_rss_kib(relay.proc.pid));
    if (outboxd_stop(&relay) != 0)
        outboxd_fail(&relay, "the relay did not stop well");
    return cell;
}
