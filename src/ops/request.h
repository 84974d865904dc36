/* The head of an HTTP request, taken apart. Pure. */
#ifndef OUTBOXD_OPS_REQUEST_H
#define OUTBOXD_OPS_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

enum request_method { REQUEST_GET, REQUEST_HEAD, REQUEST_OTHER };

struct request {
    enum request_method method;
    const char *path; /* without host, query and fragment; points into the head */
};

/* Whether the empty line that ends a head has come. */
bool request_is_whole(const char *head, size_t len);

/* Takes the request line apart, writing into `head`. Returns 0, or the status to refuse it with:
 * 400, or 505 for another protocol than HTTP/1. The header lines count for nothing here. */
int request_parse(char *head, struct request *out);

/* "Not Found" for 404. */
const char *request_reason(int status);

#endif
