/* The little HTTP/1.1 server behind the endpoints: GET and HEAD, one answer a connection.
 *
 * It serves whoever comes and trusts nobody: a relay must neither wait for a client nor grow with
 * them. So everything has a limit: connections at once and per second, the size of a request, the
 * time from connecting to the last byte. When too many are there, the one that has been there for
 * the longest goes: somebody who asks and reads is served among any number who do not. */
#ifndef OUTBOXD_OPS_HTTP_H
#define OUTBOXD_OPS_HTTP_H

#include "base/address.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

#define HTTP_CLIENTS_MAX  64U /* at once */
#define HTTP_ACCEPTS_TICK 32U /* new ones in each HTTP_TICK_MS; the others wait in the kernel */
#define HTTP_TICK_MS      100U
#define HTTP_REQUEST_MAX  8192U  /* bytes of request line and headers */
#define HTTP_CLIENT_MS    5000U  /* from connecting to the last byte of the answer */
#define HTTP_LINGER_MS    1000U  /* and then for the client to close */
#define HTTP_LINGER_BYTES 65536U /* that are read away meanwhile, such as a body */
#define HTTP_RETRY_MS     5000U  /* between attempts to get the address */

struct event_base;
struct http;

struct http_answer {
    int status;
    const char *type; /* Content-Type; a literal */
    struct str *body; /* empty; to be filled */
};

struct http_page {
    const char *path;
    void (*render)(void *ctx, struct http_answer *out); /* called from the loop; 200 unless it says
                                                           otherwise */
};

struct http_params {
    struct event_base *base;
    const char *listen; /* for log lines; lent */
    struct address address;
    const struct http_page *pages; /* lent */
    size_t page_count;
    void *ctx;          /* of the pages */
    const char *header; /* one more header line of every answer, with its end; lent; "" for none */
};

/* Listens at once, or logs why not and tries again every HTTP_RETRY_MS. NULL, with `err` filled,
 * only when memory is out. */
NODISCARD struct http *http_new(const struct http_params *params, struct err *err);
void http_free(struct http *h); /* closes everything; not from within render; NULL is harmless */

#endif
