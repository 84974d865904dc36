/* The order in which the hosts of a connection string are tried.
 *
 * libpq tries them as they are written and goes on when one refuses. One that takes the connection
 * and stays silent (a machine that hangs, packets that get lost) would keep every attempt from
 * those behind it, for ever: so a silent host goes to the end of the order, until another one is
 * silent. */
#ifndef OUTBOXD_OUTBOX_HOSTS_H
#define OUTBOXD_OUTBOX_HOSTS_H

#include <libpq-fe.h>
#include <stddef.h>

struct hosts;

struct hosts *hosts_new(void); /* the order of the connection string */
void hosts_free(struct hosts *h);

/* How many hosts the connection has to try; at least 1. */
unsigned hosts_count(PGconn *conn);

/* The host that `conn` is waiting for goes to the end, and those before it with it. Harmless again,
 * and with a single host. */
void hosts_blame(struct hosts *h, PGconn *conn);

/* Appends to a list for PQconnectStartParams what puts our order in the place of the string's: up
 * to HOSTS_PARAMS pairs, borrowed until the next hosts_blame. Returns how many. */
#define HOSTS_PARAMS 3U
size_t hosts_params(const struct hosts *h, const char **keywords, const char **values);

#endif
