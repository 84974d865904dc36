/* Rows in Postgres's binary form become events. Pure: no connection, no allocation; an event
 * borrows the row's memory. The columns come in the order of enum row_column, from page.sql by COPY
 * and from poll.sql as a result. */
#ifndef OUTBOXD_OUTBOX_ROWS_H
#define OUTBOXD_OUTBOX_ROWS_H

#include "base/err.h"
#include "base/str.h"
#include "message/event.h"

#include <stdbool.h>
#include <stdint.h>

enum row_column {
    ROW_ID,
    ROW_EVENT_ID,
    ROW_AGGREGATE_TYPE,
    ROW_AGGREGATE_ID,
    ROW_EVENT_TYPE,
    ROW_EVENT_VERSION,
    ROW_PAYLOAD,
    ROW_PAYLOAD_BYTES,
    ROW_CONTENT_TYPE,
    ROW_HEADERS,
    ROW_TOPIC,
    ROW_PARTITION_KEY,
    ROW_OCCURRED_AT,
    ROW_CREATED_AT,
    ROW_OVERSIZE,
    ROW_COLUMNS
};

/* Fields are slices; a NULL slice is SQL NULL. Returns -1 (ERR_SOFTWARE) when a field has not the
 * form of its column: the query and this file are at odds. Infinite times become the ends of
 * int64_t. */
NODISCARD int row_to_event(const struct slice fields[ROW_COLUMNS], struct event *e,
                           struct err *err);

/* The stream of COPY ... (FORMAT binary). Each piece that libpq gives holds whole rows, the first
 * one the header, too. */
struct copy_stream {
    bool started; /* the header was seen */
    bool ended;   /* the trailer was seen: nothing is missing */
};

void copy_stream_init(struct copy_stream *s);

/* Takes the fields of the next row, of which there must be `expected`, from *piece and moves it on.
 * Returns 1 with the fields, 0 when the piece is used up, -1 with `err` (ERR_SOFTWARE) when it is
 * not what the server promises. The fields borrow the piece's memory; a NULL slice is SQL NULL. */
NODISCARD int copy_stream_fields(struct copy_stream *s, struct slice *piece, struct slice *fields,
                                 size_t expected, struct err *err);

/* The same for a row of ROW_COLUMNS, as an event. */
NODISCARD int copy_stream_next(struct copy_stream *s, struct slice *piece, struct event *e,
                               struct err *err);

#endif
