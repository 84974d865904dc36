/* Percentiles of measured times. */
#ifndef OUTBOXD_TESTS_PERCENTILE_H
#define OUTBOXD_TESTS_PERCENTILE_H

#include <stddef.h>
#include <stdint.h>

/* The time in milliseconds that `percent` of the times do not exceed (100: the longest); sorts
 * them. At least one. */
double percentile_ms(uint32_t *times_us, size_t count, double percent);

#endif
