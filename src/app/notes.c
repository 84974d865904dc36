#include "app/notes.h"

#include "base/log.h"
#include "base/problem.h"

#include <stdio.h>
#include <string.h>

void notes_init(struct notes *n, const char *relay_name)
{
    *n = (struct notes){.relay_name = relay_name};
}

static enum log_level level_of(enum relay_note note)
{
    switch (note) {
    case RELAY_NOTE_CONNECTED:
    case RELAY_NOTE_STANDBY:
    case RELAY_NOTE_LEADING:
    case RELAY_NOTE_RECOVERED:
    case RELAY_NOTE_PARTITIONS_GREW:
    case RELAY_NOTE_DRAINING:
    case RELAY_NOTE_RELEASED:
    case RELAY_NOTE_STOPPED:
        return LOG_INFO;
    case RELAY_NOTE_LOST:
    case RELAY_NOTE_FENCED:
    case RELAY_NOTE_LEASE_EXPIRED:
    case RELAY_NOTE_RECOVERING:
    case RELAY_NOTE_STALLED:
        return LOG_WARN;
    case RELAY_NOTE_HALTED:
    case RELAY_NOTE_FATAL:
        break;
    }
    return LOG_ERROR;
}

/* A note about the publishing tells what is wrong with it, another one does not. */
static bool is_about_trouble(enum relay_note note)
{
    return note == RELAY_NOTE_RECOVERING || note == RELAY_NOTE_STALLED || note == RELAY_NOTE_HALTED;
}

static bool is_about_failure(enum relay_note note)
{
    return note == RELAY_NOTE_LOST || note == RELAY_NOTE_FATAL;
}

static const char *or_null(const char *text)
{
    return text[0] == '\0' ? NULL : text;
}

static void write_line(const struct notes *n, const struct relay *r, enum relay_note note,
                       const struct trouble *trouble)
{
    static const struct trouble none;
    const struct trouble *t = trouble == NULL || !is_about_trouble(note) ? &none : trouble;
    const char *failure = is_about_failure(note) ? relay_failure(r)->text : "";
    const char *advice = note == RELAY_NOTE_LOST ? "tried again until it answers; nothing is lost"
                                                 : or_null(problem_advice(problem_parse(t->cause)));
    const struct log_field fields[] = {
        LOG_S("relay", n->relay_name),
        LOG_S("state", relay_state_name(relay_state(r))),
        LOG_I("epoch", relay_epoch(r)),
        LOG_S("cause", or_null(t->cause)),
        LOG_S("error", failure[0] != '\0' ? failure : or_null(t->text)),
        LOG_S("event_id", or_null(t->event_id)),
        LOG_S("topic", or_null(t->topic)),
        LOG_S("advice", advice),
        n->said[note].folded > 0 ? LOG_I("repeated", n->said[note].folded)
                                 : LOG_S("repeated", NULL),
        t->row_id != 0 ? LOG_I("row_id", t->row_id) : LOG_S("row_id", NULL),
        t->attempts > 0 ? LOG_I("attempts", t->attempts) : LOG_S("attempts", NULL),
        t->next_try_ms > 0 ? LOG_I("next_try_ms", t->next_try_ms) : LOG_END,
        LOG_END,
    };

    log_emit(level_of(note), relay_note_text(note), fields);
}

void notes_totals(const struct notes *n, const struct relay_counters *c)
{
    log_info("totals", LOG_S("relay", n->relay_name),
             LOG_I("events_published", c->events_published),
             LOG_I("bytes_published", c->bytes_published),
             LOG_I("duplicates_possible", c->duplicates_possible), LOG_I("polls", c->polls),
             LOG_I("pages", c->pages), LOG_I("wakeups_notify", c->wakeups[WAKEUP_NOTIFY]),
             LOG_I("wakeups_poll", c->wakeups[WAKEUP_POLLED]),
             LOG_I("wakeups_fallback", c->wakeups[WAKEUP_FALLBACK]),
             LOG_I("wakeups_backlog", c->wakeups[WAKEUP_BACKLOG]), LOG_I("stores", c->stores),
             LOG_I("takeovers", c->takeovers), LOG_I("recoveries", c->recoveries),
             LOG_I("reconnects", c->reconnects));
}

/* Postgres that is back ends one kind of trouble, events that flow the other. */
static void forget(struct notes *n, enum relay_note note)
{
    for (unsigned kind = 0; kind < NOTE_KINDS; kind++) {
        bool about_publishing = is_about_trouble((enum relay_note)kind);

        if ((note == RELAY_NOTE_RECOVERED && about_publishing) ||
            (note == RELAY_NOTE_CONNECTED && !about_publishing))
            n->said[kind].open = false;
    }
}

void notes_log(struct notes *n, const struct relay *r, enum relay_note note,
               const struct trouble *trouble, uint64_t now_ms)
{
    struct notes_said *said = &n->said[note];
    const char *text = is_about_failure(note) ? relay_failure(r)->text
                       : trouble != NULL      ? trouble->text
                                              : "";

    if (level_of(note) < LOG_WARN) {
        forget(n, note);
        write_line(n, r, note, trouble);
        return;
    }
    if (said->open && strcmp(text, said->text) == 0 && now_ms - said->at_ms < NOTES_REPEAT_MS) {
        said->folded++;
        return;
    }
    write_line(n, r, note, trouble);
    *said = (struct notes_said){.at_ms = now_ms, .open = true};
    (void)snprintf(said->text, sizeof said->text, "%s", text);
}
