/* RFC 3339 by hand: strftime would cost more than the rest of the message. */
#include "message/message.h"

#define US_PER_SECOND   1000000U
#define US_PER_DAY      (86400ULL * US_PER_SECOND)
#define YEAR_1_US       (-62135596800LL * 1000000)          /* 0001-01-01T00:00:00Z */
#define YEAR_9999_US    (253402300799LL * 1000000 + 999999) /* 9999-12-31T23:59:59.999999Z */
#define DAYS_PER_ERA    146097U /* 400 years of the Gregorian calendar */
#define MARCH_TO_YEAR_1 306U    /* days from 0000-03-01, where an era begins, to 0001-01-01 */

static char *put_2(char *p, uint32_t value)
{
    *p++ = (char)('0' + value / 10);
    *p++ = (char)('0' + value % 10);
    return p;
}

static char *put_3(char *p, uint32_t value)
{
    *p++ = (char)('0' + value / 100);
    return put_2(p, value % 100);
}

/* Years are counted from March here, so that the leap day is the last of its year. */
static char *put_date(char *p, uint32_t days_since_year_1)
{
    uint32_t days = days_since_year_1 + MARCH_TO_YEAR_1;
    uint32_t era = days / DAYS_PER_ERA;
    uint32_t day_of_era = days % DAYS_PER_ERA;
    uint32_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    uint32_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint32_t month_from_march = (5 * day_of_year + 2) / 153;
    uint32_t day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    uint32_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    uint32_t year = era * 400 + year_of_era + (month <= 2 ? 1 : 0);

    p = put_2(put_2(p, year / 100), year % 100);
    *p++ = '-';
    p = put_2(p, month);
    *p++ = '-';
    return put_2(p, day);
}

static char *put_fraction(char *p, uint32_t us)
{
    if (us == 0)
        return p;
    *p++ = '.';
    p = put_3(p, us / 1000);
    return us % 1000 == 0 ? p : put_3(p, us % 1000);
}

size_t message_format_time(int64_t us_since_1970, char out[MESSAGE_TIME_SIZE])
{
    uint64_t us;
    uint32_t second;
    char *p = out;

    if (us_since_1970 < YEAR_1_US)
        us_since_1970 = YEAR_1_US;
    if (us_since_1970 > YEAR_9999_US)
        us_since_1970 = YEAR_9999_US;
    us = (uint64_t)(us_since_1970 - YEAR_1_US);
    second = (uint32_t)(us % US_PER_DAY / US_PER_SECOND);

    p = put_date(p, (uint32_t)(us / US_PER_DAY));
    *p++ = 'T';
    p = put_2(p, second / 3600);
    *p++ = ':';
    p = put_2(p, second / 60 % 60);
    *p++ = ':';
    p = put_2(p, second % 60);
    p = put_fraction(p, (uint32_t)(us % US_PER_SECOND));
    *p++ = 'Z';
    *p = '\0';
    return (size_t)(p - out);
}
