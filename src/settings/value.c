#include "settings/value.h"

#include <stdlib.h>
#include <string.h>

/* Enums are stored through unsigned, whatever their name. */
_Static_assert(sizeof(enum start_at) == sizeof(unsigned), "enum start_at");
_Static_assert(sizeof(enum wakeup_mode) == sizeof(unsigned), "enum wakeup_mode");
_Static_assert(sizeof(enum log_level) == sizeof(unsigned), "enum log_level");
_Static_assert(sizeof(enum log_format) == sizeof(unsigned), "enum log_format");

struct unit {
    const char *name;
    uint64_t factor;
};

/* Printing takes the first unit of its own kind that divides the value, so the powers of 1024 stand
 * before those of 1000, and the larger before the smaller. */
static const struct unit size_units[] = {
    {"GiB", UINT64_C(1) << 30},
    {"MiB", UINT64_C(1) << 20},
    {"KiB", UINT64_C(1) << 10},
    {"GB", 1000000000},
    {"MB", 1000000},
    {"KB", 1000},
    {"B", 1},
    {NULL, 0},
};

static const struct unit time_units[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}, {NULL, 0},
};

static const struct unit no_units[] = {{NULL, 0}};

static bool is_time(enum setting_type type)
{
    return type == SETTING_DURATION || type == SETTING_SPAN;
}

static const struct unit *units_of(enum setting_type type)
{
    if (type == SETTING_SIZE)
        return size_units;
    return is_time(type) ? time_units : no_units;
}

static const char *shape_of(enum setting_type type)
{
    if (type == SETTING_SIZE)
        return "a whole number with one of the units B, KB, MB, GB, KiB, MiB, GiB, such as 32MiB";
    if (is_time(type))
        return "a whole number with one of the units ms, s, m, h, d, such as 10s";
    return "a whole number without a unit, such as 50000";
}

static void put_unit(struct str *out, const struct unit *units, uint64_t value)
{
    const struct unit *u = units;

    while (u[1].name != NULL && (value == 0 || value % u->factor != 0))
        u++;
    str_printf(out, "%llu%s", (unsigned long long)(value / u->factor), u->name);
}

void value_put_size(struct str *out, uint64_t bytes)
{
    put_unit(out, size_units, bytes);
}

void value_put_duration(struct str *out, uint64_t ms)
{
    put_unit(out, time_units, ms);
}

static void put_number(struct str *out, enum setting_type type, uint64_t value)
{
    if (type == SETTING_INT)
        str_printf(out, "%llu", (unsigned long long)value);
    else
        put_unit(out, units_of(type), value);
}

static int out_of_range(const struct setting *t, const char *text, struct err *err)
{
    struct str range = {0};

    put_number(&range, t->type, (uint64_t)t->min);
    str_puts(&range, " to ");
    put_number(&range, t->type, (uint64_t)t->max);
    (void)err_set(err, ERR_CONFIG, "%.40s is out of range; write a value from %s", text,
                  str_text(&range));
    str_release(&range);
    return -1;
}

/* Digits, then a unit's name or nothing. Sizes without a unit are bytes; of durations only 0 may go
 * without. */
static int parse_number(const struct setting *t, const char *text, uint64_t *out, struct err *err)
{
    size_t digits = strspn(text, "0123456789");
    const char *unit = text + digits;
    uint64_t factor = 1;
    uint64_t value = 0;
    bool zero = strcmp(text, "0") == 0;

    if (text[0] == '-' && strspn(text + 1, "0123456789") > 0)
        return out_of_range(t, text, err);
    if (digits == 0 || (digits > 1 && text[0] == '0'))
        return err_set(err, ERR_CONFIG, "\"%.40s\" is no number; write %s", text,
                       shape_of(t->type));
    if (is_time(t->type) && *unit == '\0' && !zero)
        return err_set(err, ERR_CONFIG, "%.40s has no unit; write %s", text, shape_of(t->type));
    if (*unit != '\0') {
        const struct unit *u = units_of(t->type);

        while (u->name != NULL && strcmp(u->name, unit) != 0)
            u++;
        if (u->name == NULL)
            return err_set(err, ERR_CONFIG,
                           "\"%.40s\" is not understood from \"%.20s\" on; write %s", text, unit,
                           shape_of(t->type));
        factor = u->factor;
    }
    for (size_t i = 0; i < digits; i++) {
        value = value * 10 + (uint64_t)(text[i] - '0');
        if (value > (uint64_t)t->max)
            return out_of_range(t, text, err);
    }
    if (value > (uint64_t)t->max / factor || value * factor < (uint64_t)t->min)
        return out_of_range(t, text, err);
    *out = value * factor;
    return 0;
}

