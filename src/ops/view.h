/* What the endpoints show: one flat picture of the process, filled by app/ from the core and the
 * two sides each time somebody asks, never kept. Pointers are lent for the call.
 *
 * /metrics, /readyz and /status read nothing else, so that a request costs the relay one copy and
 * no question to any server. */
#ifndef OUTBOXD_OPS_VIEW_H
#define OUTBOXD_OPS_VIEW_H

#include "base/problem.h"
#include "relay/relay.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the database was asked in the background, every few seconds; `known` is false before the
 * first answer, and the age tells how long ago it came. A count of -1 could not be told. */
struct ops_backlog {
    bool known;
    double age_s;
    int64_t unsent_events;
    bool estimated;              /* too many to be counted; see `outboxd status` */
    double oldest_unsent_s;      /* -1: there is none */
    int64_t lanes;               /* beside the main one */
    double oldest_lane_s;        /* since the oldest of these was made; -1: there is none */
    double oldest_transaction_s; /* open, and holding back vacuum; -1: none that we may see */
    bool sees_transactions;      /* of other roles, too */
    int64_t overdue_days;        /* that retention should have taken away */
    int64_t default_rows;        /* 1: outbox.event_default holds events, 0: it is empty */
};

struct ops_process {
    double start_time_s; /* since 1970 */
    double cpu_s;
    uint64_t resident_bytes; /* 0: not known, without /proc */
    uint64_t open_fds;       /* the same */
};

#define OPS_NOTES 8

/* A change of the relay's state, newest first. */
struct ops_note {
    double age_s; /* since it was last told */
    const char *text;
    const char *error; /* "" when it has none */
    uint32_t times;    /* in a row */
};

/* Commit to acknowledgement, as in struct relay_counters. */
struct ops_latency {
    uint64_t buckets[RELAY_LATENCY_BUCKETS + 1];
    double sum_s;
};

struct ops_view {
    const char *version;
    const char *relay;
    const char *instance;
    double uptime_s;

    enum relay_state state;
    int64_t epoch;
    bool paused;
    bool ready;                   /* can publish, or stands by for somebody who does */
    enum problem problem;         /* what is wrong now; PROBLEM_NONE: nothing */
    const char *problem_text;     /* what is particular; "" when the table's texts say it all */
    const char *problem_topic;    /* "" unless one topic is to blame */
    const char *problem_event_id; /* "" unless one event is to blame */
    double problem_for_s;
    uint32_t attempts;
    double next_try_s; /* -1: not planned */
    bool halted;

    struct relay_lanes lanes; /* all 0 unless this process leads */
    const struct relay_counters *counters;
    const struct route_table *routes; /* for the names behind counters->published_by_route */
    uint32_t window_events;
    uint32_t window_capacity;
    uint64_t window_bytes;
    uint64_t window_bytes_capacity;
    double rate_1s; /* events acknowledged per second, mean of the last second, ten, sixty */
    double rate_10s;
    double rate_60s;
    struct ops_latency last_minute;

    struct ops_backlog backlog;
    struct ops_process process;
    struct ops_note notes[OPS_NOTES];
    size_t note_count;
};

#endif
