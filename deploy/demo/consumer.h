/* The consumer of the demo: reads all partitions of one topic from where they ended at the start,
 * notes each message with the time at which it came, and prints the first of each event type as a
 * consumer sees it. */
#ifndef OUTBOXD_DEMO_CONSUMER_H
#define OUTBOXD_DEMO_CONSUMER_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

#define CONSUMER_TEXT 40

struct seen {
    char event_id[CONSUMER_TEXT]; /* the header; "" when there is none */
    char key[CONSUMER_TEXT];
    int32_t partition;
    int64_t offset;
    int64_t at_us; /* wall clock, since 1970 */
};

struct consumer {
    struct seen *
        seen; /* in the order in which they came; within a partition that is the order of the log */
    size_t count;
    int32_t partitions;
    /* private */
    size_t room;
    struct rd_kafka_s *kafka;
    struct rd_kafka_topic_s *topic;
    struct rd_kafka_queue_s *queue;
    char shown[8][CONSUMER_TEXT]; /* event types that were printed */
    size_t shown_count;
};

NODISCARD int consumer_init(struct consumer *c, const char *brokers, const char *topic,
                            struct err *err);
void consumer_release(struct consumer *c);

/* Takes what is there, waiting up to timeout_ms for the first message. Returns how many came. */
size_t consumer_poll(struct consumer *c, int timeout_ms);

#endif
