#include "say.h"

#include "../../tests/support/tmp.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INDENT "                    " /* where the text of a step begins */

static bool colour;

static const char *paint(const char *code)
{
    return colour ? code : "";
}

#define BOLD  paint("\033[1m")
#define DIM   paint("\033[2m")
#define RED   paint("\033[1;31m")
#define GREEN paint("\033[1;32m")
#define PLAIN paint("\033[0m")

void say_init(void)
{
    const char *term = getenv("TERM");

    (void)setvbuf(stdout, NULL, _IOLBF, 1U << 14);
    colour = isatty(STDOUT_FILENO) && getenv("NO_COLOR") == NULL && term != NULL &&
             strcmp(term, "dumb") != 0;
}

bool say_failed(void)
{
    return ferror(stdout) != 0;
}

void say_title(const char *text)
{
    (void)printf("\n%s%s%s\n", BOLD, text, PLAIN);
}

void say_step(const char *name, const char *fmt, ...)
{
    static int number;
    va_list ap;

    (void)printf("\n%s%2d  %-14s%s  ", BOLD, ++number, name, PLAIN);
    va_start(ap, fmt);
    (void)vprintf(fmt, ap);
    va_end(ap);
    (void)putchar('\n');
}

void say_more(const char *fmt, ...)
{
    va_list ap;

    (void)fputs(INDENT, stdout);
    va_start(ap, fmt);
    (void)vprintf(fmt, ap);
    va_end(ap);
    (void)putchar('\n');
}

void say_gap(void)
{
    (void)putchar('\n');
}

void say_block(const char *text)
{
    while (*text != '\0') {
        const size_t len = strcspn(text, "\n");
        (void)printf(INDENT "%s|%s %.*s\n", DIM, PLAIN, (int)len, text);
        text += len + (text[len] == '\n');
    }
}

void say_file_end(const char *path, int lines)
{
    char *text = file_read(path);
    const char *from = text + strlen(text);

    /* Steps back over `lines` line ends, not counting the one at the very end. */
    while (from > text) {
        if (from[-1] == '\n' && *from != '\0' && --lines == 0)
            break;
        from--;
    }
    say_block(from);
    free(text);
}

void say_count(const char *name, long number, bool judged, const char *remark)
{
    const char *shade = !judged ? "" : number == 0 ? GREEN : RED;

    (void)printf("    %-16s%s%8ld%s   %s\n", name, shade, number, judged ? PLAIN : "", remark);
}

void say_pair(const char *name, long expected, long found, const char *remark)
{
    const bool same = expected == found;

    (void)printf("    %-16s%8ld  %s%8ld  %s%s   %s\n", name, expected, same ? GREEN : RED, found,
                 same ? "ok" : "NO", PLAIN, remark);
}

void say_verdict(bool good, const char *text)
{
    (void)printf("\n    %s%s%s\n\n", good ? GREEN : RED, text, PLAIN);
}

static void complain(const char *fmt, va_list ap) PRINTF_LIKE(1, 0);

static void complain(const char *fmt, va_list ap)
{
    (void)fflush(stdout);
    (void)fputs("\ndemo: ", stderr);
    (void)vfprintf(stderr, fmt, ap);
    (void)fputc('\n', stderr);
}

void give_up(const char *log, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    complain(fmt, ap);
    va_end(ap);
    if (log != NULL && access(log, R_OK) == 0) {
        (void)printf("The end of its log:\n");
        say_file_end(log, 15);
    }
    exit(ERR_SOFTWARE);
}

void give_up_for(int code, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    complain(fmt, ap);
    va_end(ap);
    exit(code);
}
