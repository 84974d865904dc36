#include "relay/pacing.h"

#define STORE_MIN_MS 100U
#define STORE_MAX_MS 2000U
#define STORE_SHARE  50U /* storing may take one fiftieth of the time */

uint32_t pacing_backoff_ms(uint32_t attempt, uint32_t first_ms, uint32_t max_ms, uint32_t chance)
{
    uint64_t pause = first_ms;

    if (attempt <= 1)
        return 0;
    for (uint32_t i = 2; i < attempt && pause < max_ms; i++)
        pause *= 2;
    if (pause > max_ms)
        pause = max_ms;
    return (uint32_t)(pause / 2 + chance % (pause / 2 + 1));
}

uint32_t pacing_store_ms(uint32_t last_store_took_ms)
{
    uint64_t pause = (uint64_t)last_store_took_ms * STORE_SHARE;

    if (pause < STORE_MIN_MS)
        return STORE_MIN_MS;
    return pause > STORE_MAX_MS ? STORE_MAX_MS : (uint32_t)pause;
}
