#include "result.h"

#include "../../demo/say.h"
#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool all_right;

/* One row: what must be, what is, and whether that is the same. */
static void row(const char *name, long expected, long found, const char *remark)
{
    all_right = all_right && expected == found;
    say_pair(name, expected, found, remark);
}

/* ---- orders ---- */

static const char *const fate_names[FATES][2] = {
    [FATE_SHIPPED] = {"SHIPPED", ""},
    [FATE_OUT_OF_STOCK] = {"CANCELLED", "INSUFFICIENT_STOCK"},
    [FATE_CARD_DECLINED] = {"CANCELLED", "CARD_DECLINED"}};

static bool is_as_ordered(const struct purchase *p, const PGresult *r, int line)
{
    return strcmp(PQgetvalue(r, line, 1), p->customer) == 0 &&
           strtol(PQgetvalue(r, line, 2), NULL, 10) == p->total &&
           strcmp(PQgetvalue(r, line, 3), fate_names[p->fate][0]) == 0 &&
           strcmp(PQgetvalue(r, line, 4), fate_names[p->fate][1]) == 0;
}

/* The order service's rows in the order of their ids, which is the one in which they were taken,
 * held against the customers' notes one by one. */
static long count_as_ordered(const struct result_params *p)
{
    PGresult *r = PQexec(p->books->db[SERVICE_ORDER],
                         "SELECT order_id, customer_id, total_amount, state, coalesce(reason, '')"
                         " FROM shop.orders ORDER BY order_id");
    long right = 0;

    for (int line = 0; line < PQntuples(r) && (size_t)line < p->customers->count; line++) {
        const struct purchase *purchase = &p->customers->purchases[line];
        right += strcmp(PQgetvalue(r, line, 0), purchase->order_id) == 0 &&
                 is_as_ordered(purchase, r, line);
    }
    PQclear(r);
    return right;
}

static long count_fate(const struct result_params *p, enum fate fate)
{
    char sql[200];

    (void)snprintf(sql, sizeof sql,
                   "SELECT count(*) FROM shop.orders WHERE state = '%s'"
                   " AND coalesce(reason, '') = '%s'",
                   fate_names[fate][0], fate_names[fate][1]);
    return books_number(p->books, SERVICE_ORDER, sql);
}

static void tell_orders(const struct result_params *p)
{
    const struct customers *c = p->customers;
    char text[80];

    (void)snprintf(text, sizeof text, "%zu requests were sent again", atomic_load(&c->repeats));
    row("orders taken", (long)c->count,
        books_number(p->books, SERVICE_ORDER, "SELECT count(*) FROM shop.orders"), text);
    row("  shipped", (long)customers_count(c, FATE_SHIPPED), count_fate(p, FATE_SHIPPED), "");
    row("  out of stock", (long)customers_count(c, FATE_OUT_OF_STOCK),
        count_fate(p, FATE_OUT_OF_STOCK), "cancelled");
    row("  card refused", (long)customers_count(c, FATE_CARD_DECLINED),
        count_fate(p, FATE_CARD_DECLINED), "cancelled");
    row("  one by one", (long)c->count, count_as_ordered(p), "customer, amount, state, reason");
    for (int i = 0; i < ABSENCES; i++) {
        const struct absence *a = &p->faults->absence[i];
        (void)snprintf(text, sizeof text, "of them while %s was stopped",
                       p->shop->part[a->part].name);
        say_count("  meanwhile", (long)a->taken, false, text);
        all_right = all_right && a->taken >= ABSENCE_ORDERS;
    }
}

/* ---- stock, money, messages ---- */

static long stock(const struct result_params *p, const char *column, int product)
{
    char sql[120];

    (void)snprintf(sql, sizeof sql, "SELECT %s FROM shop.stock WHERE product_id = '%s'", column,
                   products[product].id);
    return books_number(p->books, SERVICE_INVENTORY, sql);
}

static void tell_stock(const struct result_params *p)
{
    long sold[2] = {0};
    long left[2] = {0};
    long reserved = 0;
    long right = 0;

    for (int i = 0; i < PRODUCTS; i++) {
        const long must_be_sold = customers_units(p->customers, FATE_SHIPPED, i);
        const long must_be_left = customers_units(p->customers, FATE_CARD_DECLINED, i);
        const long is_sold = stock(p, "sold", i);
        const long is_left = stock(p, "available", i);
        sold[0] += must_be_sold;
        sold[1] += is_sold;
        left[0] += must_be_left;
        left[1] += is_left;
        reserved += stock(p, "reserved", i);
        right += must_be_sold == is_sold && must_be_left == is_left;
    }
    row("units sold", sold[0], sold[1], "of the orders shipped");
    row("  left", left[0], left[1], "given back after a refused card");
    row("  reserved", 0, reserved, "");
    row("  products", PRODUCTS, right, "each of which adds up by itself");
}

