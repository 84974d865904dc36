/* What the fault tests of libinbox share: a database, a broker, a feed of events of which the
 * oracle knows what must become of them, and members of a group as processes. Included by one
 * program at a time. */
#ifndef OUTBOXD_TESTS_INBOX_GROUP_CASE_H
#define OUTBOXD_TESTS_INBOX_GROUP_CASE_H

#include "../support/check.h"
#include "../support/effects.h"
#include "../support/kafka.h"
#include "../support/member.h"
#include "../support/pg.h"

#include "base/str.h"

#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>

static struct pg_server pg;
static struct kafka kafka;
static PGconn *db; /* superuser */
static rd_kafka_t *producer;

#define WAIT_MS 60000 /* for what should take a moment */

/* ---- servers --------------------------------------------------------------------------------- */

static inline rd_kafka_t *new_producer(void)
{
    const char *const settings[][2] = {{"bootstrap.servers", kafka_brokers(&kafka)},
                                       {"enable.idempotence", "true"},
                                       {"message.timeout.ms", "0"},
                                       {"linger.ms", "1"},
                                       {"reconnect.backoff.max.ms", "200"},
                                       {"log_level", "0"}};
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char text[256] = "";
    rd_kafka_t *rk;

    for (size_t i = 0; i < ARRAY_LEN(settings); i++)
        (void)rd_kafka_conf_set(conf, settings[i][0], settings[i][1], text, sizeof text);
    rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof text);
    CHECK(rk != NULL, "%s", text);
    return rk;
}

static inline int start_servers(void **state)
{
    static const char *const settings[] = {"group.min.session.timeout.ms=500", NULL};

    (void)state;
    pg_create(&pg, NULL);
    pg_apply_schema(&pg);
    pg_apply_inbox(&pg);
    db = pg_open(&pg, NULL);
    effects_prepare(db);
    kafka_create(&kafka, &(struct kafka_params){.settings = settings});
    producer = new_producer();
    return 0;
}

static inline int end_servers(void **state)
{
    (void)state;
    if (producer != NULL)
        rd_kafka_destroy(producer);
    PQfinish(db);
    kafka_drop(&kafka);
    pg_drop(&pg);
    return 0;
}

static inline void database_comes_back(void)
{
    PQfinish(db);
    pg_start(&pg);
    db = pg_open(&pg, NULL);
}

/* ---- the feed -------------------------------------------------------------------------------- */

/* A repeatable choice: splitmix64. */
static uint64_t chance_state = 1;

static inline int below(int n)
{
    uint64_t z = (chance_state += 0x9e3779b97f4a7c15ULL);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return (int)((z ^ (z >> 31)) % (uint64_t)n);
}

#define FEED_KEYS 24

struct fed {
    int key;
    int seq;
    const char *what; /* support/effects.h; "" for most */
};

static struct feed {
    const char *topic;
    int partitions;
    const char *const *whats; /* NULL-terminated; NULL: none */
    int trouble;              /* so many of a hundred events do one of them */
    int again;                /* so many of a hundred are sent again, later */
    bool everywhere;          /* each event to each partition, in random order */
    struct fed *fed;
    int count, room;
    int seq[FEED_KEYS];
} feed;

/* What is taken is used up: begin_feed comes first. */
static inline void begin_feed(const char *topic, int partitions)
{
    char dead_letters[64];

    free(feed.fed);
    feed = (struct feed){.topic = topic, .partitions = partitions, .again = 10};
    effects_reset(db);
    kafka_create_topic(&kafka, topic, partitions, NULL);
    (void)snprintf(dead_letters, sizeof dead_letters, "%s.dlt", topic);
    kafka_create_topic(&kafka, dead_letters, 1, NULL);
}

static inline void feed_id(int number, char out[40])
{
    (void)snprintf(out, 40, "%08x-0000-7000-8000-%012d", (unsigned)number * 2654435761U, number);
}

