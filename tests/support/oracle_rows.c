/* The rows of outbox.event as the records that they ask for. The SQL builds them, so that the
 * relay's own code is not asked what it should have done. */
#include "oracle_set.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_PER_FETCH 10000

/* As RFC 3339 with no fraction, milliseconds or microseconds, whichever is enough. The session's
 * zone is UTC. */
#define TIME_SQL(column)                                                                           \
    "to_char(" column ", 'YYYY-MM-DD\"T\"HH24:MI:SS' || CASE"                                      \
    " WHEN date_part('us', " column ")::int % 1000000 = 0 THEN '\"Z\"'"                            \
    " WHEN date_part('us', " column ")::int % 1000 = 0 THEN '.MS\"Z\"' ELSE '.US\"Z\"' END)"

#define ENVELOPE_SQL                                                                               \
    "convert_to('{\"eventId\":\"' || e.event_id || '\",\"eventType\":' || to_json(e.event_type)"   \
    " || ',\"occurredAt\":\"' || " TIME_SQL(                                                       \
        "e.occurred_at") " || '\",\"version\":'"                                                   \
                         " || to_json(e.event_version) || ',\"payload\":' || e.payload || '}', "   \
                         "'UTF8')"

enum column {
    COL_ID,
    COL_EVENT_ID,
    COL_SEQ,
    COL_TOPIC,
    COL_KEY,
    COL_VALUE,
    COL_ID_TEXT,
    COL_TYPE,
    COL_TIME,
    COL_CONTENT_TYPE,
    COL_HEADERS
};

/* The row's own headers as one text: each is its length and bytes (-1 and nothing for null), names
 * before values. */
#define HEADERS_SQL                                                                                \
    "CASE WHEN e.headers IS NOT NULL THEN (SELECT string_agg("                                     \
    "octet_length(h.key) || ':' || h.key || coalesce(octet_length(h.value), -1) || ':'"            \
    " || coalesce(h.value, ''), '' ORDER BY h.n) FROM json_each_text(e.headers)"                   \
    " WITH ORDINALITY h (key, value, n) WHERE h.key NOT IN"                                        \
    " ('event-id', 'event-type', 'event-time', 'content-type')) END"

static void write_query(struct str *sql, const struct oracle_params *p)
{
    const char *topic =
        p->topic_sql != NULL ? p->topic_sql : "coalesce(e.topic, e.aggregate_type || '-events')";
    const char *value = p->value_sql != NULL ? p->value_sql : ENVELOPE_SQL;

    str_reset(sql);
    str_puts(sql, "SELECT e.id, e.event_id, coalesce(e.headers->>'seq', e.payload->>'seq'), ");
    str_printf(sql, "%s, coalesce(e.partition_key, e.aggregate_id), ", topic);
    str_printf(sql, "CASE WHEN e.payload IS NOT NULL THEN %s ELSE e.payload_bytes END, ", value);
    str_puts(sql, "e.event_id::text, e.event_type, " TIME_SQL("e.created_at") ", ");
    /* an envelope is JSON whatever the row says about its payload */
    str_puts(sql, p->value_sql == NULL
                      ? "CASE WHEN e.payload_bytes IS NULL THEN 'application/json' ELSE"
                      : "CASE WHEN true THEN");
    str_puts(sql,
             " coalesce(e.content_type, CASE WHEN e.payload_bytes IS NULL THEN 'application/json'"
             " ELSE 'application/octet-stream' END) END, " HEADERS_SQL " FROM outbox.event e");
    str_printf(sql, " WHERE (%s)", p->where != NULL ? p->where : "true");
}

static struct slice cell(const PGresult *res, int row, enum column col)
{
    if (PQgetisnull(res, row, (int)col))
        return (struct slice){0};
    return (struct slice){PQgetvalue(res, row, (int)col), (size_t)PQgetlength(res, row, (int)col)};
}

static int64_t number(const PGresult *res, int row, enum column col)
{
    uint64_t big;

    memcpy(&big, PQgetvalue(res, row, (int)col), sizeof big);
    return (int64_t)be64toh(big);
}

