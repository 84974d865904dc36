#include "outbox/checks.h"

#include "base/log.h"
#include "base/str.h"
#include "outbox/command.h"
#include "outbox/migrate.h"
#include "outbox/session.h"
#include "outbox/sql_fill.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct checks {
    struct checks_params params;
    PGresult *answer;   /* the last one */
    char server_id[32]; /* its system_identifier */
    int bells;
};

static const char *get(const struct checks *c, const char *column)
{
    int number = PQfnumber(c->answer, column);

    return number < 0 ? "" : PQgetvalue(c->answer, 0, number);
}

static int get_int(const struct checks *c, const char *column)
{
    return (int)strtol(get(c, column), NULL, 10);
}

static bool is_true(const struct checks *c, const char *column)
{
    return strcmp(get(c, column), "t") == 0;
}

static int check_server(struct checks *c, struct err *err)
{
    const char *role = get(c, "role");

    if (session_server_version(c->params.session) < OLDEST_SERVER)
        return err_set(err, ERR_CONFIG, "the server is PostgreSQL %d: outboxd needs 13 or later",
                       session_server_version(c->params.session) / 10000);
    if (is_true(c, "in_recovery"))
        return err_set(err, ERR_UNAVAILABLE,
                       "the server is in recovery (a standby): waiting for a primary; postgres.url "
                       "may name several hosts");
    if (!is_true(c, "has_tables"))
        return err_set(err, ERR_CONFIG,
                       "database \"%s\" has no outbox tables: run `outboxd migrate` as their owner",
                       get(c, "database"));
    if (!is_true(c, "has_usage"))
        return err_set(err, ERR_CONFIG,
                       "role %s may not use the schema outbox: GRANT outbox_relay TO %s;", role,
                       role);
    if (get(c, "grants")[0] != '\0')
        return err_set(err, ERR_CONFIG,
                       "role %s lacks privileges: GRANT outbox_relay TO %s; or one by one: %s",
                       role, role, get(c, "grants"));
    if (is_true(c, "row_security"))
        return err_set(err, ERR_CONFIG,
                       "row level security can hide events from role %s: ALTER TABLE outbox.event "
                       "DISABLE ROW LEVEL "
                       "SECURITY; or ALTER ROLE %s BYPASSRLS;",
                       role, role);
    if (get(c, "sequence")[0] != '\0')
        return err_set(err, ERR_CONFIG,
                       "the sequence of outbox.event.id caches numbers, so ids do not follow the "
                       "order of inserts: %s",
                       get(c, "sequence"));
    return 0;
}

static int check_relay(const struct checks *c, struct err *err)
{
    const char *relay = c->params.relay;
    int version = get_int(c, "version");

    if (version < migrate_required_version())
        return err_set(
            err, ERR_CONFIG,
            "the outbox schema has version %d, this outboxd needs %d: run `outboxd migrate`",
            version, migrate_required_version());
    if (version > migrate_newest_version())
        return err_set(
            err, ERR_CONFIG,
            "the outbox schema has version %d, this outboxd knows %d at most: use a newer outboxd",
            version, migrate_newest_version());
    if (!is_true(c, "has_row"))
        return err_set(err, ERR_CONFIG,
                       "there is no relay \"%s\" in outbox.relay: run `outboxd migrate`, which "
                       "makes it, or correct "
                       "relay.name",
                       relay);
    if (strcmp(get(c, "system_identifier"), c->server_id) != 0)
        return err_set(err, ERR_CONFIG,
                       "the position of relay \"%s\" belongs to another server (system_identifier "
                       "%s, this one is %s): "
                       "after a dump and restore, decide with `outboxd rebase --to now|beginning`",
                       relay, get(c, "system_identifier"), c->server_id);
    if (is_true(c, "ahead"))
        return err_set(
            err, ERR_CONFIG,
            "the position of relay \"%s\" is ahead of the server (transaction %s, the server is at "
            "%s): it was "
            "set back to an older state; decide with `outboxd rebase --to now|beginning`",
            relay, get(c, "stored_xmax"), get(c, "server_xmax"));
    return 0;
}

static void take_answer(void *ctx, PGresult *result)
{
    struct checks *c = ctx;

    PQclear(c->answer);
    c->answer = result;
}

static bool has_answer(struct checks *c, struct err *err)
{
    if (c->answer != NULL && PQntuples(c->answer) == 1)
        return true;
    (void)err_set(err, ERR_SOFTWARE, "check: no answer in its result");
    return false;
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

    if (!has_answer(c, &err) || check_relay(c, &err) != 0) {
        end(c);
        session_fail(c->params.session, &err);
        return;
    }
    if (c->params.doorbell && get_int(c, "bell") >= c->bells)
        log_warn("no doorbell: events wait for the slow fallback poll; run `outboxd migrate`, or "
                 "set relay.wakeup: poll",
                 LOG_S("relay", c->params.relay), LOG_I("bell", get_int(c, "bell")),
                 LOG_I("bells", c->bells));
    end(c);
    c->params.passed(c->params.ctx);
}

static void server_checked(void *ctx)
{
    struct checks *c = ctx;
    struct err err;
    struct str relay = {0};
    struct str sql = {0};

    if (!has_answer(c, &err) || check_server(c, &err) != 0) {
        end(c);
        session_fail(c->params.session, &err);
        return;
    }
    (void)snprintf(c->server_id, sizeof(c->server_id), "%s", get(c, "system_identifier"));
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
