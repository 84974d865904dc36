/* The sd_notify protocol: a datagram of NAME=value lines to the socket that NOTIFY_SOCKET names.
 * Without that variable nobody wants to know, and nothing is sent. */
#ifndef OUTBOXD_APP_SD_NOTIFY_H
#define OUTBOXD_APP_SD_NOTIFY_H

#include "base/err.h"

#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

struct sd_notify {
    int fd; /* -1: nobody wants to know */
    struct sockaddr_un address;
    socklen_t address_len;
    uint32_t watchdog_ms; /* WATCHDOG=1 is expected this often at the least; 0: never */
};

/* Reads NOTIFY_SOCKET (a path, or @name for an abstract one), WATCHDOG_USEC and WATCHDOG_PID.
 * Returns -1 with `err` filled when the socket's name cannot be used; `n` is then as if nobody
 * wanted to know. Either way sd_notify_release is due. */
NODISCARD int sd_notify_init(struct sd_notify *n, struct err *err);
void sd_notify_release(struct sd_notify *n);

/* Sends the lines, such as "READY=1\nSTATUS=leading", as they are. Never waits. Returns 0, also
 * when nobody wants to know; else -errno: -EAGAIN when the reader is behind. */
int sd_notify_send(const struct sd_notify *n, const char *lines);

#endif
