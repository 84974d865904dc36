/* The demo: orders from Postgres to Kafka, through a crash of the relay.
 *
 *   demo           private servers, an embedded broker
 *   BROKERS=host:port [TOPIC=name] demo          a Kafka of yours; a topic that was not there is
 * removed at the end KEEP=1 demo    leaves the folder with configuration and logs
 *
 * The steps stand in main, top to bottom. Exit code 0 when nothing was lost, nothing came that was
 * not committed, and every order's events came in order; 1 when not; 69 when no broker answers; 70
 * when a part of the demo itself fails; 128 + signal when it was interrupted. Whatever happens, its
 * processes and its folder are gone afterwards. */
#include "broker.h"
#include "consumer.h"
#include "interrupt.h"
#include "say.h"
#include "servers.h"
#include "verdict.h"

#include "base/str.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PARTITIONS 4
#define WORKERS    4
#define PAUSE_MS   6 /* of a worker between two transactions, on average */

#define STREAM_MS   4000 /* before the crash, and after it */
#define DOWN_MS     1500 /* how long the relay stays dead */
#define CATCH_UP_MS 20000
#define QUIET_MS    700 /* at the end, for what should not come any more */

static struct servers servers;
static struct consumer consumer;
static const char *delete_topic; /* one that we made on the user's brokers */

