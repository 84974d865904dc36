/* The relay's notes as log lines: one per change of state, none per event, repeated ones folded
 * with a count. */
#ifndef OUTBOXD_APP_NOTES_H
#define OUTBOXD_APP_NOTES_H

#include "relay/relay.h"

#include <stdbool.h>
#include <stdint.h>

#define NOTES_REPEAT_MS 60000U /* the same trouble is said again at most this often */

enum {
#define X(name, text) NOTE_KIND_##name,
    RELAY_NOTES(X)
#undef X
        NOTE_KINDS,
};

/* The last note of a kind that told of a trouble. */
struct notes_said {
    char text[768];
    uint64_t at_ms;
    bool open;       /* no note since then has told that it is over */
    uint32_t folded; /* the same note since then */
};

struct notes {
    const char *relay_name;
    struct notes_said said[NOTE_KINDS];
};

void notes_init(struct notes *n, const char *relay_name);

/* Writes the line, unless it tells of a trouble that lasts and was told less than NOTES_REPEAT_MS
 * ago. `trouble` may be NULL. */
void notes_log(struct notes *n, const struct relay *r, enum relay_note note,
               const struct trouble *trouble, uint64_t now_ms);

/* One line with what was counted since the start; written when the relay stops. */
void notes_totals(const struct notes *n, const struct relay_counters *c);

#endif
