/* The whole binary under test: a configuration file in the temporary folder, `outboxd` as a child
 * process, its log. The binary is $OUTBOXD, or build/outboxd. */
#ifndef OUTBOXD_TESTS_OUTBOXD_H
#define OUTBOXD_TESTS_OUTBOXD_H

#include "kafka.h"
#include "pg.h"
#include "proc.h"

#include <stdbool.h>
#include <stdint.h>

/* Of one relay with the database, a second after it has opened them. */
#define OUTBOXD_SESSIONS 4

struct outboxd {
    struct proc proc;
    char config[PATH_SIZE];
    char log[PATH_SIZE]; /* stderr of every run, appended */
    int http_port;       /* of its endpoints; 0: outboxd_configure did not write it */
};

/* Its path; valid until the next call. */
const char *outboxd_binary(void);

/* Writes the configuration of relay `orders`, with its endpoints on a free port unless `extra` says
 * where; `extra` (NULL or YAML at top level) is appended, `relay_extra` (NULL or ", key: value
 * ...") goes into the relay section. */
/* Further YAML: what is refused for good stops everything, instead of waiting in a lane. */
#define ROUTES_THAT_HALT                                                                           \
    "routes:\n  - {name: all, match: {aggregate_type: \"*\"}, on_error: halt}\n"

void outboxd_configure(struct outboxd *o, const struct pg_server *pg, const char *brokers,
                       const char *relay_extra, const char *extra);
/* Writes the whole text as the configuration. */
void outboxd_configure_text(struct outboxd *o, const char *text);

void outboxd_start(struct outboxd *o);
/* The same behind other words, such as those of unshare(1) (NULL: none), and with what `how` says;
 * its argv, out_path and err_path count for nothing, unless err_path is set: then that is the log.
 */
void outboxd_start_by(struct outboxd *o, const char *const *prefix, const struct proc_params *how);
/* SIGTERM; returns the exit code; fails the test when it takes more than 15 s. */
int outboxd_stop(struct outboxd *o);
void outboxd_kill9(struct outboxd *o);

/* Runs `outboxd COMMAND -c config ...` to its end; both outputs in `out` (of size OUTBOXD_OUT);
 * returns the exit code. */
#define OUTBOXD_OUT 16384
int outboxd_command(const struct outboxd *o, const char *command, const char *const *more,
                    char *out);

/* support_fail, after the end of the log on stderr. */
void outboxd_fail(const struct outboxd *o, const char *fmt, ...) __attribute__((noreturn))
PRINTF_LIKE(2, 3);

/* How often `text` stands in the log since the last outboxd_log_truncate (or the beginning). */
int outboxd_log_count(const struct outboxd *o, const char *text);
bool outboxd_log_has(const struct outboxd *o, const char *text);
void outboxd_wait_log(const struct outboxd *o, const char *text,
                      int timeout_ms); /* fails the test */
void outboxd_log_truncate(struct outboxd *o);
/* The number behind "name=" in the last line that holds it; -1: there is none. */
int64_t outboxd_log_number(const struct outboxd *o, const char *name);

/* Waits until `outboxd status --json` tells 0 unsent events. */
void outboxd_wait_drained(const struct outboxd *o, int timeout_ms);

#endif
