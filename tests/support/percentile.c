#include "percentile.h"

#include <stdlib.h>

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

double percentile_ms(uint32_t *times_us, size_t count, double percent)
{
    size_t exact = (size_t)((double)count * percent * 1000); /* in hundred thousandths */
    size_t rank = (exact + 99999) / 100000;                  /* counts from 1 */

    qsort(times_us, count, sizeof *times_us, by_value);
    return times_us[rank > 0 ? rank - 1 : 0] / 1000.0;
}
