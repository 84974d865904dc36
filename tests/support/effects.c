#include "effects.h"

#include <inttypes.h>

#define GATE "4711"

void effects_prepare(PGconn *conn)
{
    pg_exec(conn, "CREATE TABLE effect (n bigserial PRIMARY KEY, event_id uuid, key text, "
                  "seq bigint, member text);"
                  "CREATE INDEX ON effect (event_id);"
                  "CREATE TABLE total (key text PRIMARY KEY, last bigint, count bigint, "
                  "inverted bigint) WITH (fillfactor = 50);"
                  "CREATE TABLE other (id int UNIQUE DEFERRABLE INITIALLY DEFERRED);"
                  "INSERT INTO other VALUES (1);"
                  "CREATE TABLE sent (event_id uuid, key text, seq bigint, what text, mark text);"
                  "CREATE INDEX ON sent (event_id);"
                  "CREATE TABLE dead (event_id uuid, mark text, class text);"
                  "CREATE INDEX ON dead (event_id);"
                  "GRANT ALL ON effect, effect_n_seq, total, other TO consumer;"
                  "CREATE FUNCTION pass_gate() RETURNS trigger LANGUAGE plpgsql AS "
                  "'BEGIN PERFORM pg_advisory_xact_lock_shared(" GATE "); RETURN NULL; END'");
}

void effects_reset(PGconn *conn)
{
    pg_exec(conn, "TRUNCATE effect, total, sent, dead");
}

/* ---- the gate -------------------------------------------------------------------------------- */

void effects_build_gate(PGconn *conn)
{
    pg_exec(conn, "CREATE CONSTRAINT TRIGGER gate AFTER INSERT ON effect DEFERRABLE INITIALLY "
                  "DEFERRED FOR EACH ROW EXECUTE FUNCTION pass_gate()");
}

void effects_close_gate(PGconn *conn)
{
    pg_exec(conn, "SELECT pg_advisory_lock(" GATE ")");
}

void effects_open_gate(PGconn *conn)
{
    pg_exec(conn, "SELECT pg_advisory_unlock_all()");
}

void effects_remove_gate(PGconn *conn)
{
    pg_exec(conn, "DROP TRIGGER IF EXISTS gate ON effect");
}

/* ---- what was sent --------------------------------------------------------------------------- */

void effects_expect_outbox(PGconn *conn)
{
#define WHEN_(number, what) " WHEN " #number " THEN '" what "'"
    pg_exec(conn, "INSERT INTO sent SELECT event_id, aggregate_id, "
                  "coalesce(headers ->> 'seq', payload ->> 'seq')::bigint, "
                  "CASE ('x' || right(event_id::text, 4))::bit(16)::int %% "
                  "128" EFFECTS_BY_ID(WHEN_) " ELSE '' END FROM outbox.event");
#undef WHEN_
}

/* ---- the judgement --------------------------------------------------------------------------- */

#define DEAD "s.what " EFFECTS_DEAD_SQL

static int64_t missing(const struct effects_params *p)
{
    return pg_int(p->conn, "SELECT count(*) FROM sent s WHERE NOT " DEAD
                           " AND NOT EXISTS (SELECT FROM effect e WHERE e.event_id = s.event_id)");
}

/* Records count by their place, events by their id: an event that came twice may have failed twice.
 */
static int64_t unfailed(const struct effects_params *p)
{
    return pg_int(p->conn,
                  "SELECT (SELECT count(*) FROM sent s WHERE " DEAD " AND s.event_id IS NOT NULL "
                  "AND NOT EXISTS (SELECT FROM inbox.state f WHERE f.consumer = '%s' AND "
                  "f.event_id = s.event_id AND f.state = 'failed')) + "
                  "greatest(0, (SELECT count(*) FROM sent WHERE event_id IS NULL) - "
                  "(SELECT count(*) FROM inbox.state WHERE consumer = '%s' AND event_id IS NULL "
                  "AND state = 'failed'))",
                  p->consumer, p->consumer);
}

static void judge_effects(struct effects_report *r, const struct effects_params *p)
{
    PGconn *c = p->conn;

    r->sent = pg_int(c, "SELECT count(*) FROM sent");
    r->effects = pg_int(c, "SELECT count(*) FROM effect");
    r->missing = missing(p);
    r->twice = pg_int(c, "SELECT count(*) FROM (SELECT FROM effect GROUP BY event_id "
                         "HAVING count(*) > 1) t");
    r->ghosts = pg_int(c, "SELECT count(*) FROM effect e WHERE NOT EXISTS (SELECT FROM sent s "
                          "WHERE s.event_id = e.event_id AND NOT " DEAD ")");
    if (!p->any_order)
        r->inverted =
            pg_int(c, "SELECT (SELECT count(*) FROM (SELECT seq - lag(seq) OVER (PARTITION BY key "
                      "ORDER BY n) AS step FROM effect) t WHERE step <= 0) + "
                      "(SELECT coalesce(sum(inverted), 0) FROM total)");
    r->wrong = pg_int(
        c, "SELECT (SELECT count(*) FROM effect e JOIN sent s USING (event_id) WHERE "
           "(e.key, e.seq) IS DISTINCT FROM (s.key, s.seq)) + "
           "(SELECT count(*) FROM total t FULL JOIN (SELECT key, count(*) FROM sent s WHERE "
           "NOT " DEAD " GROUP BY key) w USING (key) WHERE t.count IS DISTINCT FROM w.count)");
    r->unclaimed = pg_int(c,
                          "SELECT count(*) FROM (SELECT DISTINCT event_id FROM effect) e FULL JOIN "
                          "(SELECT event_id FROM inbox.claimed WHERE consumer = '%s') c "
                          "USING (event_id) WHERE e IS NULL OR c IS NULL",
                          p->consumer);
}

