/* `outboxd status`: reads the database only, so that it works beside a dead relay. First line: is
 * it well? Then the facts, what is wrong, and what to do about it, in the words of base/problem.h.
 *
 * Ends with 0 when it is well or waits, with 69 when the database cannot be asked, and with 78 when
 * only a person can help: `run` would refuse this database. */
#include "app/commands.h"

#include "app/status_print.h"
#include "base/problem.h"
#include "outbox/admin.h"
#include "settings/settings.h"

#include <stdio.h>
#include <string.h>

enum { LANES_COUNTED = 5 };

static void add(struct status *s, enum problem problem, const char *text)
{
    struct status_problem *p;

    if (s->problem_count == STATUS_PROBLEMS)
        return;
    p = &s->problems[s->problem_count++];
    p->problem = problem;
    (void)snprintf(p->text, sizeof p->text, "%s", text);
}

/* The first one counts. */
static void conclude(struct status *s, const char *verdict)
{
    if (s->verdict == NULL)
        s->verdict = verdict;
}

/* What concerns publishing, the weightiest first: that one gives the verdict. */
static void judge_publishing(struct status *s)
{
    const struct admin_status *st = &s->relay;
    const struct trouble *t = &st->trouble;

    if (st->refusal.kind != ERR_NONE)
        add(s, st->refusal.problem, st->refusal.text);
    if (st->refusal.kind == ERR_CONFIG)
        conclude(s, "refused");
    else if (!st->leading) {
        add(s, PROBLEM_NO_LEADER, "");
        conclude(s, "no leader");
    }
    if (t->halted) {
        add(s, problem_parse(t->cause), t->text);
        conclude(s, "halted");
    }
    if (st->paused_s >= 0) {
        add(s, PROBLEM_PAUSED, str_text(&st->pause_reason));
        conclude(s, "paused");
    } else if (t->cause[0] != '\0' && !t->halted) {
        add(s, problem_parse(t->cause), t->text);
        conclude(s, "waiting");
    }
    conclude(s, "ok");
}

static void judge_tables(struct status *s)
{
    const struct overdue *o = &s->overdue;
    bool net = false;
    bool stuck = false;

    for (size_t i = 0; i < o->listed; i++) {
        if (strcmp(o->days[i].partition, "event_default") == 0)
            net = true;
        else if (!stuck) {
            add(s, PROBLEM_RETENTION_STUCK, o->days[i].reason);
            stuck = true;
        }
    }
    if (net)
        add(s, PROBLEM_DEFAULT_PARTITION, "");
    if (s->relay.transaction_count > 0)
        add(s, PROBLEM_LONG_TRANSACTION, s->relay.transactions[0].name);
}

int command_status(const struct cli *c, struct err *err)
{
    struct settings settings = {0};
    struct status status = {0};
    struct command_server server;
    int rc = settings_load(&settings, c->config, err);

    if (rc != 0)
        goto out;
    server = command_server_of(&settings);
    status.name = settings.relay.name;
    rc = admin_status(&server, settings.relay.name, &status.relay, err);
    if (rc == 0)
        rc = overdue_ask(&server, settings.retention.keep_ms, &status.overdue, err);
    if (rc == 0 && status.relay.lanes > 0 && status.relay.refusal.kind == ERR_NONE)
        rc = admin_lanes(&server, settings.relay.name, &settings.routes, LANES_COUNTED,
                         &status.lanes, err);
    if (rc != 0) {
        if (c->json)
            status_print_unasked(status.name, err);
        goto out;
    }
    judge_publishing(&status);
    judge_tables(&status);
    if (!c->json)
        status_print(&status);
    else if (status_print_json(&status, err) != 0)
        rc = -1;
    if (rc == 0 && status.relay.refusal.kind == ERR_CONFIG) {
        *err = status.relay.refusal;
        rc = -1;
    }
out:
    admin_lanes_release(&status.lanes);
    admin_status_release(&status.relay);
    settings_release(&settings);
    return rc;
}
