#include "base/address.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static bool parse_port(const char *text, in_port_t *out)
{
    uint32_t port = 0;
    size_t len = strlen(text);

    if (len == 0 || len > 5 || strspn(text, "0123456789") != len)
        return false;
    for (size_t i = 0; i < len; i++)
        port = port * 10 + (uint32_t)(text[i] - '0');
    *out = htons((uint16_t)port);
    return port >= 1 && port <= UINT16_MAX;
}

static int no_address(const char *text, struct err *err)
{
    return err_problem(err, ERR_CONFIG, PROBLEM_CONFIGURATION,
                       "\"%.80s\" is no address; write one with its port, such as 127.0.0.1:9464, "
                       "[::1]:9464, or 0.0.0.0:9464 for every interface",
                       text);
}

int address_parse(const char *text, struct address *out, struct err *err)
{
    bool is_ip6 = text[0] == '[';
    const char *host = is_ip6 ? text + 1 : text;
    const char *end = is_ip6 ? strstr(text, "]:") : strrchr(text, ':');
    char name[INET6_ADDRSTRLEN] = "";
    in_port_t port;

    *out = (struct address){0};
    if (end == NULL || (size_t)(end - host) >= sizeof name ||
        !parse_port(end + (is_ip6 ? 2 : 1), &port))
        return no_address(text, err);
    memcpy(name, host, (size_t)(end - host));
    if (is_ip6) {
        out->socket.ip6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = port};
        out->len = sizeof out->socket.ip6;
        if (inet_pton(AF_INET6, name, &out->socket.ip6.sin6_addr) == 1)
            return 0;
    } else {
        out->socket.ip4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = port};
        out->len = sizeof out->socket.ip4;
        if (inet_pton(AF_INET, name, &out->socket.ip4.sin_addr) == 1)
            return 0;
    }
    return no_address(text, err);
}

void address_to_ask(struct address *a)
{
    if (a->socket.any.sa_family == AF_INET && a->socket.ip4.sin_addr.s_addr == htonl(INADDR_ANY))
        a->socket.ip4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else if (a->socket.any.sa_family == AF_INET6 &&
             memcmp(&a->socket.ip6.sin6_addr, &in6addr_any, sizeof in6addr_any) == 0)
        a->socket.ip6.sin6_addr = in6addr_loopback;
}
