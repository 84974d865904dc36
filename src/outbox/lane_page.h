/* Where the rows of a lane's page come from: stragglers, if the base knows of any, and what is new.
 */
#ifndef OUTBOXD_OUTBOX_LANE_PAGE_H
#define OUTBOXD_OUTBOX_LANE_PAGE_H

#include "outbox/sql_fill.h"

/* Appends the :branches of page.sql; `values` has the names in lane_stragglers.sql and
 * lane_new_by_*.sql, but for until_id. has_xip: transactions were running when the base was taken.
 */
void lane_page_branches(struct str *out, bool many_new, bool has_xip,
                        const struct sql_value *values, size_t count);

#endif
