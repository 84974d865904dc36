/* Processor time and memory of whole servers, from /proc: what a process and its children have
 * used, those that have ended included. */
#ifndef OUTBOXD_BENCH_USAGE_H
#define OUTBOXD_BENCH_USAGE_H

#include <sys/types.h>

/* Seconds so far of the process, of what it has waited for, and of its children that live. 0 when
 * there is no such process. In steps of the kernel's tick, 10 ms as a rule. */
double usage_cpu_s(pid_t pid);

double usage_self_cpu_s(void); /* of this process alone, all its threads, exact */

/* Switches between processes that it asked for (it waited), of all its threads: how often it went
 * to sleep; -1 when there is no such process. */
long usage_sleeps(pid_t pid);

#endif
