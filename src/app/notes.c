#include "app/notes.h"

#include "base/log.h"
#include "base/problem.h"

#include <stddef.h>
#include <string.h>

#define MINUTE_MS       60000U
#define CALM_MS         MINUTE_MS        /* what begins again within it has not ended */
#define WINDOW_MS       (10 * MINUTE_MS) /* of struct notes_limit */
#define WINDOW_LINES    10U
#define WINDOW_STRICT   1U /* lines in a window that follows one with too many notes */
#define NOT_ABOUT_TIMES UINT64_MAX

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
    case RELAY_NOTE_LANE_FLOWS:
    case RELAY_NOTE_LANE_MERGED:
    case RELAY_NOTE_PAUSED:
    case RELAY_NOTE_RESUMED:
    case RELAY_NOTE_DRAINING:
    case RELAY_NOTE_RELEASED:
    case RELAY_NOTE_STOPPED:
        return LOG_INFO;
    case RELAY_NOTE_LOST:
    case RELAY_NOTE_FENCED:
    case RELAY_NOTE_LEASE_EXPIRED:
    case RELAY_NOTE_RECOVERING:
    case RELAY_NOTE_STALLED:
    case RELAY_NOTE_PARKED:
    case RELAY_NOTE_LANE_TRIED:
    case RELAY_NOTE_SKIPPED:
    case RELAY_NOTE_LANES_FOLDED:
        return LOG_WARN;
    case RELAY_NOTE_HALTED:
    case RELAY_NOTE_FATAL:
        break;
    }
    return LOG_ERROR;
}

/* The trouble that the note is about; NULL: none. */
static struct notes_trouble *trouble_of(struct notes *n, enum relay_note note)
{
    if (note == RELAY_NOTE_LOST)
        return &n->database;
    if (note == RELAY_NOTE_RECOVERING || note == RELAY_NOTE_STALLED || note == RELAY_NOTE_HALTED)
        return &n->publishing;
    return NULL;
}

/* ---- lines ---- */

static const char *or_null(const char *text)
{
    return text[0] == '\0' ? NULL : text;
}

static struct log_field number_or_none(const char *key, int64_t value)
{
    return value > 0 ? LOG_I(key, value) : LOG_S(key, NULL);
}

struct line {
    enum relay_note note;
    const struct trouble *trouble; /* not NULL */
    enum problem problem;
    const char *error;
    uint64_t for_ms;    /* NOT_ABOUT_TIMES: no duration */
    enum problem after; /* what is over */
    uint32_t repeated;
};

