/* A set of migrations on a database: applied, taken back, listed. What outbox and inbox share of
 * `outboxd migrate`; called by migrate.c only. */
#ifndef OUTBOXD_OUTBOX_MIGRATE_SET_H
#define OUTBOXD_OUTBOX_MIGRATE_SET_H

#include "outbox/migrate.h"
#include "outbox/sql_texts.h"

struct migrate_set {
    const char *schema; /* also the folder below sql/ */
    const char *owner;  /* the role that everything belongs to */
    const char *table;  /* whose rows are lost when the first migration is taken back */
    const char *rows;   /* what they are, in the plural */
    const char *loss;   /* what follows from losing them; "" when that is clear */
    const struct sql_migration *migrations; /* ascending; the first one makes the rest possible */
    const size_t *count;
};

struct migrate {
    const struct migrate_params *p;
    const struct migrate_set *set;
    PGconn *conn;
    bool table_is_new; /* the first migration was applied just now */
};

typedef int (*migrate_step_fn)(struct migrate *m, const void *arg, struct err *err);

/* Connects, and refuses a database that is ahead of this binary. On success m->conn is to be closed
 * by the caller. */
NODISCARD int migrate_open(struct migrate *m, const struct migrate_set *set,
                           const struct migrate_params *p, struct err *err);

/* Runs fn in a transaction of its own under the advisory lock; again, after a rollback, while it
 * meets a busy table, until p->wait_ms are over (ERR_TEMPFAIL). */
NODISCARD int migrate_step(struct migrate *m, migrate_step_fn fn, const void *arg, struct err *err);

/* Steps: apply one migration if it is missing; take one back; arg is its struct sql_migration. */
int migrate_apply_one(struct migrate *m, const void *arg, struct err *err);
int migrate_take_back_one(struct migrate *m, const void *arg, struct err *err);
/* A step that changes nothing: refuses (ERR_USAGE) while the table holds rows and p->drop_events is
 * not set. */
int migrate_refuse_to_drop(struct migrate *m, const void *arg, struct err *err);

/* A line to p->out. */
void migrate_say(const struct migrate *m, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* One integer or boolean of a statement with at most two parameters; params may be NULL. */
NODISCARD int migrate_ask(struct migrate *m, const char *sql, const char *const params[2],
                          int64_t *answer, struct err *err);

int migrate_set_oldest(const struct migrate_set *set);
int migrate_set_newest(const struct migrate_set *set);

/* See migrate_list. */
NODISCARD int migrate_set_list(const struct migrate_set *set, const struct command_server *server,
                               struct migrate_entry *entries, size_t capacity, size_t *count,
                               struct err *err);

#endif
