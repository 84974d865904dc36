/* The lanes of a takeover, from the answer of take.sql. */
#ifndef OUTBOXD_OUTBOX_LANE_VIEWS_H
#define OUTBOXD_OUTBOX_LANE_VIEWS_H

#include "relay/ops.h"

#include <libpq-fe.h>

#define LANE_VIEW_COLUMNS 16 /* of the answer; no other of that transaction has so many */

struct lane_views {
    struct lane_view *lane;
    uint32_t count;
    PGresult *rows; /* the filters' texts borrow it */
};

/* Takes the rows, and frees them later. -1 and ERR_SOFTWARE for a filter that this program does not
 * know. */
NODISCARD int lane_views_take(struct lane_views *v, PGresult *rows, struct err *err);
void lane_views_release(struct lane_views *v); /* empty again */

#endif
