/* The shop of deploy/example on real servers: a Postgres with a database for each service, and a
 * Kafka. Orders go their ways; services and relays are killed under load, records come twice; then
 * everything adds up, the orders' states follow from their events, and so does a read model that is
 * new. */
#include "../support/check.h"
#include "../support/effects.h"
#include "../support/shop.h"

#include <librdkafka/rdkafka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define LOAD_ORDERS 5000
#define REPLAY      "sales-replay" /* where kept events are published for the read model */

static struct shop shop;
static char out[OUTBOXD_OUT];
static int placed; /* orders by load() so far, each with its number as the key */

static int start(void **state)
{
    (void)state;
    shop_create(&shop);
    pg_exec(shop.db[SHOP_INVENTORY],
            "INSERT INTO shop.stock (product_id, received, available) VALUES"
            " ('tea', 100000, 100000), ('cup', 50, 50), ('lamp', 4000, 4000)");
    shop_start_all(&shop);
    WAIT_UNTIL(shop_request(&shop, "GET /healthz", "", out, sizeof out) == 200, 15000);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    shop_drop(&shop);
    return 0;
}

/* ---- orders ---------------------------------------------------------------------------------- */

#define ORDER(customer, product, quantity)                                                         \
    "{\"customerId\": \"" customer "\", \"items\": [{\"productId\": \"" product                    \
    "\", \"quantity\": " quantity ", \"unitPrice\": 450}]}"

static const char *order_state(const char *order_id)
{
    return pg_scalar(shop.db[SHOP_ORDER],
                     "SELECT state || coalesce(' ' || reason, '') FROM shop.orders"
                     " WHERE order_id = %s",
                     order_id);
}

static void orders_go_their_ways(void **state)
{
    (void)state;
    assert_int_equal(shop_post(&shop, NULL, ORDER("c-1", "tea", "2"), out, sizeof out), 201);
    assert_contains(out, "\"orderId\" : \"1001\"");
    assert_contains(out, "\"state\" : \"PENDING\"");
    assert_contains(out, "\"totalAmount\" : 900");
    assert_int_equal(shop_post(&shop, NULL, ORDER("c-2", "cup", "51"), out, sizeof out), 201);
    assert_int_equal(shop_post(&shop, NULL, ORDER("c-3", "sofa", "1"), out, sizeof out), 201);
    assert_int_equal(shop_post(&shop, NULL, ORDER("c-7", "cup", "50"), out, sizeof out), 201);
    shop_wait_finished(&shop, 30000);
    assert_string_equal(order_state("1001"), "SHIPPED");
    assert_string_equal(order_state("1002"), "CANCELLED INSUFFICIENT_STOCK");
    assert_string_equal(order_state("1003"), "CANCELLED INSUFFICIENT_STOCK");
    assert_string_equal(order_state("1004"), "CANCELLED CARD_DECLINED");
    shop_assert_books(&shop);

    /* what the refused card had reserved is for others again */
    assert_int_equal(shop_post(&shop, NULL, ORDER("c-4", "cup", "50"), out, sizeof out), 201);
    shop_wait_finished(&shop, 30000);
    assert_string_equal(order_state("1005"), "SHIPPED");
    assert_int_equal(shop_request(&shop, "GET /orders/1005", "", out, sizeof out), 200);
    assert_contains(out, "\"state\" : \"SHIPPED\", \"reason\" : null, \"revision\" : ");
    shop_assert_books(&shop);
}

static void bad_requests_are_told_why(void **state)
{
    static const struct {
        const char *body;
        const char *why;
    } bad[] = {
        {"", "JSON object"},
        {"[]", "JSON object"},
        {"{\"customerId\": \"c-1\", \"customerId\": \"c-2\", \"items\": []}", "JSON object"},
        {"{\"items\": []}", "customerId"},
        {"{\"customerId\": 7, \"items\": []}", "customerId"},
        {"{\"customerId\": \"c-1\"}", "items"},
        {"{\"customerId\": \"c-1\", \"items\": []}", "items"},
        {"{\"customerId\": \"c-1\", \"items\": [7]}", "productId"},
        {ORDER("c-1", "", "1"), "productId"},
        {ORDER("c-1", "tea", "0"), "quantity"},
        {ORDER("c-1", "tea", "1.5"), "quantity"},
        {ORDER("c-1", "tea", "1001"), "quantity"},
        {ORDER("c-1", "tea", "1, \"unitPrice\": -1"), "JSON object"},
        {"{\"customerId\": \"c-1\", \"items\": [{\"productId\": \"tea\", \"quantity\": 1,"
         " \"unitPrice\": -1}]}",
         "unitPrice"},
    };
    const int64_t before = pg_int(shop.db[SHOP_ORDER], "SELECT count(*) FROM shop.orders");

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        const int code = shop_post(&shop, NULL, bad[i].body, out, sizeof out);

        CHECK(code == 400, "%s: %d %s", bad[i].body, code, out);
        assert_contains(out, bad[i].why);
    }
    assert_int_equal(pg_int(shop.db[SHOP_ORDER], "SELECT count(*) FROM shop.orders"), before);
    assert_int_equal(shop_request(&shop, "GET /orders/999", "", out, sizeof out), 404);
    assert_int_equal(shop_request(&shop, "GET /orders/1%27", "", out, sizeof out), 404);
    assert_int_equal(shop_request(&shop, "GET /nothing", "", out, sizeof out), 404);
    assert_int_equal(shop_request(&shop, "GET /orders", "", out, sizeof out), 405);
}

