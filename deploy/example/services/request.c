#include "request.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum {
    ITEMS_MAX = 50,
    QUANTITY_MAX = 1000,
    PRICE_MAX = 100000000, /* minor units */
    NAME_MAX_BYTES = 100,
};

static const char *name_of(const json_t *object, const char *member)
{
    const json_t *value = json_object_get(object, member);
    const size_t len = json_string_length(value);

    return len > 0 && len <= NAME_MAX_BYTES ? json_string_value(value) : NULL;
}

/* -1: not a whole number from `min` to `max`. */
static int64_t number_of(const json_t *object, const char *member, int64_t min, int64_t max)
{
    const json_t *value = json_object_get(object, member);
    const int64_t n = json_integer_value(value);

    return json_is_integer(value) && n >= min && n <= max ? n : -1;
}

static const char *read_item(const json_t *item, json_t *out, int64_t *total)
{
    const char *product = name_of(item, "productId");
    const int64_t quantity = number_of(item, "quantity", 1, QUANTITY_MAX);
    const int64_t price = number_of(item, "unitPrice", 0, PRICE_MAX);

    if (product == NULL)
        return "productId must be a text of 1 to 100 bytes";
    if (quantity < 0)
        return "quantity must be a whole number from 1 to 1000";
    if (price < 0)
        return "unitPrice must be a whole number of minor units from 0 to 100000000";
    *total += quantity * price;
    (void)json_array_append_new(out,
                                json_pack("{s:s, s:I, s:I}", "productId", product, "quantity",
                                          (json_int_t)quantity, "unitPrice", (json_int_t)price));
    return NULL;
}

static const char *read_order(struct order_request *r, const json_t *order, json_t *clean)
{
    const json_t *items = json_object_get(order, "items");
    const char *customer = name_of(order, "customerId");
    const char *wrong = NULL;

    if (!json_is_object(order))
        return "the body must be a JSON object";
    if (customer == NULL)
        return "customerId must be a text of 1 to 100 bytes";
    if (json_array_size(items) < 1 || json_array_size(items) > ITEMS_MAX)
        return "items must be a list of 1 to 50 items";
    for (size_t i = 0; i < json_array_size(items) && wrong == NULL; i++)
        wrong = read_item(json_array_get(items, i), clean, &r->total_amount);
    if (wrong != NULL)
        return wrong;
    r->customer_id = strdup(customer);
    r->items = json_dumps(clean, JSON_COMPACT);
    return r->customer_id == NULL || r->items == NULL ? "out of memory" : NULL;
}

const char *order_request_init(struct order_request *r, const char *body, size_t len)
{
    json_t *order = json_loadb(body, len, JSON_REJECT_DUPLICATES, NULL);
    json_t *clean = json_array();
    const char *wrong;

    *r = (struct order_request){0};
    wrong = read_order(r, order, clean);
    json_decref(clean);
    json_decref(order);
    return wrong;
}

void order_request_release(struct order_request *r)
{
    free(r->customer_id);
    free(r->items);
}
