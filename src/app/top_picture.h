/* The picture that `outboxd top` shows, as text. Pure: the same numbers give the same picture. */
#ifndef OUTBOXD_APP_TOP_PICTURE_H
#define OUTBOXD_APP_TOP_PICTURE_H

#include "app/top_view.h"

#define TOP_HISTORY 120

/* What was seen before, one sample a second, the newest at the end. */
struct top_history {
    double rates[TOP_HISTORY];
    size_t count;
    double cpu_s; /* at the latest sample, and the share of a processor since the one before */
    double cpu_at_s;
    double cpu_share; /* NAN: not known yet */
};

void top_history_init(struct top_history *h);
void top_history_add(struct top_history *h, const struct top_view *v, double now_s);

struct top_screen {
    unsigned columns;
    unsigned rows; /* 0: as many as it takes */
    bool colour;
    bool unicode;          /* blocks for the curve of the rate; else ASCII */
    const char *address;   /* whom we ask */
    const char *no_answer; /* why the picture is old; NULL: it is not */
    double silent_s;       /* for how long */
};

/* Appends lines that end with '\n', none longer than the screen is wide, no more than it has rows.
 * `v` NULL: there was no answer at all yet. */
void top_picture(const struct top_screen *s, const struct top_view *v, const struct top_history *h,
                 struct str *out);

#endif
