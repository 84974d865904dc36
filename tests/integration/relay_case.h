/* What the tests of the whole program start from: one Kafka for all, a Postgres of its own for each
 * test, one relay or two, a writer, the oracle. Included by one program at a time. */
#ifndef OUTBOXD_TESTS_RELAY_CASE_H
#define OUTBOXD_TESTS_RELAY_CASE_H

#include "../support/check.h"

#include "../support/load.h"
#include "../support/oracle.h"
#include "../support/outboxd.h"
#include "../support/pg.h"
#include "../support/tmp.h"
#include "one_kafka.h"

#include <signal.h>
#include <stdlib.h>

#define TOPIC "order-events"
#define AT_ONCE_MS                                                                                 \
    4000 /* far below the limit of a stop that waits (20 s), far above what it takes */
#define PATIENT ", shutdown_timeout: 20s"

static struct pg_server pg;
static struct outboxd relay;
static struct outboxd other;
static PGconn *owner;

/* Without a topic. */
static inline int setup(void **state)
{
    (void)state;
    relay = (struct outboxd){0};
    other = (struct outboxd){0};
    pg_create(&pg, NULL);
    pg_apply_schema(&pg);
    load_prepare(&pg);
    owner = pg_open(&pg, NULL);
    return 0;
}

static inline int setup_with_topic(void **state)
{
    (void)setup(state);
    kafka_create_topic(&kafka, TOPIC, 3, NULL);
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    outboxd_kill9(&relay);
    outboxd_kill9(&other);
    if (kafka_partitions(kafka_brokers(&kafka), TOPIC) > 0)
        kafka_delete_topic(&kafka, TOPIC);
    PQfinish(owner);
    pg_drop(&pg);
    return 0;
}

static inline void publish(int first, int last)
{
    pg_exec(owner,
            "SELECT outbox.publish('order', 'k', 'order.placed', json_build_object('seq', i)) "
            "FROM generate_series(%d, %d) i",
            first, last);
}

/* With so much more in the payload, of which compression can make nothing less. */
static inline void publish_padded(const char *key, int seq, int padding)
{
    pg_exec(owner,
            "SELECT outbox.publish('order', '%s', 'order.placed', "
            "json_build_object('seq', %d, 'padding', "
            "(SELECT string_agg(md5(random()::text), '') FROM generate_series(1, %d))))",
            key, seq, padding / 32 + 1);
}

/* SIGTERM; must end with 0. Returns the milliseconds it took. */
static inline int stop_ms(struct outboxd *o)
{
    uint64_t start = test_now_ms();

    assert_true(proc_alive(&o->proc));
    proc_stop(&o->proc, SIGTERM, 60000);
    assert_int_equal(proc_exit_code(&o->proc), 0);
    return (int)(test_now_ms() - start);
}

static inline void assert_stops_at_once(struct outboxd *o)
{
    assert_in_range(stop_ms(o), 0, AT_ONCE_MS);
}

static inline void assert_lease_is_free(void)
{
    assert_int_equal(pg_int(owner, "SELECT count(*) FROM outbox.relay WHERE holder IS NOT NULL"),
                     0);
}

static inline void start_leading(struct outboxd *o)
{
    outboxd_start(o);
    outboxd_wait_log(o, "lease taken", 10000);
}

/* `load` may be NULL: then the table says what was committed. */
static inline void assert_oracle(const struct load *load, int64_t max_duplicates)
{
    struct oracle_params p = {
        .pg = &pg, .brokers = kafka_brokers(&kafka), .load = load, .wait_ms = 10000};

    (void)oracle_assert(&p, max_duplicates);
}

#endif
