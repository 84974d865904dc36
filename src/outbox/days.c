/* waiting -> today -> tomorrow ... -> AHEAD days ahead -> waiting
 *
 * A busy day takes ensure_days five attempts of 20 ms for each lock, and lease renewals wait on the
 * same session. So each day has a statement of its own, renewals go in between, and a limit ends
 * the statement that is slow all the same. The statement for day n looks at the days before it once
 * more: no lock is asked for those that are there, and the first busy day ends the look.
 *
 * How it can fail: the server refuses a statement (privileges, a lock, the limit), a day is
 * skipped, or the session breaks for whatever reason. None of them loses a row: the default
 * partition takes it, and it is published from there. A look that was cut short is repeated once
 * before anybody is told: two relays that start at the same moment meet at these locks, and both
 * are through by then. */
#include "outbox/days.h"

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

#define AHEAD 7

enum column { PARTITION, OUTCOME, COLUMNS };

struct days {
    struct days_params params;
    struct timer *timer;
    int ahead;      /* the day that is asked for */
    bool cut_short; /* this look: the later days are left for the next one, which comes soon */
    bool once_more; /* the look before was cut short, and nobody has been told */
    struct upkeep upkeep;
};

/* What to do about the outcomes of outbox.make_day, and about the likely SQLSTATEs. */
static const struct upkeep_remedy remedies[] = {
    {"is busy", "tried again soon; pg_locks shows who uses outbox.event_default"},
    {"is no partition", "rename or drop that table"},
    {"too large",
     "delete the published rows of past days from outbox.event_default, and VACUUM it"},
    {"holds rows of this day", "none is needed: they are published from there; delete them when "
                               "the day is over and all are published"},
    {"SQLSTATE 42501",
     "as owner of the tables: GRANT EXECUTE ON FUNCTION outbox.ensure_days(integer) "
     "TO outbox_relay; and GRANT outbox_relay to the role of the relay"},
    {"SQLSTATE 55P03", "tried again soon; pg_locks shows who has locked outbox.event"},
    {"SQLSTATE 57014", "tried again soon; or SELECT outbox.ensure_days(7); daily, as its owner"},
};

static const char *remedy_of(const char *reason)
{
    return upkeep_remedy(
        remedies, ARRAY_LEN(remedies), reason,
        "SELECT outbox.ensure_days(7); daily, as the owner of the tables, shows and avoids it");
}

static void ask(struct days *d);

/* ---- telling ---- */

static void tell(struct days *d)
{
    struct upkeep *u = &d->upkeep;
    const char *reason = str_text(&u->reason);

    if (!upkeep_is_news(u))
        return;
    if (u->found.len == 0)
        log_info("every day ahead has its partition again", LOG_I("days", AHEAD),
                 LOG_I("for_s", upkeep_lasted_s(u, d->params.now_ms())));
    else if (u->partitions == 0)
        log_warn("the partitions of the days ahead cannot be looked after: rows of a day without "
                 "one go to the default partition",
                 LOG_S("reason", reason), LOG_S("remedy", remedy_of(reason)));
    else
        log_warn("a day ahead has no partition: its rows go to the default partition",
                 LOG_S("partition", str_text(&u->partition)), LOG_I("days", u->partitions),
                 LOG_S("reason", reason), LOG_S("remedy", remedy_of(reason)));
    upkeep_told(u, d->params.now_ms());
}

/* ---- a look ---- */

static void take_outcome(struct days *d, const char *partition, const char *outcome, bool last)
{
    bool busy = strstr(outcome, "is busy") != NULL;

    if (strcmp(outcome, "created") == 0)
        log_info("partition created", LOG_S("partition", partition));
    else if (strcmp(outcome, "exists") != 0 && (last || busy)) /* the others were noted before */
        upkeep_wrong(&d->upkeep, partition, outcome);
    d->cut_short = d->cut_short || busy;
}

/* Comes for SET, too, which has no columns. */
static void take_result(void *ctx, PGresult *result)
{
    struct days *d = ctx;
    int rows = PQntuples(result);

    for (int i = 0; PQnfields(result) == COLUMNS && i < rows; i++)
        take_outcome(d, PQgetvalue(result, i, PARTITION), PQgetvalue(result, i, OUTCOME),
                     i == rows - 1);
    PQclear(result);
}

static void refused(void *ctx, const char *sqlstate, const char *text)
{
    struct days *d = ctx;

    upkeep_refused(&d->upkeep, sqlstate, text);
    d->cut_short = true;
}

static void through(void *ctx)
{
    struct days *d = ctx;

    if (!d->cut_short && d->ahead < AHEAD) {
        d->ahead++;
        ask(d);
        return;
    }
    if (d->cut_short && !d->once_more) {
        d->once_more = true;
        timer_in_ms(d->timer, d->params.first_ms);
        return;
    }
    d->once_more = false;
    tell(d);
    timer_in_ms(d->timer, d->cut_short ? d->params.retry_ms : d->params.every_ms);
}

static void ask(struct days *d)
{
    struct str sql = {0};
    char limit[16];
    char ahead[16];
    const struct sql_value values[] = {{"limit_ms", limit}, {"days", ahead}};

    (void)snprintf(limit, sizeof(limit), "%" PRIu32,
                   upkeep_limit_ms(d->params.lease_ttl_ms, d->params.timeout_ms));
    (void)snprintf(ahead, sizeof(ahead), "%d", d->ahead);
    sql_fill(&sql, "days", values, ARRAY_LEN(values));
    session_query(d->params.session, &(struct session_query){.name = "days",
                                                             .text = sql.data,
                                                             .timeout_ms = d->params.timeout_ms,
                                                             .result = take_result,
                                                             .refused = refused,
                                                             .done = through,
                                                             .ctx = d});
    str_release(&sql);
}

static void look(void *ctx)
{
    struct days *d = ctx;

    d->ahead = 0;
    d->cut_short = false;
    upkeep_begin(&d->upkeep);
    ask(d);
}

/* ---- life ---- */

struct days *days_new(const struct days_params *params)
{
    struct days *d = xcalloc(1, sizeof(*d));

    d->params = *params;
    d->timer = timer_new(params->base, look, d);
    return d;
}

void days_free(struct days *d)
{
    if (d == NULL)
        return;
    timer_free(d->timer);
    upkeep_release(&d->upkeep);
    free(d);
}

void days_start(struct days *d)
{
    d->once_more = false;
    timer_in_ms(d->timer, d->params.first_ms);
}

void days_forget(struct days *d)
{
    timer_stop(d->timer);
}
