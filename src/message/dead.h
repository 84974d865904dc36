/* A dead letter: the message of an event that was given up, for the route's dead_letter_topic. Key,
 * value and headers are the event's own; what became of it stands in headers, by the names that the
 * inbox uses, too. There is no dlt-partition or dlt-offset: it never had any. */
#ifndef OUTBOXD_MESSAGE_DEAD_H
#define OUTBOXD_MESSAGE_DEAD_H

#include "message/message.h"

#define HEADER_DLT_TOPIC       "dlt-topic"     /* where it was to go; null if that is no name */
#define HEADER_DLT_TIMESTAMP   "dlt-timestamp" /* created_at, RFC 3339 */
#define HEADER_DLT_ERROR_CLASS "dlt-error-class"
#define HEADER_DLT_ERROR_TEXT  "dlt-error-text"
#define HEADER_DLT_ATTEMPTS    "dlt-attempts"
#define DEAD_HEADERS           5

struct dead_letter {
    const char *topic;       /* the dead-letter topic */
    const char *error_class; /* word of base/problem.h */
    const char *error_text;  /* never holds payload, key or header values */
    uint32_t attempts;
};

/* Makes `m` the dead letter of `e`. It cannot fail: an event that no message can be made of has the
 * headers of ours and the dead letter's, and as value its payload as it is (nothing, when it was
 * too large to be fetched). Of the row's own headers those that find no room are left out. Slices
 * are lent as by message_build, and `d` until then, too. */
void message_bury(struct message *m, const struct route_table *routes, const struct event *e,
                  const struct dead_letter *d);

#endif
