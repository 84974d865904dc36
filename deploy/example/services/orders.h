/* The order service's database: placing and shipping orders, and what other services' events do to
 * them. Each change of an order and the event that tells of it are one transaction. */
#ifndef EXAMPLE_ORDERS_H
#define EXAMPLE_ORDERS_H

#include "service.h"

#include "request.h"

#include <libpq-fe.h>
#include <stdbool.h>

enum orders_outcome {
    ORDERS_DONE,
    ORDERS_SEEN,     /* the idempotency key's order, as it is now */
    ORDERS_CONFLICT, /* the idempotency key stands for another order */
    ORDERS_NONE,     /* no such order */
    ORDERS_AWAY,     /* the database does not answer, or not in time: perhaps done, perhaps not */
};

/* PENDING -> PLACED -> PAID -> SHIPPED, or CANCELLED: what moves an order on. */
extern const struct service_handler orders_handlers[];

/* Opens the connection for requests, or opens it again after a failure. Connections are checked
 * when they are used: a database that is away makes ORDERS_AWAY. NULL: out of memory. */
PGconn *orders_connect(const char *conninfo);

/* The database answers; opens the connection again when it was lost. */
bool orders_is_there(PGconn *db);

/* Both give the order as a JSON text, to be freed, with ORDERS_DONE and ORDERS_SEEN. */
enum orders_outcome orders_place(PGconn *db, const struct order_request *request, char **json);
enum orders_outcome orders_find(PGconn *db, const char *order_id, char **json);

/* Ships some of the orders that are paid; returns their number, -1: the database is away. */
int orders_ship(PGconn *db);

#endif
