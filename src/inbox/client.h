/* The consumer's librdkafka configuration: what the promises rest on, and what the application may
 * add. */
#ifndef OUTBOXD_INBOX_CLIENT_H
#define OUTBOXD_INBOX_CLIENT_H

#include "base/err.h"
#include "inbox.h"

#include <librdkafka/rdkafka.h>

/* Ours, then the application's properties. NULL: INBOX_E_CONFIG, and `e` names the property. To be
 * destroyed by the caller, or given to rd_kafka_new. */
NODISCARD rd_kafka_conf_t *client_conf_new(const struct inbox_params *params,
                                           struct inbox_error *e);

#endif
