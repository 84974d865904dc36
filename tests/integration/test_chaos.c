/* Everything breaks at random for a set time: two relays, the brokers, Postgres, its sessions, the
 * topic. Rounds of faults; after each one everything heals, and publishing must resume without a
 * restart, or a relay that is stuck would be mended by the next kill. At the end the oracle judges,
 * and processes, sessions, locks and logs are looked at.
 *
 *   CHAOS_SECONDS   how long (60)
 *   CHAOS_BROKERS   one broker, or three with replication 3 and min.insync.replicas 2 (1)
 *   SEED            repeats a choice of faults; else the time chooses it
 *
 * A failure (and KEEP=1) prints the timeline, and leaves it with all logs in $BUILD/chaos-logs. */
#include "../support/check.h"

#include "../support/chaos.h"
#include "../support/kafka.h"
#include "../support/kafka_admin.h"
#include "../support/load.h"
#include "../support/oracle.h"
#include "../support/outboxd.h"
#include "../support/pg.h"
#include "../support/tmp.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define TOPIC      "order-events"
#define RELAYS     2
#define WINDOW     300
#define PARTITIONS 6
#define ROUND_MS   9000
/* From when all servers answer. The promise is 5 s: the tests of single faults hold it, on a
 * machine that is not torn apart at the same time. */
#define RESUME_MS 20000
#define DRAIN_MS  90000
#ifdef __SANITIZE_ADDRESS__
#define RSS_GROWTH_KIB (512 * 1024) /* what was freed is kept aside */
#else
#define RSS_GROWTH_KIB (16 * 1024) /* a window in flight, twice, and what malloc keeps */
#endif
#define PAYLOAD_MARKER "PayloadMarker7f3a"
#define SECRET_MARKER  "SecretMarker91bd"

static struct kafka kafka;
static struct pg_server pg;
static struct outboxd relay[RELAYS];
static struct chaos *chaos;
static struct load *loads[2];
static uint64_t seed;
static bool in_order; /* the run has come to its good end */

/* What a process and the server hold when nothing happens. */
struct footprint {
    int fds[RELAYS], threads[RELAYS];
    long rss_kib[RELAYS];
    long sessions, locks;
};

/* ---- setup ---- */

static long number_from_env(const char *name, long otherwise)
{
    const char *text = getenv(name);

    return text != NULL && *text != '\0' ? strtol(text, NULL, 10) : otherwise;
}

static void configure(int i)
{
    char text[2048];

    (void)snprintf(text, sizeof text,
                   "postgres: {url: \"postgres://relay@127.0.0.1:%d/postgres\", password: \"%s\"}\n"
                   "kafka: {brokers: \"%s\", properties: {sasl.password: \"%s\"}}\n"
                   "relay: {name: orders, instance: machine-%d, window_events: %d, lease_ttl: 1s}\n"
                   "log: {level: %s}\n"
                   "http: {listen: \"127.0.0.1:%d\"}\n",
                   pg.port, SECRET_MARKER, kafka_brokers(&kafka), SECRET_MARKER, i, WINDOW,
                   i == 0 ? "info" : "debug", port_free());
    outboxd_configure_text(&relay[i], text);
}

static int setup(void **state)
{
    const struct pg_params params = {
        .hba = "local all all trust\nhost all relay 127.0.0.1/32 scram-sha-256\n"
               "host all all 127.0.0.1/32 trust\n"};
    PGconn *conn;

    (void)state;
    seed = (uint64_t)number_from_env("SEED", (long)(time(NULL) % 1000000));
    print_message("SEED=%llu\n", (unsigned long long)seed);
    kafka_create(&kafka, &(struct kafka_params){.nodes = (int)number_from_env("CHAOS_BROKERS", 1)});
    kafka_create_topic(&kafka, TOPIC, PARTITIONS, NULL);
    pg_create(&pg, &params);
    pg_apply_schema(&pg);
    load_prepare(&pg);
    conn = pg_open(&pg, NULL);
    pg_exec(conn, "ALTER ROLE relay PASSWORD '" SECRET_MARKER "'");
    PQfinish(conn);
    for (int i = 0; i < RELAYS; i++)
        configure(i);
    return 0;
}

/* Each call to `use` gets a log of somebody's. */
static void each_log(void (*use)(void *ctx, const char *name, const char *path), void *ctx)
{
    char name[32];

    for (int i = 0; i < RELAYS; i++) {
        (void)snprintf(name, sizeof name, "relay-%d.log", i + 1);
        use(ctx, name, relay[i].log);
    }
    for (int i = 0; i < kafka.nodes; i++) {
        (void)snprintf(name, sizeof name, "broker-%d.log", i + 1);
        use(ctx, name, kafka.node[i].log);
    }
    use(ctx, "postgres.log", pg.log);
}

