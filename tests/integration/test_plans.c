/* The plans of the reader's statements, which are ours and not the planner's
 * (src/outbox/README.md): with 36 partitions, with statistics that are fresh, stale, or not there,
 * with a straggler of 100,000 rows and a backlog of 200,000. Wrong is: a sequential or bitmap scan,
 * a sort of more rows than a page has, an index that is not the one the statement was written for,
 * and reading far more rows than are returned. */
#include "../support/check.h"
#include "../support/source_user.h"

#include "outbox/lane_page.h"
#include "outbox/sql_fill.h"
#include "outbox/sql_texts.h"

#include <stdio.h>
#include <stdlib.h>

#define PAGE_ROWS 2000
#define SCAN_ROWS "50000"

static struct pg_server pg;

/* A position in the middle: settled rows, a straggler, a backlog, and rows that came later. */
static struct {
    PGconn *reader; /* pinned like the read session */
    char base[128], target[128], xmax[32];
    int64_t min_new_id;
} at;

static void bulk(PGconn *conn, int rows)
{
    pg_exec(
        conn,
        "INSERT INTO outbox.event (aggregate_type, aggregate_id, event_type, payload, created_at)"
        " SELECT 'bulk', 'k' || g %% 500, 'e', to_json(repeat(md5(g::text), 6)), now() + g %% 30 * "
        "interval '1 day'"
        " FROM generate_series(1, %d) g",
        rows);
}

static void copy_scalar(char *to, size_t size, PGconn *conn, const char *sql)
{
    (void)snprintf(to, size, "%s", pg_scalar(conn, "%s", sql));
}

static int setup(void **state)
{
    PGconn *conn;
    PGconn *straggler;
    struct str pins = {0};

    (void)state;
    pg_create(&pg,
              &(struct pg_params){.settings = (const char *const[]){"autovacuum = off", NULL}});
    pg_apply_schema(&pg);
    conn = pg_open(&pg, "postgres");
    straggler = pg_open(&pg, "postgres");
    pg_exec(conn, "SELECT * FROM outbox.ensure_days(34)");
    bulk(conn, 200000);
    pg_exec(straggler, "BEGIN");
    bulk(straggler, 100000);
    pg_exec(
        conn,
        "SELECT outbox.publish('order', 'k', 'e', '{}')"); /* so that the straggler is below xmax */
    copy_scalar(at.base, sizeof(at.base), conn, "SELECT pg_current_snapshot()");
    copy_scalar(at.xmax, sizeof(at.xmax), conn, "SELECT pg_snapshot_xmax(pg_current_snapshot())");
    for (int i = 0; i < 4; i++)
        bulk(conn, 50000);
    pg_exec(straggler, "COMMIT");
    copy_scalar(at.target, sizeof(at.target), conn, "SELECT pg_current_snapshot()");
    at.min_new_id = pg_int(conn, "SELECT min(id + 0) FROM outbox.event WHERE xid >= '%s'", at.xmax);
    bulk(conn, 50000); /* after the target */
    PQfinish(straggler);
    PQfinish(conn);

    at.reader = pg_open(&pg, "relay");
    sql_fill(&pins, "setup_read", &(struct sql_value){"timeout_ms", "60000"}, 1);
    pg_exec(at.reader, "%s", pins.data);
    str_release(&pins);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    PQfinish(at.reader);
    pg_drop(&pg);
    return 0;
}

/* ---- reading an EXPLAIN ---- */

struct plan {
    struct str text;
    double max_sorted; /* rows that went into the largest sort */
    double read;       /* rows that the scans of the event table returned or threw away */
};

static double number_after(const char *line, const char *word)
{
    const char *found = strstr(line, word);

    return found != NULL ? strtod(found + strlen(word), NULL) : 0;
}

/* rows=N loops=M of "(actual rows=N loops=M)" */
static double rows_of(const char *line)
{
    const char *actual = strstr(line, "(actual rows=");

    return actual == NULL ? 0 : number_after(actual, "rows=") * number_after(actual, "loops=");
}

static void explain(struct plan *p, const char *sql)
{
    PGresult *res =
        pg_query(at.reader, "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) %s", sql);
    bool sorting = false;

    p->max_sorted = p->read = 0;
    str_reset(&p->text);
    for (int i = 0; i < PQntuples(res); i++) {
        const char *line = PQgetvalue(res, i, 0);

        str_puts(&p->text, line);
        str_put_char(&p->text, '\n');
        if (strstr(line, " Sort  (") == line || strstr(line, "->  Sort (") != NULL)
            sorting = true;
        else if (sorting && strstr(line, "(actual") != NULL) {
            p->max_sorted = rows_of(line) > p->max_sorted ? rows_of(line) : p->max_sorted;
            sorting = false;
        }
        if (strstr(line, "Scan using ") != NULL)
            p->read += rows_of(line);
        if (strstr(line, "Rows Removed by Filter: ") != NULL)
            p->read += number_after(line, "Filter: ");
    }
    PQclear(res);
}

