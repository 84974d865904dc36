/* The demo of the whole: four services, three relays, a few hundred orders, and faults all along;
 * half-way a read model joins, which begins with the first event.
 *
 *   demo                         private servers; SEED=n repeats the choice of orders and faults
 *   BROKERS=host:port demo       a Kafka of yours, in which the demo's topics must not exist; they
 *                                are removed at the end
 *   ORDERS=n DEMO_SECONDS=n demo   so many orders (400), within so many seconds (30, at least 10)
 *   KEEP=1 demo                  leaves the folder with configuration and logs
 *
 * The steps stand in main, top to bottom. Exit code 0 when the table at the end adds up; 1 when
 * not; 69 when no broker answers; 70 when a part of the demo itself fails; 128 + signal when it was
 * interrupted. Whatever happens, its processes and its folder are gone afterwards. */
#include "../../demo/interrupt.h"
#include "../../demo/say.h"
#include "books.h"
#include "customers.h"
#include "faults.h"
#include "picture.h"
#include "result.h"
#include "shop.h"
#include "topics.h"

#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define SPAN_S    30    /* from the first order to the last, and of the faults */
#define FINISH_MS 60000 /* for the rest, when nothing is broken any more */
#define QUIET_MS  1000  /* at the end, for what should not come any more */

static struct shop shop;
static struct topics topics;
static struct books books;
static struct customers customers;
static struct faults faults;
static bool remove_topics; /* from the user's brokers */

static void leave_brokers(void)
{
    if (remove_topics)
        topics_remove(shop.brokers);
    remove_topics = false;
}

/* ---- set-up ---- */

static uint64_t number_from(const char *name, uint64_t otherwise, uint64_t low, uint64_t high)
{
    const char *text = getenv(name);
    char *end;
    uint64_t number;

    if (text == NULL || text[0] == '\0')
        return otherwise;
    number = strtoull(text, &end, 10);
    if (*end != '\0' || number < low || number > high) {
        (void)fprintf(stderr, "demo: %s=%s is no number from %llu on\n", name, text,
                      (unsigned long long)low);
        exit(ERR_USAGE);
    }
    return number;
}

static uint64_t draw_seed(void)
{
    uint32_t seed = 0;

    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        give_up(NULL, "no chance here");
    return seed % 100000 + 1;
}

static void start_servers(void)
{
    const char *brokers = getenv("BROKERS");
    const bool ours = brokers == NULL || brokers[0] == '\0';
    PGconn *db;

    postgres_start(&shop.postgres, shop.dir);
    db = postgres_open(&shop.postgres, "postgres", "postgres");
    say_step("Postgres", "version %s, private, in %s/pg", PQparameterStatus(db, "server_version"),
             shop.dir);
    say_more("a database for each service");
    PQfinish(db);
    if (ours)
        say_step("Kafka", "private, one broker (make demo BROKERS=host:port uses yours)");
    else
        say_step("Kafka", "your brokers");
    if (ours)
        kafka_create(&shop.kafka, NULL);
    (void)snprintf(shop.brokers, sizeof shop.brokers, "%s",
                   ours ? kafka_brokers(&shop.kafka) : brokers);
    if (!ours) {
        topics_check_free(shop.brokers);
        interrupt_init(); /* there is something to remove from now on */
        remove_topics = true;
    }
    topics_make(shop.brokers);
    say_more("at %s; topics order-events, inventory-events, payment-events", shop.brokers);
}

/* Just enough for all orders but those of what is sold out, so that a unit that is taken twice is
 * missed. */
static void fill_stock(void)
{
    PGconn *db = postgres_open(&shop.postgres, "inventory", "postgres");

    for (int i = 0; i < PRODUCTS; i++) {
        const long units = customers_units(&customers, FATE_SHIPPED, i) +
                           customers_units(&customers, FATE_CARD_DECLINED, i);
        char sql[200];
        (void)snprintf(sql, sizeof sql,
                       "INSERT INTO shop.stock (product_id, received, available)"
                       " VALUES ('%s', %ld, %ld)",
                       products[i].id, units, units);
        postgres_exec(db, sql);
    }
    PQfinish(db);
}

