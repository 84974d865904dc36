#include "orders.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- placing an order ------------------------------------------------------------------------ */

#define ORDER_JSON                                                                                 \
    "json_build_object('orderId', order_id::text, 'customerId', customer_id, 'items', items,"      \
    " 'totalAmount', total_amount, 'state', state, 'reason', reason, 'revision', revision)"

static const char insert_order_sql[] =
    "INSERT INTO shop.orders (customer_id, items, total_amount, idempotency_key)"
    " VALUES ($1, $2, $3, $4)"
    " ON CONFLICT (idempotency_key) DO NOTHING" /* waits for who inserts the same key right now */
    " RETURNING order_id, " ORDER_JSON;

static const char publish_placed_sql[] =
    "SELECT outbox.publish('order', order_id::text, 'order.placed',"
    "   json_build_object('orderId', order_id::text, 'revision', revision,"
    "     'customerId', customer_id, 'items', items, 'totalAmount', total_amount))"
    " FROM shop.orders WHERE order_id = $1";

static const char find_by_key_sql[] = "SELECT customer_id = $1 AND items = $2::jsonb, " ORDER_JSON
                                      " FROM shop.orders WHERE idempotency_key = $3";

/* NULL when it fails; the failure is told. */
static PGresult *query(PGconn *db, const char *sql, int count, const char *const *values)
{
    PGresult *r = PQexecParams(db, sql, count, NULL, values, NULL, NULL, 0);

    if (PQresultStatus(r) == PGRES_COMMAND_OK || PQresultStatus(r) == PGRES_TUPLES_OK)
        return r;
    service_log(INBOX_LOG_ERROR, "order", "msg=\"the database: %.*s\"",
                (int)strcspn(PQerrorMessage(db), "\n"), PQerrorMessage(db));
    PQclear(r);
    return NULL;
}

static bool exec(PGconn *db, const char *sql, int count, const char *const *values)
{
    PGresult *r = query(db, sql, count, values);

    PQclear(r);
    return r != NULL;
}

/* The order and its event: both or neither. */
static enum orders_outcome insert_and_publish(PGconn *db, const struct order_request *q,
                                              char **json)
{
    char total[24];
    const char *order[] = {q->customer_id, q->items, total, q->idempotency_key};
    const char *order_id;
    PGresult *r;

    (void)snprintf(total, sizeof total, "%lld", (long long)q->total_amount);
    if (!exec(db, "BEGIN", 0, NULL))
        return ORDERS_AWAY;
    r = query(db, insert_order_sql, 4, order);
    if (r != NULL && PQntuples(r) == 0) { /* the idempotency key has its order already */
        PQclear(r);
        return exec(db, "ROLLBACK", 0, NULL) ? ORDERS_SEEN : ORDERS_AWAY;
    }
    order_id = r == NULL ? NULL : PQgetvalue(r, 0, 0);
    if (order_id == NULL || !exec(db, publish_placed_sql, 1, &order_id) ||
        !exec(db, "COMMIT", 0, NULL)) {
        PQclear(r);
        (void)exec(db, "ROLLBACK", 0, NULL);
        return ORDERS_AWAY;
    }
    *json = strdup(PQgetvalue(r, 0, 1));
    PQclear(r);
    return ORDERS_DONE;
}

static enum orders_outcome find_by_key(PGconn *db, const struct order_request *q, char **json)
{
    const char *values[] = {q->customer_id, q->items, q->idempotency_key};
    PGresult *r = query(db, find_by_key_sql, 3, values);
    enum orders_outcome outcome = r == NULL ? ORDERS_AWAY : ORDERS_CONFLICT;

    if (r != NULL && PQntuples(r) == 1 && strcmp(PQgetvalue(r, 0, 0), "t") == 0) {
        *json = strdup(PQgetvalue(r, 0, 1));
        outcome = ORDERS_SEEN;
    }
    PQclear(r);
    return outcome;
}

bool orders_is_there(PGconn *db)
{
    if (PQstatus(db) != CONNECTION_OK)
        PQreset(db);
    return PQstatus(db) == CONNECTION_OK;
}

enum orders_outcome orders_place(PGconn *db, const struct order_request *request, char **json)
{
    enum orders_outcome outcome =
        orders_is_there(db) ? insert_and_publish(db, request, json) : ORDERS_AWAY;

    return outcome == ORDERS_SEEN ? find_by_key(db, request, json) : outcome;
}

enum orders_outcome orders_find(PGconn *db, const char *order_id, char **json)
{
    enum orders_outcome outcome = ORDERS_AWAY;
    PGresult *r;

