/* A broker that is down makes librdkafka log the same line several times a second, with other
 * numbers in it. So lines are told apart without their digits. The table is small: with more kinds
 * of lines at a time, some are told again. */
#include "kafka/logs.h"

#include "base/err.h"
#include "base/log.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const struct timeval BEAT = {.tv_sec = KAFKA_LOGS_BEAT_S};

/* What librdkafka calls an error is a warning here: it says what it tries again, and what stays is
 * told by the relay. */
static enum log_level our_level(int level, const char *text)
{
    /* About the gapless guarantee, at every start: no reason to worry the reader. */
    if (strstr(text, "is experimental"))
        return LOG_DEBUG;
    if (level <= 2)
        return LOG_ERROR;
    if (level <= 4)
        return LOG_WARN;
    return level <= 6 ? LOG_INFO : LOG_DEBUG;
}

static uint64_t hash_without_digits(uint64_t h, const char *text)
{
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            h = (h ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    }
    return h;
}

static void tell_count(struct recent_line *line)
{
    if (line->hash && line->repeated > 0) {
        log_emit(our_level(line->level, line->text), "kafka client, repeated",
                 LOG_FIELDS(LOG_I("times", line->repeated), LOG_S("facility", line->facility),
                            LOG_S("last", line->text)));
    }
    line->repeated = 0;
}

static void beat(struct recent_line *line)
{
    if (line->hash == 0 || --line->left > 0)
        return;
    if (line->repeated == 0) {
        line->hash = 0;
        return;
    }
    tell_count(line);
    line->pause = line->pause * 2 < KAFKA_LOGS_MAX_PAUSE ? line->pause * 2 : KAFKA_LOGS_MAX_PAUSE;
    line->left = line->pause;
}

void kafka_logs_beat(struct kafka_logs *l)
{
    bool any = false;
    for (size_t i = 0; i < ARRAY_LEN(l->recent); i++) {
        beat(&l->recent[i]);
        any = any || l->recent[i].hash != 0;
    }
    if (any && l->timer)
        evtimer_add(l->timer, &BEAT);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    kafka_logs_beat(arg);
}

void kafka_logs_init(struct kafka_logs *l, struct event_base *base)
{
    memset(l, 0, sizeof(*l));
    if (base)
        l->timer = evtimer_new(base, on_timer, l);
}

void kafka_logs_release(struct kafka_logs *l)
{
    for (size_t i = 0; i < ARRAY_LEN(l->recent); i++)
        tell_count(&l->recent[i]);
    if (l->timer)
        event_free(l->timer);
    l->timer = NULL;
}

void kafka_logs_line(struct kafka_logs *l, int level, const char *facility, const char *text)
{
    if (!log_enabled(our_level(level, text)))
        return;
    uint64_t hash =
        hash_without_digits(hash_without_digits(UINT64_C(0xcbf29ce484222325), facility), text) | 1;
    struct recent_line *line = NULL;
    for (size_t i = 0; i < ARRAY_LEN(l->recent) && !line; i++) {
        if (l->recent[i].hash == hash)
            line = &l->recent[i];
    }
    if (line) {
        line->repeated++;
    } else {
        line = &l->recent[l->next];
        l->next = (l->next + 1) % KAFKA_LOGS_RECENT;
        tell_count(line);
        line->hash = hash;
        line->pause = line->left = 1;
        log_emit(our_level(level, text), "kafka client",
                 LOG_FIELDS(LOG_S("facility", facility), LOG_S("text", text)));
    }
    line->level = level;
    (void)snprintf(line->facility, sizeof(line->facility), "%s", facility);
    (void)snprintf(line->text, sizeof(line->text), "%s", text);
    if (l->timer && !evtimer_pending(l->timer, NULL))
        evtimer_add(l->timer, &BEAT);
}
