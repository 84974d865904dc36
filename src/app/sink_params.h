/* The settings as the Kafka side takes them: for `run`, which publishes, and for `check`, which
 * only looks. */
#ifndef OUTBOXD_APP_SINK_PARAMS_H
#define OUTBOXD_APP_SINK_PARAMS_H

#include "kafka/config.h"
#include "settings/settings.h"

/* Borrows from `s`. Returns the array that out->properties points to, to be freed when `out` is no
 * longer used. */
NODISCARD struct kafka_pair *sink_params_of(const struct settings *s,
                                            struct kafka_sink_params *out);

#endif
