#include "outbox/checks.h"

#include "base/log.h"
#include "base/str.h"
#include "outbox/command.h"
#include "outbox/session.h"
#include "outbox/sql_fill.h"
#include "outbox/verdict.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct checks {
    struct checks_params params;
    PGresult *answer;   /* the last one */
    char server_id[32]; /* its system_identifier */
    int bells;
    bool told; /* that no bell rings: once is enough, however often we connect */
};

static int get_int(const struct checks *c, const char *column)
{
    return (int)strtol(command_get(c->answer, column), NULL, 10);
}

static void take_answer(void *ctx, PGresult *result)
{
    struct checks *c = ctx;

    PQclear(c->answer);
    c->answer = result;
}

static void end(struct checks *c)
{
    PQclear(c->answer);
    c->answer = NULL;
}

static void relay_checked(void *ctx)
{
    struct checks *c = ctx;
    struct err err;

    if (verdict_relay(c->answer, c->params.relay, c->server_id, &err) != 0) {
        end(c);
        session_fail(c->params.session, &err);
        return;
    }
    if (c->params.doorbell && !c->told && get_int(c, "bell") >= c->bells) {
        c->told = true;
        log_warn("no doorbell: events wait for the slow fallback poll; run `outboxd migrate`, or "
                 "set relay.wakeup: poll",
                 LOG_S("relay", c->params.relay), LOG_I("bell", get_int(c, "bell")),
                 LOG_I("bells", c->bells));
    }
    end(c);
    c->params.passed(c->params.ctx);
}

static void server_checked(void *ctx)
{
    struct checks *c = ctx;
    struct err err;
    struct str relay = {0};
    struct str sql = {0};

    if (verdict_server(c->answer, session_server_version(c->params.session), &err) != 0) {
        end(c);
        session_fail(c->params.session, &err);
        return;
    }
    (void)snprintf(c->server_id, sizeof(c->server_id), "%s",
                   command_get(c->answer, "system_identifier"));
    c->bells = get_int(c, "bells");
    sql_put_quoted(&relay, c->params.relay);
    str_reset(&sql);
    sql_fill(&sql, "check_relay", &(struct sql_value){"relay", relay.data}, 1);
    session_query(c->params.session, &(struct session_query){.name = "check_relay",
                                                             .text = sql.data,
                                                             .timeout_ms = c->params.timeout_ms,
                                                             .result = take_answer,
                                                             .done = relay_checked,
                                                             .ctx = c});
    str_release(&sql);
    str_release(&relay);
}

void checks_run(struct checks *c)
{
    struct str sql = {0};

    end(c);
    sql_fill(&sql, "check_server", NULL, 0);
    session_query(c->params.session, &(struct session_query){.name = "check_server",
                                                             .text = sql.data,
                                                             .timeout_ms = c->params.timeout_ms,
                                                             .result = take_answer,
                                                             .done = server_checked,
                                                             .ctx = c});
    str_release(&sql);
}

struct checks *checks_new(const struct checks_params *params)
{
    struct checks *c = xcalloc(1, sizeof(*c));

    c->params = *params;
    return c;
}

void checks_free(struct checks *c)
{
    if (c == NULL)
        return;
    end(c);
    free(c);
}