static void check_plan(struct plan *p, const char *sql, double most_read)
{
    explain(p, sql);
    CHECK(strstr(p->text.data, "Seq Scan") == NULL, "%s", p->text.data);
    CHECK(strstr(p->text.data, "Bitmap") == NULL, "%s", p->text.data);
    CHECK(p->max_sorted <= PAGE_ROWS, "%g rows sorted\n%s", p->max_sorted, p->text.data);
    CHECK(p->read <= most_read, "%g rows read\n%s", p->read, p->text.data);
}

/* The SELECT within page.sql, with these branches. `lane`: what it covers, with the branches of a
 * lane of the same kind; else NULL. */
static void page_text(struct str *out, int64_t last_id, const char *new_rows, const char *lane)
{
    struct str branches = {0};
    struct str page = {0};
    char base[160], target[160], xmax[64], last[24], from[24], rows[16];
    struct sql_value values[] = {{"base", base},
                                 {"target", target},
                                 {"xmax", xmax},
                                 {"last_id", last},
                                 {"from_id", from},
                                 {"max_rows", rows},
                                 {"max_event_bytes", "10485760"},
                                 {"scan_rows", SCAN_ROWS},
                                 {"lane", lane},
                                 {"more_columns", lane != NULL ? ", last" : ""},
                                 {"branches", NULL}};
    const char *copy;
    const char *end;

    (void)snprintf(base, sizeof(base), "'%s'", at.base);
    (void)snprintf(target, sizeof(target), "'%s'", at.target);
    (void)snprintf(xmax, sizeof(xmax), "'%s'", at.xmax);
    (void)snprintf(last, sizeof(last), "%lld", (long long)last_id);
    (void)snprintf(from, sizeof(from), "%lld",
                   (long long)(last_id < at.min_new_id ? at.min_new_id - 1 : last_id));
    (void)snprintf(rows, sizeof(rows), "%d", PAGE_ROWS);
    if (lane != NULL) {
        lane_page_branches(&branches, strcmp(new_rows, "page_new_by_id") == 0, true, values,
                           ARRAY_LEN(values) - 1);
    } else {
        sql_fill(&branches, "page_stragglers", values, ARRAY_LEN(values));
        str_puts(&branches, "UNION ALL");
        sql_fill(&branches, new_rows, values, ARRAY_LEN(values));
    }
    values[ARRAY_LEN(values) - 1].text = branches.data;
    sql_fill(&page, "page", values, ARRAY_LEN(values));
    copy = strstr(page.data, "COPY (");
    end = strstr(page.data, ") TO STDOUT");
    assert_true(copy != NULL && end != NULL);
    str_reset(out);
    str_put(out, copy + 6, (size_t)(end - copy) - 6);
    str_release(&branches);
    str_release(&page);
}

static void probe_text(struct str *out)
{
    char target[160], xmax[64];
    const struct sql_value values[] = {
        {"target", target}, {"xmax", xmax}, {"last_id", "0"}, {"few", "500"}};
    struct str probe = {0};

    (void)snprintf(target, sizeof(target), "'%s'", at.target);
    (void)snprintf(xmax, sizeof(xmax), "'%s'", at.xmax);
    sql_fill(&probe, "probe", values, ARRAY_LEN(values));
    str_set(out, strchr(probe.data, ';') + 1);
    str_release(&probe);
}

#define BULK_TOPIC                                                                                 \
    "CASE WHEN e.topic IS NOT NULL THEN e.topic ELSE e.aggregate_type || '-events' END = "         \
    "'bulk-events'"

/* Rows that a filter removes count twice: read, and removed. A key that is rare, one that is
 * nowhere, and a whole topic: none reads more than a page may look at, of the stragglers and of the
 * new rows, and the topic stops when a page is full: where stragglers fill it, no new row is read.
 */
