/* What `outboxd top` knows: the relay's answer at /status (src/ops/README.md), taken apart.
 *
 * The answer is not trusted: what is missing or of another type counts as unknown, and texts are
 * freed of everything that a terminal would obey. Unknown numbers are NAN. Pure. */
#ifndef OUTBOXD_APP_TOP_VIEW_H
#define OUTBOXD_APP_TOP_VIEW_H

#include "base/str.h"

#include <stdbool.h>

#define TOP_NOTES  8
#define TOP_ERRORS 8

struct top_problem {
    char word[40]; /* "": nothing is wrong */
    char text[400];
    char todo[300];
    char topic[80];
    char event_id[40];
    double since_s;
    double attempts;
    double next_try_s;
};

/* Seconds from commit to acknowledgement. */
struct top_latency {
    double count;
    double p50_s;
    double p90_s;
    double p99_s;
};

struct top_note {
    double age_s;
    double times;
    char text[80];
    char error[200];
};

struct top_count {
    char word[40];
    double count;
};

struct top_view {
    char version[24];
    char relay[64];
    char instance[64];
    char state[24];
    bool ready;
    bool leader;
    bool paused;
    bool halted;
    double epoch;
    double uptime_s;
    struct top_problem problem;

    double published_events;
    double published_bytes;
    double rate_1s;
    double rate_10s;
    double rate_60s;
    struct top_latency last_minute;
    struct top_latency since_start;
    double window_events;
    double window_capacity;
    double window_bytes;
    double window_bytes_capacity;

    bool backlog_known;
    double backlog_age_s;
    double unsent_events;
    bool unsent_estimated;
    double oldest_unsent_s; /* NAN: there is none */
    double lanes;
    double oldest_transaction_s; /* NAN: there is none */
    double overdue_days;
    bool default_has_events;

    double takeovers;
    double recoveries;
    double reconnects;
    double duplicates_possible;
    struct top_count errors[TOP_ERRORS];
    size_t error_count;

    double cpu_s;
    double resident_bytes;
    double open_fds;

    struct top_note notes[TOP_NOTES];
    size_t note_count;
};

/* -1 with kind ERR_UNAVAILABLE when the text is not a JSON object with a relay's name. */
NODISCARD int top_view_parse(struct top_view *v, struct slice json, struct err *err);

/* Copies what fits of a UTF-8 text, whole characters only. Control characters, also those of ISO
 * 6429 beyond ASCII, and those that change the direction of the text become blanks. */
void top_clean(char *out, size_t size, const char *text);

#endif
