/* What one run is like: everything here is drawn from the seed before the run begins. */
#ifndef OUTBOXD_SIM_PLAN_H
#define OUTBOXD_SIM_PLAN_H

#include "relay/relay.h"

#include <stdbool.h>
#include <stdint.h>

enum scenario {
    SCENARIO_FAULTLESS, /* delays, lost packets that the producer repairs, orderly restarts: not one
                           duplicate */
    SCENARIO_FAULTS,    /* one relay, everything breaks */
    SCENARIO_TWO,       /* two relays for one outbox, everything breaks */
    SCENARIO_LANES,     /* what cannot be published waits alone; in half of the runs, everything
                           else breaks, too */
};

/* Faults of the fakes themselves: with each of them the oracle must raise its voice. */
enum defect {
#define DEFECTS(X)                                                                                 \
    X(NONE, "none")                                                                                \
    X(EARLY_ACK, "a message is reported as acknowledged when it is sent, and may get lost")        \
    X(OPENING_FAKED, "a partition's first message is reported before the broker has it")           \
    X(LENIENT_BROKER, "the broker accepts any sequence number, and duplicates")                    \
    X(STORE_IGNORES_EPOCH, "a store succeeds although another relay has taken over")               \
    X(READER_BY_ID, "the reader asks for ids above the last one only")                             \
    X(READER_BELOW_XMIN, "the reader takes what is below xmin, ordered by xid")                    \
    X(DIRTY_READ, "the reader sees open transactions")                                             \
    X(UNTOLD_DROP, "dropped rows are reported as read")                                            \
    X(UNTOLD_CRASH, "the sessions survive a crash of the database")                                \
    X(CHANGE_IGNORES_EPOCH, "a change of a lane succeeds although another relay has taken over")   \
    X(LANE_TOO_FAR, "a lane begins behind the event that it was made for")                         \
    X(LANE_FORGOTTEN, "a takeover does not see the newest lane")                                   \
    X(LANE_BLIND, "a lane's page leaves out a row that the lane covers")                           \
    X(READ_TO_TOO_FAR, "a lane's page tells of more rows than it has looked at")                   \
    X(FOLD_AT_MAIN, "lanes are given up when the routes have changed, and main stays where it is") \
    X(NO_PARKING, "routes halt, though everybody believes that they park")                         \
    X(DEAF, "writers do not ring, and nobody looks without the bell")
#define X(name, text) DEFECT_##name,
    DEFECTS(X)
#undef X
        DEFECT_COUNT
};
const char *defect_text(enum defect d);

#define MAX_RELAYS     2
#define MAX_TOPICS     3
#define DEAD_TOPIC     MAX_TOPICS /* the dead-letter topic's number */
#define ALL_TOPICS     (MAX_TOPICS + 1)
#define MAX_PARTITIONS 8
#define MAX_KEYS       24
#define MAX_WRITERS    10

struct plan {
    uint64_t seed;
    enum scenario scenario;
    enum defect defect;
    bool verbose;

    uint32_t relays;
    bool same_instance; /* both relays run on one host */
    struct relay_params params;

    uint32_t keys;
    uint32_t topics;
    uint32_t partitions;
    uint32_t writers;
    uint32_t transactions;
    bool async_commits; /* some writers commit with synchronous_commit=off */
    bool long_writer;   /* one transaction stays open nearly throughout */
    bool sparse;        /* single short transactions, about when the bell is armed, then silence */
    bool bulk;          /* one writer writes hundreds of events in each transaction */
    uint64_t active_us; /* load and faults come in this time */
    uint64_t quiet_us; /* a pause in mid-run, long enough that brokers forget producers; mostly 0 */

    uint32_t faults;          /* how many timed ones */
    uint32_t packet_permille; /* a request or its answer gets lost, and is sent again */
    uint32_t refuse_permille; /* a batch is refused though nothing is wrong with it */
    uint32_t sync_permille;   /* send itself refuses */
    uint32_t full_permille;   /* the producer says that its queue is full */
    uint32_t no_reset_permille;
    uint32_t slow_permille;   /* a statement takes up to 3 s */
    uint32_t poison_permille; /* an event is too large, until an operator raises the limit */

    /* SCENARIO_LANES */
    enum on_error on_error[MAX_TOPICS];
    bool dead_letters;     /* where routes say skip */
    uint32_t troubles;     /* how many of troubles.c */
    uint32_t pause_ms;     /* between two transactions of a writer */
    uint32_t scan_rows;    /* a lane's page looks at so many at the most */
    uint32_t unlisted;     /* a topic that the configuration does not list; MAX_TOPICS: none */
    bool patient_operator; /* nobody asks for lanes to be tried when all is mended */
};

void plan_draw(struct plan *p, enum scenario scenario, uint64_t seed, enum defect defect);

#endif