static void tell_money(const struct result_params *p)
{
    row("money charged", customers_money(p->customers, FATE_SHIPPED),
        books_number(p->books, SERVICE_PAYMENT,
                     "SELECT coalesce(sum(amount), 0) FROM shop.charge WHERE state = 'CONFIRMED'"),
        "cents, of the orders shipped");
    row("  refused", (long)customers_count(p->customers, FATE_CARD_DECLINED),
        books_number(p->books, SERVICE_PAYMENT,
                     "SELECT count(*) FROM shop.charge WHERE state = 'DECLINED'"),
        "charges");
    row("messages", (long)p->customers->count,
        books_number(p->books, SERVICE_NOTIFICATION, "SELECT count(*) FROM shop.message"),
        "one to each order's customer");
    row("  of shipping", (long)customers_count(p->customers, FATE_SHIPPED),
        books_number(p->books, SERVICE_NOTIFICATION,
                     "SELECT count(*) FROM shop.message WHERE kind = 'SHIPPED'"),
        "the others of a cancellation");
}

static long sale(const struct result_params *p, const char *column, int product)
{
    char sql[120];

    (void)snprintf(sql, sizeof sql,
                   "SELECT coalesce(sum(%s), 0) FROM shop.sale WHERE product_id = '%s'", column,
                   products[product].id);
    return books_number(p->books, SERVICE_SALES, sql);
}

/* What is built out of events alone. */
static void tell_rebuilt(const struct result_params *p)
{
    long right = 0;

    for (int i = 0; i < PRODUCTS; i++) {
        const long sold = customers_units(p->customers, FATE_SHIPPED, i);
        right +=
            sale(p, "quantity", i) == sold && sale(p, "amount", i) == sold * products[i].unit_price;
    }
    row("read model", PRODUCTS, right, "sales by product; joined half-way");
    row("rebuilt", 2, (shop_rebuild(p->shop, "table") == 0) + (shop_rebuild(p->shop, "topic") == 0),
        "orders from their events: table, topic");
}

/* ---- events ---- */

/* `outboxd verify` holds each database's kept events against its topic. */
static long count_verified(const struct result_params *p)
{
    char program[PATH_SIZE];
    char log[PATH_SIZE];
    long good = 0;

    path_join(program, build_root(), "outboxd");
    path_join(log, p->shop->dir, "verify.log");
    for (int i = 0; i < RELAYS; i++)
        good +=
            proc_run((const char *const[]){program, "verify", "-c", shop_config(p->shop, i), NULL},
                     log, 60000) == 0;
    if (good != RELAYS)
        say_file_end(log, 15);
    return good;
}

static void tell_events(const struct result_params *p)
{
    const struct topics *t = p->topics;
    long records = 0;
    long events = 0;
    long committed = 0;
    char name[40];
    char text[80];

    for (int i = 0; i < TOPICS; i++) {
        records += t->records[i];
        events += t->events[i];
        committed += p->books->committed[i];
    }
    row("events", committed, events, "committed, and in the topics");
    row("  verified", RELAYS, count_verified(p), "no loss, no ghost, all in order");
    (void)snprintf(text, sizeof text, "%ld by the demo, %ld by relays after a crash", t->injected,
                   records - events - t->injected);
    say_count("  came again", records - events, false, text);
    for (int i = 0; i < SERVICES; i++) {
        (void)snprintf(name, sizeof name, "  %s", services[i].name);
        (void)snprintf(text, sizeof text, "took effect; %ld came again",
                       topics_repeats_for(t, &services[i]));
        row(name, topics_events_for(t, &services[i]), p->books->claimed[i], text);
    }
}

static void tell_trouble(const struct result_params *p)
{
    long failed = 0;
    int kills = 0;
    int stops = 0;

    for (int i = 0; i < SERVICES; i++)
        failed += p->books->failed[i];
    for (int i = 0; i < PARTS; i++) {
        kills += p->shop->part[i].kills;
        stops += p->shop->part[i].stops;
    }
    row("dead letters", 0, p->topics->dead + failed + p->topics->strangers, "");
    say_count("killed", kills, false, "kill -9 of services and relays");
    say_count("stopped", stops, false, "and started again");
}

bool result_tell(const struct result_params *p)
{
    all_right = true;
    say_title("What became of the orders       must be        is");
    tell_orders(p);
    tell_stock(p);
    tell_money(p);
    tell_rebuilt(p);
    tell_events(p);
    tell_trouble(p);
    say_verdict(all_right, all_right ? "It adds up: everything took effect, and took effect once."
                                     : "FAILED: it does not add up, see above.");
    return all_right;
}
