/* `outboxd check`, the Postgres side: everything a relay needs there, with the way out where it is
 * not so. */
#ifndef OUTBOXD_OUTBOX_INSPECT_H
#define OUTBOXD_OUTBOX_INSPECT_H

#include "base/report.h"
#include "outbox/command.h"

#include <stdint.h>

/* Connects as the relay would, with its own credentials, and reports a line for each thing it looks
 * at. Goes on after what is wrong, and ends where nothing more can be asked. It cannot fail: a
 * failure is a line of the report, too. Reads only, so it may run beside a working relay.
 * Synchronous: every step of connecting and every statement has a deadline of some ten seconds.
 * `wall_us` tells this machine's clock, in microseconds since 1970, which is compared with the
 * server's; NULL: it is not compared. */
void outbox_inspect(const struct command_server *server, const char *relay,
                    int64_t (*wall_us)(void), const struct report *report);

#endif
