/* What libinbox costs: events/s with one small write for each event, in batches and one by one,
 * beside the same loop without a claim: poll, BEGIN, the writes, COMMIT, the offsets.
 *
 *   EVENTS=n   how many events each run consumes (20000)
 *   RUNS=n     how often each loop is run, in turn (3) */
#include "../integration/inbox_case.h"

#include <sys/resource.h>

#define TOPIC      "bench"
#define PARTITIONS 4
#define BATCH      200

static int64_t events;
static int64_t handled;
static rd_kafka_queue_t
    *commits; /* of the bare loop: one is under way at a time, as in the library */
static int commits_under_way;

/* One run of a loop. */
struct figure {
    double per_s;
    double cpu_us; /* of this process, for each event */
    double db_us;  /* the same of the session in the database: other work does not move it much */
};

/* Processor time of the consumer's session so far, in us. */
static double session_us(void)
{
    char path[64];
    char text[128] = "";
    FILE *f;

    (void)snprintf(path, sizeof path, "/proc/%d/schedstat",
                   (int)pg_int(db, "SELECT max(pid) FROM pg_stat_activity WHERE usename = "
                                   "'consumer'"));
    f = fopen(path, "re");
    CHECK(f != NULL && fgets(text, sizeof text, f) != NULL, "%s cannot be read", path);
    (void)fclose(f);
    return strtod(text, NULL) / 1000; /* it begins with ns */
}

static struct figure measure(void (*turn)(void *arg), void *arg)
{
    struct rusage before;
    struct rusage after;
    double session;
    uint64_t us;

    while (handled == 0) /* joining the group takes as long as it likes */
        turn(arg);
    session = session_us();
    (void)getrusage(RUSAGE_SELF, &before);
    us = test_now_us();
    while (handled < events)
        turn(arg);
    us = test_now_us() - us;
    (void)getrusage(RUSAGE_SELF, &after);
    return (struct figure){.per_s = (double)events * 1e6 / (double)us,
                           .db_us = (session_us() - session) / (double)events,
                           .cpu_us =
                               (double)(1000000 * (after.ru_utime.tv_sec - before.ru_utime.tv_sec +
                                                   after.ru_stime.tv_sec - before.ru_stime.tv_sec) +
                                        after.ru_utime.tv_usec - before.ru_utime.tv_usec +
                                        after.ru_stime.tv_usec - before.ru_stime.tv_usec) /
                               (double)events};
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

static struct figure with_claims(int batch, const char *name)
{
    static const char *const topic = TOPIC;
    struct inbox_params p = params_for(&topic, handle);
    struct inbox *in;
    struct figure figure;

    p.consumer = name;
    p.batch_size = batch;
    p.log_level = INBOX_LOG_WARN;
    handled = 0;
    in = open_inbox(&p);
    figure = measure(turn_with_claims, in);
    inbox_free(in);
    return figure;
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

static struct figure without_claims(int batch, const char *name)
{
    struct bare b = {.rk = bare_consumer(name),
                     .conn = pg_open(&pg, "consumer"),
                     .room = batch,
                     .done = rd_kafka_topic_partition_list_new(PARTITIONS)};
    struct figure figure;

    handled = 0;
    commits = rd_kafka_queue_new(b.rk);
    figure = measure(turn_without_claims, &b);
    while (commits_under_way > 0)
        (void)rd_kafka_queue_poll_callback(commits, 100);
    (void)rd_kafka_consumer_close(b.rk);
    rd_kafka_queue_destroy(commits);
    rd_kafka_topic_partition_list_destroy(b.done);
    rd_kafka_destroy(b.rk);
    PQfinish(b.conn);
    return figure;
}

static void fill(void)
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

static void run(int batch, int turn)
{
    char name[64];
    struct figure claimed;
    struct figure bare;

    (void)snprintf(name, sizeof name, "bare-%d-%d", batch, turn);
    bare = without_claims(batch, name);
    (void)snprintf(name, sizeof name, "inbox-%d-%d", batch, turn);
    claimed = with_claims(batch, name);
    print_message("batches of %3d: %6.0f events/s with claims, %6.0f without: %3.0f %%; this "
                  "process: %.1f us an event, %.1f without; the session: %.1f us, %.1f without\n",
                  batch, claimed.per_s, bare.per_s, 100 * claimed.per_s / bare.per_s,
                  claimed.cpu_us, bare.cpu_us, claimed.db_us, bare.db_us);
}

static int64_t number_of(const char *name, int64_t standard)
{
    const char *text = getenv(name);

    return text == NULL ? standard : strtol(text, NULL, 10);
}

static void cost_of_claims(void **state)
{
    const int64_t runs = number_of("RUNS", 3);

    (void)state;
    events = number_of("EVENTS", 20000);
    fill();
    for (int i = 0; i < runs; i++) {
        run(BATCH, i);
        run(1, i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(cost_of_claims)};

    return cmocka_run_group_tests(tests, start_servers, end_servers);
}
