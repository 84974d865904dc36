/* Just enough JSON to take a header object apart (RFC 8259): one pass, no tree, no allocation
 * beyond the output's, and no number is ever converted, so that all that is passed on is what the
 * writer wrote. */
#ifndef OUTBOXD_MESSAGE_JSON_SCAN_H
#define OUTBOXD_MESSAGE_JSON_SCAN_H

#include "base/str.h"

#include <stdbool.h>

#define JSON_SCAN_MAX_DEPTH 512

struct json_scan {
    const char *at;
    const char *end;
};

/* Each function appends to `out` and moves on behind what it read; false: no such thing here, `at`
 * is near the fault and `out` may hold a part. What is appended is never longer than what was read.
 */

void json_skip_blanks(struct json_scan *s);

/* Skips blanks and the character `c`, if it comes next. */
bool json_take(struct json_scan *s, char c);

/* A string, decoded to UTF-8. False also for an escaped half of a surrogate pair, which UTF-8
 * cannot hold. */
bool json_take_string(struct json_scan *s, struct str *out);

/* Any value as its text, without the blanks between its parts; strings stay as they are written. */
bool json_take_text(struct json_scan *s, struct str *out);

#endif
