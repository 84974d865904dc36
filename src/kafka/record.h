/* A message handed to librdkafka, by the relay and by `outboxd replay` alike. */
#ifndef OUTBOXD_KAFKA_RECORD_H
#define OUTBOXD_KAFKA_RECORD_H

#include "message/message.h"

#include <librdkafka/rdkafka.h>

/* Produces it without a partition: that is for the partitioner of kafka/client.h. `extra` is one
 * more header behind the message's own; NULL: none. librdkafka copies everything. */
rd_kafka_resp_err_t record_produce(rd_kafka_t *rk, rd_kafka_topic_t *rkt, const struct message *m,
                                   const struct message_header *extra, void *opaque);

#endif
