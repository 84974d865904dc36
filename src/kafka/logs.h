/* librdkafka's log lines, as lines of our own log: level, facility and text as fields. A line that
 * is repeated (digits aside) is folded: told once, and its count after half a minute, then after
 * pauses that double up to an hour while it goes on. One that stays away for a whole pause is
 * forgotten, and is told anew when it comes back. */
#ifndef OUTBOXD_KAFKA_LOGS_H
#define OUTBOXD_KAFKA_LOGS_H

#include <event2/event.h>
#include <stdint.h>

#define KAFKA_LOGS_RECENT 16

struct kafka_logs {
    struct event *timer; /* a beat; pending while anything is in `recent` */
    struct recent_line {
        uint64_t hash;     /* of facility and text without digits; 0: free */
        unsigned repeated; /* since it was told */
        unsigned pause;    /* beats from one count to the next */
        unsigned left;     /* of them */
        int level;
        char facility[32];
        char text[256];
    } recent[KAFKA_LOGS_RECENT];
    unsigned next; /* to be replaced */
};

#define KAFKA_LOGS_BEAT_S    30
#define KAFKA_LOGS_MAX_PAUSE 120U /* beats */

/* `base` NULL: no timer, somebody else calls kafka_logs_beat. */
void kafka_logs_init(struct kafka_logs *l, struct event_base *base);
void kafka_logs_release(struct kafka_logs *l); /* tells the counts that are left */

/* KAFKA_LOGS_BEAT_S have passed. */
void kafka_logs_beat(struct kafka_logs *l);

/* `level` as in syslog(3). */
void kafka_logs_line(struct kafka_logs *l, int level, const char *facility, const char *text);

#endif
