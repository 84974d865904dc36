/* `outboxd run`: one process, one thread of ours, one libevent loop that ties source, core and sink
 * together. */
#ifndef OUTBOXD_APP_RUN_H
#define OUTBOXD_APP_RUN_H

#include "base/err.h"

/* Runs until it is told to stop (SIGTERM, SIGINT: drain, store, release; a second one: at once), or
 * until only a person can help. SIGHUP reads the configuration again and tries what waits. Returns
 * 0, or -1 with `err` filled, its problem, too; the text is empty when the log has told it. */
NODISCARD int run_relay(const char *config_path, struct err *err);

#endif
