/* Do two topics hold the same records? Floor and relay must send the very same bytes, or their
 * ratio says nothing. */
#ifndef OUTBOXD_BENCH_SAME_H
#define OUTBOXD_BENCH_SAME_H

#include <stdint.h>

/* Fails unless both hold `records` records, partition by partition the same ones in the same order:
 * key, names and values of the headers, value. */
void same_records(const char *brokers, const char *one, const char *other, int64_t records);

#endif
