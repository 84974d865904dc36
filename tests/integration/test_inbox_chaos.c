/* The whole way at random: writers, the relay, Kafka, three members of a group on libinbox with
 * handlers that fail in every way, and everything breaks at random for a set time. The effects must
 * be the committed events, once each, in order per key.
 *
 *   CHAOS_SECONDS   how long (20)
 *   SEED            repeats a choice of faults; else the time chooses it
 *
 * Database and broker are shared by relay and members, so that a fault hits both sides at once. A
 * failure prints the timeline. */
#include "inbox_group_case.h"

#include "../support/load.h"
#include "../support/outboxd.h"

#include <signal.h>
#include <time.h>

#define TOPIC      "order-events" /* of LOAD_TYPE */
#define GROUP      "billing"
#define PARTITIONS 6
#define MEMBERS    3
#define TIMELINE   4096

static struct member member[MEMBERS];
static struct outboxd relay;
static struct load *load;
static uint64_t start_ms;
static char timeline[TIMELINE][80];
static int happened;
static int marks; /* records that are no events */
static bool in_order;

static void note(const char *what, int number)
{
    if (happened < TIMELINE)
        (void)snprintf(timeline[happened++], sizeof timeline[0], "%7.3f %s %d",
                       (double)(test_now_ms() - start_ms) / 1000, what, number);
}

static long number_from_env(const char *name, long otherwise)
{
    const char *text = getenv(name);

    return text != NULL && *text != '\0' ? strtol(text, NULL, 10) : otherwise;
}

/* ---- the players ----------------------------------------------------------------------------- */

static void join_group(int i)
{
    static const char *const batches[MEMBERS] = {"batch=200", "batch=20", "batch=1"};
    char brokers[160];
    char conninfo[300];
    char name[32];
    const char *const args[] = {brokers,
                                conninfo,
                                name,
                                batches[i],
                                "consumer=billing",
                                "topic=order-events",
                                "by_id=1",
                                "attempts=4",
                                "backoff_ms=5",
                                "session.timeout.ms=1500",
                                "heartbeat.interval.ms=300",
                                "reconnect.backoff.max.ms=500",
                                NULL};

    (void)snprintf(brokers, sizeof brokers, "brokers=%s", kafka_brokers(&kafka));
    (void)snprintf(conninfo, sizeof conninfo, "conninfo=%s",
                   pg_url(&pg, "consumer", "postgres").text);
    (void)snprintf(name, sizeof name, "member=m%d", i);
    member_start(&member[i], args, NULL);
}

/* Whoever has left or died comes back; nobody may have ended by itself. */
static void all_join(void)
{
    for (int i = 0; i < MEMBERS; i++) {
        if (member[i].proc.pid != 0 && proc_alive(&member[i].proc)) {
            member_wake(&member[i]);
            continue;
        }
        join_group(i);
    }
}

static void produce_bad(void)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(1);
    char mark[32];
    rd_kafka_resp_err_t code;

    (void)snprintf(mark, sizeof mark, "bad-%d", ++marks);
    (void)rd_kafka_header_add(headers, "mark", -1, mark, -1);
    code = rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(TOPIC),
                             RD_KAFKA_V_PARTITION(below(PARTITIONS)),
                             RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_VALUE(mark, 3),
                             RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
    CHECK(code == RD_KAFKA_RESP_ERR_NO_ERROR, "%s", rd_kafka_err2str(code));
    (void)rd_kafka_poll(producer, 0);
}

static void begin(void)
{
    chance_state = (uint64_t)number_from_env("SEED", (long)(time(NULL) % 1000000));
    print_message("SEED=%llu\n", (unsigned long long)chance_state);
    kafka_create_topic(&kafka, TOPIC, PARTITIONS, NULL);
    kafka_create_topic(&kafka, TOPIC ".dlt", 2, NULL);
    load_prepare(&pg);
    outboxd_configure(&relay, &pg, kafka_brokers(&kafka), ", lease_ttl: 1s", NULL);
    outboxd_start(&relay);
    load = load_start(&(struct load_params){.pg = &pg,
                                            .writers = 3,
                                            .cold_keys = 60,
                                            .seed = chance_state,
                                            .max_pause_ms = 30,
                                            .survive = true});
    all_join();
    start_ms = test_now_ms();
    WAIT_UNTIL(effect_count() > 20, WAIT_MS);
}

/* ---- faults ---------------------------------------------------------------------------------- */

static void pause_at_random(int most_ms)
{
    test_sleep_ms((unsigned)below(most_ms));
}

static void everything_again(void)
{
    static const char *const topics[] = {TOPIC, NULL};

    note("all members leave, offsets back to the beginning", 0);
    for (int i = 0; i < MEMBERS; i++)
        if (proc_alive(&member[i].proc))
            CHECK(member_stop(&member[i]) == 0, "log %s", member[i].log);
    effects_rewind(kafka_brokers(&kafka), GROUP, topics);
}

