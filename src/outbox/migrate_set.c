#include "outbox/migrate_set.h"

#include <stdarg.h>
#include <string.h>

/* A step is one transaction that first takes the advisory lock (of the transaction, so that nothing
 * is left behind and poolers do no harm), then looks, then acts. A step that meets a busy table
 * (lock_timeout) is rolled back and tried again until the waiting time is over. Whatever else fails
 * is rolled back too, and earlier steps stay: run it again. */

#define LOCK_SQL    "(1868722040, -1)" /* beside the doorbells' keys, which count from 0 */
#define DDL_WAIT_MS 200                /* how long writers may queue up behind us */
#define PAUSE_MS    300                /* between tries */

int migrate_set_oldest(const struct migrate_set *set)
{
    return set->migrations[0].version;
}

int migrate_set_newest(const struct migrate_set *set)
{
    return set->migrations[*set->count - 1].version;
}

void migrate_say(const struct migrate *m, const char *fmt, ...)
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

int migrate_ask(struct migrate *m, const char *sql, const char *const params[2], int64_t *answer,
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

    if (migrate_ask(m, "SELECT pg_try_advisory_xact_lock" LOCK_SQL, NULL, &got, err) != 0)
        return -1;
    if (!got) {
        migrate_say(m, "another migrate is at work: waiting up to %u s",
                    (m->p->wait_ms + 999U) / 1000U);
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
static void explain(const struct migrate *m, struct err *err)
{
    struct err plain = *err;

    if (strcmp(command_sqlstate(), "42501") == 0 && strstr(plain.text, "superuser") == NULL)
        err_problem(err, ERR_CONFIG, PROBLEM_GRANTS_MISSING,
                    "%.600s; connect as a superuser, or as a member of %s", plain.text,
                    m->set->owner);
}

/* One try: 0 done, 1 the table was busy, -1 failed. In the last two cases nothing has changed. */
static int try_step(struct migrate *m, migrate_step_fn fn, const void *arg, struct err *err)
{
    struct err ignored;
    bool busy;

    if (command_exec(m->conn, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", err) != 0)
        return -1;
    if (lock(m, err) == 0) {
        if (fn(m, arg, err) == 0)
            return command_exec(m->conn, "COMMIT", err);
        busy = strcmp(command_sqlstate(), "55P03") == 0;
        explain(m, err);
    } else {
        busy = false;
    }
    if (command_exec(m->conn, "ROLLBACK", &ignored) != 0)
        busy = false; /* the connection is gone; err has told why */
    return busy ? 1 : -1;
}

int migrate_step(struct migrate *m, migrate_step_fn fn, const void *arg, struct err *err)
{
    char pause[64];
    uint32_t waited_ms = 0;
    int rc;

    (void)snprintf(pause, sizeof pause, "SELECT pg_sleep(%d / 1000.0)", PAUSE_MS);
    while ((rc = try_step(m, fn, arg, err)) == 1) {
        if (waited_ms >= m->p->wait_ms)
            return err_set(err, ERR_TEMPFAIL,
                           "%s is in use by open transactions: end them (see pg_stat_activity), or "
                           "try again in a quieter moment",
                           m->set->table);
        if (waited_ms == 0)
            migrate_say(m, "waiting for open transactions on %s", m->set->table);
        waited_ms += DDL_WAIT_MS + PAUSE_MS;
        if (command_exec(m->conn, pause, err) != 0)
            return -1;
    }
    return rc;
}

/* ---- what is there ---- */

#define SQL_SIZE 256 /* of the statements below, with a schema's name in them */

static int has_table(struct migrate *m, int64_t *there, struct err *err)
{
    const char *const params[2] = {m->set->schema, NULL};

    return migrate_ask(
        m,
        "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = $1 AND c.relname = 'migration')",
        params, there, err);
}

static int is_applied(struct migrate *m, int version, int64_t *applied, struct err *err)
{
    char sql[SQL_SIZE];
    char text[16];
    const char *const params[2] = {text, NULL};

    if (has_table(m, applied, err) != 0)
        return -1;
    if (!*applied)
        return 0;
    (void)snprintf(text, sizeof text, "%d", version);
    (void)snprintf(sql, sizeof sql,
                   "SELECT EXISTS (SELECT FROM %s.migration WHERE version = $1::integer)",
                   m->set->schema);
    return migrate_ask(m, sql, params, applied, err);
}

static int refuse_newer(struct migrate *m, struct err *err)
{
    char sql[SQL_SIZE];
    int64_t newest = 0;

    if (has_table(m, &newest, err) != 0)
        return -1;
    if (!newest)
        return 0;
    (void)snprintf(sql, sizeof sql, "SELECT coalesce(max(version), 0)::text FROM %s.migration",
                   m->set->schema);
    if (migrate_ask(m, sql, NULL, &newest, err) != 0)
        return -1;
    if (newest > migrate_set_newest(m->set))
        return err_problem(err, ERR_CONFIG, PROBLEM_SCHEMA_NEWER,
                           "schema %s has version %d, this outboxd knows %d", m->set->schema,
                           (int)newest, migrate_set_newest(m->set));
    return 0;
}

int migrate_open(struct migrate *m, const struct migrate_set *set, const struct migrate_params *p,
                 struct err *err)
{
    m->set = set;
    m->p = p;
    m->table_is_new = false;
    m->conn = command_connect(&p->server, err);
    if (m->conn == NULL)
        return -1;
    if (refuse_newer(m, err) == 0)
        return 0;
    explain(m, err);
    PQfinish(m->conn);
    return -1;
}

/* ---- the steps ---- */

int migrate_apply_one(struct migrate *m, const void *arg, struct err *err)
{
    const struct sql_migration *migration = arg;
    int64_t applied;

    if (is_applied(m, migration->version, &applied, err) != 0)
        return -1;
    if (applied) {
        migrate_say(m, "%04d %s: applied already", migration->version, migration->name);
        return 0;
    }
    if (command_exec(m->conn, migration->up, err) != 0)
        return err_wrap(err, "migration %04d %s", migration->version, migration->name);
    if (migration->version == migrate_set_oldest(m->set))
        m->table_is_new = true;
    migrate_say(m, "%04d %s: applied", migration->version, migration->name);
    return 0;
}

int migrate_refuse_to_drop(struct migrate *m, const void *arg, struct err *err)
{
    char sql[SQL_SIZE];
    int64_t applied;
    int64_t rows = 0;

    (void)arg;
    if (m->p->drop_events)
        return 0;
    if (is_applied(m, migrate_set_oldest(m->set), &applied, err) != 0)
        return -1;
    (void)snprintf(sql, sizeof sql, "SELECT EXISTS (SELECT FROM %s)", m->set->table);
    if (applied && migrate_ask(m, sql, NULL, &rows, err) != 0)
        return -1;
    if (rows)
        return err_set(err, ERR_USAGE,
                       "%s holds %s, and taking version %d back drops them%s: say --yes if that is "
                       "meant",
                       m->set->table, m->set->rows, migrate_set_oldest(m->set), m->set->loss);
    return 0;
}

int migrate_take_back_one(struct migrate *m, const void *arg, struct err *err)
{
    const struct sql_migration *migration = arg;
    int64_t applied;

    if (is_applied(m, migration->version, &applied, err) != 0)
        return -1;
    if (!applied)
        return 0;
    if (migration->version == migrate_set_oldest(m->set) &&
        migrate_refuse_to_drop(m, NULL, err) != 0)
        return -1;
    if (command_exec(m->conn, migration->down, err) != 0)
        return err_wrap(err, "take back %04d %s", migration->version, migration->name);
    migrate_say(m, "%04d %s: taken back", migration->version, migration->name);
    return 0;
}

/* ---- the list ---- */

static void list_known(const struct migrate_set *set, struct migrate_entry *entries,
                       size_t capacity, size_t *count)
{
    for (size_t i = 0; i < *set->count && *count < capacity; i++) {
        struct migrate_entry *e = &entries[(*count)++];

        e->version = set->migrations[i].version;
        (void)snprintf(e->name, sizeof e->name, "%s", set->migrations[i].name);
        e->applied_at[0] = '\0';
    }
}

static void put_applied(const PGresult *rows, int row, struct migrate_entry *entries,
                        size_t capacity, size_t *count)
{
    int version = (int)command_int(rows, row, 0);
    size_t at = 0;

    while (at < *count && entries[at].version != version)
        at++;
    if (at == capacity)
        return;
    if (at == *count)
        (*count)++;
    entries[at].version = version;
    (void)snprintf(entries[at].name, sizeof entries[at].name, "%s", PQgetvalue(rows, row, 1));
    (void)snprintf(entries[at].applied_at, sizeof entries[at].applied_at, "%s",
                   PQgetvalue(rows, row, 2));
}

static int list_applied(struct migrate *m, struct migrate_entry *entries, size_t capacity,
                        size_t *count, struct err *err)
{
    char sql[SQL_SIZE];
    int64_t there;
    PGresult *rows;

    if (has_table(m, &there, err) != 0)
        return -1;
    if (!there)
        return 0;
    (void)snprintf(sql, sizeof sql,
                   "SELECT version, name, to_char(applied_at AT TIME ZONE 'UTC', "
                   "'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM %s.migration ORDER BY version",
                   m->set->schema);
    rows = command_query(m->conn, sql, 0, NULL, err);
    if (rows == NULL)
        return -1;
    for (int i = 0; i < PQntuples(rows); i++)
        put_applied(rows, i, entries, capacity, count);
    PQclear(rows);
    return 0;
}

int migrate_set_list(const struct migrate_set *set, const struct command_server *server,
                     struct migrate_entry *entries, size_t capacity, size_t *count, struct err *err)
{
    struct migrate m = {.set = set, .conn = command_connect(server, err)};
    int rc;

    *count = 0;
    if (m.conn == NULL)
        return -1;
    list_known(set, entries, capacity, count);
    rc = list_applied(&m, entries, capacity, count, err);
    PQfinish(m.conn);
    return rc;
}
