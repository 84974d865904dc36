/* SIGTERM, SIGINT and SIGHUP: caught by handlers of ours, told to the loop. A stop has a limit that
 * does not depend on the loop. There is one of this in a process. */
#ifndef OUTBOXD_APP_SIGNALS_H
#define OUTBOXD_APP_SIGNALS_H

#include "base/err.h"

#include <stdint.h>

struct event_base;

/* Called from the loop. */
struct signals_user {
    void *ctx;
    void (*stop)(void *ctx, int sig); /* once for each SIGTERM or SIGINT */
    void (*reload)(void *ctx);        /* SIGHUP; several at once count as one */
};

/* Keeps the signals waiting until signals_watch, so that none ends the process, or is lost (a
 * process with the id 1 never sees one that has no handler), while it is being put together. */
void signals_block(void);

/* From here on the user is called. The first stop gives the process stop_limit_ms (rounded up to
 * whole seconds), the second one second, and the third none: then it ends with 0, whatever it is
 * doing. */
NODISCARD int signals_watch(struct event_base *base, const struct signals_user *user,
                            uint32_t stop_limit_ms, struct err *err);

/* For a stop that is still to come. */
void signals_set_stop_limit(uint32_t stop_limit_ms);

/* After a stop, when the loop is over: what is left to be given back may take two seconds. */
void signals_leaving(void);

/* The user is called no longer. A stop still has its limit. Before the event_base goes; harmless
 * without signals_watch. */
void signals_release(void);

#endif
