/* The shapes, as they are told apart:
 *
 *   CloudEvents   header ce_id, or a JSON object with specversion and id
 *   Debezium      header id, and neither of the others
 *   envelope      a JSON object with eventId and payload
 *   raw           header event-id, and a value that is no envelope
 *
 * An id may stand in two places, as in our envelopes: then the value's is taken. */
#include "inbox/format.h"

#include "message/json_scan.h"
#include "message/message.h"

#include <string.h>

enum member { M_ID, M_TYPE, M_TYPE_SHORT, M_TIME, M_PAYLOAD, M_COUNT };
enum ce_member { C_VERSION, C_ID, C_SOURCE, C_TYPE, C_TIME, C_DATA, C_DATA_64, C_COUNT };

_Static_assert((int)C_COUNT >= (int)M_COUNT, "read_by_shape has room for both");

static const char *const ENVELOPE[M_COUNT] = {"eventId", "eventType", "type", "occurredAt",
                                              "payload"};
static const char *const CLOUD_EVENT[C_COUNT] = {"specversion", "id",   "source",     "type",
                                                 "time",        "data", "data_base64"};

void format_reader_release(struct format_reader *r)
{
    str_release(&r->name);
    str_release(&r->scratch);
    str_release(&r->texts);
}

struct slice format_header(const rd_kafka_headers_t *headers, const char *name)
{
    const void *value = NULL;
    size_t len = 0;

    if (headers == NULL ||
        rd_kafka_header_get_last(headers, name, &value, &len) != RD_KAFKA_RESP_ERR_NO_ERROR ||
        value == NULL)
        return (struct slice){0};
    return (struct slice){.ptr = value, .len = len};
}

/* ---- JSON ------------------------------------------------------------------------------------ */

/* Finds the members `names` of the object `value`: each one's text as it is written, NULL where
 * there is none. Of a name that comes twice the last counts. False: no JSON object. */
static bool find_members(struct format_reader *r, struct slice value, const char *const *names,
                         size_t count, struct slice *found)
{
    struct json_scan s = {.at = value.ptr, .end = value.ptr + value.len};
    const char *start;

    memset(found, 0, count * sizeof *found);
    if (value.ptr == NULL || !json_take(&s, '{'))
        return false;
    if (!json_take(&s, '}')) {
        do {
            str_reset(&r->name);
            str_reset(&r->scratch);
            if (!json_take_string(&s, &r->name) || !json_take(&s, ':'))
                return false;
            json_skip_blanks(&s);
            start = s.at;
            if (!json_take_text(&s, &r->scratch))
                return false;
            for (size_t i = 0; i < count; i++)
                if (strcmp(str_text(&r->name), names[i]) == 0)
                    found[i] = (struct slice){.ptr = start, .len = (size_t)(s.at - start)};
        } while (json_take(&s, ','));
        if (!json_take(&s, '}'))
            return false;
    }
    json_skip_blanks(&s);
    return s.at == s.end;
}

/* A member's text: a string decoded, a number as it is written; the NULL slice for null and for
 * what cannot be a text. r->texts must have the room. */
static struct slice text_of(struct format_reader *r, struct slice member)
{
    struct json_scan s = {.at = member.ptr, .end = member.ptr + member.len};
    size_t start = r->texts.len;

    if (member.ptr == NULL || slice_is(member, "null") || *member.ptr == '{' || *member.ptr == '[')
        return (struct slice){0};
    if (*member.ptr != '"')
        return member;
    if (!json_take_string(&s, &r->texts))
        return (struct slice){0};
    return (struct slice){.ptr = r->texts.data + start, .len = r->texts.len - start};
}

/* So that slices into r->texts stay valid while it grows. */
static void make_room(struct format_reader *r, size_t bytes)
{
    str_reset(&r->texts);
    str_reserve(&r->texts, bytes);
}

static struct slice payload_of(struct slice member)
{
    return slice_is(member, "null") ? (struct slice){0} : member;
}

/* ---- the formats ----------------------------------------------------------------------------- */

static void take_envelope(struct format_reader *r, const struct slice *member, struct content *out)
{
    size_t type = member[M_TYPE].ptr != NULL ? M_TYPE : M_TYPE_SHORT;

    make_room(r, member[M_ID].len + member[type].len + member[M_TIME].len);
    out->id = text_of(r, member[M_ID]);
    out->type = text_of(r, member[type]);
    out->time = text_of(r, member[M_TIME]);
    out->payload = payload_of(member[M_PAYLOAD]);
}

/* Header by header; members of the value, where it had them, come first. */
static void take_headers(const struct record *record, const char *id, const char *type,
                         const char *time, struct content *out)
{
    if (out->id.ptr == NULL)
        out->id = format_header(record->headers, id);
    if (out->type.ptr == NULL)
        out->type = format_header(record->headers, type);
    if (out->time.ptr == NULL)
        out->time = format_header(record->headers, time);
}