static void a_key_stands_for_one_order(void **state)
{
    char first[OUTBOXD_OUT];

    (void)state;
    assert_int_equal(shop_post(&shop, "k-1", ORDER("c-1", "tea", "1"), first, sizeof first), 201);
    assert_int_equal(shop_post(&shop, "k-1", ORDER("c-1", "tea", "1"), out, sizeof out), 200);
    assert_memory_equal(first, out, strlen("{\"orderId\" : \"1006\","));
    assert_int_equal(shop_post(&shop, "k-1", ORDER("c-1", "tea", "2"), out, sizeof out), 409);
    assert_int_equal(shop_post(&shop, "k-1", ORDER("c-2", "tea", "1"), out, sizeof out), 409);
    assert_int_equal(pg_int(shop.db[SHOP_ORDER],
                            "SELECT count(*) FROM shop.orders WHERE idempotency_key IS NOT NULL"),
                     1);
    shop_wait_finished(&shop, 30000);
    shop_assert_books(&shop);
}

/* ---- load ------------------------------------------------------------------------------------ */

static void revive(void)
{
    for (int i = 0; i < SHOP_SALES; i++)
        if (!proc_alive(&shop.service[i]))
            shop_start_service(&shop, i);
    for (int i = 0; i < SHOP_RELAYS; i++)
        if (!proc_alive(&shop.relay[i].proc))
            outboxd_start(&shop.relay[i]);
}

/* The next order; again with the same key until somebody takes it. */
static void place_next(void)
{
    static const char *const products[] = {"tea", "lamp", "cup"};
    char key[40];
    char body[400];
    const int n = placed++;
    const uint64_t end = test_now_ms() + 20000;
    int code;

    (void)snprintf(key, sizeof key, "load-%d", n);
    (void)snprintf(
        body, sizeof body,
        "{\"customerId\": \"c-%d\", \"items\": [{\"productId\": \"%s\", \"quantity\": %d,"
        " \"unitPrice\": %d}, {\"productId\": \"tea\", \"quantity\": 1, \"unitPrice\": 120}]}",
        n / 3, products[n % 20 == 0 ? 2 : n % 2], 1 + n % 3, 100 + n);
    while ((code = shop_post(&shop, key, body, out, sizeof out)) != 201 && code != 200) {
        CHECK(code == 0 || code == 503, "%d %s", code, out);
        CHECK(test_now_ms() < end, "nobody takes orders: %d %s", code, out);
        if (!proc_alive(&shop.service[SHOP_ORDER]))
            shop_start_service(&shop, SHOP_ORDER);
        test_sleep_ms(5);
    }
}

static void place(int orders)
{
    while (orders-- > 0)
        place_next();
}

static void nobody_waits_for_those_who_are_stopped(void **state)
{
    int64_t begun = pg_int(shop.db[SHOP_ORDER], "SELECT count(*) FROM shop.orders");

    (void)state;
    shop_stop_service(&shop, SHOP_NOTIFICATION);
    shop_stop_service(&shop, SHOP_PAYMENT);
    place(100);
    WAIT_UNTIL(pg_int(shop.db[SHOP_ORDER],
                      "SELECT count(*) FROM shop.orders WHERE state IN ('PLACED', 'CANCELLED')"
                      " AND order_id > %d",
                      1000 + (int)begun) == 100,
               20000);
    assert_int_equal(
        pg_int(shop.db[SHOP_ORDER], "SELECT count(*) FROM shop.orders WHERE state = 'PENDING'"), 0);
    shop_stop_service(&shop, SHOP_INVENTORY);
    place(50);
    revive();
    shop_wait_finished(&shop, 30000);
    shop_assert_books(&shop);
}

