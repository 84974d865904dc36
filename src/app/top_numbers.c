#include "app/top_numbers.h"

#include <math.h>

#define BEYOND 1e15 /* no figure of ours is larger: a strange server's could be */

static bool is_told(struct str *out, double n)
{
    if (isnan(n) || n < 0 || n > BEYOND) {
        str_put_char(out, '?');
        return false;
    }
    return true;
}

void top_put_count(struct str *out, double n)
{
    struct str digits = {0};

    if (!is_told(out, n))
        return;
    if (n > 0 && n < 9.95 && n != floor(n)) {
        str_printf(out, "%.1f", n);
        return;
    }
    str_printf(&digits, "%.0f", n);
    for (size_t i = 0; i < digits.len; i++) {
        if (i > 0 && (digits.len - i) % 3 == 0)
            str_put_char(out, ',');
        str_put_char(out, digits.data[i]);
    }
    str_release(&digits);
}

void top_put_bytes(struct str *out, double bytes)
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB", "PB"};
    size_t unit = 0;

    if (!is_told(out, bytes))
        return;
    while (bytes >= 999.5 && unit + 1 < ARRAY_LEN(units)) {
        bytes /= 1000;
        unit++;
    }
    str_printf(out, "%.*f %s", unit > 0 && bytes < 99.95 ? 1 : 0, bytes, units[unit]);
}

void top_put_age(struct str *out, double seconds)
{
    long long s;

    if (!is_told(out, seconds))
        return;
    s = (long long)seconds;
    if (s < 60)
        str_printf(out, "%lld s", s);
    else if (s < 3600)
        str_printf(out, "%lld min %lld s", s / 60, s % 60);
    else if (s < 86400)
        str_printf(out, "%lld h %lld min", s / 3600, s % 3600 / 60);
    else
        str_printf(out, "%lld d %lld h", s / 86400, s % 86400 / 3600);
}

void top_put_latency(struct str *out, double seconds)
{
    if (!is_told(out, seconds))
        return;
    if (seconds < 0.9995)
        str_printf(out, "%.*f ms", seconds < 0.00995 ? 1 : 0, seconds * 1000);
    else if (seconds < 60)
        str_printf(out, "%.1f s", seconds);
    else
        top_put_age(out, seconds);
}
