/* A request to place an order, read from JSON:
 *   {"customerId": "c-12", "items": [{"productId": "tea", "quantity": 2, "unitPrice": 450}]} */
#ifndef EXAMPLE_REQUEST_H
#define EXAMPLE_REQUEST_H

#include <stddef.h>
#include <stdint.h>

struct order_request {
    char *customer_id;
    char *items; /* JSON: productId, quantity and unitPrice of each, nothing else */
    int64_t total_amount;
    const char *idempotency_key; /* lent; NULL: none */
};

/* NULL, or why it is no request that can be taken. Release it in either case. */
const char *order_request_init(struct order_request *r, const char *body, size_t len);
void order_request_release(struct order_request *r);

#endif
