/* A statement on its way to the fake server: source.c sends it, server.c executes it and answers.
 */
#ifndef OUTBOXD_SIM_REQUEST_H
#define OUTBOXD_SIM_REQUEST_H

#include "source.h"

enum verb {
    VERB_TAKE,
    VERB_RENEW,
    VERB_STORE,
    VERB_CHANGE,
    VERB_RELEASE,
    VERB_TELL,
    VERB_POLL,
    VERB_PROBE,
    VERB_PAGE,
    VERB_ARM,
    VERB_DISARM,
};

struct request {
    enum verb verb;
    uint64_t connection;
    uint64_t incarnation;
    uint64_t sent_us;
    uint64_t answer_us;
    uint64_t holder;
    int64_t epoch;
    struct claim claim;
    struct telling tell;
    struct store store; /* its position is that of a poll, probe or page, too */
    bool many_new;
    uint32_t max_rows;
    size_t max_bytes;
    int64_t new_from;
    uint32_t stream;
    bool filtered;
    uint32_t scan_rows;
    struct change change; /* its lane is the filter of a page, too; not in other requests */
};

const char *verb_name(enum verb v);
/* A step of the source: the statement reaches the server. */
void server_execute(void *self, void *arg);

#endif
