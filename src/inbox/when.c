#include "inbox/when.h"

/* `count` digits at *at; -1: they are not there. */
static int take_digits(struct slice text, size_t *at, int count)
{
    int value = 0;

    for (int i = 0; i < count; i++, ++*at) {
        if (*at >= text.len || text.ptr[*at] < '0' || text.ptr[*at] > '9')
            return -1;
        value = value * 10 + (text.ptr[*at] - '0');
    }
    return value;
}

static bool take_one_of(struct slice text, size_t *at, const char *chars)
{
    if (*at >= text.len)
        return false;
    for (const char *c = chars; *c != '\0'; c++) {
        if (text.ptr[*at] == *c) {
            ++*at;
            return true;
        }
    }
    return false;
}

static bool is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* Days since 1970-01-01 of a date that exists; INT64_MIN: it does not. */
static int64_t days_of(int year, int month, int day)
{
    static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365};
    int64_t y = year - 1;
    int length;

    if (year < 1 || month < 1 || month > 12 || day < 1)
        return INT64_MIN;
    length = before[month] - before[month - 1] + (month == 2 && is_leap(year) ? 1 : 0);
    if (day > length)
        return INT64_MIN;
    return y * 365 + y / 4 - y / 100 + y / 400 + before[month - 1] +
           (month > 2 && is_leap(year) ? 1 : 0) + day - 1 - 719162;
}

/* The digits behind the point as microseconds; false: there are none. */
static bool take_fraction(struct slice text, size_t *at, int64_t *us)
{
    int64_t unit = 100000;
    size_t start = *at;

    for (; *at < text.len && text.ptr[*at] >= '0' && text.ptr[*at] <= '9'; ++*at) {
        *us += (text.ptr[*at] - '0') * unit;
        unit /= 10;
    }
    return *at > start;
}

/* "Z" or "+hh:mm": minutes east of UTC. */
static bool take_zone(struct slice text, size_t *at, int *minutes)
{
    int sign;
    int hours;
    int rest;

    *minutes = 0;
    if (take_one_of(text, at, "Zz"))
        return true;
    if (take_one_of(text, at, "+"))
        sign = 1;
    else if (take_one_of(text, at, "-"))
        sign = -1;
    else
        return false;
    hours = take_digits(text, at, 2);
    if (hours < 0 || hours > 23 || !take_one_of(text, at, ":"))
        return false;
    rest = take_digits(text, at, 2);
    *minutes = sign * (hours * 60 + rest);
    return rest >= 0 && rest < 60;
}

bool when_read(struct slice text, int64_t *us)
{
    size_t at = 0;
    int part[6]; /* year, month, day, hour, minute, second */
    static const char *const behind[] = {"-", "-", "Tt ", ":", ":", ""};
    int64_t fraction = 0;
    int zone;
    int64_t days;

    for (int i = 0; i < 6; i++) {
        part[i] = take_digits(text, &at, i == 0 ? 4 : 2);
        if (part[i] < 0 || (i < 5 && !take_one_of(text, &at, behind[i])))
            return false;
    }
    days = days_of(part[0], part[1], part[2]);
    if (days == INT64_MIN || part[3] > 23 || part[4] > 59 || part[5] > 60)
        return false;
    if (take_one_of(text, &at, ".") && !take_fraction(text, &at, &fraction))
        return false;
    if (!take_zone(text, &at, &zone) || at != text.len)
        return false;
    *us = ((days * 1440 + part[3] * 60 + part[4] - zone) * 60 + part[5]) * 1000000 + fraction;
    return true;
}
