/* `outboxd migrate`: prints, applies and takes back the schema outbox, and makes the relay's row;
 * or the schema inbox, which consumers use and which stands by itself.
 * Synchronous; with the owner's credentials, never the relay's. */
#ifndef OUTBOXD_OUTBOX_MIGRATE_H
#define OUTBOXD_OUTBOX_MIGRATE_H

#include "outbox/command.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* The lowest schema version that this binary's relay works with, and the newest that it knows. A
 * relay refuses a database below the first (run `outboxd migrate`) or above the second (upgrade
 * outboxd). */
int migrate_required_version(void);
int migrate_newest_version(void);

struct migrate_params {
    struct command_server server;
    bool inbox; /* the schema inbox; relay, start, doorbell, bells, days_ahead mean nothing */
    const char *relay; /* make this relay's row if it is missing; NULL: none */
    const char *start; /* where a new relay begins: "beginning", "now", or NULL: "beginning" on an
                          unused table, else an error that asks */
    bool doorbell;     /* apply the doorbell too (never takes it away) */
    int bells;         /* 1 to 4: give the table so many doorbells; 0: as it is, 1 at first */
    int days_ahead;    /* create partitions for so many days to come */
    uint32_t wait_ms;  /* for another migrate, and for locks on the table */
    bool drop_events;  /* migrate_down may drop a table that holds events, or claims */
    FILE *out;         /* what is done, a line each; NULL: silence */
};

/* Applies what is missing, each migration in a transaction of its own under an advisory lock, so
 * that several may run at once; then bells, relay row, days. Harmless when nothing is missing. DDL
 * waits only briefly for a lock, so that writers do not queue up behind it, and tries again until
 * wait_ms is over (ERR_TEMPFAIL). */
NODISCARD int migrate_apply(const struct migrate_params *p, struct err *err);

/* Takes back what is above `version`, newest first; 0: everything. Dropping the first version drops
 * all events (or claims): refused (ERR_USAGE) while there are any, unless drop_events. */
NODISCARD int migrate_down(const struct migrate_params *p, int version, struct err *err);

/* Writes all that migrate_apply would run on an empty database to `to`, for psql; no connection is
 * made. */
NODISCARD int migrate_print(const struct migrate_params *p, FILE *to, struct err *err);

struct migrate_entry {
    int version;
    char name[64];
    char applied_at[32]; /* RFC 3339 UTC; "" when it is not applied */
};

/* The migrations of the outbox that this binary knows and those that the database has, ascending;
 * at most `capacity`. */
NODISCARD int migrate_list(const struct command_server *server, struct migrate_entry *entries,
                           size_t capacity, size_t *count, struct err *err);

#endif