static int read_envelope(struct format_reader *r, const struct record *record, struct content *out,
                         const char **why)
{
    struct slice member[M_COUNT];

    if (record->value.ptr != NULL) { /* the envelope of a tombstone is its headers */
        if (!find_members(r, record->value, ENVELOPE, M_COUNT, member)) {
            *why = "the value is no JSON object, so it is no envelope";
            return -1;
        }
        take_envelope(r, member, out);
    }
    take_headers(record, "event-id", "event-type", "event-time", out);
    return 0;
}

static void read_raw(const struct record *record, struct content *out)
{
    out->payload = record->value;
    take_headers(record, "event-id", "event-type", "event-time", out);
}

static void read_debezium(const struct record *record, struct content *out)
{
    out->payload = record->value;
    take_headers(record, "id", "eventType", "event-time", out);
    take_headers(record, "id", "event-type", "event-time", out);
}

static void take_cloud_event(struct format_reader *r, const struct slice *member,
                             struct content *out)
{
    make_room(r, member[C_ID].len + member[C_SOURCE].len + member[C_TYPE].len + member[C_TIME].len);
    out->id = text_of(r, member[C_ID]);
    out->source = text_of(r, member[C_SOURCE]);
    out->type = text_of(r, member[C_TYPE]);
    out->time = text_of(r, member[C_TIME]);
    out->payload = payload_of(member[member[C_DATA].ptr != NULL ? C_DATA : C_DATA_64]);
}

static void read_ce_headers(const struct record *record, struct content *out)
{
    out->payload = record->value;
    out->source = format_header(record->headers, "ce_source");
    take_headers(record, "ce_id", "ce_type", "ce_time", out);
}

static int read_cloud_event(struct format_reader *r, const struct record *record,
                            struct content *out, const char **why)
{
    struct slice member[C_COUNT];

    if (format_header(record->headers, "ce_id").ptr != NULL) {
        read_ce_headers(record, out);
        return 0;
    }
    if (!find_members(r, record->value, CLOUD_EVENT, C_COUNT, member)) {
        *why = "no header ce_id, and the value is no JSON object";
        return -1;
    }
    take_cloud_event(r, member, out);
    return 0;
}

static int read_by_shape(struct format_reader *r, const struct record *record, struct content *out,
                         const char **why)
{
    const bool has_event_id = format_header(record->headers, "event-id").ptr != NULL;
    struct slice member[C_COUNT]; /* the larger of the two */

    if (format_header(record->headers, "ce_id").ptr != NULL) {
        read_ce_headers(record, out);
    } else if (!has_event_id && format_header(record->headers, "id").ptr != NULL) {
        read_debezium(record, out);
    } else if (find_members(r, record->value, ENVELOPE, M_COUNT, member) &&
               member[M_ID].ptr != NULL && member[M_PAYLOAD].ptr != NULL) {
        take_envelope(r, member, out);
        take_headers(record, "event-id", "event-type", "event-time", out);
    } else if (has_event_id) {
        read_raw(record, out);
    } else if (find_members(r, record->value, CLOUD_EVENT, C_COUNT, member) &&
               member[C_VERSION].ptr != NULL && member[C_ID].ptr != NULL) {
        take_cloud_event(r, member, out);
    } else {
        *why = "no event id: no header event-id, ce_id or id, and the value is neither an envelope "
               "nor a CloudEvent";
        return -1;
    }
    return 0;
}

static int64_t written_us(const struct record *record)
{
    int64_t us = WHEN_UNKNOWN;

    if (message_parse_rfc3339(format_header(record->headers, "event-time"), &us))
        return us;
    return record->timestamp_ms >= 0 ? record->timestamp_ms * 1000 : WHEN_UNKNOWN;
}

int format_read(struct format_reader *r, enum inbox_format format, const struct record *record,
                struct content *out, const char **why)
{
    int rc = 0;

    memset(out, 0, sizeof *out);
    out->written_us = written_us(record);
    out->replay = format_header(record->headers, "outboxd-replay").ptr != NULL;
    switch (format) {
    case INBOX_FORMAT_AUTO:
        rc = read_by_shape(r, record, out, why);
        break;
    case INBOX_FORMAT_ENVELOPE:
        rc = read_envelope(r, record, out, why);
        break;
    case INBOX_FORMAT_RAW:
        read_raw(record, out);
        break;
    case INBOX_FORMAT_DEBEZIUM:
        read_debezium(record, out);
        break;
    case INBOX_FORMAT_CLOUDEVENTS:
        rc = read_cloud_event(r, record, out, why);
        break;
    }
    if (rc == 0 && (out->id.ptr == NULL || out->id.len == 0)) {
        *why = "the event id is missing, null or empty";
        rc = -1;
    }
    return rc;
}