static void servers_that_are_away_are_waited_for(void **state)
{
    (void)state;
    kafka_pause(&shop.kafka, 0); /* nobody answers: orders are taken all the same */
    place(50);
    kafka_continue(&shop.kafka, 0);
    place(50);
    for (int i = 0; i < SHOP_SERVICES; i++)
        PQfinish(shop.db[i]);
    pg_crash(&shop.pg);
    WAIT_UNTIL(shop_request(&shop, "GET /healthz", "", out, sizeof out) == 503, 10000);
    assert_int_equal(shop_post(&shop, NULL, ORDER("c-1", "tea", "1"), out, sizeof out), 503);
    assert_contains(out, "try again with the same Idempotency-Key");
    pg_start(&shop.pg);
    shop_open_databases(&shop);
    WAIT_UNTIL(shop_request(&shop, "GET /healthz", "", out, sizeof out) == 200, 10000);
    place(10);
    shop_wait_finished(&shop, 30000);
    shop_assert_books(&shop);
    for (int i = 0; i < SHOP_SALES; i++)
        assert_true(proc_alive(&shop.service[i]));
}

static void produce_again(rd_kafka_t *writer, const rd_kafka_message_t *m)
{
    rd_kafka_headers_t *headers = NULL;
    rd_kafka_resp_err_t error;

    assert_int_equal(rd_kafka_message_headers(m, &headers), 0);
    error = rd_kafka_producev(
        writer, RD_KAFKA_V_TOPIC(rd_kafka_topic_name(m->rkt)), RD_KAFKA_V_PARTITION(m->partition),
        RD_KAFKA_V_KEY(m->key, m->key_len), RD_KAFKA_V_VALUE(m->payload, m->len),
        RD_KAFKA_V_HEADERS(rd_kafka_headers_copy(headers)),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
    CHECK(error == RD_KAFKA_RESP_ERR_NO_ERROR, "%s", rd_kafka_err2str(error));
    (void)rd_kafka_poll(writer, 0);
}

/* What the topic holds now once more, byte for byte, each record in its partition. */
static void inject_duplicates(const char *topic)
{
    const char *brokers = kafka_brokers(&shop.kafka);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_t *reader;
    rd_kafka_t *writer;
    rd_kafka_topic_t *handle;

    (void)rd_kafka_conf_set(conf, "bootstrap.servers", brokers, NULL, 0);
    writer = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_dup(conf), NULL, 0);
    reader = rd_kafka_new(RD_KAFKA_CONSUMER, conf, NULL, 0);
    assert_true(writer != NULL && reader != NULL);
    handle = rd_kafka_topic_new(reader, topic, NULL);
    for (int p = 0; p < 6; p++) {
        const int64_t end = kafka_partition_end(brokers, topic, p);

        assert_true(end > 0);
        assert_int_equal(rd_kafka_consume_start(handle, p, RD_KAFKA_OFFSET_BEGINNING), 0);
        for (int64_t next = 0; next < end;) {
            rd_kafka_message_t *m = rd_kafka_consume(handle, p, 20000);

            CHECK(m != NULL && m->err == 0, "%s [%d] ends before offset %d", topic, p, (int)end);
            next = m->offset + 1;
            produce_again(writer, m);
            rd_kafka_message_destroy(m);
        }
        (void)rd_kafka_consume_stop(handle, p);
    }
    assert_int_equal(rd_kafka_flush(writer, 20000), 0);
    rd_kafka_topic_destroy(handle);
    rd_kafka_destroy(reader);
    rd_kafka_destroy(writer);
}

/* A service has done all that lies in its topics. */
static void wait_for(int which, const char *const *topics)
{
    const struct effects_params p = {
        .brokers = kafka_brokers(&shop.kafka), .consumer = shop_names[which], .topics = topics};

    WAIT_UNTIL(effects_lag(&p) == 0, 30000);
}

static void wait_for_all(void)
{
    static const char *const order[] = {"order-events", NULL};
    static const char *const inventory[] = {"inventory-events", NULL};
    static const char *const answers[] = {"inventory-events", "payment-events", NULL};

    wait_for(SHOP_ORDER, answers);
    wait_for(SHOP_INVENTORY, order);
    wait_for(SHOP_PAYMENT, inventory);
    wait_for(SHOP_NOTIFICATION, order);
}

static void rebuild(const char *from, int exit_code)
{
    const int rc = shop_rebuild(&shop, (const char *const[]){"--from", from, NULL}, out);

    CHECK(rc == exit_code, "from the %s: exit code %d: %s", from, rc, out);
}

/* Kills one after the other, services and relays, while orders come; whoever is dead is started
 * again some orders later. */
