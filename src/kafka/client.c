/* A producer's life: made from the configuration, topics appear, muted, freed.
 *
 * The partition count comes from a partitioner of ours, the only place where librdkafka tells it
 * without a round trip. Every message is produced as "unassigned"; librdkafka calls the partitioner
 * in rd_kafka_producev when the topic's metadata is there, else later in a thread of its own. It
 * notes the count, and gives the partition that the relay chose (the opaque holds it), or murmur2
 * of the key if the relay did not know the count. A partition that is not there any more fails the
 * message with _UNKNOWN_PARTITION. (librdkafka 2.0.2: rd_kafka_msg_partitioner and
 * rd_kafka_topic_assign_uas; messages that waited for metadata are assigned in the order in which
 * they were produced, before any later one.) */
#include "kafka/client.h"

#include "base/str.h"
#include "kafka/config.h"
#include "message/murmur2.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Static_assert(sizeof(void *) == sizeof(uint64_t), "a message's opaque holds 64 bits");

struct client_topic {
    rd_kafka_topic_t *rkt;
    _Atomic int32_t partitions; /* written by the partitioner, in any thread */
};

void *client_opaque(uint64_t seq, int32_t partition)
{
    uint64_t chosen = (uint64_t)(uint32_t)(partition + 1);
    uint64_t bits = (chosen << OPAQUE_SEQ_BITS) | (seq & OPAQUE_SEQ_MASK);
    void *opaque;
    memcpy(&opaque, &bits, sizeof(opaque));
    return opaque;
}

uint64_t client_opaque_seq(const void *opaque, uint64_t newest)
{
    uint64_t low = (uint64_t)(uintptr_t)opaque & OPAQUE_SEQ_MASK;
    return newest - ((newest - low) & OPAQUE_SEQ_MASK);
}

/* May run in librdkafka's threads, with its locks held: touches nothing but its arguments. */
static int32_t partitioner(const rd_kafka_topic_t *rkt, const void *key, size_t key_len,
                           int32_t partitions, void *topic_opaque, void *message_opaque)
{
    struct client_topic *topic = topic_opaque;
    (void)rkt;
    atomic_store_explicit(&topic->partitions, partitions, memory_order_relaxed);
    uint64_t chosen = (uint64_t)(uintptr_t)message_opaque >> OPAQUE_SEQ_BITS;
    if (chosen > 0)
        return (int32_t)(chosen - 1);
    return murmur2_partition(key ? key : "", key ? key_len : 0, partitions);
}

/* ---- the producer ---------------------------------------------------------------------------- */

struct client *client_new(const rd_kafka_conf_t *conf, int wake_fd, struct err *err)
{
    static const uint64_t token = 1;
    char text[512] = "";
    rd_kafka_conf_t *copy = rd_kafka_conf_dup(conf);
    rd_kafka_t *rk = kafka_handle_new(RD_KAFKA_PRODUCER, copy, text, sizeof(text));
    if (!rk) {
        bool refused = rd_kafka_last_error() == RD_KAFKA_RESP_ERR__INVALID_ARG;
        rd_kafka_conf_destroy(copy); /* not taken over on failure */
        if (refused)
            err_problem(err, ERR_CONFIG, PROBLEM_CONFIGURATION,
                        "kafka.properties: no producer can be made of them: %s", text);
        else
            err_set(err, ERR_UNAVAILABLE, "make a Kafka producer: %s", text);
        return NULL;
    }
    struct client *c = xcalloc(1, sizeof(*c));
    c->rk = rk;
    c->queue = rd_kafka_queue_get_main(rk);
    rd_kafka_set_log_queue(rk, c->queue);
    if (wake_fd == CLIENT_NO_WAKE)
        return c;
    rd_kafka_queue_io_event_enable(c->queue, wake_fd, &token, sizeof(token));
    /* The queue holds the first log lines already, and a queue that is not empty wakes nobody. A
     * full eventfd is awake anyhow. */
    ssize_t written = write(wake_fd, &token, sizeof(token));
    (void)written;
    return c;
}

void client_mute(struct client *c)
{
    rd_kafka_queue_io_event_enable(c->queue, -1, NULL, 0);
}

void client_free(struct client *c)
{
    rd_kafka_purge(c->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    for (rd_kafka_event_t *ev; (ev = rd_kafka_queue_poll(c->queue, 0)) != NULL;)
        rd_kafka_event_destroy(ev);
    for (size_t i = 0; i < c->topic_count; i++) {
        if (c->topics[i])
            rd_kafka_topic_destroy(c->topics[i]->rkt);
    }
    rd_kafka_queue_destroy(c->queue);
    rd_kafka_destroy(c->rk);
    /* Only now: the partitioner writes into the topics as long as the producer lives. */
    for (size_t i = 0; i < c->topic_count; i++)
        free(c->topics[i]);
    free(c->topics);
    free(c);
}

/* ---- topics ---------------------------------------------------------------------------------- */

static struct client_topic *new_topic(struct client *c, const char *name, struct err *err)
{
    struct client_topic *topic = xcalloc(1, sizeof(*topic));
    /* A copy of the default: a configuration of our own would drop the operator's topic properties.
     */
    rd_kafka_topic_conf_t *conf = rd_kafka_default_topic_conf_dup(c->rk);
    rd_kafka_topic_conf_set_partitioner_cb(conf, partitioner);
    rd_kafka_topic_conf_set_opaque(conf, topic);
    topic->rkt = rd_kafka_topic_new(c->rk, name, conf);
    if (!topic->rkt) {
        /* The configuration is freed by rd_kafka_topic_new in either case. */
        err_set(err, ERR_SOFTWARE, "topic %s: %s", name, rd_kafka_err2str(rd_kafka_last_error()));
        free(topic);
        return NULL;
    }
    return topic;
}

rd_kafka_topic_t *client_topic(struct client *c, uint32_t number, const char *name, struct err *err)
{
    if (number >= c->topic_count) {
        size_t count = (size_t)number + 16;
        c->topics = xrealloc(c->topics, count * sizeof(struct client_topic *));
        for (size_t i = c->topic_count; i < count; i++)
            c->topics[i] = NULL;
        c->topic_count = count;
    }
    if (!c->topics[number])
        c->topics[number] = new_topic(c, name, err);
    return c->topics[number] ? c->topics[number]->rkt : NULL;
}

int32_t client_partitions(const struct client *c, uint32_t number)
{
    if (number >= c->topic_count || !c->topics[number])
        return 0;
    return atomic_load_explicit(&c->topics[number]->partitions, memory_order_relaxed);
}
