/* waiting -> ready? -> one partition -> the next ... -> the last -> waiting
 *
 * Each partition has a statement, hence a transaction, of its own: locks are short, and lease
 * renewals on the same session go in between. A step changes one thing (full -> emptied -> detached
 * -> dropped); a look that changed anything is followed by another one soon, until nothing changes.
 *
 * How it can fail: the server refuses a statement (privileges, the limit), a partition is kept
 * (outcome "kept: why": a relay has not published all of it, somebody uses it), or the session
 * breaks. Each only means that events stay longer. What is found is told when it is found twice in
 * a row, because a transaction that is in the way now may be over soon, and two relays that look at
 * the same moment meet at these locks. "waits: why" is as it should be. */
#include "outbox/retention.h"

#include "base/log.h"
#include "base/str.h"
#include "outbox/session.h"
#include "outbox/sql_fill.h"
#include "outbox/timer.h"
#include "outbox/upkeep.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum column { PARTITION, OUTCOME, COLUMNS };

struct retention {
    struct retention_params params;
    struct timer *timer;
    struct str after; /* the partition that was looked at last; "": none */
    bool more;        /* there may be partitions behind it */
    bool changed;     /* this look has changed something */
    bool refused;     /* it was cut short */
    bool once_more;   /* the look before has found something wrong, and nobody has been told */
    struct upkeep upkeep;
};

static const char not_there[] = "the schema has no outbox.retire_next";

static const struct upkeep_remedy remedies[] = {
    {not_there, "run `outboxd migrate`, which adds it"},
    {"has not published",
     "start that relay; if it is gone for good: DELETE FROM outbox.relay WHERE "
     "name = ...; as the owner of the tables"},
    {"not of this server", "`outboxd rebase` for that relay; if it is gone for good: DELETE FROM "
                           "outbox.relay WHERE name = ...; as the owner of the tables"},
    {"no partition", "delete those that are published from the default partition; SELECT "
                     "outbox.ensure_days(7); daily avoids them"},
    {"uses it", "tried again soon; pg_locks shows who uses the partition"},
    {"is in use", "tried again soon; pg_stat_activity shows transactions that stay open on "
                  "outbox.event"},
    {"SQLSTATE 42501", "as owner of the tables: GRANT EXECUTE ON FUNCTION "
                       "outbox.retire_next(interval, text) TO outbox_relay; and GRANT "
                       "outbox_relay to the role of the relay"},
    {"SQLSTATE 57014", "tried again soon; or SELECT * FROM outbox.retire_days('7 days'); daily, as "
                       "its owner"},
};

static const char *remedy_of(const char *reason)
{
    return upkeep_remedy(
        remedies, ARRAY_LEN(remedies), reason,
        "SELECT * FROM outbox.retire_days('7 days'); as the owner of the tables, shows it");
}

static const char *problem_of(const char *reason)
{
    return problem_word(strstr(reason, "had no partition") != NULL ? PROBLEM_DEFAULT_PARTITION
                                                                   : PROBLEM_RETENTION_STUCK);
}

static void ask(struct retention *r);

/* ---- telling ---- */

static void tell(struct retention *r)
{
    struct upkeep *u = &r->upkeep;
    const char *reason = str_text(&u->reason);

    if (!upkeep_is_news(u))
        return;
    if (u->found.len == 0)
        log_info("retention keeps up again", LOG_I("keep_ms", r->params.keep_ms),
                 LOG_I("for_s", upkeep_lasted_s(u, r->params.now_ms())));
    else if (strcmp(reason, not_there) == 0)
        log_info("old days stay: there is no retention", LOG_S("reason", reason),
                 LOG_S("remedy", remedy_of(reason)));
    else if (u->partitions == 0)
        log_warn("retention cannot work: old days stay", LOG_S("problem", problem_of(reason)),
                 LOG_S("reason", reason), LOG_S("remedy", remedy_of(reason)));
    else
        log_warn("retention cannot keep up: old partitions stay",
                 LOG_S("problem", problem_of(reason)), LOG_S("partition", str_text(&u->partition)),
                 LOG_I("partitions", u->partitions), LOG_S("reason", reason),
                 LOG_S("remedy", remedy_of(reason)));
    upkeep_told(u, r->params.now_ms());
}

/* ---- a look ---- */