static void kills_under_load_leave_no_trace(void **state)
{
    enum { VICTIMS = 7, EVERY = 200, DOWN = 40 };
    int kills = 0;

    (void)state;
    for (int i = 1; i <= LOAD_ORDERS; i++) {
        place_next();
        if (i % EVERY == 0) {
            const int victim = kills++ % VICTIMS;

            if (victim < SHOP_SALES)
                proc_kill9(&shop.service[victim]);
            else
                outboxd_kill9(&shop.relay[victim - SHOP_SALES]);
        }
        if (i % EVERY == DOWN)
            revive();
        if (i == LOAD_ORDERS / 2) {
            inject_duplicates("order-events");
            inject_duplicates("inventory-events");
            inject_duplicates("payment-events");
            rebuild("table", 0); /* while the orders are on their way */
            rebuild("topic", 0);
        }
    }
    revive();
    shop_wait_finished(&shop, 60000);
    wait_for_all();
    assert_true(kafka_record_count(kafka_brokers(&shop.kafka), "order-events") >
                pg_int(shop.db[SHOP_ORDER], "SELECT count(*) FROM outbox.event"));
    assert_int_equal(
        pg_int(shop.db[SHOP_ORDER],
               "SELECT count(*) FROM shop.orders WHERE idempotency_key LIKE 'load-%%'"),
        placed);
    assert_true(pg_int(shop.db[SHOP_ORDER], "SELECT count(*) FROM shop.orders WHERE reason ="
                                            " 'INSUFFICIENT_STOCK'") > LOAD_ORDERS / 50);
    assert_true(pg_int(shop.db[SHOP_ORDER], "SELECT count(*) FROM shop.orders WHERE reason ="
                                            " 'CARD_DECLINED'") > LOAD_ORDERS / 50);
    shop_assert_books(&shop);
}

/* ---- event sourcing -------------------------------------------------------------------------- */

static void states_follow_from_their_events(void **state)
{
    (void)state;
    rebuild("table", 0);
    assert_contains(out, ": 0 differ (0 events came more than once, 0 are newer, 0 are no such");
    rebuild("topic", 0);
    assert_contains(out, ": 0 differ (");
    assert_lacks(out, "(0 events came more than once");
    assert_int_equal(
        shop_rebuild(&shop, (const char *const[]){"--from", "table", "1004", NULL}, out), 0);
    assert_contains(out, "  1  order.placed     PENDING\n  2  order.confirmed  PLACED\n"
                         "  3  order.cancelled  CANCELLED\n1 orders rebuilt from 3 events");

    /* an order whose first event is gone cannot be told from its others */
    pg_exec(shop.db[SHOP_ORDER], "CREATE TEMP TABLE saved AS SELECT * FROM outbox.event"
                                 " WHERE aggregate_id = '1001' AND event_type = 'order.placed';"
                                 "DELETE FROM outbox.event WHERE id = (SELECT id FROM saved)");
    rebuild("table", 1);
    assert_contains(out, "order 1001 differs\n");
    assert_contains(out, "  its events say  nothing\n");
    pg_exec(shop.db[SHOP_ORDER],
            "INSERT INTO outbox.event OVERRIDING SYSTEM VALUE SELECT * FROM saved");

    /* a table that is not what its events say */
    pg_exec(shop.db[SHOP_ORDER],
            "UPDATE shop.orders SET total_amount = total_amount + 1 WHERE order_id = 1001");
    rebuild("table", 1);
    assert_contains(out, "order 1001 differs\n");
    assert_contains(out, ": 1 differ (");
    rebuild("topic", 1);
    assert_contains(out, ": 1 differ (");
    pg_exec(shop.db[SHOP_ORDER],
            "UPDATE shop.orders SET total_amount = total_amount - 1 WHERE order_id = 1001");
    assert_int_equal(shop_rebuild(&shop, (const char *const[]){"--from", "memory", NULL}, out), 64);
}

/* Kafka's retention: all that lies in the topic is gone. */
static void empty_topic(const char *topic)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(6);
    rd_kafka_DeleteRecords_t *request;
    rd_kafka_queue_t *queue;
    rd_kafka_event_t *answer;
    rd_kafka_t *rk;

    (void)rd_kafka_conf_set(conf, "bootstrap.servers", kafka_brokers(&shop.kafka), NULL, 0);
    rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, NULL, 0);
    assert_non_null(rk);
    for (int i = 0; i < 6; i++)
        rd_kafka_topic_partition_list_add(list, topic, i)->offset = RD_KAFKA_OFFSET_END;
    request = rd_kafka_DeleteRecords_new(list);
    queue = rd_kafka_queue_new(rk);
    rd_kafka_DeleteRecords(rk, &request, 1, NULL, queue);
    answer = rd_kafka_queue_poll(queue, 20000);
    assert_non_null(answer);
    CHECK(rd_kafka_event_error(answer) == 0, "%s", rd_kafka_event_error_string(answer));
    rd_kafka_event_destroy(answer);
    rd_kafka_DeleteRecords_destroy(request);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(rk);
}

