/* What the supervisor (systemd) is told: that the relay is up, what it is doing, that its loop
 * turns, that it stops. Without NOTIFY_SOCKET all of this does nothing. */
#ifndef OUTBOXD_APP_SUPERVISOR_H
#define OUTBOXD_APP_SUPERVISOR_H

#include "app/sd_notify.h"
#include "relay/relay.h"

#include <stdbool.h>
#include <stdint.h>

struct event;
struct event_base;

struct supervisor {
    struct sd_notify notify;
    struct event *alive; /* the loop turns */
    struct event *belt;  /* says READY if nothing else made us do so, or it could not be sent */
    bool ready;          /* READY was sent */
    bool stopping;
};

/* Reads the environment, and begins to tell that the loop turns once it does. A socket that cannot
 * be used is logged and then ignored. */
void supervisor_init(struct supervisor *s, struct event_base *base);
void supervisor_release(struct supervisor *s); /* harmless without init when notify.fd is -1 */

/* Every note of the relay becomes the status; the first that tells what became of the attempt to
 * reach the database makes us ready, whatever it was: a relay that waits for a server is up. */
void supervisor_note(struct supervisor *s, const struct relay *r, enum relay_note note,
                     const struct trouble *trouble);

void supervisor_reloading(struct supervisor *s);
void supervisor_reloaded(struct supervisor *s);

/* The stop has begun and may take so long. */
void supervisor_stopping(struct supervisor *s, uint32_t timeout_ms);

#endif
