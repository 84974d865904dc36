/* Times on the command line. */
#ifndef OUTBOXD_APP_WHEN_H
#define OUTBOXD_APP_WHEN_H

#include "base/err.h"

#include <stdint.h>

/* A time as RFC 3339 has it, a date (its midnight, UTC), or a duration with its unit: that long
 * before `now_us`. Microseconds since 1970; -1 and ERR_USAGE names the option. */
NODISCARD int when_parse(const char *option, const char *text, int64_t now_us, int64_t *us,
                         struct err *err);

#endif
