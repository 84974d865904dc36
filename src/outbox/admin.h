/* Commands on a relay that need only the database, so that they work beside a dead relay: status
 * and rebase. */
#ifndef OUTBOXD_OUTBOX_ADMIN_H
#define OUTBOXD_OUTBOX_ADMIN_H

#include "base/str.h"
#include "outbox/command.h"
#include "relay/ops.h"

#include <stdbool.h>
#include <stdint.h>

/* ---- rebase ---- */

struct admin_rebase {
    struct position was; /* the position given up */
    struct str base;     /* the new one */
    int64_t epoch;       /* raised: a running relay takes over anew, from the new position */
    bool server_changed; /* the position belonged to another server (system identifier) */
};

/* Moves the relay to the "beginning" of the table or to "now" (nothing that is committed already
 * will be sent), and accepts this server as the position's own. Other lanes are given up. Needs the
 * owner's credentials. Release `out` in any case. */
NODISCARD int admin_rebase(const struct command_server *server, const char *relay, const char *to,
                           struct admin_rebase *out, struct err *err);
void admin_rebase_release(struct admin_rebase *out);

/* ---- status ---- */

struct admin_status {
    int schema_version;
    int bells;           /* doorbells that inserts try; 0: no doorbell trigger */
    int server_version;  /* as libpq has it: 150004 */
    bool foreign_server; /* the position belongs to another server: the relay refuses until `outboxd
                            rebase` */

    char holder[37];     /* uuid of the leading process; "" when nobody leads */
    struct str instance; /* its name; the last one's when nobody leads */
    int64_t epoch;
    int64_t beat;
    double renewed_s; /* seconds since the lease was renewed, by the database's clock; -1: never */
    int ttl_ms;       /* of the lease; 0: never taken */
    bool leading;     /* somebody holds it, and renewed it within the ttl */
    int bell;         /* the doorbell that this relay listens to */

    struct position position;
    double stored_s; /* seconds since the position was stored */
    int lanes;       /* beside the main lane */

    int64_t unsent_events; /* committed and not known to be acknowledged and stored */
    bool unsent_estimated; /* there are many: the number is estimated by ids, and too high where ids
                              have gaps */
    double oldest_unsent_s; /* -1: there is none */

    struct trouble trouble; /* cause "" when all is well */
    double trouble_s;       /* seconds since it began; -1: none */
};

/* Fills `out`. Cheap with any backlog: it counts at most 10,000 events and estimates the rest. The
 * relay's own credentials are enough. ERR_CONFIG when there is no schema or no such relay. Release
 * `out` in any case. */
NODISCARD int admin_status(const struct command_server *server, const char *relay,
                           struct admin_status *out, struct err *err);
void admin_status_release(struct admin_status *out);

#endif
