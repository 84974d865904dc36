/* What libinbox costs: events/s with one small write for each event, in batches and one by one,
 * beside the same loop without a claim: poll, BEGIN, the writes, COMMIT, the offsets. Both loops
 * run in short turns: a machine whose speed changes serves both alike.
 *
 * Both have the same place, too: this thread and its session in the database lie on one processor,
 * or on two. A round trip between two may cost three times as much as on one, as each side wakes
 * the other's processor from its sleep; where the scheduler places a loop is chance, and weighs
 * more than a claim. Kafka's threads and all other processes go where they like.
 *
 * What a loop takes is told as time, and as work: processor time of its thread and its session. On
 * one processor of an idle machine they are the same; others' work adds to time alone.
 *
 *   EVENTS=n   how many events each loop consumes in batches (100000)
 *   AT_LEAST=n fails when batches reach less than n % of the loop without a claim, in the median of
 *              the work, on one processor or on two */
#include "../integration/inbox_case.h"

#include "numbers.h"
#include "usage.h"

#include <errno.h>
#include <sched.h>
#include <time.h>

#define TOPIC      "bench"
#define PARTITIONS 4
#define BATCH      200
#define SLICES     150
#define LEAST      (100 * SLICES) /* events: a tenth of them goes one by one */

static int64_t handled;
static rd_kafka_queue_t
    *commits; /* of the bare loop: one is under way at a time, as in the library */
static int commits_under_way;

/* What a loop has taken so far, or in one slice. */
struct figure {
    double us;
    double cpu_us;  /* of this process */
    double db_us;   /* of the session in the database */
    double work_us; /* of the loop's thread and the session */
};

/* Where a loop runs: its thread, and its session in the database. */
struct place {
    const char *name;
    int thread;
    int session;
};

struct loop {
    void (*turn)(void *arg);
    void *arg;
    int pid; /* of its session */
    int64_t handled;
    struct figure sum;
    struct figure slices[SLICES]; /* for one event */
};

/* Processor time of a process so far. */
static double processor_us(int pid)
{
    char path[64];
    char text[128] = "";
    FILE *f;

    (void)snprintf(path, sizeof path, "/proc/%d/schedstat", pid);
    f = fopen(path, "re");
    CHECK(f != NULL && fgets(text, sizeof text, f) != NULL, "%s cannot be read", path);
    (void)fclose(f);
    return strtod(text, NULL) / 1000; /* it begins with ns */
}

static double thread_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return 1e6 * (double)t.tv_sec + (double)t.tv_nsec / 1000;
}

static struct figure now(const struct loop *l)
{
    const double db_us = processor_us(l->pid);

    return (struct figure){.us = (double)test_now_us(),
                           .cpu_us = 1e6 * usage_self_cpu_s(),
                           .db_us = db_us,
                           .work_us = thread_us() + db_us};
}

static void add(struct figure *to, const struct figure *from, const struct figure *until,
                double share)
{
    to->us += (until->us - from->us) * share;
    to->cpu_us += (until->cpu_us - from->cpu_us) * share;
    to->db_us += (until->db_us - from->db_us) * share;
    to->work_us += (until->work_us - from->work_us) * share;
}

/* The loop goes on until it has handled that many. */
static void run_until(struct loop *l, int64_t goal)
{
    handled = l->handled;
    while (handled < goal)
        l->turn(l->arg);
    l->handled = handled;
}

/* Joining the group takes as long as it likes, the first batches fill caches: not measured. Its
 * session is the youngest. */
static void warm_up(struct loop *l, int64_t events)
{
    run_until(l, events);
    l->pid = (int)pg_int(db, "SELECT pid FROM pg_stat_activity WHERE usename = 'consumer' ORDER BY "
                             "backend_start DESC LIMIT 1");
}

static void pin(int pid, int processor)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((size_t)processor, &set);
    CHECK(sched_setaffinity(pid, sizeof set, &set) == 0, "processor %d: %s", processor,
          strerror(errno));
}

/* The first two processors that we may use; false when there is but one. */
static bool two_processors(int out[2])
{
    cpu_set_t set;
    int n = 0;

    assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
    for (int i = 0; i < CPU_SETSIZE && n < 2; i++)
        if (CPU_ISSET((size_t)i, &set))
            out[n++] = i;
    return n == 2;
}

static void run_slice(struct loop *l, int slice, int64_t goal)
{
    const struct figure before = now(l);
    const int64_t first = l->handled;
    struct figure after;

    run_until(l, goal);
    after = now(l);
    add(&l->sum, &before, &after, 1);
    add(&l->slices[slice], &before, &after, 1 / (double)(l->handled - first));
}

