/* The operator's side of lanes, for `outboxd parked` and status. Works beside a dead relay; the
 * relay's own credentials are enough. Synchronous. */
#ifndef OUTBOXD_OUTBOX_ADMIN_LANES_H
#define OUTBOXD_OUTBOX_ADMIN_LANES_H

#include "message/route.h"
#include "outbox/command.h"
#include "relay/ops.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct admin_lane {
    uint32_t id;
    enum lane_by by;
    struct str topic; /* empty: no legal name */
    struct str key;   /* by key. Personal, perhaps: shown to whoever asks, never logged */
    int32_t partition;
    struct trouble
        trouble;         /* cause "" when its events flow; event_id and row_id are its next one's */
    double made_s;       /* seconds since it was made */
    double trouble_s;    /* since the cause began; -1: none */
    double oldest_s;     /* age of its next event; -1: not known */
    int64_t waiting;     /* events of its own behind its position; -1: not asked */
    bool waiting_capped; /* there are more: ADMIN_LANE_COUNT were counted */
    bool flowing;
    bool asked; /* an operator wants it tried, and that has not been heard yet */
    struct str asked_by;
};

struct admin_lanes {
    struct admin_lane *lane; /* by id */
    size_t count;
    bool halted; /* main is halted by an event; `trouble` says by which */
    struct trouble trouble;
};

#define ADMIN_LANE_COUNT 10000

/* All lanes. `routes`: to count what waits (of `count_for` lanes at most, the others get -1), or
 * NULL. */
NODISCARD int admin_lanes(const struct command_server *server, const char *relay,
                          const struct route_table *routes, size_t count_for,
                          struct admin_lanes *out, struct err *err);
void admin_lanes_release(struct admin_lanes *l);

/* What an operator wants. */
struct admin_wish {
    const char *relay;
    const char *by_whom; /* or NULL */
    const char *reason;  /* of a skip, or NULL */
};

/* Asks for these lanes to be tried now; who leads hears of it with its next renewal. `done` counts
 * those that were still there. */
NODISCARD int admin_retry(const struct command_server *server, const struct admin_wish *wish,
                          const uint32_t *lanes, size_t count, size_t *done, struct err *err);

struct admin_skip {
    uint32_t lane;  /* 0: main, halted by that event */
    int64_t row_id; /* the next event, as admin_lanes told it */
};

/* Gives these events up, in one transaction: records them in outbox.dead and raises the epoch once.
 * One that is no longer its lane's next event is left alone and not counted in `done`. */
NODISCARD int admin_skip(const struct command_server *server, const struct admin_wish *wish,
                         const struct admin_skip *skips, size_t count, size_t *done,
                         struct err *err);

#endif
