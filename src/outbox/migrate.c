#include "outbox/migrate.h"

#include "outbox/sql_texts.h"

#include <stdarg.h>
#include <string.h>

/* Happy path: connect -> refuse a newer schema -> each missing migration, bells, relay row, days: a
 * "step" each.
 *
 * A step is one transaction that first takes the advisory lock (of the transaction, so that nothing
 * is left behind and poolers do no harm), then looks, then acts. A step that meets a busy table
 * (lock_timeout) is rolled back and tried again until the waiting time is over. Whatever else fails
 * is rolled back too, and earlier steps stay: run it again. */

#define BASE_VERSION     1 /* makes the tables: going back before it drops every event */
#define REQUIRED_VERSION 4
#define DOORBELL_VERSION 2
#define LOCK_SQL         "(1868722040, -1)" /* beside the doorbells' keys, which count from 0 */
#define DDL_WAIT_MS      200                /* how long writers may queue up behind us */
#define PAUSE_MS         300                /* between tries */

struct migrate {
    const struct migrate_params *p;
    PGconn *conn;
    bool table_is_new;
};

typedef int (*step_fn)(struct migrate *m, const void *arg, struct err *err);

int migrate_required_version(void)
{
    return REQUIRED_VERSION;
}

int migrate_newest_version(void)
{
    return sql_migrations[sql_migration_count - 1].version;
}

