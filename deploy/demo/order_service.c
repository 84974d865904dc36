/* The order service of the demo: an ordinary service with a database of its own. It knows nothing
 * of Kafka and nothing of outboxd but one SQL function: what it publishes, it publishes inside the
 * transaction that changes its tables.
 *
 *   order_service CONNINFO WORKERS PAUSE_MS      until SIGTERM
 *
 * Each worker places, pays and cancels orders, and rolls some transactions back on purpose. What
 * became of each event is written to stdout, one line each, for the one who checks the topic
 * afterwards:
 *
 *   committed EVENT_ID ORDER_ID VERSION TYPE MICROSECONDS      COMMIT had returned at this time
 * (since 1970) rolledback EVENT_ID ORDER_ID VERSION TYPE MICROSECONDS
 *
 * VERSION counts the events of one order, taken under the order's row lock: the order in which they
 * must appear. Any failure of the database ends the service with one line on stderr. */
#include <libpq-fe.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_WORKERS 32
#define MAX_EVENTS  2 /* of one transaction */

/* The service's tables; money is in minor units (cents). */
static const char tables_sql[] =
    "CREATE TABLE IF NOT EXISTS orders ("
    " number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer_id text NOT NULL,"
    " items json NOT NULL, total_amount bigint NOT NULL, status text NOT NULL,"
    " version int NOT NULL);"
    "CREATE TABLE IF NOT EXISTS payments ("
    " id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    " order_number bigint NOT NULL REFERENCES orders, amount bigint NOT NULL)";

static const char insert_order_sql[] =
    "INSERT INTO orders (customer_id, items, total_amount, status, version)"
    " VALUES ($1, $2, $3, 'placed', 1) RETURNING number, customer_id, total_amount, status, "
    "version";
static const char lock_order_sql[] =
    "SELECT number, customer_id, total_amount, status, version FROM orders WHERE number = $1"
    " FOR UPDATE";
static const char update_order_sql[] =
    "UPDATE orders SET status = $2, version = version + 1 WHERE number = $1"
    " RETURNING number, customer_id, total_amount, status, version";
static const char insert_payment_sql[] =
    "INSERT INTO payments (order_number, amount) VALUES ($1, $2)";
static const char publish_sql[] = "SELECT outbox.publish('order', $1, $2, $3, $4)";

struct noted_event {
    char event_id[40];
    char order_id[40];
    int version;
    const char *type;
};

struct worker {
    PGconn *db;
    unsigned seed;
    useconds_t pause_us;
    struct noted_event events[MAX_EVENTS]; /* of the present transaction */
    int event_count;
};

struct order {
    char number[24];
    char id[40]; /* "order-" and the number: the key of its events */
    char customer_id[24];
    char total_amount[24];
    char status[16];
    int version;
};

static volatile sig_atomic_t stopping;
static atomic_long newest_order; /* the highest number seen; others pick theirs near it */

static void on_stop(int sig)
{
    (void)sig;
    stopping = 1;
}

static unsigned chance(struct worker *w, unsigned below)
{
    return (unsigned)rand_r(&w->seed) % below;
}

static long long wall_us(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_REALTIME, &ts);
    return (long long)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* Runs one statement; the service has no plan for a database that fails. The caller clears the
 * result. */
static PGresult *run(PGconn *db, const char *sql, int count, const char *const *values)
{
    PGresult *r = PQexecParams(db, sql, count, NULL, values, NULL, NULL, 0);

    if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK) {
        (void)fprintf(stderr, "order_service: %s", PQerrorMessage(db));
        exit(1);
    }
    return r;
}

static void begin(struct worker *w)
{
    w->event_count = 0;
    PQclear(run(w->db, "BEGIN", 0, NULL));
}

/* Ends the transaction and tells what became of its events. */
static void finish(struct worker *w, bool commit)
{
    PGresult *r = run(w->db, commit ? "COMMIT" : "ROLLBACK", 0, NULL);
    const bool committed = strcmp(PQcmdStatus(r), "COMMIT") == 0;
    const long long now = wall_us();

    PQclear(r);
    for (int i = 0; i < w->event_count; i++) {
        const struct noted_event *e = &w->events[i];
        (void)printf("%s %s %s %d %s %lld\n", committed ? "committed" : "rolledback", e->event_id,
                     e->order_id, e->version, e->type, now);
    }
}

