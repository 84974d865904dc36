/* Numbers as `outboxd top` writes them. An unknown one (NAN) is "?". Pure. */
#ifndef OUTBOXD_APP_TOP_NUMBERS_H
#define OUTBOXD_APP_TOP_NUMBERS_H

#include "base/str.h"

void top_put_count(struct str *out, double n); /* "1,204,567"; below 10 with one digit if broken */
void top_put_bytes(struct str *out, double bytes); /* "812 B", "3.2 GB" */
void top_put_latency(struct str *out,
                     double seconds);              /* "0.8 ms", "12 ms", "1.3 s", "4 min 10 s" */
void top_put_age(struct str *out, double seconds); /* "3 s", "4 min 10 s", "3 h 5 min", "2 d 4 h" */

#endif