    if (order_id[0] == '\0' || strlen(order_id) > 18 ||
        strspn(order_id, "0123456789") != strlen(order_id))
        return ORDERS_NONE;
    if (!orders_is_there(db))
        return ORDERS_AWAY;
    r = query(db, "SELECT " ORDER_JSON " FROM shop.orders WHERE order_id = $1", 1, &order_id);
    if (r != NULL)
        outcome = PQntuples(r) == 0 ? ORDERS_NONE : ORDERS_DONE;
    if (outcome == ORDERS_DONE)
        *json = strdup(PQgetvalue(r, 0, 0));
    PQclear(r);
    return outcome;
}

PGconn *orders_connect(const char *conninfo)
{
    static const char *const names[] = {"connect_timeout", "dbname", "application_name", NULL};
    const char *const values[] = {"3", conninfo, "order", NULL};

    return PQconnectdbParams(names, values, 1);
}

/* ---- what moves an order on ------------------------------------------------------------------ */

/* A change of state and its event. The condition on the state is what makes late events harmless:
 * inventory and payment speak by different topics, so that payment.confirmed can come first. */
static enum inbox_verdict move_on(PGconn *conn, struct inbox_event *event, const char *payload,
                                  const char *sql, const char *event_type)
{
    enum inbox_verdict verdict;
    PGresult *r = service_query(conn, event, sql, payload, &verdict);

    if (r != NULL && PQntuples(r) == 1)
        verdict = service_publish(conn, event,
                                  &(struct inbox_message){.aggregate_type = "order",
                                                          .aggregate_id = PQgetvalue(r, 0, 0),
                                                          .event_type = event_type,
                                                          .payload = PQgetvalue(r, 0, 1)});
    PQclear(r);
    return verdict;
}

static enum inbox_verdict confirm(PGconn *conn, struct inbox_event *event, const char *payload)
{
    return move_on(conn, event, payload,
                   "UPDATE shop.orders SET state = 'PLACED', revision = revision + 1,"
                   "   updated_at = now()"
                   " WHERE order_id = ($1::json->>'orderId')::bigint AND state = 'PENDING'"
                   " RETURNING order_id,"
                   "   json_build_object('orderId', order_id::text, 'revision', revision)",
                   "order.confirmed");
}

static enum inbox_verdict pay(PGconn *conn, struct inbox_event *event, const char *payload)
{
    return move_on(
        conn, event, payload,
        "UPDATE shop.orders SET state = 'PAID', revision = revision + 1, updated_at = now()"
        " WHERE order_id = ($1::json->>'orderId')::bigint AND state IN ('PENDING', 'PLACED')"
        " RETURNING order_id, json_build_object('orderId', order_id::text,"
        "   'revision', revision, 'amount', ($1::json->>'amount')::bigint)",
        "order.paid");
}

/* Whoever has done something for this order takes it back when it hears of it. */
static enum inbox_verdict cancel(PGconn *conn, struct inbox_event *event, const char *payload)
{
    return move_on(
        conn, event, payload,
        "UPDATE shop.orders SET state = 'CANCELLED', revision = revision + 1, updated_at = now(),"
        "   reason = $1::json->>'reason'"
        " WHERE order_id = ($1::json->>'orderId')::bigint AND state IN ('PENDING', 'PLACED')"
        " RETURNING order_id, json_build_object('orderId', order_id::text, 'revision', revision,"
        "   'customerId', customer_id, 'reason', reason)",
        "order.cancelled");
}

const struct service_handler orders_handlers[] = {{"inventory.reserved", confirm},
                                                  {"inventory.reservation.failed", cancel},
                                                  {"payment.confirmed", pay},
                                                  {"payment.failed", cancel},
                                                  {NULL, NULL}};

/* ---- shipping -------------------------------------------------------------------------------- */

/* One statement, and so one transaction. Several instances take different orders. */
static const char ship_sql[] =
    "WITH paid AS (SELECT order_id FROM shop.orders WHERE state = 'PAID' ORDER BY order_id"
    "   LIMIT 100 FOR UPDATE SKIP LOCKED),"
    " shipped AS (UPDATE shop.orders o SET state = 'SHIPPED', revision = revision + 1,"
    "     updated_at = now() FROM paid WHERE o.order_id = paid.order_id"
    "   RETURNING o.*)"
    " SELECT outbox.publish('order', order_id::text, 'order.shipped',"
    "   json_build_object('orderId', order_id::text, 'revision', revision,"
    "     'customerId', customer_id, 'items', items, 'totalAmount', total_amount))"
    " FROM shipped";

int orders_ship(PGconn *db)
{
    PGresult *r = orders_is_there(db) ? query(db, ship_sql, 0, NULL) : NULL;
    const int shipped = r == NULL ? -1 : PQntuples(r);

    PQclear(r);
    return shipped;
}
