/* The operator's hand on a running relay: pause, resume, rebase and relay.max_rate, by the
 * commands, with a real Postgres, a real Kafka and writers at work; every run ends with the oracle.
 * The SQL beneath is in test_control_sql.c. */
#include "../support/check.h"

#include "../support/load.h"
#include "../support/oracle.h"
#include "../support/outboxd.h"
#include "../support/pg.h"
#include "../support/pg_faults.h"
#include "../support/tmp.h"
#include "one_kafka.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define TOPIC  "order-events"
#define WINDOW 500
#define TTL_MS 1500

static struct pg_server pg;
static PGconn *owner;
static struct load *load;
/* Number i has the instance "test-i". */
static struct outboxd relays[2];
static char out[OUTBOXD_OUT]; /* of the last command */

static void configure(int i, const char *relay_extra)
{
    char text[1024];

    (void)snprintf(
        text, sizeof text,
        "postgres: {url: \"postgres://relay@127.0.0.1:%d/postgres\"}\n"
        "kafka: {brokers: \"%s\"}\n"
        "http: {listen: \"\"}\n"
        "relay: {name: orders, instance: test-%d, lease_ttl: %dms, window_events: %d%s}\n",
        pg.port, kafka_brokers(&kafka), i, TTL_MS, WINDOW, relay_extra);
    outboxd_configure_text(&relays[i], text);
}

static int setup(void **state)
{
    (void)state;
    pg_create(&pg, NULL);
    pg_apply_schema(&pg);
    load_prepare(&pg);
    owner = pg_open(&pg, NULL);
    kafka_create_topic(&kafka, TOPIC, 6, NULL);
    configure(0, "");
    configure(1, "");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    outboxd_kill9(&relays[0]);
    outboxd_kill9(&relays[1]);
    load_free(load);
    load = NULL;
    kafka_delete_topic(&kafka, TOPIC);
    PQfinish(owner);
    pg_drop(&pg);
    return 0;
}

/* ---- words ---- */

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* The command must end so; its output stays in `out`. */
static void runs(int code, const char *command, const char *const *more)
{
    int rc = outboxd_command(&relays[0], command, more, out);

    CHECK(rc == code, "%s ended with %d, not %d: %s", command, rc, code, out);
}

static const char *owner_url(void)
{
    static struct pg_url url;

    url = pg_url(&pg, NULL, "postgres");
    return url.text;
}

static void start_leader(int i)
{
    outboxd_start(&relays[i]);
    outboxd_wait_log(&relays[i], "lease taken", 20000);
}

static void start_load(void)
{
    load = load_start(&(struct load_params){
        .pg = &pg, .seed = 7, .max_pause_ms = 10, .long_transaction = true, .survive = true});
    WAIT_UNTIL(load_committed(load) > 300, 20000);
    WAIT_UNTIL(kafka_record_count(kafka_brokers(&kafka), TOPIC) > 100, 20000);
}

static void judge(int64_t max_duplicates)
{
    struct oracle_report r;

    load_stop(load);
    outboxd_wait_drained(&relays[0], 60000);
    r = oracle_assert(
        &(struct oracle_params){
            .pg = &pg, .brokers = kafka_brokers(&kafka), .load = load, .wait_ms = 20000},
        max_duplicates);
    print_message("%lld committed, %lld records, %lld duplicates\n", (long long)r.committed,
                  (long long)r.records, (long long)r.duplicates);
}

/* Nothing is published, although the writers go on. */
static void holds_still(void)
{
    int64_t records = kafka_record_count(kafka_brokers(&kafka), TOPIC);
    int64_t committed = load_committed(load);

    WAIT_UNTIL(load_committed(load) > committed + 100, 20000);
    test_sleep_ms(TTL_MS);
    assert_int_equal(kafka_record_count(kafka_brokers(&kafka), TOPIC), records);
    assert_true(records < load_committed(load));
}

/* ---- pause and resume ---- */