/* What this demo is about: the event is one more row of the same transaction. */
static void publish(struct worker *w, const struct order *o, const char *type, const char *payload)
{
    struct noted_event *e = &w->events[w->event_count++];
    char headers[128];
    PGresult *r;

    (void)snprintf(headers, sizeof headers,
                   "{\"traceparent\": \"00-%08x%08x%08x%08x-%08x%08x-01\"}", chance(w, ~0U),
                   chance(w, ~0U), chance(w, ~0U), chance(w, ~0U), chance(w, ~0U), chance(w, ~0U));
    r = run(w->db, publish_sql, 4, (const char *const[]){o->id, type, payload, headers});
    (void)snprintf(e->event_id, sizeof e->event_id, "%s", PQgetvalue(r, 0, 0));
    PQclear(r);
    (void)snprintf(e->order_id, sizeof e->order_id, "%s", o->id);
    e->version = o->version;
    e->type = type;
}

/* Takes the order out of a result with the five columns that all statements above return. */
static bool read_order(struct order *o, PGresult *r)
{
    const bool found = PQntuples(r) == 1;

    if (found) {
        (void)snprintf(o->number, sizeof o->number, "%s", PQgetvalue(r, 0, 0));
        (void)snprintf(o->id, sizeof o->id, "order-%s", o->number);
        (void)snprintf(o->customer_id, sizeof o->customer_id, "%s", PQgetvalue(r, 0, 1));
        (void)snprintf(o->total_amount, sizeof o->total_amount, "%s", PQgetvalue(r, 0, 2));
        (void)snprintf(o->status, sizeof o->status, "%s", PQgetvalue(r, 0, 3));
        o->version = (int)strtol(PQgetvalue(r, 0, 4), NULL, 10);
    }
    PQclear(r);
    return found;
}

/* Picks one of the younger orders and locks its row, so that events of one order are written one
 * after the other. */
static bool lock_order(struct worker *w, struct order *o)
{
    char number[24];

    (void)snprintf(number, sizeof number, "%ld", atomic_load(&newest_order) - (long)chance(w, 40));
    return read_order(o, run(w->db, lock_order_sql, 1, (const char *const[]){number}));
}

static void update_order(struct worker *w, struct order *o, const char *status)
{
    (void)read_order(o, run(w->db, update_order_sql, 2, (const char *const[]){o->number, status}));
}

static void pay(struct worker *w, struct order *o)
{
    char payload[256];

    update_order(w, o, "paid");
    PQclear(run(w->db, insert_payment_sql, 2, (const char *const[]){o->number, o->total_amount}));
    (void)snprintf(payload, sizeof payload,
                   "{\"orderId\": \"%s\", \"customerId\": \"%s\", \"amount\": %s}", o->id,
                   o->customer_id, o->total_amount);
    publish(w, o, "order.paid", payload);
}

/* A new order of one to three items; one in four is paid in the same transaction; one in ten is out
 * of stock. */
static void place_order(struct worker *w)
{
    static const char *const goods[] = {"tea-green", "tea-black", "cup", "pot", "honey"};
    struct order o;
    char items[512] = "[";
    char customer[24];
    char total[24];
    char payload[1024];
    unsigned sum = 0;
    size_t len = 1;
    const unsigned count = 1 + chance(w, 3);

    for (unsigned i = 0; i < count; i++) {
        const unsigned quantity = 1 + chance(w, 4);
        const unsigned price = 250 + 50 * chance(w, 40);
        sum += quantity * price;
        len += (size_t)snprintf(items + len, sizeof items - len,
                                "%s{\"productId\": \"%s\", \"quantity\": %u, \"unitPrice\": %u}",
                                i == 0 ? "" : ", ",
                                goods[chance(w, sizeof goods / sizeof goods[0])], quantity, price);
    }
    (void)snprintf(items + len, sizeof items - len, "]");
    (void)snprintf(customer, sizeof customer, "customer-%u", chance(w, 500));
    (void)snprintf(total, sizeof total, "%u", sum);

    begin(w);
    (void)read_order(
        &o, run(w->db, insert_order_sql, 3, (const char *const[]){customer, items, total}));
    (void)snprintf(payload, sizeof payload,
                   "{\"orderId\": \"%s\", \"customerId\": \"%s\", \"items\": %s, "
                   "\"totalAmount\": %s}",
                   o.id, o.customer_id, items, o.total_amount);
    publish(w, &o, "order.placed", payload);
    if (chance(w, 4) == 0)
        pay(w, &o);
    finish(w, chance(w, 10) != 0);
    atomic_store(&newest_order, strtol(o.number, NULL, 10));
}

