/* What must be right before the relay reads: server, schema, grants, and the stored position;
 * judged by verdict.c. */
#ifndef OUTBOXD_OUTBOX_CHECKS_H
#define OUTBOXD_OUTBOX_CHECKS_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct checks;
struct session;

struct checks_params {
    struct session *session; /* open; a connection like the relay's own */
    const char *relay;       /* must outlive the checks */
    uint32_t timeout_ms;
    bool doorbell; /* warn when no trigger rings for this relay */
    void (*passed)(void *ctx);
    void *ctx;
};

struct checks *checks_new(const struct checks_params *params);
void checks_free(struct checks *c); /* NULL is harmless; not while they run */

/* Runs them: `passed`, or the session breaks with the first fault: ERR_UNAVAILABLE when waiting
 * helps (a server in recovery), else ERR_CONFIG. */
void checks_run(struct checks *c);

#endif