static void start_everybody(void)
{
    shop_write_config(&shop);
    shop_migrate(&shop);
    fill_stock();
    say_step("Schema", "outboxd migrate, outboxd migrate --inbox, and deploy/example/sql");
    for (int i = 0; i < PARTS; i++)
        if (i != SERVICE_SALES)
            shop_start_part(&shop, i);
    say_step("Services", "order (http://127.0.0.1:%d), inventory, payment, notification;",
             shop.http_port);
    say_more("beside the first three a relay: outboxd run -c order.yaml, ...");
}

/* ---- the run ---- */

static void turn(void)
{
    const char *failure = customers_failure(&customers);
    int started;

    interrupt_check();
    (void)topics_turn(&topics, 20);
    started = shop_turn(&shop);
    if (started >= 0)
        picture_news("%s runs again", shop.part[started].name);
    books_turn(&books);
    picture_turn();
    if (failure != NULL)
        give_up(shop.part[SERVICE_ORDER].log, "%s", failure);
}

/* Nothing is on its way any more: every order is finished, every event is in its topic, and every
 * service has done with what lies there. */
static bool is_finished(void)
{
    bool finished =
        books.state[STATE_SHIPPED] + books.state[STATE_CANCELLED] == (long)customers.count;

    for (int i = 0; i < RELAYS; i++)
        finished = finished && books.committed[i] == topics.events[i];
    for (int i = 0; i < SERVICES; i++)
        finished = finished && topics.waiting[i] == 0;
    return finished;
}

static void run(uint64_t seed)
{
    uint64_t end;
    bool all_done = false;

    picture_start(&(struct picture){
        .shop = &shop, .topics = &topics, .books = &books, .customers = &customers, .seed = seed});
    customers_start(&customers, shop.http_port);
    faults_start(&faults);
    while (!all_done || atomic_load(&customers.taken) < customers.count) {
        turn();
        all_done = faults_turn(&faults, &shop, &topics, &customers);
    }
    picture_news("all orders are taken, and nothing is broken any more");
    end = test_now_ms() + FINISH_MS;
    while (!is_finished() && test_now_ms() < end)
        turn();
    end = test_now_ms() + QUIET_MS;
    while (test_now_ms() < end)
        turn();
    picture_end();
}

static void end(void)
{
    shop_end(&shop);
    while (topics_turn(&topics, 300) > 0)
        interrupt_check();
    books_count(&books);
    say_step("End", "services and relays were told to (SIGTERM), and all exit with 0");
}

int main(void)
{
    const uint64_t seed = number_from("SEED", draw_seed(), 1, UINT64_MAX);
    const size_t orders = (size_t)number_from("ORDERS", 400, 100, 100000);
    const uint32_t span_s = (uint32_t)number_from("DEMO_SECONDS", SPAN_S, 10, 3600);
    bool good;

    say_init();
    if (atexit(leave_brokers) != 0) /* runs after what shop_init registers: nobody writes then */
        return ERR_SOFTWARE;
    shop_init(&shop);
    say_title("outboxd: orders through four services, while services and relays are killed");
    customers_init(&customers, orders, span_s * 1000, seed);
    faults_init(&faults, seed, span_s * 1000);
    start_servers();
    start_everybody();
    interrupt_init();
    books_open(&books, &shop);
    topics_open(&topics, shop.brokers);
    say_step("Orders", "%zu within %d s: %zu of something sold out, %zu with a refused card",
             orders, (int)span_s, customers_count(&customers, FATE_OUT_OF_STOCK),
             customers_count(&customers, FATE_CARD_DECLINED));
    say_more("SEED=%llu repeats the choice of orders and faults", (unsigned long long)seed);
    say_gap();
    run(seed);
    end();
    good = result_tell(&(struct result_params){.shop = &shop,
                                               .customers = &customers,
                                               .faults = &faults,
                                               .topics = &topics,
                                               .books = &books});
    customers_release(&customers);
    topics_close(&topics);
    books_close(&books);
    return good ? 0 : 1;
}