/* Under load, through the death of the leader: nothing is lost, nothing is sent twice. */
static void test_paused_under_load_and_taken_over(void **state)
{
    (void)state;
    start_leader(0);
    outboxd_start(&relays[1]);
    outboxd_wait_log(&relays[1], "standing by", 10000);
    start_load();
    runs(0, "pause", WORDS("--reason", "the brokers are upgraded"));
    assert_contains(out, "relay orders: test-0 leads");
    assert_contains(out, "paused: test-0 reads nothing more");
    outboxd_wait_log(&relays[0], "msg=\"paused: events wait", 5000);
    /* what was in flight is acknowledged and its position stored */
    WAIT_UNTIL(pg_int(owner, "SELECT (stored_at < clock_timestamp() - interval '1 second')::integer"
                             " FROM outbox.lane"),
               20000);
    assert_int_equal(pg_int(owner, "SELECT published FROM outbox.lane"),
                     kafka_record_count(kafka_brokers(&kafka), TOPIC));
    holds_still();
    runs(0, "pause", NULL);
    assert_contains(out, "the brokers are upgraded");
    assert_contains(out, "nothing was changed");

    outboxd_kill9(&relays[0]);
    outboxd_wait_log(&relays[1], "lease taken", 20000);
    outboxd_wait_log(&relays[1], "msg=\"paused: events wait", 5000);
    holds_still();

    runs(0, "resume", WORDS("--dry-run"));
    assert_contains(out, "Nothing was changed");
    holds_still();
    runs(0, "resume", NULL);
    assert_contains(out, "resumed: test-1 publishes again");
    outboxd_wait_log(&relays[1], "msg=resumed", 5000);
    judge(0);
    assert_int_equal(outboxd_log_count(&relays[1], "msg=resumed"), 1);
}

/* A stop while paused is a stop like any other; who starts holds still, and says so. */
static void test_paused_through_a_restart(void **state)
{
    (void)state;
    runs(0, "pause", NULL);
    assert_contains(out, "nobody leads");
    assert_contains(out, "paused: no relay runs");
    start_leader(0);
    outboxd_wait_log(&relays[0], "msg=\"paused: events wait", 5000);
    load = load_start(&(struct load_params){.pg = &pg, .seed = 8, .max_pause_ms = 10});
    WAIT_UNTIL(load_committed(load) > 300, 20000);
    holds_still();
    assert_int_equal(outboxd_stop(&relays[0]), 0);
    assert_int_equal(pg_int(owner, "SELECT (holder IS NULL)::integer FROM outbox.relay"), 1);
    outboxd_log_truncate(&relays[0]);
    start_leader(0);
    outboxd_wait_log(&relays[0], "msg=\"paused: events wait", 5000);
    runs(0, "resume", NULL);
    assert_contains(out, "resumed: test-0 publishes again");
    runs(0, "resume", NULL);
    assert_contains(out, "It is not paused: nothing was changed");
    judge(0);
}

/* A leader that is stopped cannot hear of it: said, and with an exit code that says to look again.
 */
static void test_a_leader_that_does_not_hear(void **state)
{
    (void)state;
    start_leader(0);
    proc_signal(&relays[0].proc, SIGSTOP);
    runs(75, "pause", NULL);
    assert_contains(out, "test-0 has not heard of it");
    proc_signal(&relays[0].proc, SIGCONT);
    outboxd_wait_log(&relays[0], "msg=\"paused: events wait", 10000);
}

static void test_pausing_what_cannot_be_paused(void **state)
{
    char other[1024];

    (void)state;
    runs(0, "pause", WORDS("--dry-run"));
    assert_contains(out, "Nothing was changed");
    runs(78, "pause", WORDS("--url", pg_url(&pg, "svc", "postgres").text));
    assert_contains(out, "GRANT outbox_relay TO svc");
    runs(78, "resume", WORDS("--url", pg_url(&pg, "svc", "postgres").text));
    runs(69, "pause", WORDS("--url", "postgres://relay@127.0.0.1:1/postgres"));
    pg_exec(owner, "INSERT INTO outbox.migration (version, name) VALUES (99, 'future')");
    runs(78, "pause", NULL);
    pg_exec(owner, "DELETE FROM outbox.migration WHERE version IN (5, 99)");
    runs(78, "pause", NULL);
    pg_exec(owner, "INSERT INTO outbox.migration (version, name) VALUES (5, 'lanes')");
    (void)snprintf(other, sizeof other,
                   "postgres: {url: \"postgres://relay@127.0.0.1:%d/postgres\"}\n"
                   "kafka: {brokers: \"%s\"}\nrelay: {name: nobody}\n",
                   pg.port, kafka_brokers(&kafka));
    outboxd_configure_text(&relays[0], other);
    runs(78, "pause", NULL);
    assert_contains(out, "only: orders");
    runs(78, "resume", NULL);
    assert_int_equal(pg_int(owner, "SELECT count(*) FROM outbox.relay WHERE paused_at IS NULL"), 1);
}

/* ---- rebase ---- */

