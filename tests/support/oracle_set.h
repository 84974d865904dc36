/* What the oracle remembers: each expected event in 48 bytes, and the last number of each key.
 * Texts are kept as 64-bit hashes; two million events need some 150 MB. */
#ifndef OUTBOXD_TESTS_ORACLE_SET_H
#define OUTBOXD_TESTS_ORACLE_SET_H

#include "base/str.h"
#include "oracle.h"

#include <stddef.h>
#include <stdint.h>

struct oracle_event {
    uint8_t id[16];
    uint64_t content; /* hash of key, value and headers in their canonical text */
    int64_t seq;      /* the writers' order within the key */
    int64_t row_id;
    int32_t topic; /* index into the set's topics */
    uint32_t seen; /* occurrences so far */
};

struct oracle_turn {
    uint64_t lane; /* hash of topic, partition and key; 0: an empty place */
    int64_t seq;   /* of the latest first occurrence */
};

struct oracle_set {
    struct oracle_event *events;
    size_t count, cap;
    uint32_t *index; /* open addressing: number of the event + 1, 0 is empty */
    size_t index_size;
    struct oracle_turn *turns;
    size_t turn_count, turns_size;
    char **topics;
    int32_t topic_count;
    int64_t unseen;
};

void oracle_set_release(struct oracle_set *s);
int32_t oracle_set_topic(struct oracle_set *s, const char *name,
                         size_t len); /* adds it when it is new */
struct oracle_event *oracle_set_add(struct oracle_set *s,
                                    const uint8_t id[16]); /* fails the test when it is there */
struct oracle_event *oracle_set_find(const struct oracle_set *s, const uint8_t id[16]); /* NULL */
/* Where the last number of this key in this partition is kept; INT64_MIN at first. */
int64_t *oracle_set_turn(struct oracle_set *s, uint64_t lane);

uint64_t oracle_hash(const void *data, size_t len, uint64_t start);

/* One line into the report, at most three of a kind. `kind_count` is the count of that kind, this
 * one included. */
void oracle_example(struct oracle_report *r, int64_t kind_count, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* A record in canonical form. Fields are told apart by their lengths, so two forms are equal only
 * if all bytes are. */
void oracle_canon_begin(struct str *out, struct slice key, struct slice value);
void oracle_canon_header(struct str *out, struct slice name, struct slice value);

/* ---- the steps ---- */

/* oracle_rows.c: reads the table. */
void oracle_read_rows(struct oracle_set *s, const struct oracle_params *p);
/* The canonical form of one row, for an example; false when there is no such row. */
bool oracle_read_row(PGconn *conn, const struct oracle_params *p, int64_t row_id,
                     struct str *canon);

/* oracle_topic.c: reads the topics and counts into the report. */
void oracle_read_topics(struct oracle_set *s, const struct oracle_params *p,
                        struct oracle_report *r);

#endif