static void write_one(PGconn *conn, const char *id)
{
    const char *values[] = {id};
    PGresult *r = PQexecParams(conn, "INSERT INTO small (event_id) VALUES ($1::uuid)", 1, NULL,
                               values, NULL, NULL, 0);

    CHECK(PQresultStatus(r) == PGRES_COMMAND_OK, "%s", PQerrorMessage(conn));
    PQclear(r);
    handled++;
}

static enum inbox_verdict handle(PGconn *conn, struct inbox_event *event, void *arg)
{
    (void)arg;
    write_one(conn, inbox_event_id(event));
    return INBOX_OK;
}

static void turn_with_claims(void *in)
{
    pump(in);
}

static struct inbox *inbox_loop(int batch, const char *name)
{
    static const char *const topic = TOPIC;
    struct inbox_params p = params_for(&topic, handle);

    p.consumer = name;
    p.batch_size = batch;
    p.log_level = INBOX_LOG_WARN;
    return open_inbox(&p);
}

static void exec(PGconn *conn, const char *sql)
{
    PGresult *r = PQexec(conn, sql);

    CHECK(PQresultStatus(r) == PGRES_COMMAND_OK, "%s", PQerrorMessage(conn));
    PQclear(r);
}

static rd_kafka_t *bare_consumer(const char *name)
{
    const char *const settings[][2] = {{"bootstrap.servers", kafka_brokers(&kafka)},
                                       {"group.id", name},
                                       {"auto.offset.reset", "earliest"},
                                       {"enable.auto.commit", "false"},
                                       {"enable.auto.offset.store", "false"},
                                       {"queued.max.messages.kbytes", "16384"}};
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    char text[256];
    rd_kafka_t *rk;

    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        CHECK(rd_kafka_conf_set(conf, settings[i][0], settings[i][1], text, sizeof text) ==
                  RD_KAFKA_CONF_OK,
              "%s", text);
    rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
    CHECK(rk != NULL, "%s", text);
    (void)rd_kafka_poll_set_consumer(rk);
    (void)rd_kafka_topic_partition_list_add(list, TOPIC, RD_KAFKA_PARTITION_UA);
    (void)rd_kafka_subscribe(rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    return rk;
}

static int poll_batch(rd_kafka_t *rk, rd_kafka_message_t **batch, int room)
{
    int n = 0;

    while (n < room) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, n == 0 ? 100 : 0);

        if (m == NULL)
            return n;
        if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR)
            batch[n++] = m;
        else
            rd_kafka_message_destroy(m);
    }
    return n;
}

struct bare {
    rd_kafka_t *rk;
    PGconn *conn;
    int room;
    rd_kafka_topic_partition_list_t *done;
};

static void on_commit(rd_kafka_t *rk, rd_kafka_resp_err_t code,
                      rd_kafka_topic_partition_list_t *offsets, void *opaque)
{
    (void)rk;
    (void)code;
    (void)offsets;
    (void)opaque;
    commits_under_way--;
}

static void note_offset(const struct bare *b, const rd_kafka_message_t *m)
{
    rd_kafka_topic_partition_t *at =
        rd_kafka_topic_partition_list_find(b->done, TOPIC, m->partition);

    if (at == NULL)
        at = rd_kafka_topic_partition_list_add(b->done, TOPIC, m->partition);
    at->offset = m->offset + 1;
}

static void turn_without_claims(void *arg)
{
    const struct bare *b = arg;
    rd_kafka_message_t *batch[BATCH];
    const int n = poll_batch(b->rk, batch, b->room);

    (void)rd_kafka_queue_poll_callback(commits, 0);
    if (n == 0)
        return;
    exec(b->conn, "BEGIN");
    for (int i = 0; i < n; i++) {
        write_one(b->conn, header_of(batch[i], "event-id"));
        note_offset(b, batch[i]);
        rd_kafka_message_destroy(batch[i]);
    }
    exec(b->conn, "COMMIT");
    if (commits_under_way == 0 && rd_kafka_commit_queue(b->rk, b->done, commits, on_commit, NULL) ==
                                      RD_KAFKA_RESP_ERR_NO_ERROR)
        commits_under_way = 1;
}

static struct bare *bare_open(int batch, const char *name)
{
    struct bare *b = malloc(sizeof *b);

    assert_non_null(b);
    *b = (struct bare){.rk = bare_consumer(name),
                       .conn = pg_open(&pg, "consumer"),
                       .room = batch,
                       .done = rd_kafka_topic_partition_list_new(PARTITIONS)};
    commits = rd_kafka_queue_new(b->rk);
    return b;
}

static void bare_close(struct bare *b)
{
    while (commits_under_way > 0)
        (void)rd_kafka_queue_poll_callback(commits, 100);
    (void)rd_kafka_consumer_close(b->rk);
    rd_kafka_queue_destroy(commits);
    rd_kafka_topic_partition_list_destroy(b->done);
    rd_kafka_destroy(b->rk);
    PQfinish(b->conn);
    free(b);
}

