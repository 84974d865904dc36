/* The kept log, for the commands: rows of outbox.event read again, in id order, beside a relay that
 * works. Synchronous, with the relay's own credentials, and only reading.
 *
 * Pages keep every statement short: neither a snapshot nor a lock is held for long, so that vacuum
 * and retention go on, however large the table is. What the position of the relay says is read
 * once, by kept_open; every row comes with what it means for that row. */
#ifndef OUTBOXD_OUTBOX_KEPT_H
#define OUTBOXD_OUTBOX_KEPT_H

#include "message/event.h"
#include "outbox/command.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kept;

/* What the stored position says about a row. */
enum kept_state {
    KEPT_UNSETTLED, /* not known to be published */
    KEPT_SETTLED,   /* published: it was acknowledged before kept_open */
    KEPT_GIVEN_UP,  /* listed in outbox.dead: left out on purpose */
};

/* Which rows; all conditions hold. Times are microseconds since 1970 and mean created_at. */
struct kept_filter {
    int64_t id_from;
    int64_t id_to;              /* inclusive */
    int64_t since_us;           /* inclusive; INT64_MIN: no bound */
    int64_t until_us;           /* exclusive; INT64_MAX: no bound */
    const char *aggregate_type; /* NULL: any; the same for the others */
    const char *event_type;
    const char *key; /* of the message: partition_key, else aggregate_id */
};

#define KEPT_EVERYTHING                                                                            \
    ((struct kept_filter){                                                                         \
        .id_from = 1, .id_to = INT64_MAX, .since_us = INT64_MIN, .until_us = INT64_MAX})

struct kept_reader {
    void *ctx;
    /* Returns 0, or -1 with `err` to stop. The event is lent for the call. */
    int (*row)(void *ctx, const struct event *e, enum kept_state state, struct err *err);
    uint32_t page_rows; /* a statement looks at so many rows at most */
    bool with_payload;  /* else payload and headers come as NULL */
};

/* Connects, checks that this is the relay's own primary with the relay's row, and reads its
 * position and the server's present snapshot. NULL with `err`: ERR_CONFIG when a person must help
 * (no schema, no such relay, grants, another server's position), ERR_UNAVAILABLE when not (down, a
 * standby). `relay` is borrowed. */
struct kept *kept_open(const struct command_server *server, const char *relay, struct err *err);
void kept_close(struct kept *k); /* NULL is harmless */

/* Every row that was visible at kept_open, in id order; of later ones some. A day that retention
 * empties meanwhile may come in part. After a failure only kept_close makes sense. */
NODISCARD int kept_read(struct kept *k, const struct kept_filter *filter,
                        const struct kept_reader *reader, struct err *err);

/* Every row that became visible since kept_open, in no order; page_rows does not count. */
NODISCARD int kept_read_new(struct kept *k, const struct kept_filter *filter,
                            const struct kept_reader *reader, struct err *err);

/* Which of the days, counted from 1970-01-01 (UTC), have rows at present: fills `there`. */
NODISCARD int kept_days(struct kept *k, const int32_t *days, size_t count, bool *there,
                        struct err *err);

#endif
