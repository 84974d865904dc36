/* Ctrl-C in a demo: noted, and acted on where its processes and its folder can be taken away. */
#ifndef OUTBOXD_DEMO_INTERRUPT_H
#define OUTBOXD_DEMO_INTERRUPT_H

/* From now on SIGINT, SIGTERM and SIGHUP are noted only, and a closed pipe is an error of stdout.
 */
void interrupt_init(void);
/* Ends the demo by exit(128 + signal) when one came, or when nobody reads what it prints. */
void interrupt_check(void);

#endif
