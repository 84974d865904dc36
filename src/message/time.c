/* RFC 3339 by hand: strftime would cost more than the rest of the message. */
#include "message/message.h"

#include <string.h>

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

/* ---- the way back ---- */

/* Takes `count` digits from *text; -1 when they are not there. */
static int take_digits(struct slice *text, size_t count)
{
    int value = 0;

    if (text->len < count)
        return -1;
    for (size_t i = 0; i < count; i++) {
        if (text->ptr[i] < '0' || text->ptr[i] > '9')
            return -1;
        value = value * 10 + (text->ptr[i] - '0');
    }
    text->ptr += count;
    text->len -= count;
    return value;
}

static bool take_char(struct slice *text, const char *any_of)
{
    if (text->len == 0 || text->ptr[0] == '\0' || strchr(any_of, text->ptr[0]) == NULL)
        return false;
    text->ptr++;
    text->len--;
    return true;
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return days[month - 1] + (month == 2 && leap);
}

/* Days since 1970-01-01, years counted from March. */
static int64_t days_of(int year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t m = month <= 2 ? month + 9 : month - 3;

    return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

static bool take_date(struct slice *text, int64_t *us)
{
    int year = take_digits(text, 4);
    bool first = take_char(text, "-");
    int month = take_digits(text, 2);
    bool second = take_char(text, "-");
    int day = take_digits(text, 2);

    if (year < 1 || !first || month < 1 || month > 12 || !second || day < 1 ||
        day > days_in_month(year, month))
        return false;
    *us = days_of(year, month, day) * (int64_t)US_PER_DAY;
    return true;
}

static bool take_fraction(struct slice *text, int64_t *us)
{
    int64_t unit = US_PER_SECOND / 10;
    bool any = false;

    for (int digit; (digit = take_digits(text, 1)) >= 0; unit /= 10) {
        *us += digit * unit;
        any = true;
    }
    return any;
}

static bool take_clock(struct slice *text, int64_t *us, bool strict)
{
    int hour = take_digits(text, 2);
    bool colon = take_char(text, ":");
    int minute = take_digits(text, 2);
    int second = take_char(text, ":") ? take_digits(text, 2) : strict ? -1 : 0;

    if (hour < 0 || hour > 23 || !colon || minute < 0 || minute > 59 || second < 0 ||
        second > (strict ? 60 : 59))
        return false;
    *us += (hour * INT64_C(3600) + minute * 60 + second) * (int64_t)US_PER_SECOND;
    return !take_char(text, ".") || take_fraction(text, us);
}

static bool take_offset(struct slice *text, int64_t *us, bool strict)
{
    bool ahead;
    bool colon;
    int hours;
    int minutes;

    if (take_char(text, "Zz"))
        return true;
    if (text->len == 0)
        return !strict;
    ahead = text->ptr[0] == '+';
    if (!take_char(text, "+-"))
        return false;
    hours = take_digits(text, 2);
    colon = take_char(text, ":");
    minutes = text->len == 0 && !strict ? 0 : take_digits(text, 2);
    if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59 || (strict && !colon))
        return false;
    *us += (ahead ? -1 : 1) * (hours * INT64_C(60) + minutes) * 60 * (int64_t)US_PER_SECOND;
    return true;
}

static bool parse(struct slice text, int64_t *us_since_1970, bool strict)
{
    int64_t us;

    if (text.ptr == NULL || !take_date(&text, &us))
        return false;
    if ((strict || text.len > 0) && (!take_char(&text, "Tt ") || !take_clock(&text, &us, strict) ||
                                     !take_offset(&text, &us, strict)))
        return false;
    if (text.len > 0)
        return false;
    *us_since_1970 = us;
    return true;
}

bool message_parse_time(struct slice text, int64_t *us_since_1970)
{
    return parse(text, us_since_1970, false);
}

bool message_parse_rfc3339(struct slice text, int64_t *us_since_1970)
{
    return parse(text, us_since_1970, true);
}
