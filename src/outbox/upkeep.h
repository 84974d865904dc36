/* What days and retention share: the limit of a statement beside the lease, and what a look found
 * wrong, told once per change. Pure. */
#ifndef OUTBOXD_OUTBOX_UPKEEP_H
#define OUTBOXD_OUTBOX_UPKEEP_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct upkeep {
    /* What this look has found wrong: */
    struct str partition;   /* of the first; "": only the statement failed */
    int partitions;         /* how many */
    struct str reason;      /* the first */
    struct str found;       /* all of it; "": nothing */
    struct str told;        /* what was found when the log was last told */
    uint64_t told_since_ms; /* since when it is not "" */
};

void upkeep_release(struct upkeep *u);

/* A look begins: nothing is wrong yet. What has been told stays told. */
void upkeep_begin(struct upkeep *u);

/* `partition` NULL: it concerns none. */
void upkeep_wrong(struct upkeep *u, const char *partition, const char *reason);
/* The server has refused the statement. */
void upkeep_refused(struct upkeep *u, const char *sqlstate, const char *text);

bool upkeep_is_news(const struct upkeep *u); /* what was found is not what was told */
void upkeep_told(struct upkeep *u, uint64_t now_ms);
/* For how long something has been wrong; asked before upkeep_told. */
uint64_t upkeep_lasted_s(const struct upkeep *u, uint64_t now_ms);

/* What to do about a reason that has `part` in it; the first that fits counts. */
struct upkeep_remedy {
    const char *part;
    const char *text;
};

const char *upkeep_remedy(const struct upkeep_remedy *remedies, size_t count, const char *reason,
                          const char *otherwise);

/* Of a statement on the session that the lease uses, too: never 0, which would be none. */
uint32_t upkeep_limit_ms(uint32_t lease_ttl_ms, uint32_t timeout_ms);

#endif
