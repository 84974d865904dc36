/* The sink: what the relay's core asks of Kafka (struct sink_ops), done with librdkafka.
 *
 * Messages go in by send; what became of them comes back by the listener, from the event loop,
 * never from inside an op. A listener may call any op. One thread. */
#ifndef OUTBOXD_KAFKA_PRODUCER_H
#define OUTBOXD_KAFKA_PRODUCER_H

#include "kafka/config.h"
#include "relay/ops.h"

#include <event2/event.h>

struct kafka_sink;

/* Who is told. The functions have the meaning of relay_on_acked, relay_on_refused and
 * relay_on_sink_error. Texts are lent for the call. */
struct kafka_listener {
    void *ctx;
    void (*acked)(void *ctx, uint32_t stream, uint64_t seq, int32_t partition);
    void (*refused)(void *ctx, uint32_t stream, uint64_t seq, enum refusal why, const char *text);
    void (*error)(void *ctx, uint32_t stream, enum refusal why, const char *text);
};

/* The implementation of the core's ops; their ctx is the struct kafka_sink. */
extern const struct sink_ops kafka_sink_ops;

/* Makes the first producer, which connects in the background: brokers that are down are no error
 * here. `params` is not kept, `base` is lent for the sink's life. NULL on error; kind ERR_CONFIG
 * when a person must correct kafka.properties. */
NODISCARD struct kafka_sink *kafka_sink_new(const struct kafka_sink_params *params,
                                            struct event_base *base, struct err *err);

/* Must be called before the loop runs. */
void kafka_sink_listen(struct kafka_sink *s, const struct kafka_listener *listener);

/* Drops what is unacknowledged, tells nobody, and waits up to five seconds for librdkafka's
 * threads. Not from inside a listener. NULL is allowed. */
void kafka_sink_free(struct kafka_sink *s);

#endif
