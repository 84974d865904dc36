/* The customers of the demo: what each of them orders is drawn before the start, so that it is
 * known what has to become of every order. A thread of theirs sends the orders over HTTP, and sends
 * one again, with its Idempotency-Key, until the order service has answered. */
#ifndef OUTBOXD_EXAMPLE_CUSTOMERS_H
#define OUTBOXD_EXAMPLE_CUSTOMERS_H

#include "chance.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* id, unit price in minor units */
#define PRODUCTS_(X)                                                                               \
    X("coffee", 1250)                                                                              \
    X("cup", 700)                                                                                  \
    X("honey", 890)                                                                                \
    X("kettle", 4900)                                                                              \
    X("tea", 450)                                                                                  \
    X("unicorn", 100000)

enum {
    PRODUCT_SOLD_OUT = 5, /* the unicorn */
    PRODUCTS = 6
};

struct product {
    const char *id;
    long unit_price;
};

extern const struct product products[PRODUCTS];

enum fate { FATE_SHIPPED, FATE_OUT_OF_STOCK, FATE_CARD_DECLINED, FATES };

struct purchase {
    char customer[24]; /* a card is refused when this ends in 7 */
    long quantity[PRODUCTS];
    long total;
    enum fate fate;    /* what must become of it */
    uint32_t due_ms;   /* after the start */
    char order_id[24]; /* once it is taken */
};

struct customers {
    struct purchase *purchases;
    size_t count;
    atomic_size_t taken;   /* the first so many have their order_id */
    atomic_size_t repeats; /* requests that had to be sent again */
    /* private */
    uint64_t seed;
    int port;
    atomic_bool stop;
    bool started;
    pthread_t thread;
    char failure[256]; /* why the thread gave up; valid when `failed` is set */
    atomic_bool failed;
};

/* Draws `count` orders, the last one due after span_ms. */
void customers_init(struct customers *c, size_t count, uint32_t span_ms, uint64_t seed);
void customers_release(struct customers *c); /* ends the thread */

/* From now on orders go to 127.0.0.1:port. */
void customers_start(struct customers *c, int port);

/* NULL, or what the order service answered that makes no sense. */
const char *customers_failure(const struct customers *c);

/* Units of a product, and money, in all orders of one fate. */
long customers_units(const struct customers *c, enum fate fate, int product);
long customers_money(const struct customers *c, enum fate fate);
size_t customers_count(const struct customers *c, enum fate fate);

#endif
