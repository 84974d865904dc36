/* What librdkafka's error codes mean for the relay: our own table, because librdkafka's judgement
 * (permanent or not) was made for producers that may drop a message and go on. */
#ifndef OUTBOXD_KAFKA_ERRORS_H
#define OUTBOXD_KAFKA_ERRORS_H

#include "relay/policy.h"

#include <librdkafka/rdkafka.h>
#include <stdbool.h>

/* The cause that the relay is told for a failed message, a failed call or an error event. Never
 * REFUSAL_NONE, but for RD_KAFKA_RESP_ERR_NO_ERROR. A code that the table does not know (a newer
 * library or broker) is taken as REFUSAL_BROKER_ERROR: trying again loses nothing, and a code that
 * will not pass shows as a stall. */
enum refusal kafka_refusal(rd_kafka_resp_err_t code);

/* Whether the table names the code itself. For the test that holds the table against the library's
 * own list. */
bool kafka_error_is_listed(rd_kafka_resp_err_t code);

#endif