static void break_member(int i)
{
    const bool alive = proc_alive(&member[i].proc);

    switch (below(4)) {
    case 0:
    case 1:
        note("member killed:", i);
        member_kill9(&member[i]);
        break;
    case 2:
        note("member leaves:", i);
        if (alive)
            CHECK(member_stop(&member[i]) == 0, "log %s", member[i].log);
        break;
    default:
        note("member frozen:", i);
        if (alive)
            proc_signal(&member[i].proc, SIGSTOP);
        pause_at_random(3000); /* shorter and longer than its session */
        member_wake(&member[i]);
        break;
    }
}

static void break_database(void)
{
    PGconn *conn;

    switch (below(3)) {
    case 0:
        note("database crashes", 0);
        pg_crash(&pg);
        pause_at_random(1500);
        database_comes_back();
        break;
    case 1:
        note("the members' sessions end", 0);
        conn = pg_open(&pg, NULL);
        pg_exec(conn, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = "
                      "'consumer'");
        PQfinish(conn);
        break;
    default:
        note("locks on the effects", 0);
        conn = pg_open(&pg, NULL);
        pg_exec(conn, "BEGIN; LOCK TABLE effect IN SHARE MODE");
        pause_at_random(1000);
        PQfinish(conn);
        break;
    }
}

static void break_broker(void)
{
    if (below(2) == 0) {
        note("broker killed", 0);
        kafka_kill9(&kafka, 0);
        kafka_start(&kafka, 0);
    } else {
        note("broker frozen", 0);
        kafka_pause(&kafka, 0);
        pause_at_random(2500);
        kafka_continue(&kafka, 0);
    }
}

static void break_something(void)
{
    const int dice = below(20);

    if (dice < 9) {
        break_member(below(MEMBERS));
    } else if (dice < 13) {
        break_database();
    } else if (dice < 15) {
        break_broker();
    } else if (dice < 17) {
        note("relay killed", 0); /* what it had not stored is sent again */
        outboxd_kill9(&relay);
        outboxd_start(&relay);
    } else if (dice < 18) {
        everything_again();
    } else {
        for (int i = 0; i < MEMBERS; i++)
            member_kill9(&member[i]);
        note("all members killed", 0);
    }
}

/* ---- the end --------------------------------------------------------------------------------- */

static void expect(void)
{
    load_stop(load);
    outboxd_wait_drained(&relay, WAIT_MS);
    assert_int_equal(rd_kafka_flush(producer, WAIT_MS), RD_KAFKA_RESP_ERR_NO_ERROR);
    effects_expect_outbox(db);
    pg_exec(db,
            "INSERT INTO sent (mark, what) SELECT 'bad-' || n, 'bad' FROM generate_series(1, %d) n",
            marks);
}

static void everything_at_random(void **state)
{
    static const char *const topics[] = {TOPIC, NULL};
    static const char *const letters[] = {TOPIC ".dlt", NULL};
    const uint64_t length_ms = (uint64_t)number_from_env("CHAOS_SECONDS", 20) * 1000;
    struct effects_report r;

    (void)state;
    begin();
    while (test_now_ms() - start_ms < length_ms) {
        break_something();
        produce_bad();
        pause_at_random(800);
        all_join();
        pause_at_random(800);
    }
    note("all is healed", 0);
    expect();
    r = effects_assert(&(struct effects_params){.conn = db,
                                                .brokers = kafka_brokers(&kafka),
                                                .consumer = GROUP,
                                                .topics = topics,
                                                .dead_letters = letters,
                                                .wait_ms = 2 * WAIT_MS});
    for (int i = 0; i < MEMBERS; i++)
        CHECK(member_stop(&member[i]) == 0, "exit code %d of member %d, log %s",
              proc_exit_code(&member[i].proc), i, member[i].log);
    assert_int_equal(pg_int(db, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'consumer'"),
                     0);
    print_message("%d faults; %lld events, %lld effects, %lld dead letters; drained in %lld ms\n",
                  happened - 1, (long long)r.sent, (long long)r.effects, (long long)r.letters,
                  (long long)r.elapsed_ms);
    in_order = true;
}

static int teardown(void **state)
{
    for (int i = 0; !in_order && i < happened; i++)
        (void)fprintf(stderr, "  %s\n", timeline[i]);
    for (int i = 0; i < MEMBERS; i++)
        member_kill9(&member[i]);
    outboxd_kill9(&relay);
    if (in_order)
        load_free(load); /* of a failed run the writers may hang: the process ends anyway */
    return end_servers(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(everything_at_random)};

    return cmocka_run_group_tests_name("inbox, chaos", tests, start_servers, teardown);
}
