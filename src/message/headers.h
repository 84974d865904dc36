/* The row's own headers: a JSON object becomes Kafka headers. */
#ifndef OUTBOXD_MESSAGE_HEADERS_H
#define OUTBOXD_MESSAGE_HEADERS_H

#include "message/message.h"

/* How many bytes of room headers_append wants in header_buf for this JSON text, at most. */
size_t headers_room(struct slice json);

/* Appends the members of `json` to m->headers, as message_build documents them. header_buf must
 * have the room already, so that slices into it stay valid. Returns -1 and ERR_CONFIG when it is no
 * JSON object or has too many members. */
NODISCARD int headers_append(struct message *m, struct slice json, struct err *err);

#endif
