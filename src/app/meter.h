/* How far a command is, on stderr: one line that is written over on a terminal, else a line now and
 * then. */
#ifndef OUTBOXD_APP_METER_H
#define OUTBOXD_APP_METER_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct meter {
    uint64_t next_ms;
    bool terminal;
    bool shown; /* a line stands on the terminal */
};

void meter_init(struct meter *m);
/* Call it as often as you like. */
void meter_show(struct meter *m, const char *fmt, ...) PRINTF_LIKE(2, 3);
void meter_end(struct meter *m); /* the line goes from the terminal; harmless again */

#endif