int value_parse_duration(const char *text, uint32_t min_ms, uint32_t max_ms, uint32_t *out_ms,
                         struct err *err)
{
    const struct setting range = {.type = SETTING_DURATION, .min = min_ms, .max = max_ms};
    uint64_t ms = 0;

    if (parse_number(&range, text, &ms, err) != 0)
        return -1;
    *out_ms = (uint32_t)ms;
    return 0;
}

static int unknown_word(const struct setting *t, const char *text, struct err *err)
{
    struct str known = {0};

    for (size_t i = 0; t->words[i] != NULL; i++)
        str_printf(&known, "%s%s", i == 0 ? "" : ", ",
                   t->words[i][0] == '\0' ? "\"\"" : t->words[i]);
    (void)err_set(err, ERR_CONFIG, "\"%.40s\" is not known here; write one of %s", text,
                  str_text(&known));
    str_release(&known);
    return -1;
}

static int parse_word(const struct setting *t, const char *text, unsigned *out, struct err *err)
{
    for (unsigned i = 0; t->words[i] != NULL; i++)
        if (strcmp(t->words[i], text) == 0) {
            *out = i;
            return 0;
        }
    return unknown_word(t, text, err);
}

static int store_string(char **member, const struct setting *t, const char *text, struct err *err)
{
    if (t->check != NULL && t->check(text, err) != 0)
        return -1;
    free(*member);
    *member = xstrdup(text);
    return 0;
}

int value_store(struct settings *s, const struct setting *t, const char *text, struct err *err)
{
    void *member = (char *)s + t->offset;
    uint64_t number = 0;
    unsigned word = 0;

    switch (t->type) {
    case SETTING_STRING:
    case SETTING_SECRET:
    case SETTING_CONNINFO:
        return store_string(member, t, text, err);
    case SETTING_INT:
    case SETTING_DURATION:
        if (parse_number(t, text, &number, err) != 0)
            return -1;
        *(uint32_t *)member = (uint32_t)number;
        return 0;
    case SETTING_SPAN:
        if (parse_number(t, text, &number, err) != 0)
            return -1;
        *(int64_t *)member = (int64_t)number;
        return 0;
    case SETTING_SIZE:
        if (parse_number(t, text, &number, err) != 0)
            return -1;
        *(size_t *)member = (size_t)number;
        return 0;
    case SETTING_ENUM:
        if (parse_word(t, text, &word, err) != 0)
            return -1;
        memcpy(member, &word, sizeof word);
        return 0;
    case SETTING_TOPICS:
    case SETTING_PROPERTIES:
    case SETTING_ROUTES:
        break;
    }
    return err_set(err, ERR_SOFTWARE, "%s is no single value", t->path);
}

void value_put(const struct settings *s, const struct setting *t, struct str *out)
{
    const void *member = (const char *)s + t->offset;
    unsigned word = 0;

    switch (t->type) {
    case SETTING_STRING:
    case SETTING_SECRET:
    case SETTING_CONNINFO:
        str_puts(out, *(char *const *)member);
        break;
    case SETTING_INT:
    case SETTING_DURATION:
        put_number(out, t->type, *(const uint32_t *)member);
        break;
    case SETTING_SPAN:
        put_number(out, t->type, (uint64_t) * (const int64_t *)member);
        break;
    case SETTING_SIZE:
        put_number(out, t->type, *(const size_t *)member);
        break;
    case SETTING_ENUM:
        memcpy(&word, member, sizeof word);
        str_puts(out, t->words[word]);
        break;
    case SETTING_TOPICS:
    case SETTING_PROPERTIES:
    case SETTING_ROUTES:
        break;
    }
}
