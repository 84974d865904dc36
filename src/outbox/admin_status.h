/* What `outboxd status` tells of a relay. It reads the database only, so that it works beside a
 * dead relay, and changes nothing. Synchronous. */
#ifndef OUTBOXD_OUTBOX_ADMIN_STATUS_H
#define OUTBOXD_OUTBOX_ADMIN_STATUS_H

#include "base/str.h"
#include "outbox/command.h"
#include "relay/ops.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A transaction that has been open for more than a minute and holds back vacuum, or holds a lock on
 * outbox.event. */
struct admin_transaction {
    char name[160]; /* "process 4711 (role svc, psql, idle in transaction)" */
    double age_s;
    bool locks_event;  /* a lock on outbox.event or one of its partitions */
    char way_out[160]; /* the statement that ends it */
};

#define ADMIN_TRANSACTIONS 3

struct admin_status {
    int schema_version;
    int bells;           /* doorbells that inserts try; 0: no doorbell trigger */
    int server_version;  /* as libpq has it: 150004 */
    bool foreign_server; /* the position belongs to another server */
    struct err refusal;  /* why `run` would not work with this database as it is; kind ERR_NONE: it
                            would. ERR_UNAVAILABLE: it would wait */

    char holder[37];     /* uuid of the leading process; "" when nobody leads */
    struct str instance; /* its name; the last one's when nobody leads */
    int64_t epoch;
    int64_t beat;
    double renewed_s; /* seconds since the lease was renewed, by the database's clock; -1: never */
    int ttl_ms;       /* of the lease; 0: never taken */
    bool leading;     /* somebody holds it, and renewed it within the ttl */
    int bell;         /* the doorbell that this relay listens to */

    double paused_s; /* seconds since it was paused; -1: it is not */
    struct str paused_by;
    struct str pause_reason; /* may be empty */

    struct position position;
    double stored_s;   /* seconds since the position was stored */
    int lanes;         /* beside the main lane */
    int64_t published; /* acknowledged and stored, ever; -1: the schema is too old to tell */
    double rate;       /* of them per second, just now; -1: nobody leads, or it cannot be told */

    int64_t unsent_events; /* committed and not known to be acknowledged and stored */
    bool unsent_estimated; /* there are many: the number is estimated by ids, and too high where ids
                              have gaps */
    double oldest_unsent_s; /* -1: there is none */

    struct trouble trouble; /* cause "" when all is well */
    double trouble_s;       /* seconds since it began; -1: none */

    bool sees_transactions; /* of other roles, too; false: those are missing here */
    struct admin_transaction transactions[ADMIN_TRANSACTIONS]; /* the oldest first */
    size_t transaction_count;
};

/* Fills `out`. Cheap with any backlog: it counts at most 10,000 events and estimates the rest; with
 * a leader it takes a third of a second more, to see how fast events are published. The relay's own
 * credentials are enough. ERR_UNAVAILABLE when the database cannot be asked, ERR_CONFIG when it
 * refuses us, or when there are no tables, no grants or no such relay. Release `out` in any case.
 */
NODISCARD int admin_status(const struct command_server *server, const char *relay,
                           struct admin_status *out, struct err *err);
void admin_status_release(struct admin_status *out);

#endif
