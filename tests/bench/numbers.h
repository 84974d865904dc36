/* Figures: medians, and numbers in JSON with as many digits as mean something. */
#ifndef OUTBOXD_BENCH_NUMBERS_H
#define OUTBOXD_BENCH_NUMBERS_H

#include <jansson.h>
#include <stddef.h>

double number_median(double *values, size_t count); /* sorts them; at least one */

/* Rounded to four significant digits. */
void number_set(json_t *object, const char *name, double value);

/* The number at that path ("relay.own_us"); 0 when there is none. */
double number_at(const json_t *object, const char *path);
/* The text there; "" when there is none. */
const char *text_at(const json_t *object, const char *name);

/* With commas between the thousands: "196,000"; good until the eighth call after this one. */
const char *number_text(double value);

#endif
