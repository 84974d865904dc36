/* The picture that ops/ shows: filled from core, source and settings when somebody asks, with what
 * must be remembered in between: since when something is wrong, the newest notes, and what was
 * published of late. */
#ifndef OUTBOXD_APP_VIEW_H
#define OUTBOXD_APP_VIEW_H

#include "app/rates.h"
#include "ops/view.h"
#include "settings/settings.h"

#include <stdbool.h>
#include <stdint.h>

struct event;
struct event_base;
struct outbox_source;

struct view_note {
    uint64_t at_ms;
    enum relay_note note;
    uint32_t times; /* in a row, with the same error */
    struct err error;
};

struct view {
    const struct settings *settings;
    const struct relay *relay;
    struct outbox_source *source;
    struct event *timer;
    uint64_t started_ms;
    double start_time_s;
    struct err lost;      /* why there are no sessions; kind ERR_NONE when there are */
    enum problem problem; /* at the last look, and since when */
    uint64_t problem_since_ms;
    struct rates rates;
    struct view_note notes[OPS_NOTES]; /* ring, the same way */
    uint64_t note_count;
};

struct view_params {
    struct event_base *base;
    const struct settings *settings; /* these three are lent for the view's life */
    const struct relay *relay;
    struct outbox_source *source;
};

NODISCARD int view_init(struct view *v, const struct view_params *params, struct err *err);
void view_release(struct view *v); /* harmless on a zeroed struct */

/* Every note of the relay. */
void view_note(struct view *v, enum relay_note note, const struct trouble *trouble);

/* For endpoints_params: `ctx` is the struct view. */
void view_fill(void *ctx, struct ops_view *out);

#endif
