/* Binary forms: integers in network order; uuid as 16 bytes; timestamptz as microseconds since
 * 2000-01-01 UTC; text, json and bytea as their bytes. In a COPY stream every row is an int16 count
 * of fields, each field an int32 length
 * (-1: NULL) and its bytes; the count -1 ends the stream. */
#include "outbox/rows.h"

#include <string.h>

#define US_1970_TO_2000 INT64_C(946684800000000)

static const char copy_signature[11] = "PGCOPY\n\377\r\n"; /* its NUL belongs to it */

static uint64_t get_be(const char *at, size_t bytes)
{
    uint64_t v = 0;

    for (size_t i = 0; i < bytes; i++)
        v = v << 8 | (uint8_t)at[i];
    return v;
}

static int64_t get_int64(const char *at)
{
    uint64_t v = get_be(at, 8);
    int64_t out;

    memcpy(&out, &v, sizeof(out));
    return out;
}

/* Times at the ends of the type are 'infinity' and '-infinity'; none of the others overflows by
 * much, if at all. */
static int64_t time_us(int64_t since_2000)
{
    if (since_2000 == INT64_MIN || since_2000 > INT64_MAX - US_1970_TO_2000)
        return since_2000 == INT64_MIN ? INT64_MIN : INT64_MAX;
    return since_2000 + US_1970_TO_2000;
}

static int wrong_field(struct err *err, enum row_column column, size_t len)
{
    return err_problem(err, ERR_SOFTWARE, PROBLEM_INTERNAL_ERROR,
                       "row of outbox.event: column %d has %zu bytes, which is not its form",
                       (int)column, len);
}

static int get_number(const struct slice fields[ROW_COLUMNS], enum row_column column, int64_t *out,
                      struct err *err)
{
    if (fields[column].ptr == NULL || fields[column].len != 8)
        return wrong_field(err, column, fields[column].len);
    *out = get_int64(fields[column].ptr);
    return 0;
}

int row_to_event(const struct slice fields[ROW_COLUMNS], struct event *e, struct err *err)
{
    int64_t occurred_at;
    int64_t created_at;

    if (get_number(fields, ROW_ID, &e->id, err) != 0 ||
        get_number(fields, ROW_OCCURRED_AT, &occurred_at, err) != 0 ||
        get_number(fields, ROW_CREATED_AT, &created_at, err) != 0 ||
        get_number(fields, ROW_OVERSIZE, &e->oversize_bytes, err) != 0)
        return -1;
    if (fields[ROW_EVENT_ID].ptr == NULL || fields[ROW_EVENT_ID].len != sizeof(e->event_id))
        return wrong_field(err, ROW_EVENT_ID, fields[ROW_EVENT_ID].len);
    memcpy(e->event_id, fields[ROW_EVENT_ID].ptr, sizeof(e->event_id));
    for (int c = ROW_AGGREGATE_TYPE; c <= ROW_EVENT_VERSION; c++) {
        if (fields[c].ptr == NULL)
            return wrong_field(err, (enum row_column)c, 0);
    }
    e->aggregate_type = fields[ROW_AGGREGATE_TYPE];
    e->aggregate_id = fields[ROW_AGGREGATE_ID];
    e->event_type = fields[ROW_EVENT_TYPE];
    e->event_version = fields[ROW_EVENT_VERSION];
    e->payload = fields[ROW_PAYLOAD];
    e->payload_bytes = fields[ROW_PAYLOAD_BYTES];
    e->content_type = fields[ROW_CONTENT_TYPE];
    e->headers = fields[ROW_HEADERS];
    e->topic = fields[ROW_TOPIC];
    e->partition_key = fields[ROW_PARTITION_KEY];
    e->occurred_at_us = time_us(occurred_at);
    e->created_at_us = time_us(created_at);
    return 0;
}

void copy_stream_init(struct copy_stream *s)
{
    s->started = false;
    s->ended = false;
}

static int cut_short(struct err *err)
{
    return err_problem(err, ERR_SOFTWARE, PROBLEM_INTERNAL_ERROR,
                       "COPY stream: a row is cut short");
}

/* Moves past `bytes` bytes and returns where they began; NULL when there are not so many. */
static const char *skip(struct slice *piece, size_t bytes)
{
    const char *at = piece->ptr;

    if (piece->len < bytes)
        return NULL;
    piece->ptr += bytes;
    piece->len -= bytes;
    return at;
}

static int read_header(struct copy_stream *s, struct slice *piece, struct err *err)
{
    const char *at = skip(piece, sizeof(copy_signature));
    const char *flags;
    const char *extension;

    if (at == NULL || memcmp(at, copy_signature, sizeof(copy_signature)) != 0)
        return err_problem(err, ERR_SOFTWARE, PROBLEM_INTERNAL_ERROR,
                           "COPY stream: no binary header");
    flags = skip(piece, 4);
    extension = skip(piece, 4);
    if (flags == NULL || extension == NULL || skip(piece, (size_t)get_be(extension, 4)) == NULL)
        return cut_short(err);
    if (get_be(flags, 4) >> 16 != 0)
        return err_problem(err, ERR_SOFTWARE, PROBLEM_INTERNAL_ERROR,
                           "COPY stream: unknown flags %08llx",
                           (unsigned long long)get_be(flags, 4));
    s->started = true;
    return 0;
}

static int read_field(struct slice *piece, struct slice *field)
{
    const char *at = skip(piece, 4);
    uint64_t len;

    if (at == NULL)
        return -1;
    len = get_be(at, 4);
    if (len == UINT32_MAX) {
        field->ptr = NULL;
        field->len = 0;
        return 0;
    }
    field->ptr = skip(piece, (size_t)len);
    field->len = (size_t)len;
    return field->ptr != NULL ? 0 : -1;
}

int copy_stream_fields(struct copy_stream *s, struct slice *piece, struct slice *fields,
                       size_t expected, struct err *err)
{
    const char *at;
    uint64_t count;

    if (!s->started && read_header(s, piece, err) != 0)
        return -1;
    if (piece->len == 0)
        return 0;
    if (s->ended)
        return err_set(err, ERR_SOFTWARE, "COPY stream: data after its end");
    at = skip(piece, 2);
    if (at == NULL)
        return cut_short(err);
    count = get_be(at, 2);
    if (count == UINT16_MAX) {
        s->ended = true;
        return piece->len == 0 ? 0 : err_set(err, ERR_SOFTWARE, "COPY stream: data after its end");
    }
    if (count != expected)
        return err_set(err, ERR_SOFTWARE, "COPY stream: %d columns, expected %zu", (int)count,
                       expected);
    for (size_t c = 0; c < expected; c++) {
        if (read_field(piece, &fields[c]) != 0)
            return cut_short(err);
    }
    return 1;
}

int copy_stream_next(struct copy_stream *s, struct slice *piece, struct event *e, struct err *err)
{
    struct slice fields[ROW_COLUMNS] = {{0}};
    int rc = copy_stream_fields(s, piece, fields, ROW_COLUMNS, err);

    return rc == 1 && row_to_event(fields, e, err) != 0 ? -1 : rc;
}
