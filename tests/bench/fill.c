#include "fill.h"

#include <stdio.h>

#define BASE_BYTES 118 /* of an order without its pad */
#define DIGEST     32

/* An order by its number n; `pad` is what fills it up. */
#define ORDER                                                                                      \
    "('{\"orderId\": \"' || md5(n::text) || '\", \"customerId\": \"cust-' || n %% 5000 || "        \
    "'\", \"items\": [{\"productId\": \"prod-' || n %% 100 || '\", \"quantity\": 2}], "            \
    "\"note\": \"' || %s || '\"}')::json"

/* Hex digits that no compressor has seen: as many as wanted. */
static void pad_sql(char *out, size_t size, int bytes)
{
    if (bytes <= 0)
        (void)snprintf(out, size, "''");
    else if (bytes <= 3 * DIGEST)
        (void)snprintf(out, size, "left(md5(n || 'a') || md5(n || 'b') || md5(n || 'c'), %d)",
                       bytes);
    else
        (void)snprintf(out, size,
                       "left((SELECT string_agg(md5(n || 'p' || i), '') FROM generate_series(1, "
                       "%d) i), %d)",
                       bytes / DIGEST + 1, bytes);
}

static void fill_range(PGconn *conn, const struct fill *f, const char *from)
{
    char pad[256];
    char order[1024];

    pad_sql(pad, sizeof pad, f->payload_bytes - BASE_BYTES);
    (void)snprintf(order, sizeof order, ORDER, pad);
    pg_exec(conn,
            "%s INSERT INTO outbox.event (aggregate_type, aggregate_id, event_type, payload) "
            "SELECT 'order', 'order-' || n %% %lld, 'order.placed', %s FROM %s; %s",
            f->single ? "DO $fill$ BEGIN FOR k IN 0 .. (SELECT current_setting('bench.events')"
                        "::bigint - 1) LOOP"
                      : "",
            (long long)f->keys, order, from, f->single ? "COMMIT; END LOOP; END $fill$" : "");
}

void fill_rows(const struct pg_server *pg, const struct fill *f)
{
    PGconn *conn = pg_open(pg, NULL);
    char all[64];

    (void)snprintf(all, sizeof all, "generate_series(0, %lld) n", (long long)f->events - 1);
    pg_exec(conn, "SET bench.events = %lld", (long long)f->events);
    fill_range(conn, f, f->single ? "(VALUES (k)) AS one(n)" : all);
    pg_exec(conn, "VACUUM ANALYZE outbox.event");
    pg_exec(conn, "CHECKPOINT");
    PQfinish(conn);
}

void fill_empty(const struct pg_server *pg)
{
    PGconn *conn = pg_open(pg, NULL);

    pg_exec(conn, "TRUNCATE outbox.event");
    PQfinish(conn);
}
