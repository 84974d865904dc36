/* A producer for `outboxd replay`: the relay's settings and partitions, without its loop. Nothing
 * waits here but outlet_poll, so that the caller can look at its clock and its signals.
 *
 * As in the relay, a partition is opened: its first message goes alone, and the next ones when it
 * is acknowledged, because a broker accepts any first sequence number of a new producer, and a
 * refused first batch would be overtaken. The first refusal ends everything: nothing may be sent
 * after it. */
#ifndef OUTBOXD_KAFKA_OUTLET_H
#define OUTBOXD_KAFKA_OUTLET_H

#include "kafka/config.h"
#include "message/message.h"

#include <stddef.h>
#include <stdint.h>

struct outlet;

/* Connects in the background. NULL with `err` as kafka_conf_new. `params` is not kept. */
struct outlet *outlet_new(const struct kafka_sink_params *params, struct err *err);

/* Drops what is not acknowledged; waits for librdkafka's threads. NULL is harmless. */
void outlet_free(struct outlet *o);

/* Whether the brokers have these topics; asks for their whole list, because a question by name can
 * make a topic. Blocks for some ten seconds at most. ERR_CONFIG names one that is missing,
 * ERR_UNAVAILABLE: no broker answers. */
NODISCARD int outlet_require(struct outlet *o, const char *const *topics, size_t count,
                             struct err *err);

/* One message, in order. `row_id` is told by outlet_settled; the ids must ascend. Returns 1 when it
 * is taken; 0 when there is no room yet or its partition is being opened: outlet_poll, then try
 * again; -1 with `err` when it was refused. Copies what it needs. */
NODISCARD int outlet_send(struct outlet *o, const struct message *m,
                          const struct message_header *extra, int64_t row_id, struct err *err);

/* Takes what came back, and waits up to wait_ms for something if there is nothing. -1 with `err`,
 * which names event and cause, as soon as something was refused. */
NODISCARD int outlet_poll(struct outlet *o, uint32_t wait_ms, struct err *err);

size_t outlet_in_flight(const struct outlet *o);
int64_t outlet_acked(const struct outlet *o);   /* messages */
int64_t outlet_settled(const struct outlet *o); /* the row id up to which all are acked; 0: none */

/* Why nothing is acknowledged; always fills `err` (ERR_UNAVAILABLE). */
void outlet_diagnose(struct outlet *o, struct err *err);

#endif
