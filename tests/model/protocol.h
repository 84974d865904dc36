/* The protocol of lease, window, lanes and partitions as a finite machine, small enough to be
 * walked through completely. What it abstracts:
 *
 *  - the outbox is a list of events in the order in which they are read; a position is an index
 * into it (the pair of snapshots yields such an order for each key: see src/outbox);
 *  - a partition's log is a set: only the first occurrence of an event counts, and what stood there
 *    before it;
 *  - time does not exist: whatever may happen, may happen now. So two relays lead at once, requests
 *    of dead producers land at any later moment or never, and acks come late or never.
 *
 * The states that can be reached are finite, because crashes, takeovers from a living leader and
 * passing refusals are budgets. tests/model/README.md says what is checked. */
#ifndef OUTBOXD_TESTS_MODEL_PROTOCOL_H
#define OUTBOXD_TESTS_MODEL_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EVENTS_MAX 6
#define KEYS       2
#define LANES      (KEYS + 1) /* one for each key, and one that covers both, as a topic's does */
#define WIDE       KEYS
#define RELAYS     2
#define WINDOW     2 /* in flight in one producer */
#define DEAD       2 /* producers that are gone, with requests on their way */

/* What is broken on purpose, to see that the model finds it. */
#define DEFECTS(X)                                                                                 \
    X(NONE, "nothing")                                                                             \
    X(SETTLE_EARLY, "an event is settled when it is sent, not when it is acknowledged")            \
    X(SKIP_REFUSED, "a refused event is passed over")                                              \
    X(REQUEUE, "a refused event is sent again behind those that followed it")                      \
    X(TIME_OUT, "a message is timed out and sent again")                                           \
    X(NO_CAS, "the position is stored without looking at epoch and holder")                        \
    X(SPLIT_ABOVE, "a lane begins at the culprit, above an unsettled event of its key")            \
    X(MERGE_BEHIND, "a lane that is behind main is merged")                                        \
    X(MERGE_AT_ONCE, "a lane is merged before anything of it was acknowledged")                    \
    X(NARROW_UNDER_WIDE, "a lane is merged into main although a wider one covers its key")         \
    X(NARROW_AT_MAIN, "a lane split off a wider one begins where main stands")                     \
    X(FOLD_AT_MAIN, "lanes are given up, and main stays where it is")                              \
    X(GIVE_UP_BEFORE, "main begins behind the event that was given up")                            \
    X(SKIP_AHEAD, "an event is skipped that is not the lane's next one")                           \
    X(READ_OUTSIDE, "position and lanes are read before the transaction that raises the epoch")    \
    X(NOT_OPENED, "a fresh producer sends more than one message to a partition")

enum defect {
#define X(name, text) DEFECT_##name,
    DEFECTS(X)
#undef X
        DEFECT_COUNT,
};

struct bounds {
    const char *keys;   /* key of each event, 'A' or 'B': "ABAB" */
    bool one_partition; /* of both keys; else each has its own */
    bool batches;       /* a look may find some of the events only; else it finds all */
    uint8_t poison;     /* the number of an event that is refused until it is healed; 0: none */
    uint8_t crashes;    /* of relays */
    uint8_t rivals;     /* takeovers from a leader that lives */
    uint8_t refusals;   /* that pass by themselves */
    bool skips;         /* an operator may skip a lane's next event */
    bool wide;          /* a refusal may end in a lane that covers both keys */
    bool halts;         /* a refused event makes no lane: an operator may give it up */
    uint8_t folds;      /* takeovers that give all lanes up, as the routes have changed */
    enum defect defect;
};

/* A producer's requests in the order of sending: event numbers from 1, 0 beyond the last. */
#define LANDED 0x80 /* it stands in the log; the ack is not taken yet */

struct producer {
    uint8_t queue[WINDOW];
    uint8_t opened; /* bit per partition: the relay has had an ack from it */
    uint8_t known;  /* bit per partition: the broker knows this producer's sequence */
};

enum phase { IDLE, READ /* DEFECT_READ_OUTSIDE */, LEADS };

/* What is read and sent in one order: main, or a lane. */
struct model_stream {
    uint8_t at;    /* M or L as the relay knows it: what the stream owns up to it is settled */
    uint8_t next;  /* the event that it looks at next */
    uint8_t acked; /* bit per event behind `at` */
    uint8_t bad;   /* a refused event that is not dealt with yet */
    struct producer producer;
};

struct model_relay {
    uint8_t phase;
    uint8_t epoch;
    uint8_t target;   /* main reads no further until it looks again */
    uint8_t lanes;    /* bit per lane */
    uint8_t looked;   /* bit per lane: main has looked since it was made, or since the takeover */
    uint8_t given_up; /* main passes this event */
    struct model_stream stream[1 + LANES];
};

struct model {
    uint8_t epoch;
    uint8_t holder;
    uint8_t main;   /* M, stored ... */
    uint8_t target; /* ... with the end of its batch; the same: it is between two batches */
    uint8_t lanes;
    uint8_t lane[LANES]; /* L, stored */
    uint8_t halted;      /* the event that the relay has told to be in main's way */
    uint8_t given_up;
    uint8_t skipped; /* bit per event */
    uint8_t landed;  /* bit per event */
    uint8_t healed;
    uint8_t crashes;
    uint8_t rivals;
    uint8_t refusals;
    uint8_t folds;
    uint8_t merged; /* bit per lane: and nothing of it was acknowledged since */
    struct model_relay relay[RELAYS];
    struct producer dead[DEAD];
};

const char *defect_text(enum defect d);

void model_begin(struct model *m, const struct bounds *b);

/* What one step did, for the story of a counterexample. */
struct step {
    char text[96];
    bool helps; /* an operator mended or skipped something: does not count for promise 6 */
};

/* Calls `take` for each state that one step leads to. `broken` is NULL, or says which promise the
 * step broke. */
typedef void model_take(void *ctx, const struct model *m, const struct step *step,
                        const char *broken);
void model_steps(const struct model *m, const struct bounds *b, model_take *take, void *ctx);

/* Everything is published or skipped, settled, and no lane is left. */
bool model_is_done(const struct model *m, const struct bounds *b);
/* The same for all but the poison event's key. */
bool model_others_are_done(const struct model *m, const struct bounds *b);

#endif
