/* The oracle: holds what the writers committed against what lies in the topics.
 *
 *   I1 lost         a committed event that is in no topic
 *   I2 ghosts       a record whose event is in no committed row (rolled back, invented, or without
 * event-id header) I3 out of order first occurrences of a key within a partition that do not ascend
 * in the writers' order I4 duplicates   second and further occurrences; told, and held against a
 * bound I5 wrong        a record whose topic, partition, key, headers or value are not exactly what
 * the row asks for
 *
 * What is expected comes from the rows by SQL and from librdkafka's own murmur2, not from the code
 * under test. The writers' order is the number in the payload ("seq"), or in the headers, else the
 * row's id. What a load has logged is held against the table as well: vanished (COMMIT succeeded,
 * no row) and undead (rolled back, but a row). */
#ifndef OUTBOXD_TESTS_ORACLE_H
#define OUTBOXD_TESTS_ORACLE_H

#include "load.h"
#include "pg.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct oracle_params {
    const struct pg_server *pg;
    const char *brokers;
    const struct load *load; /* stopped; NULL: the rows alone are the truth */
    const char *where;       /* SQL condition on the row `e`; NULL: all rows */
    const char
        *topic_sql; /* SQL of the expected topic; NULL: the row's, or aggregate_type || '-events' */
    const char *value_sql; /* SQL (bytea) of the expected value of a row with a JSON payload; NULL:
                              the envelope */
    const char *const *topics; /* NULL-terminated: read these too, although no row asks for them */
    bool any_partition;        /* the partition count has grown: do not judge where records lie */
    int wait_ms; /* how long to wait for what is still missing; 0: judge what is there */
};

/* For value_sql: the format `raw`. */
#define ORACLE_RAW_VALUE "convert_to(e.payload::text, 'UTF8')"

#define ORACLE_EXAMPLES 12

struct oracle_report {
    int64_t committed; /* rows */
    int64_t records;   /* in all topics */
    int64_t topics;
    int64_t lost, ghosts, inverted, duplicates, wrong;
    int64_t vanished, undead;
    int64_t missing_topics; /* asked for by rows, unknown to the brokers */
    int64_t elapsed_ms;
    int example_count;
    char example[ORACLE_EXAMPLES][512]; /* the first few of each kind, one line each */
};

void oracle_judge(struct oracle_report *r, const struct oracle_params *p);

/* A table of the counts and the examples. */
void oracle_print(const struct oracle_report *r, FILE *out);

/* Nothing lost, no ghosts, in order, nothing wrong, and at most max_duplicates. */
bool oracle_is_content(const struct oracle_report *r, int64_t max_duplicates);

/* Judges; prints the report and fails the test when it is not content. Returns the report for more
 * checks. */
struct oracle_report oracle_assert(const struct oracle_params *p, int64_t max_duplicates);

#endif
