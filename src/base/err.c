#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Servers end their messages with a newline, and some put several lines into one message. A log
 * line is one line. */
static void fold_lines(char *text)
{
    size_t len = strlen(text);

    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == ' '))
        text[--len] = '\0';
    for (char *p = text; *p != '\0'; p++)
        if (*p == '\n' || *p == '\t' || *p == '\r')
            *p = ' ';
}

/* A text that was cut may end within a UTF-8 character, and half of one would spoil the log line.
 */
static void drop_half_character(char *text)
{
    size_t len = strlen(text);
    size_t start = len;
    size_t whole;
    unsigned char lead;

    while (start > 0 && ((unsigned char)text[start - 1] & 0xc0) == 0x80)
        start--;
    if (start == 0)
        return;
    lead = (unsigned char)text[--start];
    whole = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    if (len - start < whole)
        text[start] = '\0';
}

static void fill(struct err *e, enum err_kind kind, enum problem problem, const char *fmt,
                 va_list ap)
{
    (void)vsnprintf(e->text, sizeof e->text, fmt, ap);
    drop_half_character(e->text);
    fold_lines(e->text);
    e->kind = kind;
    e->problem = problem;
}

int err_set(struct err *e, enum err_kind kind, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fill(e, kind, PROBLEM_NONE, fmt, ap);
    va_end(ap);
    return -1;
}

int err_problem(struct err *e, enum err_kind kind, enum problem problem, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fill(e, kind, problem, fmt, ap);
    va_end(ap);
    return -1;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
    char inner[sizeof e->text];
    va_list ap;
    int n;

    memcpy(inner, e->text, sizeof inner);
    va_start(ap, fmt);
    n = vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n + 3 < sizeof e->text)
        (void)snprintf(e->text + n, sizeof e->text - (size_t)n, ": %.*s",
                       (int)(sizeof e->text - (size_t)n - 3), inner);
    drop_half_character(e->text);
    return -1;
}

void err_clear(struct err *e)
{
    e->kind = ERR_NONE;
    e->problem = PROBLEM_NONE;
    e->text[0] = '\0';
}