/* One card in six is declined, after the event was written. */
static void pay_order(struct worker *w)
{
    struct order o;
    bool accepted = false;

    begin(w);
    if (lock_order(w, &o) && strcmp(o.status, "placed") == 0) {
        pay(w, &o);
        accepted = chance(w, 6) != 0;
    }
    finish(w, accepted);
}

static void cancel_order(struct worker *w)
{
    struct order o;
    char payload[256];
    bool cancelled = false;

    begin(w);
    if (lock_order(w, &o) && strcmp(o.status, "cancelled") != 0) {
        (void)snprintf(payload, sizeof payload,
                       "{\"orderId\": \"%s\", \"customerId\": \"%s\", \"refund\": %s}", o.id,
                       o.customer_id, strcmp(o.status, "paid") == 0 ? o.total_amount : "0");
        update_order(w, &o, "cancelled");
        publish(w, &o, "order.cancelled", payload);
        cancelled = true;
    }
    finish(w, cancelled);
}

static void *work(void *arg)
{
    struct worker *w = arg;

    while (!stopping) {
        const unsigned dice = chance(w, 100);
        if (dice < 45)
            place_order(w);
        else if (dice < 80)
            pay_order(w);
        else
            cancel_order(w);
        if (w->pause_us > 0)
            (void)usleep(chance(w, 2 * (unsigned)w->pause_us));
    }
    return NULL;
}

static PGconn *connect_or_exit(const char *conninfo)
{
    PGconn *db = PQconnectdb(conninfo);

    if (PQstatus(db) != CONNECTION_OK) {
        (void)fprintf(stderr, "order_service: %s", PQerrorMessage(db));
        exit(1);
    }
    return db;
}

int main(int argc, char **argv)
{
    static struct worker workers[MAX_WORKERS];
    pthread_t threads[MAX_WORKERS];
    struct sigaction stop = {.sa_handler = on_stop};
    long count = argc == 4 ? strtol(argv[2], NULL, 10) : 0;
    long pause_ms = argc == 4 ? strtol(argv[3], NULL, 10) : -1;

    if (count < 1 || count > MAX_WORKERS || pause_ms < 0 || pause_ms > 500) {
        (void)fputs("usage: order_service CONNINFO WORKERS(1-32) PAUSE_MS(0-500)\n", stderr);
        return 64;
    }
    (void)sigaction(SIGTERM, &stop, NULL);
    (void)sigaction(SIGINT, &stop, NULL);
    (void)setvbuf(stdout, NULL, _IOLBF, 1U << 16);
    for (long i = 0; i < count; i++) {
        workers[i].db = connect_or_exit(argv[1]);
        workers[i].seed = (unsigned)wall_us() + (unsigned)i * 7919U;
        workers[i].pause_us = (useconds_t)pause_ms * 1000U;
    }
    PQclear(PQexec(workers[0].db, "SET client_min_messages = warning"));
    PGresult *made = PQexec(workers[0].db, tables_sql);
    if (PQresultStatus(made) != PGRES_COMMAND_OK) {
        (void)fprintf(stderr, "order_service: %s", PQerrorMessage(workers[0].db));
        return 1;
    }
    PQclear(made);
    for (long i = 0; i < count; i++)
        if (pthread_create(&threads[i], NULL, work, &workers[i]) != 0)
            return 1;
    for (long i = 0; i < count; i++)
        (void)pthread_join(threads[i], NULL);
    for (long i = 0; i < count; i++)
        PQfinish(workers[i].db);
    return 0;
}
