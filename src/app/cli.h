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
    X(TOP, "top", "watch a running relay: rate, lag, latency, what is wrong")                      \
    X(HEALTH, "health", "ask the running process whether it is well; for HEALTHCHECK")             \
    X(PAUSE, "pause", "let the relay hold still; events wait in their table")                      \
    X(RESUME, "resume", "let a paused relay publish again")                                        \
    X(PARKED, "parked",                                                                            \
      "list the lanes that wait aside, show one, try it again, or skip its event")                 \
    X(VERIFY, "verify", "hold the kept log against the topics: lost, ghost, inverted, duplicate")  \
    X(REPLAY, "replay", "publish kept events again, to their topics or to another")                \
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
const char *command_summary(enum command c);

/* An option as the man page and the shell completions show it. */
struct cli_option {
    const char *name; /* without the hyphens */
    char letter;      /* short form; 0: none */
    const char
        *value; /* NULL for a flag; else what stands for it: FILE, or words like "beginning|now" */
    const char *help;
};

/* Hands over each option of a command (COMMAND_COUNT: of the program), in the order of --help, and
 * --help itself at last. */
void cli_each_option(enum command c, void (*take)(void *ctx, const struct cli_option *o),
                     void *ctx);

#define CLI_TEXTS_MAX 32

/* The values of an option that may be given several times. */
struct cli_texts {
    const char *text[CLI_TEXTS_MAX];
    size_t count;
};

/* Strings are borrowed from argv; NULL: not given. */
struct cli {
    enum command command;
    bool help; /* --help: of `command`, COMMAND_COUNT for the program's; nothing else counts then */
    const char *config;  /* -c; never NULL */
    bool config_given;   /* false: it is the default */
    const char *url;     /* migrate, rebase: the owner's connection; NULL: the libpq environment.
                            pause, resume: instead of the configuration's. top: the relay's
                            address; NULL: http.listen */
    bool print;          /* migrate: print the SQL and connect to nothing */
    bool inbox;          /* migrate: the schema inbox instead of outbox */
    bool no_doorbell;    /* migrate: without the NOTIFY trigger */
    int bells;           /* migrate: how many doorbells, 1 to 4; 0: not given */
    const char *start;   /* migrate: "beginning" or "now" for a new relay */
    int down;            /* migrate: go back to this version, 0 for nothing at all; -1: not given */
    uint32_t timeout_ms; /* migrate: how long to wait for locks */
    const char *to;      /* rebase: "beginning", "now", an id or a time; NULL: --keep */
    bool keep;           /* rebase: keep the position, accept this server */
    const char *reason;  /* pause, parked skip; NULL: none given */
    bool yes;            /* rebase, migrate --down, parked: do not ask */
    bool dry_run;        /* rebase, replay, pause, resume: say what would be done */
    bool json;           /* status, parked list */
    bool once;           /* top: print one picture */
    bool live;           /* health: the process answers; whether it can publish does not count */
    bool example;        /* config: print the example file */
    const char *from;    /* verify (--since), replay: a time, see app/when.h */
    const char *until;   /* verify, replay: a time */
    struct cli_texts topics;    /* verify: read only these */
    int limit;                  /* verify: findings listed of each kind */
    bool shared;                /* verify: unknown events are others' */
    const char *id;             /* replay: "FROM" or "FROM-TO" */
    const char *event_type;     /* replay */
    const char *aggregate_type; /* replay */
    const char *key;            /* replay, parked: of the message */
    const char *topic;          /* replay: instead of each event's own */
    int64_t after;              /* replay: only ids behind it; 0: all */
    int rate;                   /* replay: events a second; 0: no limit */
    struct cli_texts words;     /* parked: what to do, and the lanes' numbers */
    const char *of_topic;       /* parked: the lanes of this topic */
    const char *error;          /* parked: those with this cause */
    bool all;                   /* parked: all lanes */
};

/* Returns -1 with kind ERR_USAGE when the line makes no sense; the text names the nearest word that
 * does. argv[0] is skipped. */
NODISCARD int cli_parse(struct cli *c, int argc, char *const argv[], struct err *err);

/* What the codes of this command mean; "" when there is no more to say than of all. */
const char *command_exit_codes(enum command c);

/* Appends the help of one command, or of the program for COMMAND_COUNT. */
void cli_usage(enum command c, struct str *out);

#endif