static void keep_log(void *ctx, const char *name, const char *path)
{
    char to[PATH_SIZE];

    path_join(to, ctx, name);
    (void)proc_run((const char *const[]){"cp", "--", path, to, NULL}, NULL, 10000);
}

/* The timeline to stderr, and with all logs into a folder that stays. */
static void keep_the_story(void)
{
    char folder[PATH_SIZE];
    char name[64];
    char path[PATH_SIZE];
    FILE *f;

    (void)fprintf(stderr, "timeline of SEED=%llu:\n", (unsigned long long)seed);
    chaos_print(chaos, stderr);
    (void)snprintf(name, sizeof name, "chaos-logs/seed-%llu", (unsigned long long)seed);
    path_join(folder, build_root(), name);
    (void)proc_run((const char *const[]){"mkdir", "-p", "--", folder, NULL}, NULL, 10000);
    each_log(keep_log, folder);
    path_join(path, folder, "timeline");
    f = fopen(path, "we");
    if (f != NULL) {
        chaos_print(chaos, f);
        (void)fclose(f);
    }
    (void)fprintf(stderr, "timeline and logs: %s\n", folder);
}

static int teardown(void **state)
{
    (void)state;
    if (chaos != NULL && (!in_order || getenv("KEEP") != NULL))
        keep_the_story();
    for (int i = 0; i < RELAYS; i++)
        outboxd_kill9(&relay[i]);
    if (in_order)
        for (size_t i = 0; i < ARRAY_LEN(loads); i++)
            load_free(loads[i]); /* of a failed run the writers may hang: the process ends anyway */
    chaos_free(chaos);
    chaos = NULL;
    kafka_drop(&kafka);
    pg_drop(&pg);
    return 0;
}

/* ---- what is measured ---- */

static bool has_position_moved(PGconn *conn, const char *from)
{
    const char *now = pg_scalar(conn, "SELECT base::text || ' ' || coalesce(target::text, '') || "
                                      "last_id FROM outbox.lane WHERE relay = 'orders'");

    return now != NULL && strcmp(now, from) != 0;
}

/* From the moment everything is whole until something that was published is stored. */
static int await_resume(void)
{
    const uint64_t start = test_now_ms();
    PGconn *conn = pg_open(&pg, NULL);
    char from[1024];
    int ms;

    (void)snprintf(from, sizeof from, "%s",
                   pg_scalar(conn, "SELECT base::text || ' ' || coalesce(target::text, '') || "
                                   "last_id FROM outbox.lane WHERE relay = 'orders'"));
    WAIT_UNTIL(has_position_moved(conn, from), RESUME_MS);
    ms = (int)(test_now_ms() - start);
    PQfinish(conn);
    return ms;
}

static struct footprint footprint(void)
{
    PGconn *conn = pg_open(&pg, NULL);
    struct footprint f;

