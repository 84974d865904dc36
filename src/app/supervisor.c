/* start -> READY -> (RELOADING -> READY)... -> STOPPING; STATUS with every note, WATCHDOG all the
 * time.
 *
 * WATCHDOG comes from a timer of the loop, so a loop that hangs is noticed, and one that waits for
 * Kafka or Postgres is not taken for one that hangs. It comes four times in its interval: libpq
 * looks names up synchronously, and a resolver's patience must fit into what is left. */
#include "app/supervisor.h"

#include "base/log.h"

#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define READY_BELT_MS 5000U /* ready after this, if connecting takes longer */
#define STOP_SPARE_MS 2000U /* beyond the stop's own limit: leaving */

static void in_ms(struct event *timer, uint32_t ms)
{
    struct timeval tv = {.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000) * 1000};

    (void)evtimer_add(timer, &tv);
}

static void become_ready(struct supervisor *s)
{
    if (s->ready || s->stopping || s->notify.fd < 0)
        return;
    if (sd_notify_send(&s->notify, "READY=1") == -EAGAIN) {
        in_ms(s->belt, 100);
        return;
    }
    s->ready = true;
    (void)evtimer_del(s->belt);
}

static void on_alive(evutil_socket_t fd, short what, void *ctx)
{
    const struct supervisor *s = ctx;

    (void)fd;
    (void)what;
    (void)sd_notify_send(&s->notify, "WATCHDOG=1");
}

static void on_belt(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    become_ready(ctx);
}

void supervisor_init(struct supervisor *s, struct event_base *base)
{
    struct err err = {0};

    *s = (struct supervisor){0};
    if (sd_notify_init(&s->notify, &err) != 0)
        log_warn("the supervisor cannot be told", LOG_S("error", err.text));
    if (s->notify.fd < 0)
        return;
    s->belt = evtimer_new(base, on_belt, s);
    s->alive = event_new(base, -1, EV_PERSIST, on_alive, s);
    if (s->belt == NULL || s->alive == NULL) {
        log_warn("the supervisor cannot be told", LOG_S("error", "out of memory"));
        supervisor_release(s);
        return;
    }
    in_ms(s->belt, READY_BELT_MS);
    if (s->notify.watchdog_ms > 0)
        in_ms(s->alive, s->notify.watchdog_ms < 4 ? 1 : s->notify.watchdog_ms / 4);
}

void supervisor_release(struct supervisor *s)
{
    if (s->belt != NULL)
        event_free(s->belt);
    if (s->alive != NULL)
        event_free(s->alive);
    s->belt = NULL;
    s->alive = NULL;
    sd_notify_release(&s->notify);
}

/* A line break in a text would begin another assignment. */
static void send_status(const struct supervisor *s, const char *what, const char *why)
{
    char line[700];

    (void)snprintf(line, sizeof line, "STATUS=%s%s%s", what, why[0] == '\0' ? "" : ": ", why);
    for (char *c = line; *c != '\0'; c++)
        if ((unsigned char)*c < ' ')
            *c = ' ';
    (void)sd_notify_send(&s->notify, line);
}

void supervisor_note(struct supervisor *s, const struct relay *r, enum relay_note note,
                     const struct trouble *trouble)
{
    char leading[64];
    const char *what = relay_note_text(note);
    const char *why = "";

    if (s->notify.fd < 0)
        return;
    if (note == RELAY_NOTE_LEADING) {
        (void)snprintf(leading, sizeof leading, "leading, epoch %" PRId64, relay_epoch(r));
        what = leading;
    }
    if (note == RELAY_NOTE_LOST || note == RELAY_NOTE_FATAL) {
        why = relay_failure(r)->text;
    } else if (trouble != NULL && note != RELAY_NOTE_RECOVERED) {
        why = trouble->text;
    }
    send_status(s, what, why);
    if (note == RELAY_NOTE_CONNECTED || note == RELAY_NOTE_LOST)
        become_ready(s);
}

void supervisor_reloading(struct supervisor *s)
{
    char lines[80];
    struct timespec now;

    if (!s->ready || s->stopping)
        return;
    /* Type=notify-reload wants to know since when, by this clock */
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    (void)snprintf(lines, sizeof lines, "RELOADING=1\nMONOTONIC_USEC=%" PRId64,
                   (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    (void)sd_notify_send(&s->notify, lines);
}

void supervisor_reloaded(struct supervisor *s)
{
    if (!s->ready || s->stopping)
        return;
    s->ready = false;
    become_ready(s);
}

void supervisor_stopping(struct supervisor *s, uint32_t timeout_ms)
{
    char lines[80];

    if (s->notify.fd < 0)
        return;
    s->stopping = true;
    (void)snprintf(lines, sizeof lines, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRIu64,
                   ((uint64_t)timeout_ms + STOP_SPARE_MS) * 1000);
    (void)sd_notify_send(&s->notify, lines);
}
