/* Pauses: how long to wait before the next look, the next attempt, the next store. Pure arithmetic.
 */
#ifndef OUTBOXD_RELAY_PACING_H
#define OUTBOXD_RELAY_PACING_H

#include <stdint.h>

/* Growing pauses with jitter: attempt 1 gives 0 (try at once), then between half and the whole of
 * first_ms * 2^(attempt-2), never more than max_ms. `chance` is any random number. */
uint32_t pacing_backoff_ms(uint32_t attempt, uint32_t first_ms, uint32_t max_ms, uint32_t chance);

/* How long after a change the position is stored: 100 ms, and up to 2 s when storing has become
 * slow (a transaction held open lets the row's dead versions pile up). */
uint32_t pacing_store_ms(uint32_t last_store_took_ms);

#endif
