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
    /* What this look has found wrong: */
    struct str partition;   /* the first that is kept; "": the statement failed, or is not there */
    int kept;               /* how many are */
    struct str reason;      /* the first */
    struct str found;       /* all of it; "": nothing */
    struct str told;        /* what was found when the log was last told */
    uint64_t told_since_ms; /* since when it is not "" */
};

static const char not_there[] = "the schema has no outbox.retire_next";

static const struct remedy {
    const char *part;
    const char *text;
} remedies[] = {
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
    for (size_t i = 0; i < ARRAY_LEN(remedies); i++)
        if (strstr(reason, remedies[i].part) != NULL)
            return remedies[i].text;
    return "SELECT * FROM outbox.retire_days('7 days'); as the owner of the tables, shows it";
}

static const char *problem_of(const char *reason)
{
    return problem_word(strstr(reason, "had no partition") != NULL ? PROBLEM_DEFAULT_PARTITION
                                                                   : PROBLEM_RETENTION_STUCK);
}

static void ask(struct retention *r);

/* ---- telling ---- */

static void note_wrong(struct retention *r, const char *partition, const char *reason)
{
    if (r->found.len == 0) {
        str_set(&r->partition, partition != NULL ? partition : "");
        str_set(&r->reason, reason);
    }
    r->kept += partition != NULL;
    str_printf(&r->found, "%s %s\n", partition != NULL ? partition : "", reason);
}

static void tell(struct retention *r)
{
    const char *reason = str_text(&r->reason);

    if (strcmp(str_text(&r->found), str_text(&r->told)) == 0)
        return;
    if (r->found.len == 0)
        log_info("retention keeps up again", LOG_I("keep_ms", r->params.keep_ms),
                 LOG_I("for_s", (r->params.now_ms() - r->told_since_ms) / 1000));
    else if (strcmp(reason, not_there) == 0)
        log_info("old days stay: there is no retention", LOG_S("reason", reason),
                 LOG_S("remedy", remedy_of(reason)));
    else if (r->kept == 0)
        log_warn("retention cannot work: old days stay", LOG_S("problem", problem_of(reason)),
                 LOG_S("reason", reason), LOG_S("remedy", remedy_of(reason)));
    else
        log_warn("retention cannot keep up: old partitions stay",
                 LOG_S("problem", problem_of(reason)), LOG_S("partition", str_text(&r->partition)),
                 LOG_I("partitions", r->kept), LOG_S("reason", reason),
                 LOG_S("remedy", remedy_of(reason)));
    if (r->told.len == 0)
        r->told_since_ms = r->params.now_ms();
    str_copy(&r->told, &r->found);
}

/* ---- a look ---- */

static void look_ends(struct retention *r)
{
    const struct retention_params *p = &r->params;
    bool wrong = r->found.len > 0;
    bool news = strcmp(str_text(&r->found), str_text(&r->told)) != 0;

    if (r->changed || (wrong && news && !r->once_more)) {
        r->once_more = wrong;
        timer_in_ms(r->timer, p->soon_ms);
        return;
    }
    r->once_more = false;
    tell(r);
    timer_in_ms(r->timer, wrong && strstr(str_text(&r->found), not_there) == NULL ? p->retry_ms
                                                                                  : p->every_ms);
}

static void take_outcome(struct retention *r, const char *partition, const char *outcome)
{
    static const char kept[] = "kept: ";

    str_set(&r->after, partition);
    r->more = true;
    if (strncmp(outcome, kept, strlen(kept)) == 0)
        note_wrong(r, partition, outcome + strlen(kept));
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
    struct str reason = {0};

    str_printf(&reason, "%s (SQLSTATE %s)", text, sqlstate);
    note_wrong(r, NULL, reason.data);
    str_release(&reason);
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

static uint32_t limit_ms(const struct retention_params *p)
{
    uint32_t limit = p->lease_ttl_ms / 4;

    if (limit > p->timeout_ms / 2)
        limit = p->timeout_ms / 2;
    return limit > 0 ? limit : 1; /* 0 would be none */
}

static void ask(struct retention *r)
{
    struct str sql = {0};
    struct str after = {0};
    char limit[16];
    char keep[64] = "NULL";

    sql_put_quoted(&after, str_text(&r->after));
    (void)snprintf(limit, sizeof(limit), "%" PRIu32, limit_ms(&r->params));
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
        note_wrong(r, NULL, not_there);
    PQclear(result);
}

static void look(void *ctx)
{
    struct retention *r = ctx;
    struct str sql = {0};

    r->more = r->changed = r->refused = false;
    r->kept = 0;
    str_reset(&r->after);
    str_reset(&r->partition);
    str_reset(&r->reason);
    str_reset(&r->found);
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
    str_release(&r->partition);
    str_release(&r->reason);
    str_release(&r->found);
    str_release(&r->told);
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
