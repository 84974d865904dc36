/* One librdkafka producer and its topics: what a recovery throws away as a whole. */
#ifndef OUTBOXD_KAFKA_CLIENT_H
#define OUTBOXD_KAFKA_CLIENT_H

#include "base/err.h"

#include <librdkafka/rdkafka.h>
#include <stdint.h>

/* A message's opaque: the low bits of its sequence number, and the partition that was chosen for it
 * (0: none, else the partition + 1), so that the partitioner has both without a table. Topics of a
 * million partitions do not exist; the sequence number is made whole again from the newest one
 * sent. */
#define OPAQUE_SEQ_BITS      44
#define OPAQUE_SEQ_MASK      ((UINT64_C(1) << OPAQUE_SEQ_BITS) - 1)
#define OPAQUE_PARTITION_MAX ((INT32_C(1) << (64 - OPAQUE_SEQ_BITS)) - 2)

void *client_opaque(uint64_t seq, int32_t partition);
/* The sequence number in `opaque`, of a message that is at most 2^44 behind `newest`. */
uint64_t client_opaque_seq(const void *opaque, uint64_t newest);

struct client_topic;

struct client {
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue;      /* reports, errors and logs, in the order of their arrival */
    struct client_topic **topics; /* by the core's number; NULL where not used yet */
    size_t topic_count;
    struct client *next; /* the reaper's */
};

#define CLIENT_NO_WAKE (-1) /* for who polls the queue without being told */

/* A new producer whose queue writes to `wake_fd` (an eventfd, or CLIENT_NO_WAKE) when it turns from
 * empty to non-empty. Connects in the background. Its threads take no signals. NULL on error:
 * ERR_CONFIG when librdkafka refuses the configuration. */
NODISCARD struct client *client_new(const rd_kafka_conf_t *conf, int wake_fd, struct err *err);

/* The topic's handle, made at its first use, which also asks the brokers for its metadata without
 * waiting. NULL on error. */
NODISCARD rd_kafka_topic_t *client_topic(struct client *c, uint32_t number, const char *name,
                                         struct err *err);

/* Partitions of the topic as the partitioner last saw them; 0: it was not called yet. */
int32_t client_partitions(const struct client *c, uint32_t number);

/* Nothing more is written to wake_fd after this. */
void client_mute(struct client *c);

/* Ends the producer with everything in it; unread reports are dropped. Blocks until librdkafka's
 * threads have ended: see kafka/reaper.h. Any thread may call it, once nobody else uses `c`. */
void client_free(struct client *c);

#endif
