/* The command line: `outboxd COMMAND [options]` into one struct. One table names every option, its
 * commands and its help; parsing and usage texts come from it. Nothing here prints or ends the
 * process. */
#ifndef OUTBOXD_APP_CLI_H
#define OUTBOXD_APP_CLI_H

#include "base/err.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

#define CLI_DEFAULT_CONFIG "/etc/outboxd/outboxd.yaml"

/* name, word, summary */
#define COMMANDS(X)                                                                                \
    X(RUN, "run", "publish the outbox's events until told to stop (SIGTERM)")                      \
    X(CHECK, "check", "look at both sides and say what is right and what to do about the rest")    \
    X(MIGRATE, "migrate", "apply or print the database's SQL, and make the relay's row")           \
    X(STATUS, "status", "say who leads, what waits and why; works beside a dead relay")            \
    X(CONFIG, "config", "check the configuration and print what is in force, secrets hidden")      \
    X(REBASE, "rebase",                                                                            \
      "set the relay's position anew after a restore; events can be skipped or repeated")          \
    X(VERSION, "version", "print the version")

enum command {
#define X(name, word, summary) COMMAND_##name,
    COMMANDS(X)
#undef X
        COMMAND_COUNT, /* none: of the program as a whole */
};

const char *command_name(enum command c);

/* Strings are borrowed from argv; NULL: not given. */
struct cli {
    enum command command;
    bool help; /* --help: of `command`, COMMAND_COUNT for the program's; nothing else counts then */
    const char *config;  /* -c; never NULL */
    bool config_given;   /* false: it is the default */
    const char *url;     /* migrate, rebase: the owner's connection; NULL: the libpq environment */
    bool print;          /* migrate: print the SQL and connect to nothing */
    bool no_doorbell;    /* migrate: without the NOTIFY trigger */
    int bells;           /* migrate: how many doorbells, 1 to 4; 0: not given */
    const char *start;   /* migrate: "beginning" or "now" for a new relay */
    int down;            /* migrate: go back to this version, 0 for nothing at all; -1: not given */
    uint32_t timeout_ms; /* migrate: how long to wait for locks */
    const char *to;      /* rebase: "beginning" or "now"; never NULL there */
    bool yes;            /* rebase, migrate --down: do not ask */
    bool dry_run;        /* rebase: say what would be done */
    bool json;           /* status */
    bool example;        /* config: print the example file */
};

/* Returns -1 with kind ERR_USAGE when the line makes no sense; the text names the nearest word that
 * does. argv[0] is skipped. */
NODISCARD int cli_parse(struct cli *c, int argc, char *const argv[], struct err *err);

/* Appends the help of one command, or of the program for COMMAND_COUNT. */
void cli_usage(enum command c, struct str *out);

#endif