static void fill(int64_t events)
{
    char value[201];

    memset(value, 'x', sizeof value);
    value[200] = '\0';
    kafka_create_topic(&kafka, TOPIC, PARTITIONS, NULL);
    for (int64_t i = 0; i < events; i++) {
        produce_record(&(struct produced){.topic = TOPIC,
                                          .partition = (int32_t)(i % PARTITIONS),
                                          .key = "key",
                                          .id = id_of((int)i),
                                          .type = "order.paid",
                                          .value = value});
        if (i % 10000 == 0)
            produce_flush();
    }
    produce_flush();
    pg_exec(db, "CREATE TABLE small (n bigserial PRIMARY KEY, event_id uuid)");
    pg_exec(db, "GRANT ALL ON small, small_n_seq TO consumer");
}

/* The claiming loop's speed in percent of the other's, slice by slice; the medians. */
struct ratios {
    double time;
    double work;
};

static struct ratios median_ratios(const struct loop *claims, const struct loop *bare)
{
    double time[SLICES];
    double work[SLICES];

    for (int i = 0; i < SLICES; i++) {
        time[i] = 100 * bare->slices[i].us / claims->slices[i].us;
        work[i] = 100 * bare->slices[i].work_us / claims->slices[i].work_us;
    }
    return (struct ratios){.time = number_median(time, SLICES),
                           .work = number_median(work, SLICES)};
}

/* Prints the line. */
static void report(const struct loop *claims, const struct loop *bare, int64_t events,
                   const char *what, const struct ratios *ratios)
{
    const double n = (double)events;

    print_message("%s: %6.0f events/s with claims, %6.0f without; in the median of slices %3.0f %% "
                  "by time, %3.0f %% by work; processor time of an event: process %.1f us, %.1f "
                  "without, session %.1f us, %.1f without\n",
                  what, 1e6 * n / claims->sum.us, 1e6 * n / bare->sum.us, ratios->time,
                  ratios->work, claims->sum.cpu_us / n, bare->sum.cpu_us / n, claims->sum.db_us / n,
                  bare->sum.db_us / n);
}

/* Percent of the work, in the median. Kafka's threads begin in the warm-up, before anything is
 * pinned. */
static double compare(int batch, int64_t events, const struct place *place)
{
    const int64_t slice = events / (SLICES + 5);
    const int64_t warm = 5 * slice;
    char name[64];
    struct loop bare = {.turn = turn_without_claims};
    struct loop claims = {.turn = turn_with_claims};
    cpu_set_t anywhere;
    struct ratios ratios;

    assert_int_equal(sched_getaffinity(0, sizeof anywhere, &anywhere), 0);
    (void)snprintf(name, sizeof name, "bare-%d-%s", batch, place->name);
    bare.arg = bare_open(batch, name);
    warm_up(&bare, warm);
    (void)snprintf(name, sizeof name, "inbox-%d-%s", batch, place->name);
    claims.arg = inbox_loop(batch, name);
    warm_up(&claims, warm);
    pin(0, place->thread);
    pin(bare.pid, place->session);
    pin(claims.pid, place->session);
    for (int i = 0; i < SLICES; i++) {
        run_slice(&bare, i, warm + (i + 1) * slice);
        run_slice(&claims, i, warm + (i + 1) * slice);
    }
    assert_int_equal(sched_setaffinity(0, sizeof anywhere, &anywhere), 0);
    inbox_free(claims.arg);
    bare_close(bare.arg);
    ratios = median_ratios(&claims, &bare);
    (void)snprintf(name, sizeof name, "batches of %3d, %s", batch, place->name);
    report(&claims, &bare, SLICES * slice, name, &ratios);
    return ratios.work;
}

static int64_t number_of(const char *name, int64_t standard)
{
    const char *text = getenv(name);

    return text == NULL ? standard : strtol(text, NULL, 10);
}

static void cost_of_claims(void **state)
{
    const int64_t events = number_of("EVENTS", 100000);
    int processor[2];
    const bool two = two_processors(processor);
    const struct place one_place = {"one processor", processor[0], processor[0]};
    double percent;

    (void)state;
    CHECK(events >= LEAST, "EVENTS: at least %d", LEAST);
    fill(events);
    percent = compare(BATCH, events, &one_place);
    if (two) {
        const struct place two_places = {"two processors", processor[0], processor[1]};
        const double apart = compare(BATCH, events, &two_places);

        percent = apart < percent ? apart : percent;
    }
    (void)compare(1, events / 10, &one_place);
    CHECK(percent >= (double)number_of("AT_LEAST", 0), "batches: %.0f %%", percent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(cost_of_claims)};

    return cmocka_run_group_tests(tests, start_servers, end_servers);
}
