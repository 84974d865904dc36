/* What befalls a Postgres, beyond pg_crash, pg_kill9 and pg_stop: a machine that hangs, a disk that
 * is full, a failover, an upgrade. */
#ifndef OUTBOXD_TESTS_PG_FAULTS_H
#define OUTBOXD_TESTS_PG_FAULTS_H

#include "pg.h"

/* SIGSTOP to the server and all its processes: connections stay open, the kernel takes new ones,
 * nothing answers, as when a machine hangs. */
void pg_freeze(struct pg_server *s);
void pg_thaw(struct pg_server *s);
void pg_kill_frozen(struct pg_server *s); /* the machine is switched off */

/* No byte more can be written to the server's disk, WAL included, until pg_free_disk. A server that
 * has no disk of its own (disk_mib of struct pg_params) may write only the first pages of each file
 * instead. */
void pg_fill_disk(struct pg_server *s);
void pg_free_disk(struct pg_server *s);

/* A copy of the running primary that follows it by streaming. From now on the primary's commits
 * wait for it, and URLs of the primary name both. */
void pg_create_standby(struct pg_server *standby, struct pg_server *primary);
/* Returns when the standby accepts writes. */
void pg_promote(struct pg_server *standby);

/* Stops the server and makes `next` of it by pg_upgrade, which keeps transaction ids and gives it
 * another system identifier; `next` runs when it returns, the old one is gone. */
void pg_upgrade(struct pg_server *next, struct pg_server *old);

#endif
