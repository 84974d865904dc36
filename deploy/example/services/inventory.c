/* The inventory service: reserves what an order asks for, all of it or nothing.
 *
 *   order.placed      takes the stock, and answers inventory.reserved or
 *                     inventory.reservation.failed
 *   order.cancelled   gives it back (the compensation)
 *   order.shipped     it is sold
 *
 * Each of these is one transaction with the claim of the event and with the answer. The database
 * checks that no stock comes from nothing (inventory.sql). */
#include "service.h"

#include <stdbool.h>
#include <string.h>

/* Until the transaction's end nobody else takes of these products. Two instances of this service
 * that wait for each other are told so by the database, and libinbox does it again. */
static const char lock_stock_sql[] =
    "SELECT 1 FROM shop.stock WHERE product_id IN"
    " (SELECT item->>'productId' FROM json_array_elements($1::json->'items') AS item) FOR UPDATE";

/* RESERVED if there is enough of each; a product that nobody knows is out of stock. */
static const char insert_reservation_sql[] =
    "WITH asked AS (SELECT \"productId\" AS product_id, sum(quantity) AS quantity"
    "   FROM json_to_recordset($1::json->'items') AS item (\"productId\" text, quantity bigint)"
    "   GROUP BY 1),"
    " reservation AS (INSERT INTO shop.reservation (order_id, state)"
    "   SELECT $1::json->>'orderId',"
    "     CASE WHEN bool_and(coalesce(available >= quantity, false)) THEN 'RESERVED'"
    "       ELSE 'FAILED' END"
    "     FROM asked LEFT JOIN shop.stock USING (product_id)"
    "   RETURNING order_id, state),"
    " items AS (INSERT INTO shop.reservation_item (order_id, product_id, quantity)"
    "   SELECT order_id, product_id, quantity FROM reservation, asked)"
    " SELECT state, order_id, CASE WHEN state = 'RESERVED'"
    "   THEN json_build_object('orderId', order_id, 'customerId', $1::json->>'customerId',"
    "     'totalAmount', ($1::json->>'totalAmount')::bigint)"
    "   ELSE json_build_object('orderId', order_id, 'reason', 'INSUFFICIENT_STOCK') END"
    " FROM reservation";

static const char take_stock_sql[] =
    "UPDATE shop.stock s SET available = available - quantity, reserved = reserved + quantity"
    " FROM shop.reservation_item i"
    " WHERE i.order_id = $1::json->>'orderId' AND s.product_id = i.product_id";

/* The reservation, the answer to it, and (by libinbox) the claim of the order's event: all of them
 * or nothing. */
static enum inbox_verdict reserve(PGconn *conn, struct inbox_event *event, const char *payload)
{
    enum inbox_verdict verdict = service_exec(conn, event, lock_stock_sql, payload);
    PGresult *reservation;
    bool is_reserved;

    if (verdict != INBOX_OK)
        return verdict;
    reservation = service_query(conn, event, insert_reservation_sql, payload, &verdict);
    if (reservation == NULL)
        return verdict;
    is_reserved = strcmp(PQgetvalue(reservation, 0, 0), "RESERVED") == 0;
    if (is_reserved)
        verdict = service_exec(conn, event, take_stock_sql, payload);
    if (verdict == INBOX_OK)
        verdict = service_publish(
            conn, event,
            &(struct inbox_message){.aggregate_type = "inventory",
                                    .aggregate_id = PQgetvalue(reservation, 0, 1),
                                    .event_type = is_reserved ? "inventory.reserved"
                                                              : "inventory.reservation.failed",
                                    .payload = PQgetvalue(reservation, 0, 2)});
    PQclear(reservation);
    return verdict;
}

/* Nothing happens to an order for which nothing is reserved. */
static enum inbox_verdict release(PGconn *conn, struct inbox_event *event, const char *payload)
{
    return service_exec(
        conn, event,
        "WITH released AS (UPDATE shop.reservation SET state = 'RELEASED', updated_at = now()"
        "   WHERE order_id = $1::json->>'orderId' AND state = 'RESERVED' RETURNING order_id)"
        " UPDATE shop.stock s SET available = available + quantity, reserved = reserved - quantity"
        " FROM released JOIN shop.reservation_item i USING (order_id)"
        " WHERE s.product_id = i.product_id",
        payload);
}

static enum inbox_verdict sell(PGconn *conn, struct inbox_event *event, const char *payload)
{
    return service_exec(
        conn, event,
        "WITH shipped AS (UPDATE shop.reservation SET state = 'SOLD', updated_at = now()"
        "   WHERE order_id = $1::json->>'orderId' AND state = 'RESERVED' RETURNING order_id)"
        " UPDATE shop.stock s SET reserved = reserved - quantity, sold = sold + quantity"
        " FROM shipped JOIN shop.reservation_item i USING (order_id)"
        " WHERE s.product_id = i.product_id",
        payload);
}

int main(void)
{
    static const char *const topics[] = {"order-events", NULL};
    static const struct service_handler handlers[] = {{"order.placed", reserve},
                                                      {"order.cancelled", release},
                                                      {"order.shipped", sell},
                                                      {NULL, NULL}};

    return service_run(
        &(struct service_params){.name = "inventory", .topics = topics, .handlers = handlers});
}
