/* The settings: what the configuration file says, checked, with defaults for the rest.
 *
 * One table (settings/table.c) names every setting with its type, default, range and meaning;
 * loading, printing, the example file and every error text come from it. The file is YAML:
 *
 *   text -> tree of nodes with their places -> ${NAME} replaced -> values by the table -> checks
 * across settings
 *
 * Every problem is told as "file:line:column: path: what is wrong; the way out", up to
 * SETTINGS_PROBLEMS of them in one pass. Nothing here touches a server. */
#ifndef OUTBOXD_SETTINGS_SETTINGS_H
#define OUTBOXD_SETTINGS_SETTINGS_H

#include "base/err.h"
#include "base/log.h"
#include "message/route.h"
#include "relay/relay.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Where a relay that is new to a table already in use starts: UNSET means that nobody has decided
 * yet. */
enum start_at { START_UNSET, START_BEGINNING, START_NOW };

/* "" for START_UNSET, else "beginning" or "now". */
const char *start_at_name(enum start_at start);

struct kafka_property {
    char *name;
    char *value;
    bool secret; /* never printed */
};

/* Strings are never NULL; an unset one is "". */
struct settings {
    struct {
        char *url;      /* "": the libpq environment counts */
        char *password; /* "": none beside the url's */
        uint32_t connect_timeout_ms;
        uint32_t statement_timeout_ms;
    } postgres;
    struct {
        char *brokers;
        struct kafka_property *properties; /* in the file's order */
        size_t property_count;
    } kafka;
    struct {
        char *name;
        char *instance;
        enum start_at start;
        uint32_t window_events;
        size_t window_bytes;
        size_t max_event_bytes;
        uint32_t lease_ttl_ms;
        enum wakeup_mode wakeup;
        uint32_t poll_interval_ms;
        uint32_t stall_after_ms;
        uint32_t max_lanes; /* by key */
        uint32_t lanes_in_parallel;
        uint32_t max_rate;            /* events per second; 0: no limit */
        uint32_t shutdown_timeout_ms; /* 0: stop at once, let a successor send again what was in
                                         flight */
    } relay;
    struct {
        int64_t keep_ms; /* 0: for ever */
    } retention;
    struct {
        char *listen; /* "": nowhere */
    } http;
    struct {
        enum log_level level;
        enum log_format format;
    } log;
    struct route_table routes; /* of `routes` and `kafka.topics` */
};

/* All defaults; not loadable as it stands, because kafka.brokers has none. */
void settings_init(struct settings *s);
void settings_release(struct settings *s);

#define SETTINGS_PROBLEMS 10

struct settings_problems {
    char *text[SETTINGS_PROBLEMS]; /* owned; one line each */
    size_t count;                  /* in text */
    size_t unlisted;               /* found beyond those */
};

void settings_problems_release(struct settings_problems *p);

/* Fills `s` (whose old content is ignored) from the file at `path`. Returns -1 with kind ERR_CONFIG
 * and the first problem in `err`; `s` then holds the defaults. Either way the caller releases `s`.
 * `problems`, unless NULL, is filled with all problems, and is the caller's to release. */
NODISCARD int settings_load(struct settings *s, const char *path, struct err *err);
NODISCARD int settings_load_listing(struct settings *s, const char *path,
                                    struct settings_problems *problems, struct err *err);

/* The same, of text that is in memory already; `name` stands for the file in the problems. */
NODISCARD int settings_parse(struct settings *s, struct slice text, const char *name,
                             struct settings_problems *problems, struct err *err);

/* The effective settings as YAML that can be loaded again; secrets appear as ***, which also stands
 * for the password within postgres.url. */
void settings_print(const struct settings *s, FILE *out);

/* The example file: every setting with its default, range and meaning. */
void settings_print_example(FILE *out);

#define SETTINGS_MAX 32 /* more than there are settings */

struct settings_changes {
    const char *applied[SETTINGS_MAX]; /* paths of what changed and is in force now */
    size_t applied_count;
    const char *pending[SETTINGS_MAX]; /* paths of what changed and needs a restart */
    size_t pending_count;
};

/* SIGHUP: reads the file again, takes over what can change while running, and tells what cannot.
 * Returns -1 with `err` filled and `s` as it was when the file has a problem. Pointers into `s`
 * stay valid for all that is not reloadable. */
NODISCARD int settings_reload(struct settings *s, const char *path,
                              struct settings_changes *changes, struct err *err);

/* Puts a libpq connection string (URL or key=value) to `out` with the passwords in it replaced by
 * ***; returns whether there were any. What cannot be taken apart becomes *** as a whole. For every
 * place that shows one. */
bool conninfo_mask(const char *conninfo, struct str *out);

#endif
