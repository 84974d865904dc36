#include "trial.h"

#include "check.h"
#include "oracle.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DRAIN_MS 60000
/* The allocator's arenas and the producer's buffers breathe; a leak of windows would be far more.
 */
#define RSS_SLACK_KIB (24 * 1024)
#define FD_SLACK      8

static int count_sessions(PGconn *conn)
{
    return (int)pg_int(conn, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'relay'");
}

void trial_begin(struct trial *t, struct pg_server *pg, const struct kafka *kafka,
                 const struct pg_server *route, const char *relay_extra)
{
    const char *seed = getenv("SEED");
    char extra[256];
    PGconn *conn;

    memset(t, 0, sizeof *t);
    t->pg = pg;
    t->kafka = kafka;
    t->chance = seed != NULL ? (unsigned)strtoul(seed, NULL, 10) : (unsigned)time(NULL);
    print_message("SEED=%u\n", t->chance);
    kafka_create_topic(kafka, TRIAL_TOPIC, 6, NULL);
    kafka_create_topic(kafka, TRIAL_PROBES, 1, NULL);
    (void)snprintf(extra, sizeof extra, ", window_events: %d%s", TRIAL_WINDOW,
                   relay_extra != NULL ? relay_extra : "");
    outboxd_configure(&t->relay, route != NULL ? route : pg, kafka_brokers(kafka), extra, NULL);
    outboxd_start(&t->relay);
    outboxd_wait_log(&t->relay, "lease taken", 20000);
    t->load = load_start(&(struct load_params){.pg = pg,
                                               .seed = t->chance,
                                               .max_pause_ms = 10,
                                               .long_transaction = true,
                                               .survive = true});
    WAIT_UNTIL(load_committed(t->load) > 300, 20000);
    conn = pg_open(pg, NULL);
    WAIT_UNTIL(pg_int(conn, "SELECT last_id FROM outbox.lane WHERE relay = 'orders'") > 0 ||
                   kafka_record_count(kafka_brokers(kafka), TRIAL_TOPIC) > 0,
               20000);
    WAIT_UNTIL((t->sessions = count_sessions(conn)) == OUTBOXD_SESSIONS, 10000);
    PQfinish(conn);
    t->fds = proc_fd_count(t->relay.proc.pid);
    t->threads = proc_thread_count(t->relay.proc.pid);
    t->rss_kib = proc_rss_kib(t->relay.proc.pid);
}

unsigned trial_chance(struct trial *t, unsigned n)
{
    return (unsigned)rand_r(&t->chance) % n;
}

/* Covered by the stored position: acknowledged by the brokers. */
static bool is_settled(PGconn *conn, int64_t id)
{
    return pg_int(conn,
                  "SELECT coalesce(bool_or(pg_visible_in_snapshot(e.xid, l.base)"
                  " OR pg_visible_in_snapshot(e.xid, l.target) AND e.id <= l.last_id), false)::int"
                  " FROM outbox.lane l, outbox.event e WHERE l.relay = 'orders' AND e.id = %lld",
                  (long long)id) == 1;
}

void trial_healed(struct trial *t, const char *fault)
{
    uint64_t begin = test_now_ms();
    PGconn *conn = pg_open(t->pg, NULL);
    int64_t took;
    int64_t id =
        pg_int(conn, "INSERT INTO outbox.event (aggregate_type, aggregate_id, event_type, payload)"
                     " VALUES ('probe', 'probe', 'probe.sent',"
                     "  json_build_object('seq', (SELECT count(*) FROM outbox.event"
                     "   WHERE aggregate_type = 'probe'))) RETURNING id");

    while (!is_settled(conn, id)) {
        if (test_now_ms() - begin > TRIAL_RESUME_MS)
            outboxd_fail(&t->relay, "%s: nothing published after %d ms", fault, TRIAL_RESUME_MS);
        test_sleep_ms(5);
    }
    took = (int64_t)(test_now_ms() - begin);
    if (took > t->slowest_ms)
        t->slowest_ms = took;
    print_message("%s: published again after %lld ms\n", fault, (long long)took);
    PQfinish(conn);
}

/* I7, while the relay is idle. The bell's lock is the only one that it keeps. */
static void assert_as_before(struct trial *t, PGconn *conn)
{
    pid_t pid = t->relay.proc.pid;

    CHECK(proc_alive(&t->relay.proc), "the relay has ended");
    WAIT_UNTIL(count_sessions(conn) == t->sessions, 30000);
    WAIT_UNTIL(pg_int(conn, "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
                            " WHERE a.usename = 'relay' AND l.locktype <> 'virtualxid'") <= 1,
               30000);
    WAIT_UNTIL(t->producers_linger || proc_fd_count(pid) <= t->fds + FD_SLACK, 30000);
    WAIT_UNTIL(t->producers_linger || proc_thread_count(pid) <= t->threads + 2, 30000);
    print_message("descriptors %d -> %d, threads %d -> %d, memory %ld -> %ld KiB\n", t->fds,
                  proc_fd_count(pid), t->threads, proc_thread_count(pid), t->rss_kib,
                  proc_rss_kib(pid));
    CHECK(proc_rss_kib(pid) <= t->rss_kib + RSS_SLACK_KIB, "memory grew from %ld to %ld KiB",
          t->rss_kib, proc_rss_kib(pid));
}

void trial_end(struct trial *t, int64_t max_duplicates)
{
    static const char *const topics[] = {TRIAL_PROBES, NULL};
    struct oracle_report r;
    PGconn *conn;

    load_stop(t->load);
    outboxd_wait_drained(&t->relay, DRAIN_MS);
    conn = pg_open(t->pg, NULL);
    assert_as_before(t, conn);
    assert_int_equal(outboxd_stop(&t->relay), 0);
    WAIT_UNTIL(count_sessions(conn) == 0, 10000);
    assert_int_equal(pg_int(conn, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), 0);
    PQfinish(conn);
    r = oracle_assert(&(struct oracle_params){.pg = t->pg,
                                              .brokers = kafka_brokers(t->kafka),
                                              .load = t->load,
                                              .topics = topics,
                                              .wait_ms = 20000},
                      max_duplicates);
    print_message("%lld committed, %lld records, %lld duplicates; slowest return %lld ms\n",
                  (long long)r.committed, (long long)r.records, (long long)r.duplicates,
                  (long long)t->slowest_ms);
    load_free(t->load);
    t->load = NULL;
}

void trial_clean(struct trial *t)
{
    if (t->relay.proc.pid != 0)
        outboxd_kill9(&t->relay);
    if (t->kafka != NULL) {
        kafka_delete_topic(t->kafka, TRIAL_TOPIC);
        kafka_delete_topic(t->kafka, TRIAL_PROBES);
    }
    t->kafka = NULL;
}
