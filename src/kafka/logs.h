/* librdkafka's log lines, as lines of our own log: level, facility and text as fields. A line that
 * is repeated (digits aside) is folded: told once, and its count after half a minute. */
#ifndef OUTBOXD_KAFKA_LOGS_H
#define OUTBOXD_KAFKA_LOGS_H

#include <event2/event.h>
#include <stdint.h>

#define KAFKA_LOGS_RECENT 16

struct kafka_logs {
    struct event *timer; /* pending while anything is in `recent` */
    struct recent_line {
        uint64_t hash;     /* of facility and text without digits; 0: free */
        unsigned repeated; /* since it was told */
        int level;
        char facility[32];
        char text[256];
    } recent[KAFKA_LOGS_RECENT];
    unsigned next; /* to be replaced */
};

void kafka_logs_init(struct kafka_logs *l, struct event_base *base);
void kafka_logs_release(struct kafka_logs *l); /* tells the counts that are left */

/* `level` as in syslog(3). */
void kafka_logs_line(struct kafka_logs *l, int level, const char *facility, const char *text);

#endif
