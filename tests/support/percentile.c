#include "percentile.h"

#include <stdlib.h>

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

double percentile_ms(uint32_t *times_us, size_t count, unsigned percent)
{
    size_t rank = (count * percent + 99) / 100; /* counts from 1 */

    qsort(times_us, count, sizeof *times_us, by_value);
    return times_us[rank > 0 ? rank - 1 : 0] / 1000.0;
}
