/* How it can fail: the reader is gone or behind. Then the datagram is dropped and the caller told;
 * every send names the address anew, so that a manager that starts again gets the next one. */
#include "app/sd_notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The whole text as a number; 0 when it is none. */
static uint64_t number_of(const char *text)
{
    size_t len = text == NULL ? 0 : strlen(text);

    if (len == 0 || len > 18 || strspn(text, "0123456789") != len)
        return 0;
    return strtoull(text, NULL, 10);
}

static uint32_t watchdog_of_environment(void)
{
    const char *pid = getenv("WATCHDOG_PID");
    uint64_t ms = number_of(getenv("WATCHDOG_USEC")) / 1000;

    /* meant for another process, of which we inherited the environment */
    if (pid != NULL && number_of(pid) != (uint64_t)getpid())
        return 0;
    return ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}

static int set_address(struct sd_notify *n, const char *name, struct err *err)
{
    size_t len = strlen(name);

    if (name[0] != '/' && name[0] != '@')
        return err_set(err, ERR_UNAVAILABLE,
                       "NOTIFY_SOCKET: \"%.60s\" is neither a path nor an abstract name", name);
    if (len < 2 || len >= sizeof n->address.sun_path)
        return err_set(err, ERR_UNAVAILABLE, "NOTIFY_SOCKET: a name of %zu bytes is no socket's",
                       len);
    n->address.sun_family = AF_UNIX;
    memcpy(n->address.sun_path, name, len);
    /* an abstract name begins with NUL and has no end but its length */
    if (name[0] == '@')
        n->address.sun_path[0] = '\0';
    n->address_len =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (name[0] == '@' ? 0 : 1));
    return 0;
}

int sd_notify_init(struct sd_notify *n, struct err *err)
{
    const char *name = getenv("NOTIFY_SOCKET");

    *n = (struct sd_notify){.fd = -1};
    if (name == NULL || name[0] == '\0')
        return 0;
    if (set_address(n, name, err) != 0)
        return -1;
    n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (n->fd < 0)
        return err_set(err, ERR_UNAVAILABLE, "NOTIFY_SOCKET: %s", strerror(errno));
    n->watchdog_ms = watchdog_of_environment();
    return 0;
}

void sd_notify_release(struct sd_notify *n)
{
    if (n->fd >= 0)
        (void)close(n->fd);
    n->fd = -1;
    n->watchdog_ms = 0;
}

int sd_notify_send(const struct sd_notify *n, const char *lines)
{
    union {
        const struct sockaddr_un *un;
        const struct sockaddr *any;
    } address = {.un = &n->address};
    ssize_t sent;

    if (n->fd < 0)
        return 0;
    do
        sent = sendto(n->fd, lines, strlen(lines), MSG_NOSIGNAL, address.any, n->address_len);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}
