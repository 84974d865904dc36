/* A read model that nobody thought of when the shop was built: what was sold, by product.
 *
 *   order.shipped   adds the order's items to shop.sale
 *
 *   sales [TOPIC]...     default: order-events
 *
 * It can be built at any time, while the shop runs: start it on order-events and on a topic of its
 * own, and let `outboxd replay` publish the kept events to that one. What comes by both ways has
 * one event id, and the claim lets it take effect once. Events older than the inbox's window are
 * welcome (accept_old), because this consumer is new: it has claimed none of them. */
#include "service.h"

static const char add_items_sql[] =
    "INSERT INTO shop.sale AS s (product_id, orders, quantity, amount)"
    " SELECT \"productId\", 1, sum(quantity), sum(quantity * \"unitPrice\")"
    " FROM json_to_recordset($1::json->'items')"
    "   AS item (\"productId\" text, quantity bigint, \"unitPrice\" bigint)"
    " GROUP BY \"productId\" ORDER BY \"productId\"" /* everybody locks in one order */
    " ON CONFLICT (product_id) DO UPDATE SET orders = s.orders + 1,"
    "   quantity = s.quantity + excluded.quantity, amount = s.amount + excluded.amount";

static enum inbox_verdict add_items(PGconn *conn, struct inbox_event *event, const char *payload)
{
    return service_exec(conn, event, add_items_sql, payload);
}

int main(int argc, char **argv)
{
    static const char *const order_events[] = {"order-events", NULL};
    static const struct service_handler handlers[] = {{"order.shipped", add_items}, {NULL, NULL}};

    return service_run(
        &(struct service_params){.name = "sales",
                                 .topics = argc > 1 ? (const char *const *)argv + 1 : order_events,
                                 .handlers = handlers,
                                 .accept_old = 1});
}
