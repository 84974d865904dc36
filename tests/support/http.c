#include "http.h"

#include "base/str.h"
#include "loopback.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* All that comes until the other side closes. */
static void read_all(int fd, struct str *out)
{
    char part[4096];
    ssize_t n;

    while ((n = recv(fd, part, sizeof part, 0)) > 0)
        str_put(out, part, (size_t)n);
}

struct http_answer http_get(int port, const char *path, int timeout_ms)
{
    struct http_answer a = {0};
    struct str text = {0};
    char ask[512];
    int fd = loopback_connect(port, timeout_ms);
    const char *blank;

    if (fd < 0)
        return a;
    (void)snprintf(ask, sizeof ask,
                   "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", path);
    if (send(fd, ask, strlen(ask), MSG_NOSIGNAL) == (ssize_t)strlen(ask))
        read_all(fd, &text);
    (void)close(fd);
    blank = strstr(str_text(&text), "\r\n\r\n");
    if (blank != NULL && strncmp(str_text(&text), "HTTP/1.1 ", 9) == 0) {
        a.code = (int)strtol(str_text(&text) + 9, NULL, 10);
        a.head = strndup(str_text(&text), (size_t)(blank - str_text(&text)));
        a.body = strdup(blank + 4);
    }
    str_release(&text);
    return a;
}

void http_answer_release(struct http_answer *a)
{
    free(a->head);
    free(a->body);
    *a = (struct http_answer){0};
}
