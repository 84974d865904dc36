/* The Kafka side of `outboxd check`: are the brokers there, and would they keep the promises? */
#ifndef OUTBOXD_KAFKA_INSPECT_H
#define OUTBOXD_KAFKA_INSPECT_H

#include "base/report.h"
#include "kafka/config.h"

#include <stddef.h>

/* Connects as the relay would and writes a line for everything it looks at: the brokers, whether
 * an idempotent producer is let in, and each of the `count` topics (their number, copies and
 * settings). Writes no event. Blocks for some ten seconds at most. What is wrong goes into the
 * report, there is no other error. Nothing is kept. */
void kafka_inspect(const struct kafka_sink_params *params, const char *const *topics, size_t count,
                   const struct report *report);

#endif