static const char *shipped_by_product(void)
{
    return pg_scalar(
        shop.db[SHOP_ORDER],
        "SELECT string_agg(format('%%s %%s %%s %%s', product_id, orders, quantity, amount), ', '"
        " ORDER BY product_id) FROM (SELECT i->>'productId' AS product_id,"
        " count(DISTINCT order_id) AS orders, sum((i->>'quantity')::bigint) AS quantity,"
        " sum((i->>'quantity')::bigint * (i->>'unitPrice')::bigint) AS amount FROM shop.orders,"
        " jsonb_array_elements(items) AS i WHERE state = 'SHIPPED' GROUP BY 1) AS t");
}

static const char *read_model(void)
{
    const char *text = pg_scalar(
        shop.db[SHOP_SALES],
        "SELECT coalesce(string_agg(format('%%s %%s %%s %%s', product_id, orders, quantity,"
        " amount), ', ' ORDER BY product_id), '') FROM shop.sale");

    return text;
}

/* Half of the past comes by the topic alone, all of it by the replay, and what happens meanwhile by
 * both: each event counts once. */
static void a_new_read_model_is_built_while_the_shop_runs(void **state)
{
    static const char *const topics[] = {"order-events", REPLAY, NULL};
    int rc;

    (void)state;
    empty_topic("order-events");
    kafka_create_topic(&shop.kafka, REPLAY, 6, NULL);
    place(200);
    shop_start_service_with(&shop, SHOP_SALES, topics);
    rc = outboxd_command(&shop.relay[SHOP_ORDER], "replay",
                         (const char *const[]){"--type", "order.shipped", "--topic", REPLAY,
                                               "--rate", "0", "--yes", NULL},
                         out);
    CHECK(rc == 0, "exit code %d: %s", rc, out);
    proc_kill9(&shop.service[SHOP_SALES]);
    place(200);
    shop_start_service_with(&shop, SHOP_SALES, topics);
    shop_wait_finished(&shop, 30000);
    wait_for_all();
    wait_for(SHOP_SALES, topics);
    WAIT_UNTIL(strcmp(read_model(), shipped_by_product()) == 0, 15000);
    shop_assert_books(&shop);
    rebuild("table", 0);
}

static void a_wrong_environment_is_told(void **state)
{
    static const struct {
        const char *env;
        const char *why;
    } wrong[] = {
        {"KAFKA_BROKERS=b:1", "DATABASE_URL is not set"},
        {"DATABASE_URL=postgres://x", "KAFKA_BROKERS is not set"},
        {"LOG_LEVEL=loud", "LOG_LEVEL=loud: "},
        {"KAFKA_PROPERTIES=linger", "name=value"},
        {"KAFKA_PROPERTIES=no.such=1", "no.such"},
        {"LISTEN=nowhere", "LISTEN=nowhere"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        const int rc = shop_try_order(&shop, wrong[i].env, i >= 2, out);

        CHECK(rc == 64 || rc == 78, "%s: exit code %d: %s", wrong[i].env, rc, out);
        assert_contains(out, wrong[i].why);
    }
}

static void everybody_ends_in_order(void **state)
{
    (void)state;
    for (int i = 0; i < SHOP_SERVICES; i++)
        shop_stop_service(&shop, i);
    for (int i = 0; i < SHOP_SERVICES; i++)
        assert_true(file_holds(shop.log[i], "msg=\"so far\" handled="));
    for (int i = 0; i < SHOP_RELAYS; i++)
        assert_int_equal(outboxd_stop(&shop.relay[i]), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(orders_go_their_ways),
        cmocka_unit_test(bad_requests_are_told_why),
        cmocka_unit_test(a_key_stands_for_one_order),
        cmocka_unit_test(nobody_waits_for_those_who_are_stopped),
        cmocka_unit_test(servers_that_are_away_are_waited_for),
        cmocka_unit_test(kills_under_load_leave_no_trace),
        cmocka_unit_test(states_follow_from_their_events),
        cmocka_unit_test(a_new_read_model_is_built_while_the_shop_runs),
        cmocka_unit_test(a_wrong_environment_is_told),
        cmocka_unit_test(everybody_ends_in_order),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
