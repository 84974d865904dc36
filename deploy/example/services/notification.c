/* The notification service: one message for each order that is finished.
 *
 *   order.shipped, order.cancelled   a row of shop.message
 *
 * It writes to its own database alone, so each message is written once. A mail is sent by whoever
 * reads that table: mail servers take part in no transaction, and a mail may go out twice. */
#include "service.h"

static const char message_sql[] =
    "INSERT INTO shop.message (order_id, customer_id, kind, text)"
    " SELECT o.\"orderId\", o.\"customerId\","
    "   CASE WHEN o.reason IS NULL THEN 'SHIPPED' ELSE 'CANCELLED' END,"
    "   CASE o.reason WHEN 'INSUFFICIENT_STOCK' THEN 'Sorry, we are out of stock.'"
    "     WHEN 'CARD_DECLINED' THEN 'Your card was refused; nothing was charged.'"
    "     ELSE format('Your order over %s is on its way.',"
    "       to_char(o.\"totalAmount\" / 100.0, 'FM999999999990.00')) END"
    " FROM json_to_record($1::json)"
    "   AS o (\"orderId\" text, \"customerId\" text, \"totalAmount\" bigint, reason text)";

static enum inbox_verdict write_message(PGconn *conn, struct inbox_event *event,
                                        const char *payload)
{
    return service_exec(conn, event, message_sql, payload);
}

int main(void)
{
    static const char *const topics[] = {"order-events", NULL};
    static const struct service_handler handlers[] = {
        {"order.shipped", write_message}, {"order.cancelled", write_message}, {NULL, NULL}};

    return service_run(
        &(struct service_params){.name = "notification", .topics = topics, .handlers = handlers});
}
