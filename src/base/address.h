/* An address to listen on, as the configuration has it: "127.0.0.1:9464", "[::1]:9464". Numbers
 * only: nothing is looked up. */
#ifndef OUTBOXD_BASE_ADDRESS_H
#define OUTBOXD_BASE_ADDRESS_H

#include "base/err.h"

#include <netinet/in.h>
#include <sys/socket.h>

struct address {
    union {
        struct sockaddr any;
        struct sockaddr_in ip4;
        struct sockaddr_in6 ip6;
    } socket;
    socklen_t len;
};

/* The port is 1 to 65535. -1 with kind ERR_CONFIG and "what is wrong; the way out" for anything
 * else. */
NODISCARD int address_parse(const char *text, struct address *out, struct err *err);

/* Whoever listens on every interface is asked by way of loopback. */
void address_to_ask(struct address *a);

#endif
