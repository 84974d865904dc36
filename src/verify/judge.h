/* The judge: holds rows against records, whatever their number, and tells what does not fit.
 *
 *   lost       a row that the relay's position calls published, and no record of it in its topic
 *   ghost      a record whose event id is in no row
 *   inverted   first occurrences of a key within a partition that do not ascend in the rows' ids
 *   duplicate  a further record of a row: legal, counted, told
 *
 * It is sound on a running system when it is fed in this order: the position is read (the rows'
 * state), the topics' ends are read after that, the records up to these ends, and every row that is
 * committed by then. Rows may come twice. What cannot be judged is counted apart, never called a
 * fault: what Kafka removed (verify/coverage.h), and records of rows that the table's own retention
 * took away: a ghost is told only for a day of which rows are left. */
#ifndef OUTBOXD_VERIFY_JUDGE_H
#define OUTBOXD_VERIFY_JUDGE_H

#include "base/err.h"
#include "verify/coverage.h"
#include "verify/entry.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* name, word */
#define FINDING_KINDS(X)                                                                           \
    X(LOST, "lost")                                                                                \
    X(GHOST, "ghost")                                                                              \
    X(INVERTED, "inverted")                                                                        \
    X(DUPLICATE, "duplicate")

#define X(name, word) JUDGED_##name,
enum judged { FINDING_KINDS(X) JUDGED_COUNT };
#undef X

const char *judged_word(enum judged kind);

struct judged_event {
    enum judged kind;
    uint8_t event_id[16];
    int64_t row_id; /* 0 of a ghost */
    uint16_t topic;
    uint16_t type;
    int32_t partition; /* -1 of a lost event */
    int64_t offset;    /* -1 of a lost event */
    int64_t behind_id; /* inverted: the larger id that came before */
};

struct judge_totals {
    int64_t rows;      /* different ones */
    int64_t settled;   /* of them: published, says the position */
    int64_t given_up;  /* of them: left out on purpose */
    int64_t no_topic;  /* of them: today's configuration cannot publish them */
    int64_t other;     /* of them: of topics that are not read */
    int64_t shared_id; /* of them: another row has the same event id; their order is not judged */

    int64_t records;     /* with an event id */
    int64_t replayed;    /* of them: by `outboxd replay` */
    int64_t outside;     /* of them: of a time that is not asked for */
    int64_t elsewhere;   /* of them: in another topic than the row's */
    int64_t row_retired; /* of them: of days whose rows are gone */
    int64_t strangers;   /* of them: of others who publish into the topics (params.ghosts) */

    int64_t found[JUDGED_COUNT];
    int64_t by_replay_only;  /* settled, and there only as a replay */
    int64_t perhaps_removed; /* settled, and not there: Kafka may have removed it */
    int64_t order_unknown;   /* records whose first occurrence Kafka may have removed */
};

struct judge;

struct judge_params {
    size_t memory_bytes; /* in all, roughly */
    const char *folder;  /* of temporary files */
    int64_t since_us;    /* only rows and records of events from then on count */
    int64_t until_us;    /* and before that */
    bool ghosts;         /* false: others publish into the topics, too; unknown ids are theirs */
    void (*found)(void *ctx, const struct judged_event *e);
    void *ctx;
};

struct judge *judge_new(const struct judge_params *params);
void judge_free(struct judge *j); /* NULL is harmless */

NODISCARD int judge_row(struct judge *j, const struct row_entry *row, struct err *err);
NODISCARD int judge_record(struct judge *j, const struct record_entry *record, struct err *err);

/* The days (since 1970-01-01, UTC) of which rows were seen, ascending; borrowed until the next
 * judge_row. */
size_t judge_days(const struct judge *j, const int32_t **days);
/* Of these days, whether rows are left now that all records and rows are here. */
void judge_days_left(struct judge *j, const bool *left);

/* Judges, and calls `found` for each finding. Once. */
NODISCARD int judge_run(struct judge *j, const struct coverage *coverage,
                        struct judge_totals *totals, struct err *err);

#endif
