/* What the tests of `outboxd check` on the Kafka side share: a cluster, and what was told of it.
 * Included by one program each. */
#ifndef OUTBOXD_TESTS_INSPECT_CASE_H
#define OUTBOXD_TESTS_INSPECT_CASE_H

#include "../support/check.h"

#include "../support/kafka.h"
#include "../support/tmp.h"
#include "report_words.h"

#include "base/err.h"
#include "kafka/inspect.h"
#include "kafka/producer.h"

#include <stdio.h>

static struct kafka cluster;

/* ---- a report that remembers ----------------------------------------------------------------- */

static struct {
    size_t count;
    struct line {
        enum finding finding;
        char what[512];
        char way_out[512]; /* "": none */
    } line[64];
    uint64_t took_ms;
} seen;

static inline void remember(void *ctx, enum finding finding, const char *what, const char *way_out)
{
    (void)ctx;
    CHECK(seen.count < ARRAY_LEN(seen.line), "more lines than expected: %s", what);
    CHECK(finding != FINDING_WRONG || (names_its_problem(what) && way_out),
          "no problem, or no way out: %s", what);
    struct line *l = &seen.line[seen.count++];
    l->finding = finding;
    snprintf(l->what, sizeof(l->what), "%s", what);
    snprintf(l->way_out, sizeof(l->way_out), "%s", way_out ? way_out : "");
    print_message("%d %s\n    -> %s\n", (int)finding, l->what, l->way_out);
}

static inline void inspect_with(const char *brokers, const struct kafka_pair *properties,
                                size_t count, const char *topic)
{
    const struct report report = {.line = remember};
    const struct kafka_sink_params p = {
        .brokers = brokers,
        .client_id = "test",
        .properties = properties,
        .property_count = count,
        .window_events = 1000,
        .window_bytes = 1 << 20,
        .max_event_bytes = 1000000,
    };
    uint64_t start = test_now_ms();
    memset(&seen, 0, sizeof(seen));
    kafka_inspect(&p, &topic, topic ? 1 : 0, &report);
    seen.took_ms = test_now_ms() - start;
    CHECK(seen.took_ms < 12000, "took %lu ms", (unsigned long)seen.took_ms);
}

static inline void inspect(const char *topic)
{
    inspect_with(kafka_brokers(&cluster), NULL, 0, topic);
}

/* The line that holds `part`; fails when there is none or its finding is another. */
static inline const struct line *line_with(enum finding finding, const char *part)
{
    for (size_t i = 0; i < seen.count; i++) {
        if (strstr(seen.line[i].what, part)) {
            CHECK(seen.line[i].finding == finding, "finding %d: %s", (int)seen.line[i].finding,
                  seen.line[i].what);
            return &seen.line[i];
        }
    }
    fail_msg("no line holds \"%s\"", part);
    return &seen.line[0];
}

static inline size_t count_of(enum finding finding)
{
    size_t n = 0;
    for (size_t i = 0; i < seen.count; i++)
        n += seen.line[i].finding == finding;
    return n;
}

/* ---- the cluster ----------------------------------------------------------------------------- */

/* A broker that is quite new may be busy for seconds before it gives producer ids. */
static inline void await_producer_ids(void)
{
    size_t warnings = 1;
    for (int i = 0; i < 5 && warnings > 0; i++) {
        inspect(NULL);
        warnings = count_of(FINDING_WARN);
    }
}

static inline int end_cluster(void **state)
{
    (void)state;
    kafka_drop(&cluster);
    return 0;
}

#endif
