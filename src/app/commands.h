/* The commands beside `run`. Each prints its result to stdout and returns 0, or -1 with `err`
 * filled; the kind is the exit code. None of them writes anything unless its line says so. */
#ifndef OUTBOXD_APP_COMMANDS_H
#define OUTBOXD_APP_COMMANDS_H

#include "app/cli.h"
#include "base/err.h"

struct command_server;
struct settings;

/* The database as the relay reaches it: postgres.url and postgres.password, borrowed from `s`. */
struct command_server command_server_of(const struct settings *s);

/* "login@host" of who gives the command, for what is kept of it. Returns `out`. */
const char *command_who(char *out, size_t size);

NODISCARD int command_config(const struct cli *c, struct err *err);
NODISCARD int command_migrate(const struct cli *c, struct err *err);
NODISCARD int command_rebase(const struct cli *c, struct err *err);
NODISCARD int command_status(const struct cli *c, struct err *err);
/* Returns -1 when a line of the report is wrong; the report is on stdout by then. */
NODISCARD int command_check(const struct cli *c, struct err *err);
NODISCARD int command_top(const struct cli *c, struct err *err);
NODISCARD int command_health(const struct cli *c, struct err *err);
NODISCARD int command_pause(const struct cli *c, struct err *err);
NODISCARD int command_resume(const struct cli *c, struct err *err);
NODISCARD int command_parked(const struct cli *c, struct err *err);
NODISCARD int command_verify(const struct cli *c, struct err *err);
NODISCARD int command_replay(const struct cli *c, struct err *err);

#endif
