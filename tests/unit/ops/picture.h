/* A picture of a process in which every member is known, for tests to change. Header only. */
#ifndef OUTBOXD_TESTS_UNIT_OPS_PICTURE_H
#define OUTBOXD_TESTS_UNIT_OPS_PICTURE_H

#include "../../support/check.h"

#include "ops/view.h"

#include <stdlib.h>

struct picture {
    struct ops_view view;
    struct relay_counters counters;
    struct route_table routes;
    uint64_t published[8];
};

static inline void picture_route(struct picture *p, const char *name)
{
    struct route *r = route_table_add(&p->routes);

    free(r->name);
    r->name = xstrdup(name);
}

static inline void picture_init(struct picture *p)
{
    *p = (struct picture){0};
    route_table_init(&p->routes);
    p->counters = (struct relay_counters){.events_published = 1000,
                                          .bytes_published = 1u << 20,
                                          .events_read = 1010,
                                          .duplicates_possible = 10,
                                          .polls = 5,
                                          .pages = 6,
                                          .stores = 7,
                                          .renewals = 8,
                                          .takeovers = 2,
                                          .reconnects = 3,
                                          .producers = 4,
                                          .latency_sum_s = 12.5,
                                          .published_by_route = p->published};
    p->view = (struct ops_view){.version = "1.2.3",
                                .relay = "orders",
                                .instance = "host-1",
                                .uptime_s = 60.5,
                                .state = RELAY_LEADING,
                                .epoch = 7,
                                .ready = true,
                                .problem_text = "",
                                .problem_topic = "",
                                .problem_event_id = "",
                                .next_try_s = -1,
                                .counters = &p->counters,
                                .routes = &p->routes,
                                .window_events = 11,
                                .window_capacity = 50000,
                                .window_bytes = 2222,
                                .window_bytes_capacity = 32u << 20,
                                .backlog = {.known = true,
                                            .age_s = 1.5,
                                            .unsent_events = 42,
                                            .oldest_unsent_s = 3.25,
                                            .oldest_lane_s = 61.5,
                                            .lanes = 0,
                                            .oldest_transaction_s = -1,
                                            .sees_transactions = true},
                                .process = {.start_time_s = 1763877600.125,
                                            .cpu_s = 1.75,
                                            .resident_bytes = 12345678,
                                            .open_fds = 33}};
}

static inline void picture_release(struct picture *p)
{
    route_table_release(&p->routes);
}

#endif