static void check_lanes(struct plan *plan, struct str *sql)
{
    static const struct {
        const char *where;
        double most_read;
    } lanes[] = {{"coalesce(e.partition_key, e.aggregate_id) = 'k4'", 4 * 50000 + 500},
                 {"coalesce(e.partition_key, e.aggregate_id) = 'nowhere'", 4 * 50000 + 500},
                 {BULK_TOPIC, 3 * PAGE_ROWS}};
    const int64_t places[] = {0, at.min_new_id - 50000, at.min_new_id + 100000};

    for (size_t i = 0; i < ARRAY_LEN(places) * ARRAY_LEN(lanes); i++) {
        page_text(sql, places[i / ARRAY_LEN(lanes)], "page_new_by_id",
                  lanes[i % ARRAY_LEN(lanes)].where);
        check_plan(plan, sql->data, lanes[i % ARRAY_LEN(lanes)].most_read);
        CHECK(strstr(plan->text.data, "Incremental Sort") == NULL, "%s", plan->text.data);
    }
}

static void check_all(const char *statistics)
{
    struct plan plan = {0};
    struct str sql = {0};
    const int64_t places[] = {0, at.min_new_id - 50000, at.min_new_id + 100000};

    print_message("statistics %s\n", statistics);
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        page_text(&sql, places[i], "page_new_by_id", NULL);
        check_plan(&plan, sql.data, 3 * PAGE_ROWS);
        assert_contains(plan.text.data, "_id_idx");
        CHECK(strstr(plan.text.data, "Incremental Sort") == NULL, "%s", plan.text.data);
    }
    check_lanes(&plan, &sql);
    probe_text(&sql);
    check_plan(&plan, sql.data,
               2 * 10000 + 1000 + 200000); /* the smallest id needs them all, if it is not near */
    assert_contains(plan.text.data, "Index Only Scan using");
    pg_exec(at.reader, "DEALLOCATE ALL");
    pg_exec(at.reader, "PREPARE poll AS %s", sql_query("poll"));
    str_reset(&sql);
    str_printf(&sql, "EXECUTE poll('%s', 500, 1000000)", at.base); /* a backlog: stops early */
    check_plan(&plan, sql.data, 4 * 502);
    str_reset(&sql);
    str_printf(&sql, "EXECUTE poll('%s', 500, 1000000)",
               at.target); /* one transaction is new, with many rows */
    check_plan(&plan, sql.data, 4 * 502);
    str_release(&plan.text);
    str_release(&sql);
}

static void test_plans(void **state)
{
    PGconn *conn = pg_open(&pg, "postgres");

    (void)state;
    check_all("not there");
    pg_exec(conn, "ANALYZE outbox.event");
    check_all("fresh");
    /* the worst of the stale ones: an analyze when the table held the rows of one transaction */
    pg_exec(conn, "BEGIN; CREATE TABLE kept AS SELECT * FROM outbox.event WHERE xid <> (SELECT "
                  "min(xid) FROM outbox.event);"
                  "DELETE FROM outbox.event WHERE xid <> (SELECT min(xid) FROM outbox.event); "
                  "ANALYZE outbox.event;"
                  "INSERT INTO outbox.event OVERRIDING SYSTEM VALUE SELECT * FROM kept; DROP TABLE "
                  "kept; COMMIT");
    check_all("stale");
    PQfinish(conn);
}

/* Few new rows beside a large straggler: they are read by xid, and not along the id past
 * everything. */
static void test_few_new(void **state)
{
    struct plan plan = {0};
    struct str sql = {0};
    PGconn *conn = pg_open(&pg, "postgres");
    int64_t last_id;

    (void)state;
    copy_scalar(at.base, sizeof(at.base), conn, "SELECT pg_current_snapshot()");
    copy_scalar(at.xmax, sizeof(at.xmax), conn, "SELECT pg_snapshot_xmax(pg_current_snapshot())");
    last_id = pg_int(conn, "SELECT max(id) FROM outbox.event");
    bulk(conn, 30);
    copy_scalar(at.target, sizeof(at.target), conn, "SELECT pg_current_snapshot()");
    bulk(conn, 300000);
    page_text(&sql, 0, "page_new_by_xid", NULL);
    check_plan(&plan, sql.data, 100);
    for (int i = 0; i < 2; i++) { /* ids near the end tempt the planner to walk along them */
        page_text(&sql, i == 0 ? 0 : last_id, "page_new_by_xid", BULK_TOPIC);
        check_plan(&plan, sql.data, 200); /* twice, see check_lanes */
        pg_exec(conn, "ANALYZE outbox.event");
    }
    str_release(&plan.text);
    str_release(&sql);
    PQfinish(conn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_plans),
                                       cmocka_unit_test(test_few_new)};

    return cmocka_run_group_tests(tests, setup, teardown);
}
