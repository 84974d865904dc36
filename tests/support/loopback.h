/* TCP on 127.0.0.1. */
#ifndef OUTBOXD_TESTS_LOOPBACK_H
#define OUTBOXD_TESTS_LOOPBACK_H

#include <netinet/in.h>

struct sockaddr_in loopback_address(int port);

/* A connection on which nothing takes longer than timeout_ms (0: as long as it likes). -1: nobody
 * listens. */
int loopback_connect(int port, int timeout_ms);

/* Listens there, with so many connections waiting at most. -1: the port is taken. */
int loopback_listen(int port, int backlog);

#endif
