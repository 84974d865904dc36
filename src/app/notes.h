/* The relay's notes as log lines: one per change of state, none per event.
 *
 * A trouble that lasts is told when it begins, when it turns out to be another one (problem, topic
 * or event), then as a reminder after a minute, ten minutes, and every hour, and when it is over,
 * with its duration; what was not told in between is counted (`repeated`). A state that comes and
 * goes is told ten times in ten minutes, then once in ten minutes; where it stays in the end is
 * told after a minute of calm. Each lane's trouble is a trouble of its own, and of all lanes
 * together no more than ten lines of a kind are told in ten minutes. */
#ifndef OUTBOXD_APP_NOTES_H
#define OUTBOXD_APP_NOTES_H

#include "relay/relay.h"

#include <stdbool.h>
#include <stdint.h>

#define NOTES_TOLD  16
#define NOTES_LANES 32 /* whose troubles are remembered */

enum {
#define X(name, text) NOTE_KIND_##name,
    RELAY_NOTES(X)
#undef X
        NOTE_KINDS,
};

/* What the relay is at the moment of a note. */
struct notes_facts {
    enum relay_state state;
    int64_t epoch;
    const struct err *failure; /* relay_failure */
};

/* One of the database's, one of the publishing, one of each lane. */
struct notes_trouble {
    bool open;
    bool known;                /* there was one: ended_ms counts */
    uint64_t since_ms;         /* it began */
    uint64_t ended_ms;         /* when it begins again soon, it is the same one */
    uint64_t said_ms;          /* the last line about it */
    uint32_t reminders;        /* told so far */
    uint32_t folded;           /* notes that were not told since said_ms */
    enum problem problem;      /* the last */
    uint64_t told[NOTES_TOLD]; /* what was told of it: hashes */
    uint32_t told_count;
};

struct notes_lane {
    uint32_t lane; /* 0: none */
    struct notes_trouble trouble;
};

/* How often a kind of note may be told. */
struct notes_limit {
    uint64_t window_ms; /* when the present window began */
    uint32_t said;      /* lines in it */
    uint32_t folded;    /* notes that were not told since the last line */
    bool overflowed;    /* some were in this window */
    bool strict;        /* ... and in the one before */
};

struct notes {
    const char *relay_name;
    struct notes_trouble database;
    struct notes_trouble publishing;
    struct notes_lane lanes[NOTES_LANES];
    struct notes_limit limits[NOTE_KINDS];
    uint64_t last_ms; /* the last note, told or not */
    bool pending;     /* it was not told, by its limit */
    enum relay_note pending_note;
    uint64_t pending_for_ms; /* its duration, as of a trouble that is over */
};

/* The name is borrowed. */
void notes_init(struct notes *n, const char *relay_name);

/* Writes the line, or counts the note. `trouble` may be NULL. FATAL is left to the end of `run`,
 * which tells the reason once. */
void notes_log(struct notes *n, const struct notes_facts *facts, enum relay_note note,
               const struct trouble *trouble, uint64_t now_ms);

/* To be called every now and then: tells where a state has stayed that came and went. */
void notes_tick(struct notes *n, const struct notes_facts *facts, uint64_t now_ms);

/* One line with what was counted since the start; written when the relay stops. */
void notes_totals(const struct notes *n, const struct relay_counters *c);

#endif
