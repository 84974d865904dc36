/* The pure path of so many events, to be counted by callgrind: a row in Postgres's binary form is
 * decoded, finds its route, becomes a message, gets its partition, enters the window, is
 * acknowledged and settles. No servers, no clock, no chance: each run does the same.
 *
 *   guard EVENTS */
#include "message/message.h"
#include "message/murmur2.h"
#include "outbox/rows.h"
#include "relay/window.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IN_FLIGHT  1000
#define PARTITIONS 6
#define BATCH      500 /* events between two snapshots */

struct row {
    char bytes[1024];
    size_t len;
};

static void put_be(struct row *r, uint64_t value, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--)
        r->bytes[r->len++] = (char)(value >> (8 * i) & 0xff);
}

static void put_number(struct row *r, int64_t value)
{
    put_be(r, 8, 4);
    put_be(r, (uint64_t)value, 8);
}

/* NULL: SQL's. */
static void put_text(struct row *r, const char *text)
{
    size_t len = text == NULL ? 0 : strlen(text);

    put_be(r, text == NULL ? UINT32_MAX : len, 4);
    if (text != NULL)
        memcpy(r->bytes + r->len, text, len);
    r->len += len;
}

/* A row as COPY sends it; every fourth has headers of its own. */
static void make_row(struct row *r, int64_t n)
{
    static const char payload[] =
        "{\"orderId\": \"0190c2de-7b1a-7c3e-9f7d-1f2e3d4c5b6a\", \"customerId\": "
        "\"cust-00004711\", "
        "\"items\": [{\"productId\": \"prod-0042\", \"quantity\": 2, \"unitPrice\": 1999}], "
        "\"totalAmount\": 4047}";
    char key[32];

    r->len = 0;
    (void)snprintf(key, sizeof key, "order-%06d", (int)(n * 7919 % 10000));
    put_be(r, ROW_COLUMNS, 2);
    put_number(r, n);
    put_be(r, 16, 4);
    put_be(r, UINT64_C(0x0190c2de7b1a7c3e), 8);
    put_be(r, (uint64_t)n, 8);
    put_text(r, "order");
    put_text(r, key);
    put_text(r, "order.placed");
    put_text(r, "1.0");
    put_text(r, payload);
    put_text(r, NULL);
    put_text(r, NULL);
    put_text(r,
             n % 4 == 0 ? "{\"traceparent\": \"00-0af7651916cd43dd8448eb211c80319c-b7ad\"}" : NULL);
    put_text(r, NULL);
    put_text(r, NULL);
    put_number(r, INT64_C(820540800000000) + n * 1234);
    put_number(r, INT64_C(820540800000000) + n * 1234);
    put_number(r, 0);
}

static void fail(const char *what)
{
    (void)fprintf(stderr, "guard: %s\n", what);
    exit(1);
}

/* ---- what is counted ---- */

struct path {
    struct copy_stream stream;
    struct route_table routes;
    struct message message;
    struct window window;
    struct position position;
    uint64_t acked;
    int32_t sum; /* of the partitions: a result that is used */
};

static void send_row(struct path *p, const struct row *r)
{
    struct slice piece = {.ptr = r->bytes, .len = r->len};
    struct window_entry entry = {0};
    struct event e;
    struct err err;

    if (copy_stream_next(&p->stream, &piece, &e, &err) != 1 ||
        message_build(&p->message, &p->routes, &e, &err) != 0)
        fail(err.text);
    entry.row_id = e.id;
    entry.created_at_us = e.created_at_us;
    entry.bytes = (uint32_t)p->message.bytes;
    entry.partition = murmur2_partition(p->message.key.ptr, p->message.key.len, PARTITIONS);
    p->sum += entry.partition;
    (void)window_push(&p->window, &entry);
}

/* Acknowledges and stores what is above `left` in flight. */
static void settle(struct path *p, uint64_t left)
{
    while (p->window.head - p->acked > left)
        window_ack(&p->window, p->acked++);
    window_position(&p->window, &p->position);
    window_mark_stored(&p->window, p->window.settled, p->window.version);
}

/* callgrind counts from here (--toggle-collect). */
#ifndef __clang__
__attribute__((noipa)) /* keeps its name */
#endif
static void
pure_path(struct path *p, const struct row *rows, int count)
{
    window_begin_batch(&p->window, SLICE_LIT("751:760:752,755"));
    for (int i = 0; i < count; i++)
        send_row(p, &rows[i]);
    window_complete_batch(&p->window);
    settle(p, IN_FLIGHT);
}

int main(int argc, char **argv)
{
    static struct row rows[BATCH];
    struct path p = {.stream = {.started = true}};
    int events = argc == 2 ? atoi(argv[1]) : 0; /* NOLINT(cert-err34-c): checked below */
    struct position start;
    struct route *route;

    if (events < BATCH || events % BATCH != 0)
        fail("how many events? a multiple of 500");
    route_table_init(&p.routes);
    route = route_table_add(&p.routes);
    route->match_aggregate_type = xstrdup("payment*");
    message_init(&p.message);
    position_init(&start);
    position_init(&p.position);
    str_puts(&start.base, "751:751:");
    window_init(&p.window, 50000);
    window_load(&p.window, &start);
    for (int done = 0; done < events; done += BATCH) {
        for (int i = 0; i < BATCH; i++)
            make_row(&rows[i], done + i + 1);
        pure_path(&p, rows, BATCH);
    }
    settle(&p, 0);
    window_check(&p.window);
    (void)printf("%d events, %d\n", events, (int)p.sum);
    window_release(&p.window);
    position_release(&p.position);
    position_release(&start);
    message_release(&p.message);
    route_table_release(&p.routes);
    return 0;
}
