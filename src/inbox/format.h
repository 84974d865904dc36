/* From a record to an event: id, type, time and payload, by the format that the parameters name or
 * that the record's shape tells. */
#ifndef OUTBOXD_INBOX_FORMAT_H
#define OUTBOXD_INBOX_FORMAT_H

#include "base/str.h"
#include "inbox.h"

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

#define WHEN_UNKNOWN INT64_MIN

struct record {
    struct slice value;                /* NULL slice: a tombstone */
    const rd_kafka_headers_t *headers; /* NULL: none */
    int64_t timestamp_ms;              /* -1: none */
};

/* Slices point into the record or into the reader, until its next format_read. */
struct content {
    struct slice id;
    struct slice source;
    struct slice type;
    struct slice time; /* as written, not checked */
    struct slice payload;
    int64_t written_us; /* header event-time, else the record's; WHEN_UNKNOWN */
    bool replay;
};

struct format_reader {
    struct str name;
    struct str scratch;
    struct str texts;
};

void format_reader_release(struct format_reader *r);

/* 0, or -1 with `why` set to a constant text that says what is wrong with the record. */
NODISCARD int format_read(struct format_reader *r, enum inbox_format format,
                          const struct record *record, struct content *out, const char **why);

/* The last header of that name; the NULL slice when there is none. */
struct slice format_header(const rd_kafka_headers_t *headers, const char *name);

#endif
