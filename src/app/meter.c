#include "app/meter.h"

#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

enum { TERMINAL_MS = 200, LINES_MS = 5000 };

void meter_init(struct meter *m)
{
    *m = (struct meter){.terminal = isatty(STDERR_FILENO) != 0};
    m->next_ms = clock_now_ms() + (m->terminal ? TERMINAL_MS : LINES_MS);
}

void meter_show(struct meter *m, const char *fmt, ...)
{
    uint64_t now = clock_now_ms();
    char text[160];
    va_list ap;

    if (now < m->next_ms)
        return;
    m->next_ms = now + (m->terminal ? TERMINAL_MS : LINES_MS);
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    (void)fprintf(stderr, m->terminal ? "\r\033[K%.78s" : "outboxd: %s\n", text);
    m->shown = m->terminal;
}

void meter_end(struct meter *m)
{
    if (m->shown)
        (void)fputs("\r\033[K", stderr);
    m->shown = false;
}