/* The writers' number, if it is one; else the id says the order. */
static int64_t writers_order(const PGresult *res, int row)
{
    const struct slice text = cell(res, row, COL_SEQ);
    char *end;
    int64_t seq;

    if (text.ptr == NULL || text.len == 0)
        return number(res, row, COL_ID);
    seq = strtoll(text.ptr, &end, 10); /* libpq ends every value with a NUL */
    return end == text.ptr + text.len ? seq : number(res, row, COL_ID);
}

/* "3:abc-1:" and so on, see HEADERS_SQL. */
static struct slice take_counted(const char **at)
{
    char *end;
    const long len = strtol(*at, &end, 10);
    struct slice s = {0};

    if (len >= 0)
        s = (struct slice){end + 1, (size_t)len};
    *at = end + 1 + (len >= 0 ? len : 0);
    return s;
}

static void canon_of_row(struct str *out, const PGresult *res, int row)
{
    struct slice own = cell(res, row, COL_HEADERS);
    const char *at = own.ptr;

    oracle_canon_begin(out, cell(res, row, COL_KEY), cell(res, row, COL_VALUE));
    oracle_canon_header(out, SLICE_LIT("event-id"), cell(res, row, COL_ID_TEXT));
    oracle_canon_header(out, SLICE_LIT("event-type"), cell(res, row, COL_TYPE));
    oracle_canon_header(out, SLICE_LIT("event-time"), cell(res, row, COL_TIME));
    oracle_canon_header(out, SLICE_LIT("content-type"), cell(res, row, COL_CONTENT_TYPE));
    while (at != NULL && at < own.ptr + own.len) {
        struct slice name = take_counted(&at);
        struct slice value = take_counted(&at);
        oracle_canon_header(out, name, value);
    }
}

static void add_rows(struct oracle_set *s, const PGresult *res, struct str *canon)
{
    for (int row = 0; row < PQntuples(res); row++) {
        const struct slice topic = cell(res, row, COL_TOPIC);
        uint8_t id[16];
        struct oracle_event *e;
        memcpy(id, PQgetvalue(res, row, COL_EVENT_ID), sizeof id);
        e = oracle_set_add(s, id);
        canon_of_row(canon, res, row);
        e->content = oracle_hash(canon->data, canon->len, 0);
        e->seq = writers_order(res, row);
        e->row_id = number(res, row, COL_ID);
        e->topic = oracle_set_topic(s, topic.ptr, topic.len);
    }
}

static PGresult *binary_query(PGconn *conn, const char *sql)
{
    PGresult *res = PQexecParams(conn, sql, 0, NULL, NULL, NULL, NULL, 1);

    if (PQresultStatus(res) != PGRES_TUPLES_OK)
        support_fail("oracle: %s\n  in: %s", PQerrorMessage(conn), sql);
    return res;
}

void oracle_read_rows(struct oracle_set *s, const struct oracle_params *p)
{
    PGconn *conn = pg_open(p->pg, NULL);
    struct str sql = {0};
    struct str canon = {0};
    char fetch[64];
    int got;

    write_query(&sql, p);
    pg_exec(conn, "SET TIME ZONE 'UTC'");
    pg_exec(conn, "BEGIN");
    pg_exec(conn, "DECLARE c NO SCROLL CURSOR FOR %s", str_text(&sql));
    (void)snprintf(fetch, sizeof fetch, "FETCH %d FROM c", ROWS_PER_FETCH);
    do {
        PGresult *res = binary_query(conn, fetch);
        add_rows(s, res, &canon);
        got = PQntuples(res);
        PQclear(res);
    } while (got > 0);
    pg_exec(conn, "COMMIT");
    PQfinish(conn);
    str_release(&sql);
    str_release(&canon);
}

bool oracle_read_row(PGconn *conn, const struct oracle_params *p, int64_t row_id, struct str *canon)
{
    struct str sql = {0};
    PGresult *res;
    bool found;

    write_query(&sql, p);
    str_printf(&sql, " AND e.id = %lld", (long long)row_id);
    pg_exec(conn, "SET TIME ZONE 'UTC'");
    res = binary_query(conn, str_text(&sql));
    found = PQntuples(res) == 1;
    if (found)
        canon_of_row(canon, res, 0);
    PQclear(res);
    str_release(&sql);
    return found;
}
