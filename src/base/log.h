/* Log lines: a message that never changes, and typed fields. One line each, to stderr, as logfmt or
 * JSON, times in RFC 3339 UTC. Fields never hold payloads or secrets; keys can be personal data and
 * are shown at debug only.
 *
 *   log_info("lease taken", LOG_I("epoch", 7), LOG_S("instance", name));
 *   log_info("stopped", LOG_END); */
#ifndef OUTBOXD_BASE_LOG_H
#define OUTBOXD_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_SILENT };
enum log_format { LOG_LOGFMT, LOG_JSON };
enum log_type { LOG_TYPE_END, LOG_TYPE_STR, LOG_TYPE_INT };

struct log_field {
    enum log_type type;
    const char *key;
    const char *s;
    int64_t i;
};

#define LOG_S(k, v)                                                                                \
    ((struct log_field){LOG_TYPE_STR, (k), (v), 0}) /* a NULL value leaves the field out */
#define LOG_I(k, v) ((struct log_field){LOG_TYPE_INT, (k), NULL, (int64_t)(v)})
#define LOG_END     ((struct log_field){LOG_TYPE_END, NULL, NULL, 0})

#define LOG_FIELDS(...)     ((const struct log_field[]){__VA_ARGS__, LOG_END})
#define log_debug(msg, ...) log_emit(LOG_DEBUG, msg, LOG_FIELDS(__VA_ARGS__))
#define log_info(msg, ...)  log_emit(LOG_INFO, msg, LOG_FIELDS(__VA_ARGS__))
#define log_warn(msg, ...)  log_emit(LOG_WARN, msg, LOG_FIELDS(__VA_ARGS__))
#define log_error(msg, ...) log_emit(LOG_ERROR, msg, LOG_FIELDS(__VA_ARGS__))

void log_setup(enum log_level level, enum log_format format);
bool log_enabled(enum log_level level);

/* Writes the line with one write(2), so that lines of several processes on one stderr do not mix; a
 * failed write is ignored. `fields` ends with LOG_END. */
void log_emit(enum log_level level, const char *msg, const struct log_field *fields);

/* Appends the line, without its newline, to `line` instead; whatever the level. */
struct str;
void log_line(struct str *line, enum log_level level, const char *msg,
              const struct log_field *fields);

#endif
