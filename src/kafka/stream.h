/* The producer of one stream of the core: its client, the queue of that with its eventfd, its
 * topics, and what was told of it. Streams know nothing of one another; what they share lies in
 * struct kafka_common. */
#ifndef OUTBOXD_KAFKA_STREAM_H
#define OUTBOXD_KAFKA_STREAM_H

#include "kafka/client.h"
#include "kafka/logs.h"
#include "kafka/producer.h"
#include "kafka/reaper.h"
#include "kafka/told.h"

struct kafka_common {
    struct event_base *base;
    rd_kafka_conf_t *conf;
    char *brokers;
    struct kafka_listener listener;
    struct kafka_logs logs;
    struct reaper reaper;
};

/* All zero, but for `number`: closed. */
struct kafka_stream {
    struct kafka_common *common;
    uint32_t number;
    bool open;          /* wake_fd and the events are there; from the first reset to close */
    char **topic_names; /* by the core's number; NULL: not told yet */
    size_t topic_count;
    struct client *client; /* NULL: closed, or the last reset failed */
    struct client *served; /* whose queue serve stands on; NULL outside of it */
    bool served_is_old;    /* reset or close discarded it meanwhile */
    uint64_t newest_seq;
    int wake_fd;
    struct event *wake;
    struct event *more;  /* serve again in the next turn */
    struct event *sweep; /* pending from a fatal error to the reset */
    struct told told;    /* error events that the listener knows of */
};

/* These are the ops of struct sink_ops for one stream. A reset of a closed one opens it. */
void kafka_stream_topic(struct kafka_stream *s, uint32_t topic, const char *name);
int32_t kafka_stream_partitions(const struct kafka_stream *s, uint32_t topic);
int kafka_stream_send(struct kafka_stream *s, const struct sending *to, const struct message *m,
                      struct send_refusal *why);
NODISCARD int kafka_stream_reset(struct kafka_stream *s, struct err *err);
void kafka_stream_close(struct kafka_stream *s);
bool kafka_stream_diagnose(struct kafka_stream *s, const struct sending *what, struct err *err,
                           enum refusal *cause);

#endif
