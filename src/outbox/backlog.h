/* What the running relay knows of its backlog, for metrics and /status: asked in the background, on
 * a session of its own, so that an answer that takes long delays neither the lease nor the reading.
 * Leader or standby alike. Reads only.
 *
 * It never takes more than a fiftieth of the time: a slow answer is followed by a longer pause. A
 * failure only makes the answer older: the session is opened again, and nobody is told. */
#ifndef OUTBOXD_OUTBOX_BACKLOG_H
#define OUTBOXD_OUTBOX_BACKLOG_H

#include <stdbool.h>
#include <stdint.h>

struct event_base;
struct hosts;
struct backlog_watch;

/* The newest answer. What could not be told is -1. */
struct backlog {
    bool known;                  /* false: no answer yet, and the rest is nothing */
    double age_s;                /* since the answer came */
    int64_t unsent_events;       /* committed, and not known to be acknowledged and stored */
    bool estimated;              /* too many to be counted: by the distance of ids */
    double oldest_unsent_s;      /* its age now; -1: there is none */
    int64_t lanes;               /* beside the main one */
    double oldest_lane_s;        /* since the oldest of these was made; -1: there is none */
    double oldest_transaction_s; /* open, and holding back vacuum; -1: none that we may see */
    bool sees_transactions;      /* of other roles, too (pg_read_all_stats) */
    int64_t overdue_days;        /* that retention should have taken away */
    int64_t default_rows;        /* 1: outbox.event_default holds events, 0: it is empty */
};

struct backlog_params {
    struct event_base *base;
    const char *url; /* as in struct session_params; copied */
    const char *password;
    struct hosts *hosts;
    const char *relay;         /* copied */
    uint64_t (*now_ms)(void);  /* monotonic */
    int64_t retention_keep_ms; /* 0: for ever */
    uint32_t connect_timeout_ms;
    uint32_t timeout_ms; /* of a question */
    uint32_t first_ms;   /* from backlog_start to the first question */
    uint32_t every_ms;   /* the shortest pause between two answers; a lost session is opened again
                            after twice as long */
};

struct backlog_watch *backlog_new(const struct backlog_params *params);
void backlog_free(struct backlog_watch *b); /* NULL is harmless */

/* The relay's own sessions are open and checked: ask soon, and then again and again. */
void backlog_start(struct backlog_watch *b);
/* They are closed: no more questions until backlog_start. What was answered is kept, and ages. */
void backlog_forget(struct backlog_watch *b);

void backlog_get(const struct backlog_watch *b, struct backlog *out);

#endif
