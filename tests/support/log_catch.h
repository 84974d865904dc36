/* What the code under test logs, in a file: stderr goes there between log_catch and log_caught. */
#ifndef OUTBOXD_TESTS_LOG_CATCH_H
#define OUTBOXD_TESTS_LOG_CATCH_H

#include <stdbool.h>

void log_catch(void);
const char *log_caught(void);          /* the text stays good until the next call */
bool log_has_caught(const char *part); /* so far; may be asked meanwhile */

/* For a test's teardown: a failed one must not keep stderr, nor what it has said there. */
int log_give_back(void **state);

#endif