    for (int i = 0; i < RELAYS; i++) {
        f.fds[i] = proc_fd_count(relay[i].proc.pid);
        f.threads[i] = proc_thread_count(relay[i].proc.pid);
        f.rss_kib[i] = proc_rss_kib(relay[i].proc.pid);
    }
    f.sessions =
        (long)pg_int(conn, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'relay'");
    f.locks = (long)pg_int(conn, "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)"
                                 " WHERE locktype = 'advisory' AND usename = 'relay'");
    PQfinish(conn);
    return f;
}

static void print_footprint(const char *when, const struct footprint *f)
{
    for (int i = 0; i < RELAYS; i++)
        print_message("%s: relay-%d: %d descriptors, %d threads, %ld KiB\n", when, i + 1, f->fds[i],
                      f->threads[i], f->rss_kib[i]);
    print_message("%s: %ld sessions, %ld advisory locks\n", when, f->sessions, f->locks);
}

/* Which of the two leads has changed, and with it which one keeps connections to the brokers. */
static bool is_as_before(const struct footprint *before)
{
    const struct footprint now = footprint();
    const int fds = before->fds[0] > before->fds[1] ? before->fds[0] : before->fds[1];
    const int threads =
        before->threads[0] > before->threads[1] ? before->threads[0] : before->threads[1];

    for (int i = 0; i < RELAYS; i++)
        if (now.fds[i] > fds + 2 || now.threads[i] > threads + 1)
            return false;
    /* what it reads, its lease and its bell; the bell of the one that leads is a lock */
    return now.sessions <= OUTBOXD_SESSIONS * RELAYS && now.locks <= 1;
}

static void await_as_before(const struct footprint *before)
{
    const uint64_t end = test_now_ms() + 30000;
    struct footprint now;

    while (!is_as_before(before) && test_now_ms() < end)
        test_sleep_ms(100);
    now = footprint();
    print_footprint("before", before);
    print_footprint("after ", &now);
    CHECK(is_as_before(before), "descriptors, threads, sessions or locks have grown");
    for (int i = 0; i < RELAYS; i++)
        CHECK(now.rss_kib[i] > 0 && now.rss_kib[i] <= before->rss_kib[i] + RSS_GROWTH_KIB,
              "relay-%d holds %ld KiB", i + 1, now.rss_kib[i]);
}

/* ---- what is judged ---- */

/* I9 */
static bool holds_a_marker(const char *path)
{
    return file_holds(path, PAYLOAD_MARKER) || file_holds(path, SECRET_MARKER);
}

static void look_for_markers(void *ctx, const char *name, const char *path)
{
    (void)ctx;
    CHECK(!holds_a_marker(path), "a payload or a secret in %s", name);
}

static void relays_end(void)
{
    PGconn *conn;

    for (int i = 0; i < RELAYS; i++)
        CHECK(outboxd_stop(&relay[i]) == 0, "exit code %d of relay-%d",
              proc_exit_code(&relay[i].proc), i + 1);
    conn = pg_open(&pg, NULL);
    WAIT_UNTIL(pg_int(conn, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'relay'") == 0,
               5000);
    assert_int_equal(pg_int(conn, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), 0);
    PQfinish(conn);
}

/* Promise 4: a window for each start from the stored position (each raises the epoch) and for each
 * producer that may have been thrown away; after a crash of Postgres also what its lost checkpoints
 * covered: they reach its disk within a second. */
static int64_t duplicates_allowed(int64_t committed, int seconds)
{
    const int *n = chaos_counts(chaos);
    const int broker = n[CHAOS_BROKER_KILLED] + n[CHAOS_BROKER_STOPPED] + n[CHAOS_BROKER_FROZEN] +
                       n[CHAOS_BROKER_SLOW] + n[CHAOS_TOPIC_GROWN];
    const int crashes = n[CHAOS_PG_CRASHED] + n[CHAOS_PG_KILLED];
    PGconn *conn = pg_open(&pg, NULL);
    const int64_t epochs = pg_int(conn, "SELECT epoch FROM outbox.relay WHERE name = 'orders'");

    PQfinish(conn);
    print_message("%lld takeovers, %d faults of brokers, %d crashes of Postgres\n",
                  (long long)epochs, broker, crashes);
    return (epochs + broker) * WINDOW + crashes * (committed / seconds);
}

static struct oracle_params params_of(const struct load *load)
{
    static const char *const topics[] = {TOPIC, NULL};

    return (struct oracle_params){.pg = &pg,
                                  .brokers = kafka_brokers(&kafka),
                                  .load = load,
                                  .topics = topics,
                                  .any_partition = chaos_counts(chaos)[CHAOS_TOPIC_GROWN] > 0,
                                  .wait_ms = 10000};
}

/* The second load is judged for its writers' logs; rows and topics are the same. */
static void judge(int seconds)
{
    struct oracle_params p = params_of(loads[0]);
    const int64_t committed = load_committed(loads[0]) + load_committed(loads[1]);
    const int64_t allowed = duplicates_allowed(committed, seconds);
    struct oracle_report r;

    (void)oracle_assert(&p, allowed);
    p.load = loads[1];
    r = oracle_assert(&p, allowed);
    print_message("%lld committed, %lld records, %lld duplicates of %lld allowed\n",
                  (long long)r.committed, (long long)r.records, (long long)r.duplicates,
                  (long long)allowed);
}

/* ---- the run ---- */

static void start_loads(void)
{
    loads[0] = load_start(&(struct load_params){.pg = &pg,
                                                .writers = 5,
                                                .seed = seed,
                                                .max_pause_ms = 20,
                                                .marker = PAYLOAD_MARKER,
                                                .long_transaction = true,
                                                .survive = true});
    loads[1] = load_start(&(struct load_params){.pg = &pg,
                                                .writers = 3,
                                                .seed = seed + 1,
                                                .max_pause_ms = 20,
                                                .marker = PAYLOAD_MARKER,
                                                .async_commit = true,
                                                .survive = true});
}

/* In the second half no relay is ended, so that two processes live through all the rest (I7). */
static void run_rounds(int seconds)
{
    const uint64_t start = test_now_ms();
    const uint64_t length = (uint64_t)seconds * 1000;
    int worst_ms = 0;
    int rounds = 0;

    for (uint64_t now = start; now - start < length; now = test_now_ms()) {
        int ms;
        chaos_run(chaos, ROUND_MS, now - start >= length / 2);
        chaos_heal(chaos);
        ms = await_resume();
        chaos_note(chaos, "publishing resumed after %d ms", ms);
        worst_ms = ms > worst_ms ? ms : worst_ms;
        rounds++;
    }
    print_message("%d rounds, %d faults; publishing resumed within %d ms\n", rounds,
                  chaos_total(chaos), worst_ms);
}

static void test_everything_at_random(void **state)
{
    const int seconds = (int)number_from_env("CHAOS_SECONDS", 60);
    struct footprint before;

    (void)state;
    chaos = chaos_new(&(struct chaos_params){.pg = &pg,
                                             .kafka = &kafka,
                                             .relays = relay,
                                             .relay_count = RELAYS,
                                             .topic = TOPIC,
                                             .max_partitions = PARTITIONS + 6,
                                             .seed = seed});
    for (int i = 0; i < RELAYS; i++)
        outboxd_start(&relay[i]);
    start_loads();
    WAIT_UNTIL(load_committed(loads[0]) > 200, 30000);
    WAIT_UNTIL(outboxd_log_has(&relay[0], "standing by") ||
                   outboxd_log_has(&relay[1], "standing by"),
               10000);
    (void)await_resume();
    before = footprint();
    run_rounds(seconds);
    load_stop(loads[0]);
    load_stop(loads[1]);
    outboxd_wait_drained(&relay[0], DRAIN_MS);
    await_as_before(&before);
    relays_end();
    judge(seconds);
    each_log(look_for_markers, NULL);
    in_order = true;
}

/* ---- the judge is no rubber stamp ---- */

static void produce_ghost(void)
{
    struct kafka_client c;
    char key[] = "ghost"; /* librdkafka's union has no const */
    char value[] = "{}";
    char id[] = "00000000-0000-4000-8000-00000000dead";

    kafka_client_open(&c, kafka_brokers(&kafka));
    assert_int_equal(rd_kafka_producev(c.rk, RD_KAFKA_V_TOPIC(TOPIC),
                                       RD_KAFKA_V_KEY(key, sizeof key - 1),
                                       RD_KAFKA_V_VALUE(value, sizeof value - 1),
                                       RD_KAFKA_V_HEADER("event-id", id, -1), RD_KAFKA_V_END),
                     RD_KAFKA_RESP_ERR_NO_ERROR);
    assert_int_equal(rd_kafka_flush(c.rk, 30000), RD_KAFKA_RESP_ERR_NO_ERROR);
    kafka_client_close(&c);
}

/* After the good end: an event that nobody publishes, a record that nobody committed, and each
 * marker in a log. */
static void test_the_judge_sees_what_is_wrong(void **state)
{
    struct oracle_params p;
    struct oracle_report r;
    PGconn *conn;

    (void)state;
    CHECK(in_order, "nothing to plant in: the run before has failed");
    p = params_of(loads[0]);
    conn = pg_open(&pg, "svc");
    pg_exec(conn, "SELECT outbox.publish('order', 'planted', 'order.placed', '{\"seq\": 1}')");
    PQfinish(conn);
    produce_ghost();
    p.wait_ms = 0;
    oracle_judge(&r, &p);
    assert_false(oracle_is_content(&r, INT64_MAX));
    assert_int_equal(r.lost, 1);
    assert_int_equal(r.ghosts, 1);
    assert_int_equal(r.inverted + r.wrong + r.vanished + r.undead, 0);
    file_write(relay[0].log, "error=\"cannot send {%s}\"\n", PAYLOAD_MARKER);
    assert_true(holds_a_marker(relay[0].log));
    file_write(relay[0].log, "connecting with password=%s\n", SECRET_MARKER);
    assert_true(holds_a_marker(relay[0].log));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything_at_random),
        cmocka_unit_test(test_the_judge_sees_what_is_wrong),
    };

    return cmocka_run_group_tests_name("chaos", tests, setup, teardown);
}
