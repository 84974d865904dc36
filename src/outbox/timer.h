/* A one-shot timer of the loop. It keeps libevent's own `struct event` out of the files that know
 * an event of ours. */
#ifndef OUTBOXD_OUTBOX_TIMER_H
#define OUTBOXD_OUTBOX_TIMER_H

#include <stdint.h>

struct event_base;
struct timer;

typedef void timer_fn(void *ctx);

/* fn is called from the loop, at most once per timer_in_ms. Ends the process when memory runs out.
 */
struct timer *timer_new(struct event_base *base, timer_fn *fn, void *ctx);
void timer_free(struct timer *t); /* NULL is harmless; allowed within fn */

/* Replaces the earlier wish. 0: in the next turn of the loop, after the sockets that are ready have
 * been served. */
void timer_in_ms(struct timer *t, uint32_t ms);
void timer_stop(struct timer *t);

#endif