static void write_line(const struct notes *n, const struct notes_facts *f, const struct line *l)
{
    const struct trouble *t = l->trouble;
    const struct log_field fields[] = {
        LOG_S("relay", n->relay_name),
        LOG_S("state", relay_state_name(f->state)),
        LOG_I("epoch", f->epoch),
        number_or_none("lane", t->lane),
        LOG_S("by", t->lane > 0 ? lane_by_name(t->lane_by) : NULL),
        LOG_S("problem", or_null(problem_word(l->problem))),
        LOG_S("error", or_null(l->error)),
        LOG_S("event_id", or_null(t->event_id)),
        LOG_S("topic", or_null(t->topic)),
        LOG_S("advice", or_null(problem_advice(l->problem))),
        LOG_S("after", or_null(problem_word(l->after))),
        l->for_ms == NOT_ABOUT_TIMES ? LOG_S("for_s", NULL) : LOG_I("for_s", l->for_ms / 1000),
        number_or_none("repeated", l->repeated),
        number_or_none("row_id", t->row_id),
        number_or_none("attempts", t->attempts),
        number_or_none("next_try_ms", t->next_try_ms),
        LOG_END,
    };

    log_emit(level_of(l->note), relay_note_text(l->note), fields);
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

/* ---- how often ---- */

static bool may_be_said(struct notes_limit *l, uint64_t now_ms)
{
    if (l->said == 0 || now_ms - l->window_ms >= WINDOW_MS) {
        l->strict = l->overflowed;
        l->overflowed = false;
        l->window_ms = now_ms;
        l->said = 0;
    }
    if (l->said >= (l->strict ? WINDOW_STRICT : WINDOW_LINES)) {
        l->folded++;
        l->overflowed = true;
        return false;
    }
    l->said++;
    return true;
}

static uint64_t hash_text(uint64_t h, const char *text)
{
    for (; *text != '\0'; text++)
        h = (h ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    return (h ^ 0xff) * UINT64_C(0x100000001b3);
}

/* Whether this is something new of the trouble; it is not from now on. */
static bool is_news(struct notes_trouble *t, const struct line *l)
{
    uint64_t h = hash_text(UINT64_C(0xcbf29ce484222325), relay_note_text(l->note));
    uint32_t kept;

    h = hash_text(h, problem_word(l->problem));
    h = hash_text(h, l->trouble->topic);
    h = hash_text(h, l->trouble->event_id);
    kept = t->told_count < NOTES_TOLD ? t->told_count : NOTES_TOLD;
    for (uint32_t i = 0; i < kept; i++)
        if (t->told[i] == h)
            return false;
    t->told[t->told_count++ % NOTES_TOLD] = h;
    return true;
}

/* A minute, ten minutes, then hours after the line before. */
static bool is_time_for_a_reminder(const struct notes_trouble *t, uint64_t now_ms)
{
    uint64_t minutes = t->reminders == 0 ? 1 : t->reminders == 1 ? 10 : 60;

    return now_ms - t->said_ms >= minutes * MINUTE_MS;
}

/* ---- troubles ---- */

static void trouble_note(struct notes *n, const struct notes_facts *f, struct notes_trouble *t,
                         struct line *l, uint64_t now_ms)
{
    bool news;

    if (!t->open && !(t->known && now_ms - t->ended_ms < CALM_MS))
        *t = (struct notes_trouble){.since_ms = now_ms};
    t->open = t->known = true;
    t->problem = l->problem;
    news = is_news(t, l);
    if (!news && !is_time_for_a_reminder(t, now_ms)) {
        t->folded++;
        return;
    }
    /* reminders of one trouble are few; those of hundreds of lanes are not */
    if ((news || l->trouble->lane > 0) && !may_be_said(&n->limits[l->note], now_ms)) {
        t->folded++;
        return;
    }
    if (!news) {
        t->reminders++;
        l->for_ms = now_ms - t->since_ms;
    }
    l->repeated = t->folded;
    t->folded = 0;
    t->said_ms = now_ms;
    write_line(n, f, l);
}

static void end_trouble(struct notes_trouble *t, struct line *l, uint64_t now_ms)
{
    if (!t->open)
        return;
    t->open = false;
    t->ended_ms = now_ms;
    l->for_ms = now_ms - t->since_ms;
    l->after = t->problem;
    l->repeated = t->folded;
    t->folded = 0;
}

/* A database that is back ends one kind of trouble, events that flow the other. A new lease begins
 * without the trouble of the one before, and a standby has none. */
static void end_troubles(struct notes *n, const struct trouble *trouble, struct line *l,
                         uint64_t now_ms)
{
    struct line ignored = *l;

    if (l->note == RELAY_NOTE_CONNECTED)
        end_trouble(&n->database, l, now_ms);
    else if (l->note == RELAY_NOTE_RECOVERED)
        end_trouble(&n->publishing, l, now_ms);
    else if (l->note == RELAY_NOTE_STANDBY ||
             (l->note == RELAY_NOTE_LEADING && (trouble == NULL || trouble->cause[0] == '\0')))
        end_trouble(&n->publishing, &ignored, now_ms);
}

/* Its place, or that of the lane of which nothing was told for longest. */
static struct notes_lane *find_lane(struct notes *n, uint32_t lane)
{
    struct notes_lane *oldest = &n->lanes[0];

    for (size_t i = 0; i < NOTES_LANES; i++) {
        if (n->lanes[i].lane == lane)
            return &n->lanes[i];
        if (n->lanes[i].lane == 0 || n->lanes[i].trouble.said_ms < oldest->trouble.said_ms)
            oldest = &n->lanes[i];
    }
    *oldest = (struct notes_lane){.lane = lane};
    return oldest;
}

/* A lane is in trouble when it is made and when a try was in vain, until its events flow. */
static void lane_note(struct notes *n, const struct notes_facts *f, enum relay_note note,
                      const struct trouble *trouble, uint64_t now_ms)
{
    struct notes_lane *lane = find_lane(n, trouble->lane);
    struct line l = {.note = note,
                     .trouble = trouble,
                     .problem = problem_parse(trouble->cause),
                     .error = trouble->text,
                     .for_ms = NOT_ABOUT_TIMES};

    if (note == RELAY_NOTE_PARKED || note == RELAY_NOTE_LANE_TRIED) {
        trouble_note(n, f, &lane->trouble, &l, now_ms);
        return;
    }
    if (note == RELAY_NOTE_LANE_FLOWS || note == RELAY_NOTE_LANE_MERGED)
        end_trouble(&lane->trouble, &l, now_ms);
    if (note == RELAY_NOTE_LANE_MERGED) {
        if (lane->trouble.known)
            l.for_ms = now_ms - lane->trouble.since_ms;
        *lane = (struct notes_lane){0};
    }
    if (!may_be_said(&n->limits[note], now_ms))
        return;
    l.repeated += n->limits[note].folded;
    n->limits[note].folded = 0;
    write_line(n, f, &l);
}

void notes_log(struct notes *n, const struct notes_facts *f, enum relay_note note,
               const struct trouble *trouble, uint64_t now_ms)
{
    static const struct trouble none;
    struct notes_trouble *about = trouble_of(n, note);
    struct line l = {.note = note, .trouble = &none, .error = "", .for_ms = NOT_ABOUT_TIMES};

    if (note == RELAY_NOTE_FATAL)
        return;
    if (trouble != NULL && trouble->lane > 0) {
        lane_note(n, f, note, trouble, now_ms);
        return;
    }
    n->last_ms = now_ms;
    n->pending = false;
    if (note == RELAY_NOTE_LOST) {
        l.problem = f->failure->problem;
        l.error = f->failure->text;
    } else if (about != NULL && trouble != NULL) {
        l.trouble = trouble;
        l.problem = problem_parse(trouble->cause);
        l.error = trouble->text;
    }
    if (about != NULL) {
        trouble_note(n, f, about, &l, now_ms);
        return;
    }
    end_troubles(n, trouble, &l, now_ms);
    if (!may_be_said(&n->limits[note], now_ms)) {
        n->pending = true;
        n->pending_note = note;
        n->pending_for_ms = l.for_ms;
        return;
    }
    l.repeated += n->limits[note].folded;
    n->limits[note].folded = 0;
    write_line(n, f, &l);
}

void notes_tick(struct notes *n, const struct notes_facts *f, uint64_t now_ms)
{
    static const struct trouble none;
    struct notes_limit *limit = &n->limits[n->pending_note];

    if (!n->pending || now_ms - n->last_ms < CALM_MS)
        return;
    n->pending = false;
    write_line(n, f,
               &(struct line){.note = n->pending_note,
                              .trouble = &none,
                              .error = "",
                              .for_ms = n->pending_for_ms,
                              .repeated = limit->folded - 1});
    limit->folded = 0;
}