/* The number before " event" in the line that begins with `label`; 0: "none". */
static int64_t told(const char *label)
{
    const char *line = strstr(out, label);

    CHECK(line != NULL, "no \"%s\" in: %s", label, out);
    line += strlen(label) + strspn(line + strlen(label), " ");
    if (strncmp(line, "up to ", 6) == 0)
        line += 6;
    return strtoll(line, NULL, 10);
}

/* Back to an id and to a time while a relay runs under load: what was published comes again, and
 * nothing is lost or out of order. */
static void test_rebase_back_under_load(void **state)
{
    int64_t again = 0;
    char id[24];

    (void)state;
    start_leader(0);
    start_load();
    (void)snprintf(id, sizeof id, "%lld",
                   (long long)pg_int(owner, "SELECT max(id) - 150 FROM outbox.event"));
    WAIT_UNTIL(load_committed(load) > 700, 20000);
    runs(0, "rebase", WORDS("--to", id, "--dry-run", "--url", owner_url()));
    assert_contains(out, "Nothing was changed");
    assert_int_equal(pg_int(owner, "SELECT epoch FROM outbox.relay"), 1);
    runs(64, "rebase", WORDS("--to", id, "--url", owner_url()));
    assert_contains(out, "nothing was changed: say --yes");
    runs(0, "rebase", WORDS("--to", id, "--yes", "--url", owner_url()));
    assert_contains(out, "the position moves to");
    again += pg_int(owner, "SELECT count(*) FROM outbox.event WHERE id >= %s", id);
    WAIT_UNTIL(pg_int(owner, "SELECT epoch FROM outbox.relay") == 3, 10000); /* taken over anew */
    WAIT_UNTIL(load_committed(load) > 1200, 30000);
    runs(0, "rebase",
         WORDS("--to",
               pg_scalar(owner,
                         "SELECT to_char(created_at AT TIME ZONE 'UTC', "
                         "'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') FROM outbox.event "
                         "WHERE id >= %s ORDER BY id LIMIT 1",
                         id),
               "--yes", "--url", owner_url()));
    again += pg_int(owner, "SELECT count(*) FROM outbox.event WHERE id >= %s", id);
    WAIT_UNTIL(pg_int(owner, "SELECT epoch FROM outbox.relay") == 5, 10000);
    assert_true(proc_alive(&relays[0].proc));
    judge(again + 2 * WINDOW);
}

static void test_rebase_says_what_it_does(void **state)
{
    int64_t newest;
    char far[24];

    (void)state;
    for (int i = 0; i < 20; i++)
        pg_exec(owner, "SELECT outbox.publish('order', 'k', 'order.placed', '{\"seq\": %d}')", i);
    newest = pg_int(owner, "SELECT max(id) FROM outbox.event");
    start_leader(0);
    outboxd_wait_drained(&relays[0], 20000);
    assert_int_equal(outboxd_stop(&relays[0]), 0);
    for (int i = 0; i < 5; i++)
        pg_exec(owner, "SELECT outbox.publish('order', 'k', 'order.placed', '{\"seq\": %d}')",
                20 + i);
    runs(0, "rebase", WORDS("--to", "now", "--dry-run", "--url", owner_url()));
    assert_int_equal(told("repeated"), 0);
    assert_int_equal(told("skipped"), 5);
    runs(0, "rebase", WORDS("--to", "beginning", "--dry-run", "--url", owner_url()));
    assert_int_equal(told("repeated"), 20);
    assert_int_equal(told("skipped"), 0);
    (void)snprintf(far, sizeof far, "%lld", (long long)newest + 3);
    runs(0, "rebase", WORDS("--to", far, "--dry-run", "--url", owner_url()));
    assert_int_equal(told("repeated"), 0);
    assert_int_equal(told("skipped"), 2);
    (void)snprintf(far, sizeof far, "%lld", (long long)newest + 6);
    runs(64, "rebase", WORDS("--to", far, "--yes", "--url", owner_url()));
    assert_contains(out, "behind the newest event");
    runs(64, "rebase", WORDS("--to", "2200-01-01T00:00:00Z", "--yes", "--url", owner_url()));
    assert_contains(out, "behind the newest event");
    runs(78, "rebase",
         WORDS("--to", "now", "--yes", "--url", pg_url(&pg, "relay", "postgres").text));
    assert_contains(out, "owner");
    runs(0, "rebase", WORDS("--keep", "--yes", "--url", owner_url()));
    assert_contains(out, "nothing was changed");
    assert_int_equal(pg_int(owner, "SELECT epoch FROM outbox.relay"), 1);
}

