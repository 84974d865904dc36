/* The fake Kafka cluster: topics, partitions, and what a broker knows of each producer id.
 *
 * As a real broker (seen on 4.1) it accepts ANY first sequence number from a producer id that it
 * has no state for, and afterwards only the next one; a batch that it has already is acknowledged
 * and not appended again; a record above the topic's limit refuses its whole batch before the
 * sequence is looked at. */
#ifndef OUTBOXD_SIM_CLUSTER_H
#define OUTBOXD_SIM_CLUSTER_H

#include "oracle.h"
#include "plan.h"
#include "world.h"

#define BATCH_MAX 16

/* A batch as it travels. */
struct batch {
    uint64_t producer; /* id: one per producer object, never used again */
    uint64_t number;   /* the sender's own */
    uint32_t stream;   /* whose the producer is */
    uint32_t topic;
    int32_t partition;
    uint64_t first; /* sequence number of its first message, per partition */
    uint32_t count;
    uint32_t facts[BATCH_MAX];
};

enum verdict {
    VERDICT_APPENDED, /* or it was there already */
    VERDICT_SILENCE,  /* brokers down: no answer */
    VERDICT_UNKNOWN_TOPIC,
    VERDICT_OUT_OF_ORDER,
    VERDICT_TOO_LARGE,
    VERDICT_FORBIDDEN,
    VERDICT_REFUSED,          /* an error that librdkafka takes for permanent; not appended */
    VERDICT_REFUSED_APPENDED, /* the same, and it was appended */
};

/* What a partition's leader remembers of one producer id. */
struct producer_state {
    uint64_t producer;
    uint64_t first; /* sequence number that it began with */
    uint64_t next;
    uint64_t used_us;
};

struct broker_partition {
    struct producer_state *producers;
    uint32_t count;
    uint32_t cap;
    bool silent;     /* answers nothing ... */
    bool leaderless; /* ... and the others know why */
};

struct broker_topic {
    bool exists;
    bool forbidden; /* to write to */
    int32_t partitions;
    struct broker_partition logs[MAX_PARTITIONS];
};

struct cluster {
    struct world *world;
    const struct plan *plan;
    struct oracle *oracle;
    bool up;
    bool limit_raised; /* the operator has made room for what was too large */
    struct broker_topic topics[ALL_TOPICS];
    uint64_t next_producer;
};

void cluster_init(struct cluster *c, struct world *w, const struct plan *plan,
                  struct oracle *oracle);
void cluster_release(struct cluster *c);
enum verdict cluster_produce(struct cluster *c, const struct batch *b);

#endif
