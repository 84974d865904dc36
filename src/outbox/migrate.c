#include "outbox/migrate_set.h"

#include <string.h>

#define REQUIRED_VERSION 5
#define DOORBELL_VERSION 2

/* Happy path: connect -> refuse a newer schema -> each missing migration; for the outbox then
 * bells, relay row, days: a step each, as migrate_set.c has it. */

static const struct migrate_set outbox_set = {.schema = "outbox",
                                              .owner = "outbox_owner",
                                              .table = "outbox.event",
                                              .rows = "events",
                                              .loss = "",
                                              .migrations = sql_migrations,
                                              .count = &sql_migration_count};

static const struct migrate_set inbox_set = {
    .schema = "inbox",
    .owner = "inbox_owner",
    .table = "inbox.claimed",
    .rows = "claims",
    .loss = " (events that Kafka delivers again would take effect again)",
    .migrations = sql_inbox_migrations,
    .count = &sql_inbox_migration_count};

int migrate_required_version(void)
{
    return REQUIRED_VERSION;
}

int migrate_newest_version(void)
{
    return migrate_set_newest(&outbox_set);
}

static const struct migrate_set *set_of(const struct migrate_params *p)
{
    return p->inbox ? &inbox_set : &outbox_set;
}

/* ---- what the outbox has beyond its migrations ---- */

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
        migrate_ask(m, "SELECT outbox.set_bells($1::integer)", params, &changed, err) != 0)
        return err_wrap(err, "set the number of doorbells");
    if (changed)
        migrate_say(m, "doorbells: %d", m->p->bells);
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
        migrate_ask(m, "SELECT EXISTS (SELECT FROM outbox.relay WHERE name = $1)", name, &there,
                    err) != 0)
        return err_wrap(err, "make relay \"%s\"", m->p->relay);
    if (there)
        return 0;
    if (m->p->start == NULL && !m->table_is_new &&
        migrate_ask(m,
                    "SELECT EXISTS (SELECT FROM outbox.event) OR EXISTS (SELECT FROM outbox.relay)",
                    NULL, &used, err) != 0)
        return err_wrap(err, "make relay \"%s\"", m->p->relay);
    if (used)
        return err_set(err, ERR_USAGE,
                       "relay \"%s\" is new, but outbox.event is in use already: say --start "
                       "beginning (publishes what the table holds) or --start now (only what is "
                       "committed from now on), or set relay.start",
                       m->p->relay);
    if (migrate_ask(m, "SELECT outbox.make_relay($1, $2)", params, &there, err) != 0)
        return err_wrap(err, "make relay \"%s\"", m->p->relay);
    migrate_say(m, "relay %s: made, starts at %s", params[0], params[1]);
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
        migrate_say(m, "%s: %s", PQgetvalue(rows, i, 0), PQgetvalue(rows, i, 1));
    PQclear(rows);
    return 0;
}

/* ---- the commands ---- */

static bool is_wanted(const struct migrate_params *p, const struct sql_migration *migration)
{
    return p->inbox || p->doorbell || migration->version != DOORBELL_VERSION;
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

/* The steps behind the migrations of the outbox. */
static int furnish(struct migrate *m, struct err *err)
{
    if (m->p->bells > 0 && migrate_step(m, set_bells, NULL, err) != 0)
        return -1;
    if (m->p->relay != NULL && migrate_step(m, make_relay, NULL, err) != 0)
        return -1;
    return migrate_step(m, make_days, NULL, err);
}

int migrate_apply(const struct migrate_params *p, struct err *err)
{
    const struct migrate_set *set = set_of(p);
    struct migrate m;
    int rc = 0;

    if (check_params(p, err) != 0 || migrate_open(&m, set, p, err) != 0)
        return -1;
    for (size_t i = 0; rc == 0 && i < *set->count; i++)
        if (is_wanted(p, &set->migrations[i]))
            rc = migrate_step(&m, migrate_apply_one, &set->migrations[i], err);
    if (rc == 0 && !p->inbox)
        rc = furnish(&m, err);
    PQfinish(m.conn);
    return rc;
}

int migrate_down(const struct migrate_params *p, int version, struct err *err)
{
    const struct migrate_set *set = set_of(p);
    const int oldest = migrate_set_oldest(set);
    struct migrate m;
    int rc = 0;

    if (version != 0 && (version < oldest || version > migrate_set_newest(set)))
        return err_set(err, ERR_USAGE, "schema %s has no version %d: 0, or %d to %d", set->schema,
                       version, oldest, migrate_set_newest(set));
    if (migrate_open(&m, set, p, err) != 0)
        return -1;
    if (version < oldest) /* before anything is taken back, and again with the table */
        rc = migrate_step(&m, migrate_refuse_to_drop, NULL, err);
    for (size_t i = *set->count; rc == 0 && i-- > 0;)
        if (set->migrations[i].version > version)
            rc = migrate_step(&m, migrate_take_back_one, &set->migrations[i], err);
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

static void print_furnishing(const struct migrate_params *p, FILE *to)
{
    if (p->bells > 0)
        (void)fprintf(to, "SELECT outbox.set_bells(%d);\n", p->bells);
    if (p->relay != NULL) {
        (void)fprintf(to, "SELECT outbox.make_relay(");
        print_literal(to, p->relay);
        (void)fprintf(to, ", '%s');\n", p->start != NULL ? p->start : "beginning");
    }
    (void)fprintf(to, "SELECT * FROM outbox.ensure_days(%d);\n", p->days_ahead);
}

int migrate_print(const struct migrate_params *p, FILE *to, struct err *err)
{
    const struct migrate_set *set = set_of(p);

    if (check_params(p, err) != 0)
        return -1;
    for (size_t i = 0; i < *set->count; i++)
        if (is_wanted(p, &set->migrations[i]))
            (void)fprintf(to, "%s\n", set->migrations[i].up);
    if (!p->inbox)
        print_furnishing(p, to);
    if (fflush(to) != 0 || ferror(to))
        return err_set(err, ERR_UNAVAILABLE, "the SQL could not be written");
    return 0;
}

int migrate_list(const struct command_server *server, struct migrate_entry *entries,
                 size_t capacity, size_t *count, struct err *err)
{
    return migrate_set_list(&outbox_set, server, entries, capacity, count, err);
}
