/* The example's shop (deploy/example) on one private Postgres with a database for each service and
 * one private Kafka: migrations by the binary, three relays, four services and a read model as
 * processes. */
#ifndef OUTBOXD_TESTS_SHOP_H
#define OUTBOXD_TESTS_SHOP_H

#include "kafka.h"
#include "outboxd.h"
#include "pg.h"
#include "proc.h"

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

/* Services; the first three publish and have a relay of the same number. */
enum { SHOP_ORDER, SHOP_INVENTORY, SHOP_PAYMENT, SHOP_NOTIFICATION, SHOP_SALES, SHOP_SERVICES };
enum { SHOP_RELAYS = 3 };

struct shop {
    struct pg_server pg;
    struct kafka kafka;
    struct outboxd relay[SHOP_RELAYS];
    struct proc service[SHOP_SERVICES];
    char log[SHOP_SERVICES][PATH_SIZE];
    PGconn *db[SHOP_SERVICES]; /* superuser, to the service's database */
    int port;                  /* where the order service listens */
    int http;                  /* a connection to it, -1: none */
};

extern const char *const shop_names[SHOP_SERVICES];

/* Servers, databases, schemas, topics, configurations; no relay and no service runs yet. */
void shop_create(struct shop *s);
void shop_drop(struct shop *s);
void shop_open_databases(struct shop *s); /* db[], once more after the server was away */

void shop_start_service(struct shop *s, int which);
/* With arguments, NULL-terminated. */
void shop_start_service_with(struct shop *s, int which, const char *const *args);
void shop_start_all(struct shop *s);               /* relays and the four services */
void shop_stop_service(struct shop *s, int which); /* SIGTERM, exit code 0 */

/* Runs the rebuild command to its end; its output in `out` (of size OUTBOXD_OUT). Its exit code. */
int shop_rebuild(struct shop *s, const char *const *args, char *out);

/* Starts the order service with one more variable, which must make it end by itself: its exit code,
 * what it says in `out` (of size OUTBOXD_OUT). Without `rest` none of the others is set. */
int shop_try_order(struct shop *s, const char *variable, bool rest, char *out);

/* One request to the order service by a connection that is kept; the answer's code and body (cut to
 * size). 0: nobody answered, or not to the end. */
int shop_request(struct shop *s, const char *head, const char *body, char *out, size_t size);
/* Places an order; the code. `key` (may be NULL) is its Idempotency-Key. */
int shop_post(struct shop *s, const char *key, const char *body, char *out, size_t size);

/* Every order is shipped or cancelled, and has its message: waits for that. */
void shop_wait_finished(struct shop *s, int timeout_ms);

/* Fails the test unless everything adds up: orders, stock, reservations, charges, messages, and no
 * dead letters. Every order must be finished. */
void shop_assert_books(struct shop *s);

#endif
