/* The consumer, as its files share it. One turn (loop.c): take records, let dead letters make
 * progress, run one batch (batch.c), settle what failed (settle.c), move the offsets (assign.c). */
#ifndef OUTBOXD_INBOX_INTERNAL_H
#define OUTBOXD_INBOX_INTERNAL_H

#include "inbox/dead.h"
#include "inbox/event.h"
#include "inbox/fault.h"
#include "inbox/parts.h"
#include "inbox/say.h"
#include "inbox/session.h"

#include <librdkafka/rdkafka.h>
#include <stdatomic.h>
#include <stdbool.h>

struct inbox {
    struct inbox_params params; /* with copies of all that it points to */
    struct say say;
    struct inbox_counters counters;

    /* the loop */
    int epoll_fd; /* of the next three */
    int wake_fd;  /* eventfd: records, reports, or more of what is here already */
    int stop_fd;  /* eventfd: readable from inbox_stop on */
    int timer_fd;
    bool timer_set;
    atomic_bool stopping;
    uint64_t stop_ms;         /* when the loop noticed; 0: not yet */
    bool inside;              /* a turn is under way */
    bool finished;            /* left the group, closed everything */
    struct inbox_error final; /* why, INBOX_E_NONE after inbox_stop */

    /* Kafka */
    rd_kafka_t *rk;
    bool left; /* the group, properly */
    struct parts parts;
    size_t turn; /* which partition is served first */
    struct format_reader reader;
    struct dead *dead;
    rd_kafka_queue_t *commits; /* answers to offset commits: one is under way at a time */
    uint64_t commit_sent_ms;   /* of an offset commit under way; 0: none is */
    uint64_t commit_wait_ms;   /* none before that */

    /* batches */
    struct inbox_event **batch; /* room for batch_size */
    struct inbox_event **claims;
    char *answers;
    size_t limit;          /* of events in a batch at present: falls with slow handlers */
    uint64_t fill_from_ms; /* the first event waits since; 0: none does */

    /* the database */
    struct session db;
    bool db_down;
    uint64_t db_wake_ms; /* nothing is asked of it before that */
    unsigned db_pause_ms;
};

/* ---- batch.c --------------------------------------------------------------------------------- */

/* Runs at most one batch; true when one was run. */
bool batch_turn(struct inbox *in, uint64_t now_ms);
/* Events that could be handled now, and their bytes. */
size_t batch_ready(const struct inbox *in, uint64_t now_ms, size_t *bytes);

/* ---- settle.c -------------------------------------------------------------------------------- */

/* How a transaction ended. */
enum result {
    RESULT_DONE,
    RESULT_OUTAGE,   /* of the database */
    RESULT_CONFLICT, /* serialization failure, deadlock */
    RESULT_FAILED,   /* the handler asked for another try, or its work cannot be committed */
    RESULT_REJECTED, /* the handler will not have it */
    RESULT_TOO_OLD,
    RESULT_SLOW,    /* the batch takes too long: in smaller pieces */
    RESULT_STOPPED, /* it takes too long, and we are to stop */
    RESULT_FATAL,
};

struct outcome {
    enum result result;
    struct inbox_error error;
};

/* What follows from the failure of a single event, which is the head of `part`. */
void settle_failure(struct inbox *in, struct part *part, const struct outcome *outcome);
void settle_outage(struct inbox *in, const struct inbox_error *e);
void settle_back(struct inbox *in); /* the database answers */
void settle_fatal(struct inbox *in, const struct inbox_error *e);
/* Sends the heads that are to be dead-lettered, and takes what came of it. */
void settle_dead(struct inbox *in, uint64_t now_ms);

/* ---- assign.c -------------------------------------------------------------------------------- */

void assign_callbacks(rd_kafka_conf_t *conf);
/* Tells Kafka how far the partitions are done, unless that is under way. */
void assign_commit(struct inbox *in, uint64_t now_ms);
/* Gives everything up and leaves the group; within some seconds, whatever the broker does. */
void assign_leave(struct inbox *in);
/* Stops and restarts the flow of partitions, by what they hold. */
void assign_flow(struct inbox *in, uint64_t now_ms);

/* ---- loop.c ---------------------------------------------------------------------------------- */

/* Leaves the group and closes everything; harmless twice. */
void loop_finish(struct inbox *in);

#endif
