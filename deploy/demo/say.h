/* What a demo prints: numbered steps, details below them, colour only on a terminal. */
#ifndef OUTBOXD_DEMO_SAY_H
#define OUTBOXD_DEMO_SAY_H

#include "base/err.h"

#include <stdbool.h>

/* Line buffering, and colour unless stdout is no terminal, NO_COLOR is set or TERM is dumb. */
void say_init(void);
bool say_failed(void); /* nobody reads any more: the pipe is closed */

void say_title(const char *text);
/* " 1  Postgres      text": the number counts by itself. */
void say_step(const char *name, const char *fmt, ...) PRINTF_LIKE(2, 3);
void say_more(const char *fmt, ...)
    PRINTF_LIKE(1, 2); /* one more line, below the text of the step */
void say_gap(void);    /* an empty line */
/* A text of several lines, indented, with a bar before each line: a file, SQL, a log. */
void say_block(const char *text);
void say_file_end(const char *path, int lines); /* the last lines of a log */
/* A row of the table: name, number (shown good or bad when `judged`), remark. */
void say_count(const char *name, long number, bool judged, const char *remark);
/* A row with what must be and what is: shown good when they are the same. */
void say_pair(const char *name, long expected, long found, const char *remark);
void say_verdict(bool good, const char *text);

/* Ends the demo: message, the end of that log (may be NULL), and exit code 70. */
_Noreturn void give_up(const char *log, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The same with another exit code, for what is not the demo's own failure. */
_Noreturn void give_up_for(int code, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
