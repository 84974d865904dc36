/* What the tests of this folder share: one event, and comparison of slices byte for byte. */
#ifndef OUTBOXD_TESTS_UNIT_MESSAGE_SAMPLE_H
#define OUTBOXD_TESTS_UNIT_MESSAGE_SAMPLE_H

#include "message/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define SAMPLE_ID "0190c2de-7b1a-7c3e-9f7d-1f2e3d4c5b6a"

static inline struct event sample_event(void)
{
    return (struct event){
        .id = 42,
        .event_id = {0x01, 0x90, 0xc2, 0xde, 0x7b, 0x1a, 0x7c, 0x3e, 0x9f, 0x7d, 0x1f, 0x2e, 0x3d,
                     0x4c, 0x5b, 0x6a},
        .aggregate_type = SLICE_LIT("order"),
        .aggregate_id = SLICE_LIT("order-1"),
        .event_type = SLICE_LIT("order.placed"),
        .event_version = SLICE_LIT("1.0"),
        .payload = SLICE_LIT("{\"a\": 1}"),
        .occurred_at_us = 1767225600000000, /* 2026-01-01T00:00:00Z */
        .created_at_us = 1767225601500000,  /* 1.5 s later */
    };
}

/* The NULL slice only equals the NULL slice. */
static inline void check_slice(struct slice got, struct slice want, const char *file, int line)
{
    if (slice_eq(got, want))
        return;
    (void)fprintf(stderr, "got  %zu bytes: %.*s\nwant %zu bytes: %.*s\n", got.len,
                  got.ptr == NULL ? 6 : (int)got.len, got.ptr == NULL ? "(NULL)" : got.ptr,
                  want.len, want.ptr == NULL ? 6 : (int)want.len,
                  want.ptr == NULL ? "(NULL)" : want.ptr);
    _fail(file, line);
}

#define assert_slice(got, literal) check_slice((got), SLICE_LIT(literal), __FILE__, __LINE__)
#define assert_slice_null(got)     check_slice((got), (struct slice){0}, __FILE__, __LINE__)

#endif
