/* Times on the command line. */
#ifndef OUTBOXD_APP_WHEN_H
#define OUTBOXD_APP_WHEN_H

#include "base/err.h"

#include <stdint.h>

/* A time as RFC 3339 has it, a date (its midnight, UTC), or a duration with its unit: that long
 * before `now_us`. Microseconds since 1970; -1 and ERR_USAGE names the option. */
NODISCARD int when_parse(const char *option, const char *text, int64_t now_us, int64_t *us,
                         struct err *err);

/* Two options; a text that is NULL was not given. */
struct when_span {
    const char *from_option; /* without the hyphens */
    const char *from;
    const char *until; /* of --until */
};

/* Both times as above. What was not given stays as it is; -1, too, when the first one is not before
 * the second. */
NODISCARD int when_parse_span(const struct when_span *span, int64_t now_us, int64_t *from_us,
                              int64_t *until_us, struct err *err);

#endif
