/* Debezium reads the write-ahead log from a slot that it makes at its start, so that it must run
 * before the rows are written. It is stopped (SIGSTOP) while they are, and while the relay is
 * measured. Its settings are those of its documentation, but for the poll interval, which would add
 * up to half a second to each event. */
#include "peers.h"

#include "numbers.h"
#include "usage.h"

#include "../support/arrival.h"
#include "../support/outboxd.h"

#include "base/str.h"

#include <dirent.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>

#define TOPIC       "peer-events"
#define RELAY_TOPIC "order-events"
#define PARTITIONS  6
#define BEGUN_MS    120000
#define DRAINED_MS  300000
#define LOOK_MS     20

struct peer {
    const struct pg_server *pg;
    const struct kafka *kafka;
    struct proc proc;
    char dir[PATH_SIZE];
    char log[PATH_SIZE];
};

/* ---- its life ---- */

static void write_worker(const struct peer *p)
{
    char path[PATH_SIZE];

    path_join(path, p->dir, "worker.properties");
    file_write(path,
               "bootstrap.servers=%s\n"
               "key.converter=org.apache.kafka.connect.storage.StringConverter\n"
               "value.converter=org.apache.kafka.connect.storage.StringConverter\n"
               "offset.storage.file.filename=%s/offsets\noffset.flush.interval.ms=1000\n"
               "listeners=http://127.0.0.1:%d\nproducer.compression.type=lz4\n",
               kafka_brokers(p->kafka), p->dir, port_free());
    path_join(path, p->dir, "log4j2.properties");
    file_write(path, "appender.out.type=Console\nappender.out.name=out\n"
                     "appender.out.layout.type=PatternLayout\n"
                     "appender.out.layout.pattern=%%d{ISO8601} %%p %%c{1}: %%m%%n\n"
                     "rootLogger.level=WARN\nrootLogger.appenderRef.out.ref=out\n");
}

static void write_connector(const struct peer *p)
{
    char path[PATH_SIZE];

    path_join(path, p->dir, "connector.properties");
    file_write(path,
               "name=peer\nconnector.class=io.debezium.connector.postgresql.PostgresConnector\n"
               "tasks.max=1\ndatabase.hostname=127.0.0.1\ndatabase.port=%d\n"
               "database.user=postgres\ndatabase.password=none\ndatabase.dbname=postgres\n"
               "topic.prefix=peer\nplugin.name=pgoutput\nslot.name=peer\npublication.name=peer\n"
               "publication.autocreate.mode=disabled\nsnapshot.mode=no_data\n"
               "table.include.list=outbox.event\ntombstones.on.delete=false\npoll.interval.ms=5\n"
               "transforms=outbox\n"
               "transforms.outbox.type=io.debezium.transforms.outbox.EventRouter\n"
               "transforms.outbox.table.field.event.id=event_id\n"
               "transforms.outbox.table.field.event.key=aggregate_id\n"
               "transforms.outbox.table.field.event.type=event_type\n"
               "transforms.outbox.table.field.event.payload=payload\n"
               "transforms.outbox.table.fields.additional.placement=event_type:header:eventType\n"
               "transforms.outbox.route.by.field=aggregate_type\n"
               "transforms.outbox.route.topic.replacement=" TOPIC "\n",
               p->pg->port);
}

static void start_java(struct peer *p)
{
    char log_config[PATH_SIZE + 64];
    char class_path[PATH_SIZE];
    const char *lib = getenv("PEERS_LIB");

    if (lib == NULL)
        support_fail("PEERS_LIB names no folder: use make bench-peers");
    path_join(class_path, lib, "*");
    (void)snprintf(log_config, sizeof log_config, "-Dlog4j2.configurationFile=%s/log4j2.properties",
                   p->dir);
    proc_start(&p->proc,
               &(struct proc_params){
                   .argv = (const char *const[]){"java", "-Xmx1g", log_config, "-cp", class_path,
                                                 "org.apache.kafka.connect.cli.ConnectStandalone",
                                                 "worker.properties", "connector.properties", NULL},
                   .out_path = p->log,
                   .err_path = p->log,
                   .cwd = p->dir});
}

/* Waits until the topic holds so many records. */
static void await_records(struct peer *p, int64_t records, uint64_t within_ms)
{
    uint64_t end = test_now_ms() + within_ms;

    while (kafka_record_count(kafka_brokers(p->kafka), TOPIC) < records) {
        if (!proc_alive(&p->proc) || test_now_ms() > end)
            support_fail("Debezium: %s has less than %" PRId64 " records:\n%s", TOPIC, records,
                         file_read(p->log));
        test_sleep_ms(LOOK_MS);
    }
}

struct peer *peer_start(const struct pg_server *pg, const struct kafka *kafka)
{
    struct peer *p = xcalloc(1, sizeof *p);
    PGconn *conn = pg_open(pg, NULL);
    uint64_t end = test_now_ms() + BEGUN_MS;

