/* Commands on a relay that need only the database, so that they work beside a dead relay: moving
 * its position, and pausing it. Status is in admin_status.h. */
#ifndef OUTBOXD_OUTBOX_ADMIN_H
#define OUTBOXD_OUTBOX_ADMIN_H

#include "base/str.h"
#include "outbox/admin_status.h"
#include "outbox/command.h"
#include "relay/ops.h"

#include <stdbool.h>
#include <stdint.h>

/* ---- rebase ---- */

/* Where a position is moved to. */
enum admin_place {
    PLACE_BEGINNING, /* everything that the table holds is published (again) */
    PLACE_NOW,       /* nothing that is committed already is */
    PLACE_ID,        /* from the row of this id on; what commits later, whatever its id */
    PLACE_TIME,      /* the same from the smallest id written at this time or later */
    PLACE_KEEP,      /* it stays, and this server becomes its own: after pg_upgrade */
};

struct admin_place_text {
    enum admin_place place;
    int64_t id;      /* PLACE_ID */
    int64_t time_us; /* PLACE_TIME, since 1970 */
};

/* "beginning", "now", "keep", an id, or a time as message_parse_time takes it. False: none of them.
 */
bool admin_parse_place(const char *text, struct admin_place_text *out);

/* What a move would do. Numbers of events are taken from ids when they are many: too high then
 * where ids have gaps. */
struct admin_rebase_look {
    struct position was;
    bool foreign_server; /* the position belongs to another server ... */
    bool ahead;          /* ... or is ahead of this one: then `unsent_id` says nothing */
    int64_t oldest_id;   /* of the table; 0: it is empty */
    int64_t newest_id;
    int64_t unsent_id;   /* the smallest that is not published; 0: none */
    int64_t first_id;    /* that will be published; 0: none of those that are there */
    char first_time[40]; /* when it was written; "" without one */
    int64_t repeated;    /* published already, and published once more */
    bool repeated_estimated;
    int64_t skipped; /* not published, and never will be */
    bool skipped_estimated;
};

/* Fills `out` and changes nothing. ERR_CONFIG where the relay, the schema or the grants are not
 * there, ERR_USAGE when `to` names an id or a time behind the newest event. Release `out` in any
 * case. */
NODISCARD int admin_rebase_look(const struct command_server *server, const char *relay,
                                const char *to, struct admin_rebase_look *out, struct err *err);
void admin_rebase_look_release(struct admin_rebase_look *out);

struct admin_rebase {
    struct position was; /* the position given up */
    struct position is;  /* the new one */
    int64_t epoch;       /* raised: a running relay takes over anew, from the new position */
    bool server_changed; /* the position belonged to another server (system identifier) */
};

/* Moves the relay to the place that `to` names (admin_parse_place), and accepts this server as the
 * position's own. Other lanes are given up, except by "keep". Needs the owner's credentials.
 * Release `out` in any case. */
NODISCARD int admin_rebase(const struct command_server *server, const char *relay, const char *to,
                           struct admin_rebase *out, struct err *err);
void admin_rebase_release(struct admin_rebase *out);

/* ---- pause and resume ---- */

struct admin_pause {
    bool changed; /* false: it was so already */
    bool leading; /* a process leads (its lease is not over) ... */
    bool heard;   /* ... and has heard of it */
};

/* Each then waits for the process that leads to hear of it, no longer than its lease lasts and a
 * second. `reason` may be NULL; by_whom: NULL for the database's role. The relay's own credentials
 * are enough. */
NODISCARD int admin_pause(const struct command_server *server, const char *relay,
                          const char *reason, const char *by_whom, struct admin_pause *out,
                          struct err *err);
NODISCARD int admin_resume(const struct command_server *server, const char *relay,
                           struct admin_pause *out, struct err *err);

#endif
