/* The clock. Only app/ and the inbox's own loop may ask it; everything else is given the time. */
#ifndef OUTBOXD_BASE_CLOCK_H
#define OUTBOXD_BASE_CLOCK_H

#include <stdint.h>

/* Milliseconds and microseconds of CLOCK_BOOTTIME: never goes back, and counts while the machine
 * sleeps, so that a lease cannot outlive a suspend. */
uint64_t clock_now_ms(void);
uint64_t clock_now_us(void);

/* Microseconds since 1970 by the wall clock: for latencies against the database's clock and for log
 * lines. */
int64_t clock_wall_us(void);

/* "2026-01-31T12:00:00.123Z" into `out`, which holds at least CLOCK_RFC3339_SIZE bytes. */
#define CLOCK_RFC3339_SIZE 32
void clock_format_ms(int64_t wall_us, char *out);

#endif
