/* The ground that tests stand on: temporary folders, free ports, time, and how support code fails a
 * test.
 *
 * Everything a process makes lies in one folder, /tmp/outboxd-XXXXXX (or under $TMPDIR), which is
 * removed when the process ends, also on SIGINT and SIGTERM; KEEP=1 leaves it and says where it is.
 */
#ifndef OUTBOXD_TESTS_TMP_H
#define OUTBOXD_TESTS_TMP_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PATH_SIZE 512 /* of every path in support/ */

/* Ends the running test as failed, after one line on stderr: through cmocka when the program is
 * linked with it, else by exit(1). Never call it from another thread than the test's own. */
void support_fail(const char *fmt, ...) __attribute__((noreturn)) PRINTF_LIKE(1, 2);

uint64_t test_now_us(void); /* CLOCK_MONOTONIC */
uint64_t test_now_ms(void);
void test_sleep_ms(unsigned ms); /* for pauses of a load; to wait for something use WAIT_UNTIL */

/* Waits until the expression is true; fails the test, naming it, after timeout_ms. */
#define WAIT_UNTIL(expr, timeout_ms)                                                               \
    do {                                                                                           \
        const uint64_t wait_end_ = test_now_ms() + (uint64_t)(timeout_ms);                         \
        while (!(expr)) {                                                                          \
            if (test_now_ms() >= wait_end_)                                                        \
                support_fail("%s:%d: not within %d ms: %s", __FILE__, __LINE__, (int)(timeout_ms), \
                             #expr);                                                               \
            test_sleep_ms(2);                                                                      \
        }                                                                                          \
    } while (0)

/* The same as a function: true as soon as cond(ctx) is, false after timeout_ms. */
bool wait_until(bool (*cond)(void *ctx), void *ctx, unsigned timeout_ms);

const char *tmp_root(void); /* of this process, made at the first call */
/* A new folder in it, "<name>-1", "<name>-2" ... It may be entered by everybody and belongs to us.
 */
void tmp_folder(const char *name, char out[PATH_SIZE]);
void tmp_remove(const char *path); /* rm -rf; refuses what does not lie in tmp_root() */

/* The root of the sources: $OUTBOXD_SOURCE, or the nearest folder with sql/outbox in it from the
 * working directory or from the program upwards. */
const char *source_root(void);
/* Joins with "/" and fails when the result is too long. */
void path_join(char out[PATH_SIZE], const char *folder, const char *name);
/* Where `make` puts things: $BUILD, or "build" in the source root. */
const char *build_root(void);

/* The whole text of a file, to be freed; fails the test when it cannot be read. */
char *file_read(const char *path);
void file_write(const char *path, const char *fmt, ...) PRINTF_LIKE(2, 3);
bool file_holds(const char *path, const char *part); /* false also when there is no file */

/* A TCP port of 127.0.0.1 that nobody listens on. It lies below the kernel's range for outgoing
 * connections and is kept from other test processes of this user by a lock, so that a server can be
 * stopped and started on it again. */
int port_free(void);

#endif