static void say(const struct migrate *m, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void say(const struct migrate *m, const char *fmt, ...)
{
    va_list ap;

    if (m->p->out == NULL)
        return;
    va_start(ap, fmt);
    (void)vfprintf(m->p->out, fmt, ap);
    va_end(ap);
    (void)fputc('\n', m->p->out);
    (void)fflush(m->p->out);
}

/* One integer or boolean of a statement with at most two parameters. */
static int ask(struct migrate *m, const char *sql, const char *const params[2], int64_t *answer,
               struct err *err)
{
    int nparams = params == NULL ? 0 : params[1] == NULL ? 1 : 2;
    PGresult *rows = command_query(m->conn, sql, nparams, params, err);

    if (rows == NULL)
        return -1;
    *answer = command_bool(rows, 0, 0) ? 1 : command_int(rows, 0, 0);
    PQclear(rows);
    return 0;
}

/* ---- a step ---- */

static int lock(struct migrate *m, struct err *err)
{
    char sql[128];
    int64_t got;

    if (ask(m, "SELECT pg_try_advisory_xact_lock" LOCK_SQL, NULL, &got, err) != 0)
        return -1;
    if (!got) {
        say(m, "another migrate is at work: waiting up to %u s", (m->p->wait_ms + 999U) / 1000U);
        (void)snprintf(sql, sizeof sql,
                       "SET LOCAL lock_timeout = %u; SELECT pg_advisory_xact_lock" LOCK_SQL,
                       m->p->wait_ms == 0 ? 1U : m->p->wait_ms);
        if (command_exec(m->conn, sql, err) != 0)
            return strcmp(command_sqlstate(), "55P03") != 0
                       ? -1
                       : err_set(err, ERR_TEMPFAIL,
                                 "another migrate is still at work: try again when it is done");
    }
    (void)snprintf(sql, sizeof sql, "SET LOCAL lock_timeout = %d", DDL_WAIT_MS);
    return command_exec(m->conn, sql, err);
}

/* Adds the way out where the server only says that something is not allowed. */
static void explain(struct err *err)
{
    struct err plain = *err;

    if (strcmp(command_sqlstate(), "42501") == 0 && strstr(plain.text, "superuser") == NULL)
        err_problem(err, ERR_CONFIG, PROBLEM_GRANTS_MISSING,
                    "%.600s; connect as a superuser, or as a member of outbox_owner", plain.text);
}

/* One try: 0 done, 1 the table was busy, -1 failed. In the last two cases nothing has changed. */
static int try_step(struct migrate *m, step_fn fn, const void *arg, struct err *err)
{
    struct err ignored;
    bool busy;

    if (command_exec(m->conn, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", err) != 0)
        return -1;
    if (lock(m, err) == 0) {
        if (fn(m, arg, err) == 0)
            return command_exec(m->conn, "COMMIT", err);
        busy = strcmp(command_sqlstate(), "55P03") == 0;
        explain(err);
    } else {
        busy = false;
    }
    if (command_exec(m->conn, "ROLLBACK", &ignored) != 0)
        busy = false; /* the connection is gone; err has told why */
    return busy ? 1 : -1;
}

static int step(struct migrate *m, step_fn fn, const void *arg, struct err *err)
{
    char pause[64];
    uint32_t waited_ms = 0;
    int rc;

    (void)snprintf(pause, sizeof pause, "SELECT pg_sleep(%d / 1000.0)", PAUSE_MS);
    while ((rc = try_step(m, fn, arg, err)) == 1) {
        if (waited_ms >= m->p->wait_ms)
            return err_set(err, ERR_TEMPFAIL,
                           "outbox.event is in use by open transactions: end them (see "
                           "pg_stat_activity), or try again in a quieter moment");
        if (waited_ms == 0)
            say(m, "waiting for open transactions on outbox.event");
        waited_ms += DDL_WAIT_MS + PAUSE_MS;
        if (command_exec(m->conn, pause, err) != 0)
            return -1;
    }
    return rc;
}

/* ---- what is there ---- */

static int has_table(struct migrate *m, int64_t *there, struct err *err)
{
    return ask(
        m,
        "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = 'outbox' AND c.relname = 'migration')",
        NULL, there, err);
}

static int is_applied(struct migrate *m, int version, int64_t *applied, struct err *err)
{
    char text[16];
    const char *const params[2] = {text, NULL};

    if (has_table(m, applied, err) != 0)
        return -1;
    if (!*applied)
        return 0;
    (void)snprintf(text, sizeof text, "%d", version);
    return ask(m, "SELECT EXISTS (SELECT FROM outbox.migration WHERE version = $1::integer)",
               params, applied, err);
}

static int refuse_newer(struct migrate *m, struct err *err)
{
    int64_t newest = 0;

    if (has_table(m, &newest, err) != 0)
        return -1;
    if (!newest)
        return 0;
    if (ask(m, "SELECT coalesce(max(version), 0)::text FROM outbox.migration", NULL, &newest,
            err) != 0)
        return -1;
    if (newest > migrate_newest_version())
        return err_problem(err, ERR_CONFIG, PROBLEM_SCHEMA_NEWER,
                           "the database has schema version %d, this outboxd knows %d", (int)newest,
                           migrate_newest_version());
    return 0;
}

static int open_session(struct migrate *m, const struct migrate_params *p, struct err *err)
{
    m->p = p;
    m->table_is_new = false;
    m->conn = command_connect(&p->server, err);
    if (m->conn == NULL)
        return -1;
    if (refuse_newer(m, err) == 0)
        return 0;
    explain(err);
    PQfinish(m->conn);
    return -1;
}

/* ---- the steps ---- */

static int apply_one(struct migrate *m, const void *arg, struct err *err)
{
    const struct sql_migration *migration = arg;
    int64_t applied;

    if (is_applied(m, migration->version, &applied, err) != 0)
        return -1;
    if (applied) {
        say(m, "%04d %s: applied already", migration->version, migration->name);
        return 0;
    }
    if (command_exec(m->conn, migration->up, err) != 0)
        return err_wrap(err, "migration %04d %s", migration->version, migration->name);
    if (migration->version == BASE_VERSION)
        m->table_is_new = true;
    say(m, "%04d %s: applied", migration->version, migration->name);
    return 0;
}

static int refuse_to_drop(struct migrate *m, const void *arg, struct err *err)
{
    int64_t applied;
    int64_t events = 0;

    (void)arg;
    if (m->p->drop_events)
        return 0;
    if (is_applied(m, BASE_VERSION, &applied, err) != 0)
        return -1;
    if (applied && ask(m, "SELECT EXISTS (SELECT FROM outbox.event)", NULL, &events, err) != 0)
        return -1;
    if (events)
        return err_set(err, ERR_USAGE,
                       "outbox.event holds events, and taking version 1 back drops them: say "
                       "--yes if that is meant");
    return 0;
}

static int take_back_one(struct migrate *m, const void *arg, struct err *err)
{
    const struct sql_migration *migration = arg;
    int64_t applied;

    if (is_applied(m, migration->version, &applied, err) != 0)
        return -1;
    if (!applied)
        return 0;
    if (migration->version == BASE_VERSION && refuse_to_drop(m, NULL, err) != 0)
        return -1;
    if (command_exec(m->conn, migration->down, err) != 0)
        return err_wrap(err, "take back %04d %s", migration->version, migration->name);
    say(m, "%04d %s: taken back", migration->version, migration->name);
    return 0;
}

static int become_owner(struct migrate *m, struct err *err)
{
    return command_exec(m->conn, "SET LOCAL ROLE outbox_owner", err);
}

static int set_bells(struct migrate *m, const void *arg, struct err *err)
{
    char text[16];
    const char *const params[2] = {text, NULL};
    int64_t changed;

    (void)arg;
    (void)snprintf(text, sizeof text, "%d", m->p->bells);
    if (become_owner(m, err) != 0 ||
        ask(m, "SELECT outbox.set_bells($1::integer)", params, &changed, err) != 0)
        return err_wrap(err, "set the number of doorbells");
    if (changed)
        say(m, "doorbells: %d", m->p->bells);
    return 0;
}

static int make_relay(struct migrate *m, const void *arg, struct err *err)
{
    const char *const params[2] = {m->p->relay, m->p->start != NULL ? m->p->start : "beginning"};
    const char *const name[2] = {m->p->relay, NULL};
    int64_t there;
    int64_t used = 0;

    (void)arg;
    if (become_owner(m, err) != 0 ||
        ask(m, "SELECT EXISTS (SELECT FROM outbox.relay WHERE name = $1)", name, &there, err) != 0)
        return err_wrap(err, "make relay \"%s\"", m->p->relay);
    if (there)
        return 0;
    if (m->p->start == NULL && !m->table_is_new &&
        ask(m, "SELECT EXISTS (SELECT FROM outbox.event) OR EXISTS (SELECT FROM outbox.relay)",
            NULL, &used, err) != 0)
        return err_wrap(err, "make relay \"%s\"", m->p->relay);
    if (used)
        return err_set(err, ERR_USAGE,
                       "relay \"%s\" is new, but outbox.event is in use already: say --start "
                       "beginning (publishes what the table holds) or --start now (only what is "
                       "committed from now on), or set relay.start",
                       m->p->relay);
    if (ask(m, "SELECT outbox.make_relay($1, $2)", params, &there, err) != 0)
        return err_wrap(err, "make relay \"%s\"", m->p->relay);
    say(m, "relay %s: made, starts at %s", params[0], params[1]);
    return 0;
}

static int make_days(struct migrate *m, const void *arg, struct err *err)
{
    char text[16];
    const char *const params[1] = {text};
    PGresult *rows;

    (void)arg;
    (void)snprintf(text, sizeof text, "%d", m->p->days_ahead);
    if (become_owner(m, err) != 0)
        return -1;
    rows = command_query(m->conn,
                         "SELECT partition_name, outcome FROM outbox.ensure_days($1::integer) "
                         "WHERE outcome <> 'exists'",
                         1, params, err);
    if (rows == NULL)
        return err_wrap(err, "create partitions");
    for (int i = 0; i < PQntuples(rows); i++)
        say(m, "%s: %s", PQgetvalue(rows, i, 0), PQgetvalue(rows, i, 1));
    PQclear(rows);
    return 0;
}

/* ---- the commands ---- */

static bool is_wanted(const struct migrate_params *p, const struct sql_migration *migration)
{
    return p->doorbell || migration->version != DOORBELL_VERSION;
}

static int check_params(const struct migrate_params *p, struct err *err)
{
    if (p->start != NULL && strcmp(p->start, "beginning") != 0 && strcmp(p->start, "now") != 0)
        return err_set(err, ERR_USAGE, "start must be \"beginning\" or \"now\", not \"%s\"",
                       p->start);
    if (p->relay != NULL && p->relay[0] == '\0')
        return err_set(err, ERR_USAGE, "a relay's name cannot be empty");
    if (p->bells < 0 || p->bells > 4 || (p->bells > 0 && !p->doorbell))
        return err_set(err, ERR_USAGE, "bells must be 1 to 4, and need the doorbell");
    if (p->days_ahead < 0 || p->days_ahead > 60)
        return err_set(err, ERR_USAGE, "days ahead must be 0 to 60");
    return 0;
}

int migrate_apply(const struct migrate_params *p, struct err *err)
{
    struct migrate m;
    int rc = 0;

    if (check_params(p, err) != 0 || open_session(&m, p, err) != 0)
        return -1;
    for (size_t i = 0; rc == 0 && i < sql_migration_count; i++)
        if (is_wanted(p, &sql_migrations[i]))
            rc = step(&m, apply_one, &sql_migrations[i], err);
    if (rc == 0 && p->bells > 0)
        rc = step(&m, set_bells, NULL, err);
    if (rc == 0 && p->relay != NULL)
        rc = step(&m, make_relay, NULL, err);
    if (rc == 0)
        rc = step(&m, make_days, NULL, err);
    PQfinish(m.conn);
    return rc;
}

int migrate_down(const struct migrate_params *p, int version, struct err *err)
{
    struct migrate m;
    int rc = 0;

    if (version < 0 || version > migrate_newest_version())
        return err_set(err, ERR_USAGE, "there is no version %d: 0 to %d", version,
                       migrate_newest_version());
    if (open_session(&m, p, err) != 0)
        return -1;
    if (version < BASE_VERSION) /* before anything is taken back, and again with the table */
        rc = step(&m, refuse_to_drop, NULL, err);
    for (size_t i = sql_migration_count; rc == 0 && i-- > 0;)
        if (sql_migrations[i].version > version)
            rc = step(&m, take_back_one, &sql_migrations[i], err);
    PQfinish(m.conn);
    return rc;
}

static void print_literal(FILE *to, const char *text)
{
    (void)fputc('\'', to);
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            (void)fputc('\'', to);
        (void)fputc(*text, to);
    }
    (void)fputc('\'', to);
}

int migrate_print(const struct migrate_params *p, FILE *to, struct err *err)
{
    if (check_params(p, err) != 0)
        return -1;
    for (size_t i = 0; i < sql_migration_count; i++)
        if (is_wanted(p, &sql_migrations[i]))
            (void)fprintf(to, "%s\n", sql_migrations[i].up);
    if (p->bells > 0)
        (void)fprintf(to, "SELECT outbox.set_bells(%d);\n", p->bells);
    if (p->relay != NULL) {
        (void)fprintf(to, "SELECT outbox.make_relay(");
        print_literal(to, p->relay);
        (void)fprintf(to, ", '%s');\n", p->start != NULL ? p->start : "beginning");
    }
    (void)fprintf(to, "SELECT * FROM outbox.ensure_days(%d);\n", p->days_ahead);
    if (fflush(to) != 0 || ferror(to))
        return err_set(err, ERR_UNAVAILABLE, "the SQL could not be written");
    return 0;
}

static void list_known(struct migrate_entry *entries, size_t capacity, size_t *count)
{
    for (size_t i = 0; i < sql_migration_count && *count < capacity; i++) {
        struct migrate_entry *e = &entries[(*count)++];

        e->version = sql_migrations[i].version;
        (void)snprintf(e->name, sizeof e->name, "%s", sql_migrations[i].name);
        e->applied_at[0] = '\0';
    }
}

static int list_applied(struct migrate *m, struct migrate_entry *entries, size_t capacity,
                        size_t *count, struct err *err)
{
    int64_t there;
    PGresult *rows;

    if (has_table(m, &there, err) != 0)
        return -1;
    if (!there)
        return 0;
    rows = command_query(m->conn,
                         "SELECT version, name, to_char(applied_at AT TIME ZONE 'UTC', "
                         "'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM outbox.migration ORDER BY version",
                         0, NULL, err);
    if (rows == NULL)
        return -1;
    for (int i = 0; i < PQntuples(rows); i++) {
        int version = (int)command_int(rows, i, 0);
        size_t at = 0;

        while (at < *count && entries[at].version != version)
            at++;
        if (at == capacity)
            break;
        if (at == *count)
            (*count)++;
        entries[at].version = version;
        (void)snprintf(entries[at].name, sizeof entries[at].name, "%s", PQgetvalue(rows, i, 1));
        (void)snprintf(entries[at].applied_at, sizeof entries[at].applied_at, "%s",
                       PQgetvalue(rows, i, 2));
    }
    PQclear(rows);
    return 0;
}

int migrate_list(const struct command_server *server, struct migrate_entry *entries,
                 size_t capacity, size_t *count, struct err *err)
{
    struct migrate m = {.conn = command_connect(server, err)};
    int rc;

    *count = 0;
    if (m.conn == NULL)
        return -1;
    list_known(entries, capacity, count);
    rc = list_applied(&m, entries, capacity, count, err);
    PQfinish(m.conn);
    return rc;
}