static inline void feed_send(int number, int partition)
{
    const struct fed *fed = &feed.fed[number];
    const bool bad = strcmp(fed->what, "bad") == 0;
    rd_kafka_headers_t *headers = rd_kafka_headers_new(4);
    char key[32];
    char value[64];
    char id[40];
    rd_kafka_resp_err_t code;

    feed_id(number, id);
    (void)snprintf(key, sizeof key, "key-%d", fed->key);
    (void)snprintf(value, sizeof value, "{\"seq\": %d}", fed->seq);
    (void)rd_kafka_header_add(headers, bad ? "mark" : "event-id", -1, id, -1);
    (void)rd_kafka_header_add(headers, "do", -1, fed->what, -1);
    code = rd_kafka_producev(
        producer, RD_KAFKA_V_TOPIC(feed.topic), RD_KAFKA_V_PARTITION(partition),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(key, strlen(key)),
        RD_KAFKA_V_VALUE(value, strlen(value)), RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
    CHECK(code == RD_KAFKA_RESP_ERR_NO_ERROR, "%s", rd_kafka_err2str(code));
}

static inline const char *feed_what(void)
{
    int n = 0;

    while (feed.whats != NULL && feed.whats[n] != NULL)
        n++;
    return n > 0 && below(100) < feed.trouble ? feed.whats[below(n)] : "";
}

/* The next event of the key, which does that; its number. */
static inline int feed_event(int key, const char *what)
{
    const int number = feed.count;

    if (feed.count == feed.room) {
        feed.room = feed.room == 0 ? 1024 : feed.room * 2;
        feed.fed = xrealloc(feed.fed, (size_t)feed.room * sizeof *feed.fed);
    }
    feed.fed[feed.count++] = (struct fed){.key = key, .seq = ++feed.seq[key], .what = what};
    if (feed.everywhere) {
        const int first = below(feed.partitions);

        for (int i = 0; i < feed.partitions; i++)
            feed_send(number, (first + i) % feed.partitions);
    } else {
        feed_send(number, key % feed.partitions);
    }
    return number;
}

static inline void feed_some(int count)
{
    while (count-- > 0) {
        (void)feed_event(below(FEED_KEYS), feed_what());
        if (below(100) < feed.again && !feed.everywhere) {
            /* mostly of the last ones: in the same batch, or behind a failure */
            const int back = below(4) == 0 ? feed.count : feed.count < 20 ? feed.count : 20;
            const int number = feed.count - 1 - below(back);

            if (strcmp(feed.fed[number].what, "bad") != 0)
                feed_send(number, feed.fed[number].key % feed.partitions);
        }
    }
    (void)rd_kafka_poll(producer, 0);
}

/* Feeds on until the condition holds. */
#define FEED_UNTIL(cond)                                                                           \
    do {                                                                                           \
        const uint64_t end_ = test_now_ms() + WAIT_MS;                                             \
        while (!(cond)) {                                                                          \
            CHECK(test_now_ms() < end_, "not within %d ms: %s", WAIT_MS, #cond);                   \
            feed_some(2);                                                                          \
            test_sleep_ms(8);                                                                      \
        }                                                                                          \
    } while (0)

/* All that was fed, into the table sent. */
static inline void feed_tell(void)
{
    struct str sql = {0};

    assert_int_equal(rd_kafka_flush(producer, WAIT_MS), RD_KAFKA_RESP_ERR_NO_ERROR);
    str_puts(&sql, "TRUNCATE sent; INSERT INTO sent (event_id, mark, key, seq, what) VALUES ");
    for (int i = 0; i < feed.count; i++) {
        const bool bad = strcmp(feed.fed[i].what, "bad") == 0;
        char id[40];

        feed_id(i, id);
        str_printf(
            &sql, bad ? "%s(NULL, '%s', 'key-%d', %d, '%s')" : "%s('%s', NULL, 'key-%d', %d, '%s')",
            i == 0 ? "" : ",", id, feed.fed[i].key, feed.fed[i].seq, feed.fed[i].what);
    }
    CHECK(feed.count > 0, "nothing was fed");
    pg_exec(db, "%s", str_text(&sql));
    str_release(&sql);
}

/* ---- members --------------------------------------------------------------------------------- */

/* Arguments of all members of the test: quick to notice who is gone. */
static inline const char *const *common_args(void)
{
    static char text[5][320];
    static const char *args[16];
    size_t n = 0;

    (void)snprintf(text[0], sizeof text[0], "brokers=%s", kafka_brokers(&kafka));
    (void)snprintf(text[1], sizeof text[1], "conninfo=%s",
                   pg_url(&pg, "consumer", "postgres").text);
    (void)snprintf(text[2], sizeof text[2], "consumer=%s", feed.topic);
    (void)snprintf(text[3], sizeof text[3], "topic=%s", feed.topic);
    for (int i = 0; i < 4; i++)
        args[n++] = text[i];
    args[n++] = "batch=20";
    args[n++] = "attempts=4";
    args[n++] = "backoff_ms=5";
    args[n++] = "session.timeout.ms=600";
    args[n++] = "heartbeat.interval.ms=150";
    args[n++] = "reconnect.backoff.max.ms=500";
    args[n] = NULL;
    return args;
}

/* `args` (NULL or NULL-terminated) follow those of all. */
static inline void join(struct member *m, const char *const *args)
{
    member_start(m, common_args(), args);
}

static inline struct effects_report judge_feed(bool any_order)
{
    static char dead_letters[64];
    const char *const topics[] = {feed.topic, NULL};
    const char *const letters[] = {dead_letters, NULL};
    struct effects_report r;

    (void)snprintf(dead_letters, sizeof dead_letters, "%s.dlt", feed.topic);
    feed_tell();
    r = effects_assert(&(struct effects_params){.conn = db,
                                                .brokers = kafka_brokers(&kafka),
                                                .consumer = feed.topic,
                                                .topics = topics,
                                                .dead_letters = letters,
                                                .any_order = any_order,
                                                .wait_ms = WAIT_MS});
    print_message("%lld events, %lld effects, %lld dead letters\n", (long long)r.sent,
                  (long long)r.effects, (long long)r.letters);
    return r;
}

static inline int64_t effect_count(void)
{
    return pg_int(db, "SELECT count(*) FROM effect");
}

static inline bool has_died(struct member *m)
{
    return !proc_alive(&m->proc);
}

#endif
