/* What a message costs: nanoseconds of one core per event, best of five rounds. */
#include "message/message.h"
#include "message/murmur2.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ROUNDS 5
#define EVENTS 1000000

static const char payload[] =
    "{\"orderId\": "
    "\"0190c2de-7b1a-7c3e-9f7d-1f2e3d4c5b6a\",\"customerId\":\"cust-00004711\",\"items\":["
    "{\"productId\":\"prod-0042\",\"quantity\":2,\"unitPrice\":1999},"
    "{\"productId\":\"prod-0815\",\"quantity\":1,\"unitPrice\":49}],\"totalAmount\":4047}";

static struct event sample(void)
{
    return (struct event){
        .id = 1,
        .event_id = {0x01, 0x90, 0xc2, 0xde, 0x7b, 0x1a, 0x7c, 0x3e, 0x9f, 0x7d, 0x1f, 0x2e, 0x3d,
                     0x4c, 0x5b, 0x6a},
        .aggregate_type = SLICE_LIT("order"),
        .aggregate_id = SLICE_LIT("0190c2de-7b1a-7c3e-9f7d-1f2e3d4c5b6a"),
        .event_type = SLICE_LIT("order.placed"),
        .event_version = SLICE_LIT("1.0"),
        .payload = SLICE_LIT(payload),
        .occurred_at_us = 1767225600123456,
        .created_at_us = 1767225600123456,
    };
}

/* CPU time of this thread, so that a busy machine does not count against us. */
static uint64_t cpu_ns(void)
{
    struct timespec ts = {0};

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

static void measure(const char *name, const struct route_table *routes, struct event e)
{
    struct message m;
    struct err err = {0};
    uint64_t best = UINT64_MAX;
    uint32_t sink = 0;

    message_init(&m);
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = cpu_ns();
        uint64_t spent;

        for (int i = 0; i < EVENTS; i++) {
            e.event_id[15] = (uint8_t)i;
            e.occurred_at_us += 1000;
            e.created_at_us += 1000;
            if (message_build(&m, routes, &e, &err) != 0) {
                (void)fprintf(stderr, "bench_message: %s\n", err.text);
                exit(1);
            }
            sink ^= murmur2(m.key.ptr, m.key.len) ^ (uint32_t)m.value.len;
        }
        spent = cpu_ns() - start;
        best = spent < best ? spent : best;
    }
    (void)printf("%-34s %5.0f ns/event  %4zu bytes of value, %zu headers  (%08x)\n", name,
                 (double)best / EVENTS, m.value.len, m.header_count, sink);
    message_release(&m);
}

int main(void)
{
    struct route_table routes;
    struct route *raw;
    struct event plain = sample();
    struct event traced = sample();
    struct event routed = sample();

    route_table_init(&routes);
    raw = route_table_add(&routes);
    raw->match_aggregate_type = xstrdup("raw");
    raw->format = FORMAT_RAW;
    raw->topic = xstrdup("{aggregate_type}.{event_type}");
    traced.headers =
        SLICE_LIT("{\"traceparent\": \"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\", "
                  "\"correlation-id\": \"0190c2de-7b1a-7c3e-9f7d-1f2e3d4c5b6a\"}");
    routed.aggregate_type = SLICE_LIT("raw");
    measure("envelope", &routes, plain);
    measure("envelope, two headers of the row", &routes, traced);
    measure("raw, topic of a template", &routes, routed);
    route_table_release(&routes);
    return 0;
}
