/* sink_ops over the fake cluster: for each stream an idempotent producer as librdkafka is one
 * (gapless, up to five requests in flight per partition, the same sequence numbers on a retry). A
 * producer that is thrown away leaves its requests in the network: they land later, or never. */
#ifndef OUTBOXD_SIM_SINK_H
#define OUTBOXD_SIM_SINK_H

#include "cluster.h"
#include "plan.h"
#include "relay/relay.h"
#include "world.h"

#define IN_FLIGHT_MAX 5

/* One message, as the producer keeps it. */
struct parcel {
    uint64_t seq; /* the relay's */
    uint32_t fact;
    bool undecided; /* was sent with partition -1 */
    bool told;      /* of DEFECT_EARLY_ACK and DEFECT_OPENING_FAKED: reported already */
};

struct sent_batch {
    struct batch batch;
    struct parcel parcels[BATCH_MAX];
    uint64_t try;   /* an answer or time-out of an earlier try is void */
    bool was_first; /* at the present try it was the oldest one in flight */
};

struct producer_queue {
    struct fake_stream *stream;
    uint32_t topic;
    int32_t partition;
    struct parcel *waiting;
    uint32_t count;
    uint32_t cap;
    struct sent_batch *in_flight[IN_FLIGHT_MAX]; /* in sequence order */
    uint32_t flying;
    uint64_t next_sequence;
    bool pumping;         /* a step is scheduled */
    uint32_t outstanding; /* handed over and not yet reported to the relay */
    bool open;            /* the relay has seen an ack of this producer here */
    uint64_t opened_us;   /* the latest such ack */
};

struct sink_topic {
    bool wanted;
    int32_t known; /* partitions, as the present producer has heard; 0: not yet */
    struct producer_queue queues[MAX_PARTITIONS];
    struct parcel undecided[BATCH_MAX]; /* partition -1: waiting for metadata */
    uint32_t undecided_count;
    uint32_t undecided_out; /* not yet reported to the relay */
};

/* One stream's producer. */
struct fake_stream {
    struct fake_sink *sink;
    uint32_t number;
    struct world *world;
    const struct plan *plan;
    struct cluster *cluster;
    struct scope scope;   /* reports to the relay; its life ends with the producer */
    struct scope threads; /* the producer's own work; the same life */
    bool open;            /* from the first reset to close; main's always */
    bool alive;
    bool broken; /* fatal: takes nothing any more */
    uint64_t producer;
    uint64_t next_batch;
    uint64_t report_us; /* the latest delivery report so far arrives then */
    struct sink_topic topics[ALL_TOPICS];
    uint32_t numbers[ALL_TOPICS]; /* the relay's number -> ours */
    uint32_t number_count;
};

struct fake_sink {
    struct world *world;
    const struct plan *plan;
    struct cluster *cluster;
    struct relay *relay;
    uint32_t instance;
    uint64_t lease_until_us; /* nothing may be sent after */
    double allowance;        /* events that relay.max_rate lets it send now */
    uint64_t allowance_us;   /* as of then */
    struct fake_stream streams[STREAMS_MAX];
};

/* ---- producer.c: what happens behind send */
void producer_new(struct fake_stream *s);
/* What is in the network stays there. */
void producer_throw_away(struct fake_stream *s);
void producer_enqueue(struct producer_queue *q, struct parcel p);
void producer_fail(struct fake_stream *s, enum refusal why);
/* The topic's messages of which nobody knows the partition are refused. */
void producer_refuse_undecided(struct fake_stream *s, uint32_t topic, enum refusal why);
/* A delivery report; why is REFUSAL_NONE for an ack. Reports arrive in the order in which they were
 * made. */
void producer_report(struct producer_queue *q, struct parcel p, enum refusal why);

extern const struct sink_ops fake_sink_ops;

void sink_init(struct fake_sink *s, struct world *w, const struct plan *plan,
               struct cluster *cluster, const struct scope *process, const struct scope *threads);
void sink_attach(struct fake_sink *s, struct relay *relay, uint32_t instance);
/* The process dies: its producers go with it, its requests stay in the network. */
void sink_detach(struct fake_sink *s);
void sink_release(struct fake_sink *s);
/* The brokers went away: running producers say so. */
void sink_brokers_down(struct fake_sink *s);

#endif