/* pg_upgrade gives the database another identifier and keeps its transaction ids. */
static void test_keep_after_pg_upgrade(void **state)
{
    struct pg_server old = pg;
    struct oracle_report r;
    struct outboxd *relay = &relays[0];

    (void)state;
    start_leader(0);
    start_load();
    load_stop(load);
    outboxd_wait_drained(relay, 60000);
    assert_int_equal(outboxd_stop(relay), 0);
    pg_exec(
        owner,
        "SELECT outbox.publish('order', 'k', 'order.placed', '{\"seq\": 1}')"); /* after the last
                                                                                   position */
    PQfinish(owner);
    pg_upgrade(&pg, &old);
    owner = pg_open(&pg, NULL);
    configure(0, "");
    outboxd_log_truncate(relay);
    outboxd_start(relay);
    assert_int_equal(proc_wait(&relay->proc, 20000), true);
    assert_int_equal(proc_exit_code(&relay->proc), 78);
    assert_true(outboxd_log_has(relay, "foreign_database"));
    runs(0, "rebase", WORDS("--keep", "--dry-run", "--url", owner_url()));
    runs(0, "rebase", WORDS("--keep", "--yes", "--url", owner_url()));
    assert_contains(out, "this server is now the position's own");
    start_leader(0);
    outboxd_wait_drained(relay, 60000);
    r = oracle_assert(
        &(struct oracle_params){.pg = &pg, .brokers = kafka_brokers(&kafka), .wait_ms = 20000}, 0);
    assert_int_equal(r.records, r.committed);
}

/* ---- the rate ---- */

#define RATE    1000
#define BACKLOG 5000

/* In the file of the process that runs. */
static void lift_the_limit(void)
{
    char *text = file_read(relays[0].config);
    char *limit = strstr(text, ", max_rate: 1000");

    assert_non_null(limit);
    memset(limit, ' ', strlen(", max_rate: 1000"));
    file_write(relays[0].config, "%s", text);
    free(text);
}

/* A backlog goes out at the limit, not faster, whatever the window would hold; SIGHUP lifts it. */
static void test_the_rate_of_a_drain(void **state)
{
    uint64_t began;
    int64_t took_ms;
    int64_t records;

    (void)state;
    configure(0, ", max_rate: 1000");
    load_bulk(
        owner,
        &(struct load_bulk){
            .prefix = "k", .events = BACKLOG, .keys = 50, .first_seq = 1, .payload_bytes = 200});
    began = test_now_ms();
    outboxd_start(&relays[0]);
    /* at any moment no more than the second's worth and what the time allows */
    do {
        records = kafka_record_count(kafka_brokers(&kafka), TOPIC);
        took_ms = (int64_t)(test_now_ms() - began);
        CHECK(records <= RATE + took_ms * RATE * 102 / 100 / 1000, "%lld records after %lld ms",
              (long long)records, (long long)took_ms);
        test_sleep_ms(20);
    } while (records < BACKLOG * 4 / 5 && took_ms < 60000);
    print_message("%lld records after %lld ms at %d a second\n", (long long)records,
                  (long long)took_ms, RATE);
    assert_true(records >= BACKLOG * 4 / 5);
    load_bulk(owner, &(struct load_bulk){.prefix = "l",
                                         .events = 20 * BACKLOG,
                                         .keys = 50,
                                         .first_seq = 1,
                                         .payload_bytes = 200});
    lift_the_limit();
    began = test_now_ms();
    proc_signal(&relays[0].proc, SIGHUP);
    outboxd_wait_drained(&relays[0], 60000);
    took_ms = (int64_t)(test_now_ms() - began);
    CHECK(took_ms < 20 * BACKLOG * 1000 / RATE / 2, "still slow after SIGHUP: %lld ms",
          (long long)took_ms);
    (void)oracle_assert(
        &(struct oracle_params){.pg = &pg, .brokers = kafka_brokers(&kafka), .wait_ms = 20000}, 0);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_paused_under_load_and_taken_over),
        CASE(test_paused_through_a_restart),
        CASE(test_a_leader_that_does_not_hear),
        CASE(test_pausing_what_cannot_be_paused),
        CASE(test_rebase_back_under_load),
        CASE(test_rebase_says_what_it_does),
        CASE(test_keep_after_pg_upgrade),
        CASE(test_the_rate_of_a_drain),
    };

    cmocka_set_test_filter(getenv("ONLY"));
    return cmocka_run_group_tests_name("control", tests, setup_kafka, teardown_kafka);
}
