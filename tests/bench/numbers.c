#include "numbers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

double number_median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, by_value);
    return count % 2 == 1 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

void number_set(json_t *object, const char *name, double value)
{
    char text[32];

    (void)snprintf(text, sizeof text, "%.4g", value);
    (void)json_object_set_new(object, name, json_real(strtod(text, NULL)));
}

double number_at(const json_t *object, const char *path)
{
    char word[64];
    const char *dot;

    while ((dot = strchr(path, '.')) != NULL) {
        (void)snprintf(word, sizeof word, "%.*s", (int)(dot - path), path);
        object = json_object_get(object, word);
        path = dot + 1;
    }
    return json_number_value(json_object_get(object, path));
}

const char *text_at(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text == NULL ? "" : text;
}

const char *number_text(double value)
{
    static char ring[8][40];
    static unsigned turn;
    char digits[32];
    char *out = ring[turn++ % 8];
    size_t len = (size_t)snprintf(digits, sizeof digits, "%.0f", fabs(value));
    size_t n = 0;

    if (value < 0)
        out[n++] = '-';
    for (size_t i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            out[n++] = ',';
        out[n++] = digits[i];
    }
    out[n] = '\0';
    return out;
}
