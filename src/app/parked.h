/* What `outboxd parked` shows. */
#ifndef OUTBOXD_APP_PARKED_H
#define OUTBOXD_APP_PARKED_H

#include "base/err.h"
#include "outbox/admin_lanes.h"

#include <jansson.h>

/* One lane in two or three lines. */
void parked_print_lane(const struct admin_lane *l);
/* The event by which main is halted. */
void parked_print_halted(const struct trouble *t);
void parked_print_list(const char *relay, const struct admin_lanes *lanes);
/* NULL when it cannot be made. */
json_t *parked_lane_json(const struct admin_lane *l, bool with_key);
NODISCARD int parked_print_json(const char *relay, const struct admin_lanes *lanes,
                                struct err *err);

#endif
