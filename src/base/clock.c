#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static uint64_t now_us(clockid_t id)
{
    struct timespec ts = {0};

    (void)clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * 1000000U + (uint64_t)ts.tv_nsec / 1000U;
}

uint64_t clock_now_us(void)
{
    return now_us(CLOCK_BOOTTIME);
}

uint64_t clock_now_ms(void)
{
    return now_us(CLOCK_BOOTTIME) / 1000U;
}

int64_t clock_wall_us(void)
{
    return (int64_t)now_us(CLOCK_REALTIME);
}

void clock_format_ms(int64_t wall_us, char *out)
{
    time_t seconds = (time_t)(wall_us / 1000000);
    struct tm tm = {0};

    (void)gmtime_r(&seconds, &tm);
    (void)snprintf(out, CLOCK_RFC3339_SIZE, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ",
                   (unsigned)tm.tm_year % 8100U + 1900U, (unsigned)tm.tm_mon % 12U + 1U,
                   (unsigned)tm.tm_mday % 32U, (unsigned)tm.tm_hour % 24U,
                   (unsigned)tm.tm_min % 60U, (unsigned)tm.tm_sec % 61U,
                   (unsigned)(wall_us / 1000 % 1000) % 1000U);
}