static int64_t wall_us(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void leave_topic(void)
{
    if (delete_topic != NULL && getenv("KEEP") == NULL)
        topic_delete(servers.brokers, delete_topic);
    delete_topic = NULL;
}

/* Ends the demo when it was interrupted, or when a process that should run does not. */
static void check(void)
{
    interrupt_check();
    if (servers.postgres.proc.pid != 0 && !proc_alive(&servers.postgres.proc))
        give_up(servers.postgres.log, "Postgres has ended");
    if (servers.broker.pid != 0 && !proc_alive(&servers.broker))
        give_up(servers.broker.log, "the embedded broker has ended");
    if (servers.relay.pid != 0 && !proc_alive(&servers.relay))
        give_up(servers.relay.log, "the relay has ended with code %d",
                proc_exit_code(&servers.relay));
    if (servers.service.pid != 0 && !proc_alive(&servers.service))
        give_up(servers.service.log, "the order service has ended");
}

/* Consumes for that long. */
static void watch(int ms)
{
    const uint64_t end = test_now_ms() + (uint64_t)ms;

    while (test_now_ms() < end) {
        (void)consumer_poll(&consumer, 20);
        check();
    }
}

/* Consumes until `count` messages have come. */
static void watch_until(size_t count, const char *what)
{
    const uint64_t end = test_now_ms() + CATCH_UP_MS;

    while (consumer.count < count) {
        (void)consumer_poll(&consumer, 20);
        check();
        if (test_now_ms() >= end)
            give_up(servers.relay_log, "%s: not within %d s", what, CATCH_UP_MS / 1000);
    }
}

/* Consumes until all that the ledger says was committed has come, within the time; returns how many
 * are missing. */
static size_t watch_for(struct ledger *ledger)
{
    const uint64_t end = test_now_ms() + CATCH_UP_MS;
    size_t missing = ledger_missing(ledger, &consumer);

    while (missing > 0 && test_now_ms() < end) {
        (void)consumer_poll(&consumer, 20);
        check();
        missing = ledger_missing(ledger, &consumer);
    }
    return missing;
}

/* ---- the steps ---- */

static void start_postgres(void)
{
    PGconn *db;

    postgres_start(&servers.postgres, servers.dir);
    db = postgres_open(&servers.postgres, "postgres", "postgres");
    postgres_exec(db, "CREATE DATABASE " DATABASE);
    say_step("Postgres", "version %s, private, in %s/pg", PQparameterStatus(db, "server_version"),
             servers.dir);
    PQfinish(db);
    check();
}

static void start_kafka(const char *topic)
{
    const char *brokers = getenv("BROKERS");
    struct err err = {0};
    int made;

    if (brokers == NULL || brokers[0] == '\0') {
        mock_broker_start(&servers, topic, PARTITIONS);
        say_step("Kafka", "embedded broker at %s (make demo BROKERS=host:port uses yours)",
                 servers.brokers);
        say_more("topic %s, %d partitions", topic, PARTITIONS);
    } else {
        (void)snprintf(servers.brokers, sizeof servers.brokers, "%s", brokers);
        made = topic_prepare(brokers, topic, PARTITIONS, &err);
        if (made < 0) {
            (void)fprintf(stderr, "\ndemo: %s\nWithout BROKERS the demo brings its own broker.\n",
                          err.text);
            exit((int)err.kind);
        }
        delete_topic = made == 1 ? topic : NULL;
        say_step("Kafka", "your brokers: %s", brokers);
        say_more(made == 1 ? "topic %s, made for the demo and removed at its end"
                           : "topic %s, there already: read from its end, shared with nobody else",
                 topic);
    }
    if (consumer_init(&consumer, servers.brokers, topic, &err) != 0)
        give_up(NULL, "%s", err.text);
    check();
}

static void apply_schema(void)
{
    static const char roles[] = "CREATE ROLE relay LOGIN IN ROLE outbox_relay;\n"
                                "CREATE ROLE shop LOGIN IN ROLE outbox_writer;\n"
                                "CREATE SCHEMA shop AUTHORIZATION shop;\n";
    char log[PATH_SIZE];
    PGconn *db;

    path_join(log, servers.dir, "migrate.log");
    say_step("Schema", "outboxd migrate, once, as the owner of the database:");
    migrate(&servers, log);
    say_file_end(log, 20);
    say_more("a role for the relay, a role for the service:");
    db = postgres_open(&servers.postgres, DATABASE, "postgres");
    postgres_exec(db, roles);
    PQfinish(db);
    say_block(roles);
    check();
}

static void write_config(const char *topic)
{
    char *text;

    file_write(servers.config,
               "postgres:\n"
               "  url: \"%s\"\n"
               "kafka:\n"
               "  brokers: \"%s\"\n"
               "relay:\n"
               "  name: orders\n"
               "  start: beginning\n"
               "routes:\n"
               "  - name: orders\n"
               "    match: {aggregate_type: order}\n"
               "    topic: %s\n",
               postgres_url(&servers.postgres, DATABASE, "relay"), servers.brokers, topic);
    text = file_read(servers.config);
    say_step("Configuration", "outboxd.yaml:");
    say_block(text);
    free(text);
}

static void stream(void)
{
    relay_start(&servers);
    say_step("Relay", "outboxd run -c outboxd.yaml (pid %d)", (int)servers.relay.pid);
    service_start(&servers, WORKERS, PAUSE_MS);
    say_step("Order service",
             "%d workers place, pay and cancel orders, each in one transaction:", WORKERS);
    say_block("BEGIN;\n"
              "UPDATE orders SET status = 'paid', version = version + 1 WHERE number = $1;\n"
              "INSERT INTO payments (order_number, amount) VALUES ($1, $2);\n"
              "SELECT outbox.publish('order', 'order-17', 'order.paid', $3, headers => $4);\n"
              "COMMIT;   -- or ROLLBACK: some cards are declined on purpose\n");
    say_step("Consumer", "the first message of each type, as it comes out of the topic:");
    watch_until(1, "the first message");
    watch(STREAM_MS);
    say_more("%zu messages in the first %d seconds", consumer.count, STREAM_MS / 1000);
}

/* Kills the relay in mid-stream and starts it again; returns how long the consumer waited. The
 * times of the crash come back in from_us and until_us. */
static void crash(int64_t *from_us, int64_t *until_us)
{
    struct ledger ledger;
    int64_t restart_us;
    size_t before;
    size_t missing;

    say_step("Crash", "kill -9 %d, while orders go on", (int)servers.relay.pid);
    *from_us = wall_us();
    proc_kill9(&servers.relay);
    servers.relay.pid = 0;
    watch(DOWN_MS);
    ledger_read(&ledger, servers.service_log);
    say_more("%.1f s later %zu committed events wait in the table; the service noticed nothing",
             DOWN_MS / 1000.0, ledger_missing(&ledger, &consumer));

    restart_us = wall_us();
    relay_start(&servers);
    before = consumer.count;
    say_step("Restart", "outboxd run -c outboxd.yaml (pid %d)", (int)servers.relay.pid);
    watch_until(before + 1, "the first message after the restart");
    say_file_end(servers.relay_log, 3);
    say_more("first message after %.0f ms", (double)(wall_us() - restart_us) / 1000.0);
    missing = watch_for(&ledger);
    *until_us = wall_us();
    if (missing == 0)
        say_more("caught up after %.0f ms", (double)(*until_us - restart_us) / 1000.0);
    else
        say_more("not caught up: %zu events are missing", missing);
    ledger_release(&ledger);
    watch(STREAM_MS);
}

/* Ends the service, waits for the last events, ends the relay. */
static void finish(struct ledger *ledger)
{
    struct proc service = servers.service;
    struct proc relay = servers.relay;

    servers.service.pid = 0;
    proc_stop(&service, SIGTERM, 10000);
    if (proc_exit_code(&service) != 0)
        give_up(service.log, "the order service has failed");
    ledger_read(ledger, servers.service_log);
    (void)watch_for(ledger); /* what is missing then is counted as lost */
    watch(QUIET_MS);
    servers.relay.pid = 0;
    proc_stop(&relay, SIGTERM, 15000);
    say_step("End", "the service has stopped; the relay was told to (SIGTERM) and exits with %d",
             proc_exit_code(&relay));
}

/* The service's word against the table: a demo whose books are wrong proves nothing. */
static void audit(const struct ledger *ledger)
{
    PGconn *db = postgres_open(&servers.postgres, DATABASE, "postgres");
    const long rows = postgres_number(db, "SELECT count(*) FROM outbox.event");

    PQfinish(db);
    if (rows != (long)ledger->committed)
        give_up(NULL, "outbox.event has %ld rows, but the service says it committed %zu events",
                rows, ledger->committed);
}

static bool tell(const struct verdict *v)
{
    const bool good = v->lost == 0 && v->ghosts == 0 && v->out_of_order == 0 && v->committed > 0;

    say_title("What the consumer got");
    say_count("committed", v->committed, false, "events of transactions that committed");
    say_count("rolled back", v->rolled_back, false, "events of transactions that did not");
    say_count("published", v->published, false, "committed events that came out of the topic");
    say_count("lost", v->lost, true, "committed, but never came");
    say_count("ghosts", v->ghosts, true, "came, but were never committed");
    say_count("out of order", v->out_of_order, true, "came after a later event of the same order");
    say_count("duplicates", v->duplicates, false,
              "came again after the crash; a consumer knows them by event-id");
    (void)printf("    latency         p50 %.1f ms, p99 %.1f ms   from COMMIT to the consumer\n",
                 (double)v->p50_us / 1000.0, (double)v->p99_us / 1000.0);
    (void)printf(
        "                    at most %.1f s             through the crash (%.1f s without a "
        "relay)\n",
        (double)v->worst_us / 1e6, DOWN_MS / 1000.0);
    say_verdict(good, good ? "Nothing lost, no ghosts, every order in its order."
                           : "FAILED: see the numbers above.");
    return good;
}

int main(void)
{
    const char *topic = getenv("TOPIC");
    struct ledger ledger;
    struct verdict verdict;
    int64_t from_us;
    int64_t until_us;
    bool good;

    if (topic == NULL || topic[0] == '\0')
        topic = "order-events";
    say_init();
    interrupt_init();
    if (atexit(leave_topic) !=
        0) /* runs after what servers_init registers: the relay is gone then */
        return ERR_SOFTWARE;
    servers_init(&servers);
    say_title("outboxd: orders from Postgres to Kafka, through a crash of the relay");
    start_kafka(topic);
    start_postgres();
    write_config(topic);
    apply_schema();
    stream();
    crash(&from_us, &until_us);
    finish(&ledger);
    audit(&ledger);
    verdict = judge(&ledger, &consumer, from_us, until_us);
    good = tell(&verdict);
    ledger_release(&ledger);
    consumer_release(&consumer);
    return good ? 0 : 1;
}
