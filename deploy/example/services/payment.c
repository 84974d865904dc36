/* The payment service: charges the customer of an order whose goods are reserved.
 *
 *   inventory.reserved   payment.confirmed, or payment.failed when the card is refused
 *
 * Here the bank is a rule: the cards of customers whose id ends in the digit 7 are refused. A real
 * bank is another party, and no transaction covers it: ask it with the order's id as its
 * idempotency key, so that a second try of this handler finds the first one's charge. */
#include "service.h"

#include <stdbool.h>
#include <string.h>

static const char charge_sql[] =
    "WITH charge AS (INSERT INTO shop.charge (order_id, customer_id, amount, state)"
    "   SELECT o.\"orderId\", o.\"customerId\", o.\"totalAmount\","
    "     CASE WHEN o.\"customerId\" LIKE '%7' THEN 'DECLINED' ELSE 'CONFIRMED' END"
    "   FROM json_to_record($1::json)"
    "     AS o (\"orderId\" text, \"customerId\" text, \"totalAmount\" bigint)"
    "   RETURNING order_id, amount, state)"
    " SELECT state, order_id, CASE WHEN state = 'CONFIRMED'"
    "   THEN json_build_object('orderId', order_id, 'amount', amount)"
    "   ELSE json_build_object('orderId', order_id, 'reason', 'CARD_DECLINED') END"
    " FROM charge";

/* The charge, the answer to it, and (by libinbox) the claim of the event: all of them or nothing.
 */
static enum inbox_verdict charge(PGconn *conn, struct inbox_event *event, const char *payload)
{
    enum inbox_verdict verdict;
    PGresult *r = service_query(conn, event, charge_sql, payload, &verdict);
    bool is_confirmed;

    if (r == NULL)
        return verdict;
    is_confirmed = strcmp(PQgetvalue(r, 0, 0), "CONFIRMED") == 0;
    verdict = service_publish(
        conn, event,
        &(struct inbox_message){.aggregate_type = "payment",
                                .aggregate_id = PQgetvalue(r, 0, 1),
                                .event_type = is_confirmed ? "payment.confirmed" : "payment.failed",
                                .payload = PQgetvalue(r, 0, 2)});
    PQclear(r);
    return verdict;
}

int main(void)
{
    static const char *const topics[] = {"inventory-events", NULL};
    static const struct service_handler handlers[] = {{"inventory.reserved", charge}, {NULL, NULL}};

    return service_run(
        &(struct service_params){.name = "payment", .topics = topics, .handlers = handlers});
}
