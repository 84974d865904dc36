/* What this process costs, by the kernel's account. */
#ifndef OUTBOXD_APP_PROCESS_H
#define OUTBOXD_APP_PROCESS_H

#include "ops/view.h"

/* Fills all but start_time_s; what /proc does not tell stays 0. */
void process_look(struct ops_process *out);

#endif