    p->pg = pg;
    p->kafka = kafka;
    tmp_folder("peer", p->dir);
    path_join(p->log, p->dir, "log");
    file_write(p->log, "%s", "");
    kafka_create_topic(kafka, TOPIC, PARTITIONS, NULL);
    pg_exec(conn, "CREATE PUBLICATION peer FOR TABLE outbox.event "
                  "WITH (publish = 'insert', publish_via_partition_root = true)");
    write_worker(p);
    write_connector(p);
    start_java(p);
    while (pg_int(conn, "SELECT count(*) FROM pg_replication_slots WHERE active") == 0) {
        if (!proc_alive(&p->proc) || test_now_ms() > end)
            support_fail("Debezium does not follow the table:\n%s", file_read(p->log));
        test_sleep_ms(LOOK_MS);
    }
    pg_exec(conn, "SELECT outbox.publish('order', 'first', 'order.placed', '{}')");
    PQfinish(conn);
    await_records(p, 1, BEGUN_MS);
    return p;
}

void peer_stop(struct peer *p)
{
    PGconn *conn = pg_open(p->pg, NULL);
    uint64_t end = test_now_ms() + BEGUN_MS;

    proc_signal(&p->proc, SIGCONT);
    proc_kill9(&p->proc);
    while (pg_int(conn, "SELECT count(*) FROM pg_replication_slots WHERE active") > 0) {
        if (test_now_ms() > end)
            support_fail("the slot of Debezium stays in use");
        test_sleep_ms(LOOK_MS);
    }
    pg_exec(conn, "SELECT pg_drop_replication_slot('peer')");
    pg_exec(conn, "DROP PUBLICATION peer");
    PQfinish(conn);
    kafka_delete_topic(p->kafka, TOPIC);
    free(p);
}

void peer_pause(struct peer *p)
{
    proc_signal(&p->proc, SIGSTOP);
}

/* ---- what it does ---- */

static json_t *drain_by_peer(struct peer *p, const struct drain *d)
{
    double to_us = 1e6 / (double)d->events;
    double own_s = -usage_cpu_s(p->proc.pid);
    double postgres_s = -usage_cpu_s(p->pg->proc.pid);
    double broker_s = -usage_cpu_s(p->kafka->node[0].proc.pid);
    int64_t before = kafka_record_count(kafka_brokers(p->kafka), TOPIC);
    uint64_t start = test_now_us();
    json_t *j = json_object();
    double wall_s;

    proc_signal(&p->proc, SIGCONT);
    await_records(p, before + d->events, DRAINED_MS);
    wall_s = (double)(test_now_us() - start) / 1e6;
    number_set(j, "wall_s", wall_s);
    number_set(j, "per_s", (double)d->events / wall_s);
    number_set(j, "own_us", (own_s + usage_cpu_s(p->proc.pid)) * to_us);
    number_set(j, "postgres_us", (postgres_s + usage_cpu_s(p->pg->proc.pid)) * to_us);
    number_set(j, "broker_us", (broker_s + usage_cpu_s(p->kafka->node[0].proc.pid)) * to_us);
    (void)json_object_set_new(j, "peak_kib", json_integer(proc_peak_kib(p->proc.pid)));
    return j;
}

json_t *peer_drain(struct peer *p, const struct drain *d)
{
    json_t *relay = drain_relay(d);
    json_t *peer = drain_by_peer(p, d);

    return json_pack("{ss,ss,ss,sI,so,so}", "group", "peers", "name", d->name, "title", d->title,
                     "events", (json_int_t)d->events, "relay", relay, "debezium", peer);
}

static json_t *latency_of(const struct peer *p, const char *topic, unsigned rate, unsigned seconds)
{
    struct arrival_load load = {.rate = rate, .count = rate * seconds, .seed = 7};
    struct arrival *a = arrival_start(kafka_brokers(p->kafka), topic);
    PGconn *writer = pg_open(p->pg, "svc");
    struct arrival_figures f;
    json_t *j = json_object();

    arrival_of_commit(a, writer, &(struct arrival_load){.count = 100, .rate = 100, .seed = 9}, &f);
    arrival_of_commit(a, writer, &load, &f);
    number_set(j, "p50_ms", f.p50_ms);
    number_set(j, "p99_ms", f.p99_ms);
    number_set(j, "p999_ms", f.p999_ms);
    PQfinish(writer);
    arrival_free(a);
    return j;
}

json_t *peer_latency(struct peer *p, unsigned rate, unsigned seconds)
{
    struct outboxd relay;
    json_t *by_relay;
    json_t *by_peer;
    char name[32];
    char title[64];

    peer_pause(p);
    kafka_create_topic(p->kafka, RELAY_TOPIC, PARTITIONS, NULL);
    outboxd_configure(&relay, p->pg, kafka_brokers(p->kafka), NULL, NULL);
    outboxd_start(&relay);
    outboxd_wait_log(&relay, "lease taken", 20000);
    by_relay = latency_of(p, RELAY_TOPIC, rate, seconds);
    if (outboxd_stop(&relay) != 0)
        outboxd_fail(&relay, "the relay did not stop well");
    kafka_delete_topic(p->kafka, RELAY_TOPIC);
    proc_signal(&p->proc, SIGCONT);
    by_peer = latency_of(p, TOPIC, rate, seconds);
    (void)snprintf(name, sizeof name, "rate-%u", rate);
    (void)snprintf(title, sizeof title, "%s events a second", number_text(rate));
    return json_pack("{ss,ss,ss,so,so}", "group", "peers-latency", "name", name, "title", title,
                     "relay", by_relay, "debezium", by_peer);
}