static void judge_letters(struct effects_report *r, const struct effects_params *p)
{
    PGconn *c = p->conn;

    r->letters = pg_int(c, "SELECT count(*) FROM dead");
    r->lost_letters =
        pg_int(c, "SELECT count(*) FROM sent s WHERE " DEAD " AND NOT EXISTS (SELECT FROM dead d "
                  "WHERE d.event_id = s.event_id OR d.mark = s.mark)");
    r->false_letters =
        pg_int(c, "SELECT count(*) FROM dead d WHERE NOT EXISTS (SELECT FROM sent s WHERE " DEAD
                  " AND (d.event_id = s.event_id OR d.mark = s.mark))");
    r->unrecorded =
        unfailed(p) + pg_int(c,
                             "SELECT count(*) FROM inbox.state f WHERE f.consumer = '%s' AND "
                             "f.state <> 'completed' AND f.event_id IS NOT NULL AND NOT EXISTS "
                             "(SELECT FROM dead d WHERE d.event_id = f.event_id)",
                             p->consumer);
}

void effects_judge(struct effects_report *r, const struct effects_params *p)
{
    const uint64_t start = test_now_ms();
    const uint64_t end = start + (uint64_t)p->wait_ms;

    *r = (struct effects_report){0};
    pg_exec(p->conn, "ANALYZE sent, effect, inbox.claimed, inbox.failure");
    while ((missing(p) > 0 || unfailed(p) > 0 || effects_lag(p) != 0) && test_now_ms() < end)
        test_sleep_ms(50);
    effects_read_letters(p);
    judge_effects(r, p);
    judge_letters(r, p);
    r->lag = effects_lag(p);
    r->elapsed_ms = (int64_t)(test_now_ms() - start);
}

bool effects_are_right(const struct effects_report *r)
{
    int64_t bad = 0;

#define SUM_(name, text) bad += r->name != 0;
    EFFECTS_COUNTS(SUM_)
#undef SUM_
    return bad == 0;
}

void effects_print(const struct effects_report *r, FILE *out)
{
    (void)fprintf(
        out, "  %" PRId64 " sent, %" PRId64 " effects, %" PRId64 " dead letters; %" PRId64 " ms\n",
        r->sent, r->effects, r->letters, r->elapsed_ms);
#define PRINT_(name, text)                                                                         \
    if (r->name != 0)                                                                              \
        (void)fprintf(out, "  %-13s %8" PRId64 "  %s\n", #name, r->name, text);
    EFFECTS_COUNTS(PRINT_)
#undef PRINT_
}

/* The first few of each kind, for the one who has to find out. */
static void print_examples(PGconn *conn)
{
    (void)fprintf(
        stderr, "  missing: %s\n  twice: %s\n",
        pg_scalar(conn, "SELECT string_agg(concat_ws('/', event_id, key, seq, what), ' ') FROM "
                        "(SELECT * FROM sent s WHERE NOT " DEAD " AND NOT EXISTS (SELECT FROM "
                        "effect e WHERE e.event_id = s.event_id) LIMIT 5) t"),
        pg_scalar(conn, "SELECT string_agg(event_id::text, ' ') FROM (SELECT event_id FROM effect "
                        "GROUP BY event_id HAVING count(*) > 1 LIMIT 5) t"));
    (void)fprintf(
        stderr, "  inverted: %s\n  letters: %s\n",
        pg_scalar(conn,
                  "SELECT string_agg(concat_ws('/', event_id, key, seq, member, n), ' ') FROM "
                  "(SELECT * FROM (SELECT *, seq - lag(seq) OVER (PARTITION BY key ORDER BY n) AS "
                  "step FROM effect) t WHERE step <= 0 LIMIT 5) u"),
        pg_scalar(conn,
                  "SELECT string_agg(concat_ws('/', event_id, mark, class), ' ') FROM (SELECT "
                  "* FROM dead d WHERE NOT EXISTS (SELECT FROM sent s WHERE " DEAD
                  " AND (d.event_id = s.event_id OR d.mark = s.mark)) LIMIT 5) t"));
}

struct effects_report effects_assert(const struct effects_params *p)
{
    struct effects_report r;

    effects_judge(&r, p);
    if (!effects_are_right(&r)) {
        effects_print(&r, stderr);
        print_examples(p->conn);
        support_fail("the effects are not the events");
    }
    return r;
}
