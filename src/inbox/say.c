#include "inbox/say.h"

#include "base/clock.h"

#include <pthread.h>
#include <unistd.h>

#define FOLD_MS 30000

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

static enum log_level base_level(enum inbox_log_level level)
{
    switch (level) {
    case INBOX_LOG_DEBUG:
        return LOG_DEBUG;
    case INBOX_LOG_WARN:
        return LOG_WARN;
    case INBOX_LOG_ERROR:
        return LOG_ERROR;
    case INBOX_LOG_DEFAULT:
    case INBOX_LOG_INFO:
    case INBOX_LOG_NONE:
        break;
    }
    return LOG_INFO;
}

void say_release(struct say *s)
{
    str_release(&s->line);
}

void say_line(struct say *s, enum inbox_log_level level, const char *msg,
              const struct log_field *fields)
{
    struct log_field all[SAY_FIELDS + 2];
    size_t n = 0;
    ssize_t written;

    if (level < s->level)
        return;
    all[n++] = LOG_S("consumer", s->consumer);
    while (fields->type != LOG_TYPE_END && n <= SAY_FIELDS)
        all[n++] = *fields++;
    all[n] = LOG_END;
    str_reset(&s->line);
    log_line(&s->line, base_level(level), msg, all);
    (void)pthread_mutex_lock(&one_at_a_time);
    if (s->log != NULL) {
        s->log(level, str_text(&s->line), s->arg);
    } else {
        str_puts(&s->line, "\n");
        written = write(STDERR_FILENO, s->line.data, s->line.len);
        (void)written;
    }
    (void)pthread_mutex_unlock(&one_at_a_time);
}

static uint64_t hash_without_digits(const char *text)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (; *text != '\0'; text++)
        if (*text < '0' || *text > '9')
            h = (h ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    return h | 1;
}

void say_folded(struct say *s, enum inbox_log_level level, const char *msg, const char *text)
{
    const uint64_t hash = hash_without_digits(text);
    const uint64_t now_ms = clock_now_ms();
    struct say_recent *r = NULL;

    if (level < s->level)
        return;
    for (size_t i = 0; i < SAY_RECENT && r == NULL; i++)
        if (s->recent[i].hash == hash)
            r = &s->recent[i];
    if (r != NULL && now_ms - r->said_ms < FOLD_MS) {
        r->left_out++;
        return;
    }
    if (r == NULL) {
        r = &s->recent[s->next];
        s->next = (s->next + 1) % SAY_RECENT;
        r->left_out = 0;
    }
    if (r->left_out > 0)
        say_line(s, level, msg, LOG_FIELDS(LOG_S("text", text), LOG_I("left_out", r->left_out)));
    else
        say_line(s, level, msg, LOG_FIELDS(LOG_S("text", text)));
    r->hash = hash;
    r->said_ms = now_ms;
    r->left_out = 0;
}