static void look_ends(struct retention *r)
{
    const struct retention_params *p = &r->params;
    const struct upkeep *u = &r->upkeep;
    bool wrong = u->found.len > 0;

    if (r->changed || (wrong && upkeep_is_news(u) && !r->once_more)) {
        r->once_more = wrong;
        timer_in_ms(r->timer, p->soon_ms);
        return;
    }
    r->once_more = false;
    tell(r);
    timer_in_ms(r->timer, wrong && strstr(str_text(&u->found), not_there) == NULL ? p->retry_ms
                                                                                  : p->every_ms);
}

static void take_outcome(struct retention *r, const char *partition, const char *outcome)
{
    static const char kept[] = "kept: ";

    str_set(&r->after, partition);
    r->more = true;
    if (strncmp(outcome, kept, strlen(kept)) == 0)
        upkeep_wrong(&r->upkeep, partition, outcome + strlen(kept));
    if (strcmp(outcome, "emptied") == 0)
        log_info("day retired: all published, and older than retention.keep",
                 LOG_S("partition", partition));
    else if (strcmp(outcome, "dropped") == 0)
        log_info("partition dropped", LOG_S("partition", partition));
    else if (strcmp(outcome, "detached") != 0)
        return;
    r->changed = true;
}

/* Comes for SET, too, which has no columns. */
static void take_result(void *ctx, PGresult *result)
{
    struct retention *r = ctx;

    if (PQnfields(result) == COLUMNS && PQntuples(result) == 1)
        take_outcome(r, PQgetvalue(result, 0, PARTITION), PQgetvalue(result, 0, OUTCOME));
    PQclear(result);
}

static void refused(void *ctx, const char *sqlstate, const char *text)
{
    struct retention *r = ctx;

    upkeep_refused(&r->upkeep, sqlstate, text);
    r->refused = true;
}

static void through(void *ctx)
{
    struct retention *r = ctx;

    if (r->more && !r->refused)
        ask(r);
    else
        look_ends(r);
}

static void ask(struct retention *r)
{
    struct str sql = {0};
    struct str after = {0};
    char limit[16];
    char keep[64] = "NULL";

    sql_put_quoted(&after, str_text(&r->after));
    (void)snprintf(limit, sizeof(limit), "%" PRIu32,
                   upkeep_limit_ms(r->params.lease_ttl_ms, r->params.timeout_ms));
    if (r->params.keep_ms > 0)
        (void)snprintf(keep, sizeof(keep), "%" PRId64 " * interval '1 millisecond'",
                       r->params.keep_ms);
    sql_fill(&sql, "retire",
             (const struct sql_value[]){{"limit_ms", limit}, {"keep", keep}, {"after", after.data}},
             3);
    r->more = false;
    session_query(r->params.session, &(struct session_query){.name = "retire",
                                                             .text = sql.data,
                                                             .timeout_ms = r->params.timeout_ms,
                                                             .result = take_result,
                                                             .refused = refused,
                                                             .done = through,
                                                             .ctx = r});
    str_release(&sql);
    str_release(&after);
}

static void take_ready(void *ctx, PGresult *result)
{
    struct retention *r = ctx;

    r->more = PQntuples(result) == 1 && strcmp(PQgetvalue(result, 0, 0), "t") == 0;
    if (!r->more)
        upkeep_wrong(&r->upkeep, NULL, not_there);
    PQclear(result);
}

static void look(void *ctx)
{
    struct retention *r = ctx;
    struct str sql = {0};

    r->more = r->changed = r->refused = false;
    str_reset(&r->after);
    upkeep_begin(&r->upkeep);
    sql_fill(&sql, "retention_ready", NULL, 0);
    session_query(r->params.session, &(struct session_query){.name = "retention_ready",
                                                             .text = sql.data,
                                                             .timeout_ms = r->params.timeout_ms,
                                                             .result = take_ready,
                                                             .refused = refused,
                                                             .done = through,
                                                             .ctx = r});
    str_release(&sql);
}

/* ---- life ---- */

struct retention *retention_new(const struct retention_params *params)
{
    struct retention *r = xcalloc(1, sizeof(*r));

    r->params = *params;
    r->timer = timer_new(params->base, look, r);
    return r;
}

void retention_free(struct retention *r)
{
    if (r == NULL)
        return;
    timer_free(r->timer);
    str_release(&r->after);
    upkeep_release(&r->upkeep);
    free(r);
}

void retention_start(struct retention *r)
{
    r->once_more = false;
    timer_in_ms(r->timer, r->params.first_ms);
}

void retention_forget(struct retention *r)
{
    timer_stop(r->timer);
}
