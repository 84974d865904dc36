/* The steps of message_build that message_bury takes, too. Each wants what the one before it has
 * set; message_address comes first. */
#ifndef OUTBOXD_MESSAGE_BUILD_H
#define OUTBOXD_MESSAGE_BUILD_H

#include "message/message.h"

/* The headers that every message has. header_buf gets room for them and for the row's own. */
void build_own_headers(struct message *m, const struct route *route, const struct event *e);
/* After build_own_headers: the value as the route's format has it. */
struct slice build_value(struct message *m, const struct route *route, const struct event *e);
size_t count_bytes(const struct message *m);

#endif
