/* The words and options of `outboxd parked`, which has verbs of its own. */
#ifndef OUTBOXD_APP_CLI_PARKED_H
#define OUTBOXD_APP_CLI_PARKED_H

#include "app/cli.h"

/* Takes the next word: what to do, then numbers of lanes. Returns -1 with kind ERR_USAGE. */
NODISCARD int cli_parked_word(struct cli *c, const char *word, struct err *err);

/* Whether words and options belong together. Returns -1 with kind ERR_USAGE. */
NODISCARD int cli_parked_check(const struct cli *c, struct err *err);

#endif
