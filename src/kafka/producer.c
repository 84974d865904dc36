/* One producer per stream of the core (stream.c), and what all of them share: the configuration,
 * who is told, the log, and the reaper. Main's stream is opened here and stays; a lane's costs
 * nothing but its slot until its first reset, and after its close. */
#include "kafka/producer.h"

#include "base/log.h"
#include "base/str.h"
#include "kafka/stream.h"

#include <assert.h>
#include <stdlib.h>

enum { END_WAIT_MS = 5000 };

struct kafka_sink {
    struct kafka_common common;
    struct kafka_stream streams[STREAMS_MAX];
};

static struct kafka_stream *stream_of(void *ctx, uint32_t stream)
{
    struct kafka_sink *s = ctx;
    assert(stream < STREAMS_MAX);
    return &s->streams[stream];
}

static void sink_topic(void *ctx, uint32_t stream, uint32_t topic, const char *name)
{
    kafka_stream_topic(stream_of(ctx, stream), topic, name);
}

static int32_t sink_partitions(void *ctx, uint32_t stream, uint32_t topic)
{
    return kafka_stream_partitions(stream_of(ctx, stream), topic);
}

static int sink_send(void *ctx, uint32_t stream, const struct sending *to, const struct message *m,
                     struct send_refusal *why)
{
    return kafka_stream_send(stream_of(ctx, stream), to, m, why);
}

static int sink_reset(void *ctx, uint32_t stream, struct err *err)
{
    return kafka_stream_reset(stream_of(ctx, stream), err);
}

static void sink_close(void *ctx, uint32_t stream)
{
    assert(stream != MAIN_STREAM);
    kafka_stream_close(stream_of(ctx, stream));
}

static bool sink_diagnose(void *ctx, uint32_t stream, const struct sending *what, struct err *err,
                          enum refusal *cause)
{
    return kafka_stream_diagnose(stream_of(ctx, stream), what, err, cause);
}

const struct sink_ops kafka_sink_ops = {
    .topic = sink_topic,
    .partitions = sink_partitions,
    .send = sink_send,
    .reset = sink_reset,
    .close = sink_close,
    .diagnose = sink_diagnose,
};

/* ---- life ------------------------------------------------------------------------------------ */

struct kafka_sink *kafka_sink_new(const struct kafka_sink_params *params, struct event_base *base,
                                  struct err *err)
{
    rd_kafka_conf_t *conf = kafka_conf_new(params, err);
    if (!conf)
        return NULL;
    struct kafka_sink *s = xcalloc(1, sizeof(*s));
    s->common.base = base;
    s->common.conf = conf;
    s->common.brokers = xstrdup(params->brokers);
    reaper_init(&s->common.reaper);
    kafka_logs_init(&s->common.logs, base);
    for (uint32_t i = 0; i < STREAMS_MAX; i++) {
        s->streams[i].common = &s->common;
        s->streams[i].number = i;
    }
    if (kafka_stream_reset(&s->streams[MAIN_STREAM], err) == 0)
        return s;
    kafka_sink_free(s);
    return NULL;
}

void kafka_sink_listen(struct kafka_sink *s, const struct kafka_listener *listener)
{
    s->common.listener = *listener;
}

void kafka_sink_free(struct kafka_sink *s)
{
    if (!s)
        return;
    for (uint32_t i = 0; i < STREAMS_MAX; i++) {
        assert(!s->streams[i].served);
        kafka_stream_close(&s->streams[i]);
    }
    kafka_logs_release(&s->common.logs);
    if (!reaper_finish(&s->common.reaper, END_WAIT_MS)) {
        /* Its threads still use the sink's memory: it stays until the process ends. */
        log_warn("a Kafka producer does not end; left to the end of the process", LOG_END);
        return;
    }
    rd_kafka_conf_destroy(s->common.conf);
    free(s->common.brokers);
    free(s);
}
