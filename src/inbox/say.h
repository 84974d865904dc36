/* The library's log: to the application's function, or to stderr. Consumers of one process may live
 * in several threads, hence a lock around each line. */
#ifndef OUTBOXD_INBOX_SAY_H
#define OUTBOXD_INBOX_SAY_H

#include "base/log.h"
#include "base/str.h"
#include "inbox.h"

#define SAY_FIELDS 12 /* of one line at most, the consumer's name aside */
#define SAY_RECENT 16

struct say {
    enum inbox_log_level level;
    inbox_log_fn *log; /* NULL: stderr */
    void *arg;
    const char *consumer; /* borrowed */
    struct str line;
    struct say_recent {
        uint64_t hash; /* of a line of say_folded without its digits */
        uint64_t said_ms;
        unsigned left_out; /* since then */
    } recent[SAY_RECENT];
    unsigned next;
};

void say_release(struct say *s);

/* `fields` ends with LOG_END. */
void say_line(struct say *s, enum inbox_log_level level, const char *msg,
              const struct log_field *fields);

/* For what others repeat without end: of lines that differ in digits only, one in half a minute,
 * with the number of those left out. */
void say_folded(struct say *s, enum inbox_log_level level, const char *msg, const char *text);

#define say_debug(s, msg, ...) say_line(s, INBOX_LOG_DEBUG, msg, LOG_FIELDS(__VA_ARGS__))
#define say_info(s, msg, ...)  say_line(s, INBOX_LOG_INFO, msg, LOG_FIELDS(__VA_ARGS__))
#define say_warn(s, msg, ...)  say_line(s, INBOX_LOG_WARN, msg, LOG_FIELDS(__VA_ARGS__))
#define say_error(s, msg, ...) say_line(s, INBOX_LOG_ERROR, msg, LOG_FIELDS(__VA_ARGS__))

#endif
