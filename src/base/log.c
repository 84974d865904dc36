#include "base/log.h"

#include "base/clock.h"
#include "base/str.h"

#include <unistd.h>

static enum log_level threshold = LOG_INFO;
static enum log_format style = LOG_LOGFMT;

static const char *level_name(enum log_level level)
{
    switch (level) {
    case LOG_DEBUG:
        return "debug";
    case LOG_INFO:
        return "info";
    case LOG_WARN:
        return "warn";
    case LOG_ERROR:
        return "error";
    case LOG_SILENT:
        break;
    }
    return "silent";
}

void log_setup(enum log_level level, enum log_format format)
{
    threshold = level;
    style = format;
}

bool log_enabled(enum log_level level)
{
    return level >= threshold && level < LOG_SILENT;
}

/* logfmt needs quotes as soon as a value has a blank, a quote or an equals sign, or nothing at all;
 * a control character is escaped between them, so that no text from outside can steer a terminal.
 */
static bool is_plain(const char *value)
{
    for (const char *p = value; *p != '\0'; p++)
        if ((unsigned char)*p <= ' ' || *p == '"' || *p == '=' || *p == '\\')
            return false;
    return value[0] != '\0';
}

static void put_value(struct str *line, const char *value)
{
    if (style == LOG_LOGFMT && is_plain(value))
        str_puts(line, value);
    else
        str_put_json(line, slice_of(value));
}

static void put_key(struct str *line, const char *key)
{
    if (style == LOG_JSON) {
        str_puts(line, ",");
        str_put_json(line, slice_of(key));
        str_puts(line, ":");
    } else {
        str_printf(line, " %s=", key);
    }
}

static void put_field(struct str *line, const struct log_field *f)
{
    if (f->type == LOG_TYPE_STR && f->s == NULL)
        return;
    put_key(line, f->key);
    if (f->type == LOG_TYPE_INT)
        str_printf(line, "%lld", (long long)f->i);
    else
        put_value(line, f->s);
}

void log_line(struct str *line, enum log_level level, const char *msg,
              const struct log_field *fields)
{
    char when[CLOCK_RFC3339_SIZE];

    clock_format_ms(clock_wall_us(), when);
    str_printf(line, style == LOG_JSON ? "{\"time\":\"%s\",\"level\":\"%s\"" : "time=%s level=%s",
               when, level_name(level));
    put_key(line, "msg");
    put_value(line, msg);
    for (; fields->type != LOG_TYPE_END; fields++)
        put_field(line, fields);
    str_puts(line, style == LOG_JSON ? "}" : "");
}

void log_emit(enum log_level level, const char *msg, const struct log_field *fields)
{
    static struct str
        line; /* one thread of ours; reused so that logging does not allocate for ever */
    ssize_t written;

    if (!log_enabled(level))
        return;
    str_reset(&line);
    log_line(&line, level, msg, fields);
    str_puts(&line, "\n");
    written = write(STDERR_FILENO, line.data, line.len);
    (void)written;
}
