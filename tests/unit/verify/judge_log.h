/* What the tests of the judge share: a log of rows and records, and what the judge finds in it.
 * Included by one program each. */
#ifndef OUTBOXD_TESTS_JUDGE_LOG_H
#define OUTBOXD_TESTS_JUDGE_LOG_H

#include "../../support/check.h"

#include "base/err.h"
#include "verify/judge.h"

#include <stdio.h>
#include <stdlib.h>

#define DAY INT64_C(86400000000)
#define T0  (20000 * DAY)

enum { TOPICS = 3, PARTITIONS = 2, MAX_EVENTS = 1200, MAX_FINDINGS = 4000 };

static struct judged_event findings[MAX_FINDINGS];
static size_t finding_count;

static inline void note(void *ctx, const struct judged_event *e)
{
    (void)ctx;
    assert_true(finding_count < MAX_FINDINGS);
    findings[finding_count++] = *e;
}

/* A log: rows, and records in the order of each partition's offsets. */
struct log {
    struct row_entry rows[MAX_EVENTS];
    struct record_entry records[MAX_EVENTS];
    size_t row_count;
    size_t record_count;
    int64_t next[TOPICS][PARTITIONS];
};

static inline void set_id(uint8_t id[16], unsigned number)
{
    memset(id, 0, 16);
    id[3] = (uint8_t)(number >> 8);
    id[4] = (uint8_t)number;
}

static inline struct row_entry *add_row(struct log *l, unsigned number, const char *key)
{
    struct row_entry *r = &l->rows[l->row_count++];

    *r = (struct row_entry){.id = (int64_t)l->row_count,
                            .created_us = T0,
                            .key = key_digest_of(key, strlen(key)),
                            .state = ROW_SETTLED};
    set_id(r->event_id, number);
    return r;
}

static inline struct record_entry *add_record(struct log *l, unsigned number, int32_t partition)
{
    struct record_entry *r = &l->records[l->record_count++];

    *r = (struct record_entry){
        .partition = partition, .offset = l->next[0][partition]++, .event_us = T0};
    set_id(r->event_id, number);
    return r;
}

/* Every topic whole. */
static inline struct judge_totals judge(const struct log *l, const struct judge_params *params)
{
    struct judge *j = judge_new(params);
    struct judge_totals totals;
    struct coverage coverage;
    const int32_t *days;
    bool left[16];
    struct err err;

    finding_count = 0;
    coverage_init(&coverage);
    for (int t = 0; t < TOPICS; t++) {
        coverage_topic(&coverage, (uint16_t)t, PARTITIONS);
        for (int32_t p = 0; p < PARTITIONS; p++)
            coverage_partition(&coverage, (uint16_t)t, p, 0, 0, 0);
    }
    coverage_finish(&coverage);
    for (size_t i = 0; i < l->row_count; i++)
        assert_ok(judge_row(j, &l->rows[i], &err), &err);
    for (size_t i = 0; i < l->record_count; i++)
        assert_ok(judge_record(j, &l->records[i], &err), &err);
    for (size_t i = 0; i < judge_days(j, &days); i++)
        left[i] = days[i] == 20000;
    judge_days_left(j, left);
    assert_ok(judge_run(j, &coverage, &totals, &err), &err);
    judge_free(j);
    coverage_release(&coverage);
    return totals;
}

static const struct judge_params PLAIN = {.memory_bytes = 1 << 20,
                                          .folder = "/tmp",
                                          .since_us = INT64_MIN,
                                          .until_us = INT64_MAX,
                                          .ghosts = true,
                                          .found = note};

static inline struct log *new_log(unsigned rows)
{
    struct log *l = calloc(1, sizeof *l);

    assert_non_null(l);
    for (unsigned n = 1; n <= rows; n++)
        (void)add_row(l, n, "k");
    return l;
}

#endif
